//! Programs of the model host: each sends packets of one flow after another, UDP, echo and a very small TCP, from where it is
//! bound to a host behind some tunnel, in the LAN, or in the open net. They know of tunnels what `status` tells a user: the
//! addresses to bind to. What becomes of a packet is the oracle's to judge.

pub(crate) mod packet; // packets, built and read by hand

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mrvpn_clock::Moment;

use crate::sim::Dice;
use crate::sim::reference::Place;
use crate::sim::world::setup::{self, LAN, UNCLAIMED};
use packet::{ICMP, TCP, UDP};

/// To what a program binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// Nothing: the host chooses.
    No,
    /// An address of this tunnel: the presented one, or the bind address.
    Tunnel { place: Place, presented: bool },
}

/// One program.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) protocol: u8,
    pub(crate) bind: Bind,
    pub(crate) to: SocketAddr,
    /// From one packet to the next.
    pub(crate) period: Duration,
    /// Packets of one flow.
    pub(crate) packets: u32,
    /// Bytes of one packet, headers left out.
    pub(crate) payload: usize,
    pub(crate) flow: Option<u32>,
    pub(crate) next_at: Moment,
}

impl App {
    /// The programs of a world: one for each server, and some for all else. `pace` is the thousandth of what most of them wait
    /// from one packet to the next.
    pub(crate) fn all(places: usize, pace: Duration, dice: &mut Dice, now: Moment) -> Vec<Self> {
        let own = (0..places).map(|place| Self::any(setup::own_target(place).into(), Bind::No, pace, dice, now));
        let mut apps: Vec<Self> = own.collect();
        for _ in 0..places.min(8) {
            let bind = Bind::Tunnel { place: dice.place(places), presented: dice.one_in(2) };
            apps.push(Self::any(any_target(places, dice), bind, pace, dice, now));
            apps.push(Self::any(any_target(places, dice), Bind::No, pace, dice, now));
        }
        for target in [LAN.network(), UNCLAIMED, Ipv4Addr::new(10, 8, 0, 9)] {
            let target = Ipv4Addr::from(u32::from(target) | 9);
            apps.push(Self::any(target.into(), Bind::No, pace, dice, now));
        }
        apps
    }

    fn any(target: IpAddr, bind: Bind, pace: Duration, dice: &mut Dice, now: Moment) -> Self {
        let protocol = *dice.pick(&[UDP, UDP, TCP, ICMP]);
        let payload = match (protocol, target.is_ipv4(), dice.below(8)) {
            (TCP, ..) => packet::TAG,
            (UDP, true, 0) => 2_000 + dice.place(2_000),
            _ => packet::TAG + dice.place(1_200),
        };
        let period = pace * *dice.pick(&[400, 1_000, 2_000, 5_000]);
        let port = if protocol == ICMP { 0 } else { *dice.pick(&[53, 443, 1_500, 8_000]) };
        Self {
            protocol,
            bind,
            to: SocketAddr::new(target, port),
            period,
            packets: 1 + u32::try_from(dice.below(40)).unwrap_or(0),
            payload,
            flow: None,
            next_at: now + Duration::from_micros(dice.below(3_000_000)),
        }
    }
}

fn any_target(places: usize, dice: &mut Dice) -> IpAddr {
    let place = dice.place(places);
    match dice.below(7) {
        0 => Ipv4Addr::new(10, 100 + u8::try_from(place).unwrap_or(0), 0, 9).into(),
        1 => Ipv6Addr::new(0xfd00, u16::try_from(place).unwrap_or(0), 0, 0, 0, 0, 0, 9).into(),
        2 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9).into(),
        3 => setup::own_target(place).into(),
        4 => UNCLAIMED.into(),
        _ => setup::shared_target(dice.below(4)).into(),
    }
}
