//! Packets inside the tunnels and on the interface, in any order.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mrvpn_clock::Moment;
use mrvpn_router::limits::REFUSAL_BUFFER;
use mrvpn_router::{
    Attachment, Claim, ClaimOrigin, DefaultChoice, Defaults, Fallback, Inbound, LeaseId, Offload, Outbound,
    OwnAddresses, Policy, PolicyInput, Router, Sources, TunnelId, TunnelState, TunnelView,
};

use super::pieces::pieces;

const TUNNELS: [TunnelId; 2] = [TunnelId::new(0), TunnelId::new(1)];

/// Steps: the first byte of each chooses among the interface, a tunnel, time and a new lease; a packet follows.
pub fn router(bytes: &[u8]) {
    let mut input = input();
    let mut router = Router::new([7; 32], Arc::new(Policy::new(input.clone())));
    let mut now = Moment::from_nanos(1_000_000_000);
    let mut opened: BTreeSet<IpAddr> = BTreeSet::new();
    for step in pieces(bytes) {
        let Some((choice, packet)) = step.split_first() else { continue };
        let mut packet = packet.to_vec();
        match choice % 8 {
            0..=2 => send(&mut router, &mut packet, &mut opened, now),
            3 | 4 => receive(&mut router, TUNNELS[usize::from(choice % 8) - 3], &mut packet, &opened, now),
            5 => now = now + Duration::from_secs(u64::from(*choice)),
            _ => {
                let view = &mut input.tunnels[usize::from(choice % 8) - 6];
                view.lease = LeaseId::new(view.lease.number().wrapping_add(1));
                router.set_policy(Arc::new(Policy::new(input.clone())), now);
                while router.poll_refusal(&mut [0; REFUSAL_BUFFER]).is_some() {}
            }
        }
    }
}

fn send(router: &mut Router, packet: &mut [u8], opened: &mut BTreeSet<IpAddr>, now: Moment) {
    let before = packet.to_vec();
    match router.outbound(packet, &Offload::NONE, Attachment::Rules, now) {
        Outbound::Forward { tunnel, .. } => {
            opened.extend(source(&before));
            let own = inner()[tunnel.index()];
            assert!(source(packet).is_some_and(|source| own.contains(&source)), "not of {tunnel:?}: {packet:?}");
            while let Some(mut fragment) = router.poll_sent_fragment() {
                send(router, &mut fragment, opened, now);
            }
        }
        Outbound::Refuse { refusal, .. } => {
            assert_eq!(before, packet, "what is refused is not changed");
            let mut into = [0; REFUSAL_BUFFER];
            assert!(router.refuse(packet, refusal, now, &mut into).is_none_or(|length| length <= into.len()));
        }
        Outbound::Hold { .. } | Outbound::Wait | Outbound::Ask | Outbound::Drop(_) => assert_eq!(before, packet),
    }
}

/// Nothing arrives for an address that has not opened anything.
fn receive(router: &mut Router, from: TunnelId, packet: &mut [u8], opened: &BTreeSet<IpAddr>, now: Moment) {
    match router.inbound(from, packet, now) {
        Inbound::Forward { .. } => {
            let destination = destination(packet).expect("a packet that arrives has addresses");
            assert!(opened.contains(&destination), "{destination}");
            while let Some((from, mut fragment)) = router.poll_received_fragment() {
                receive(router, from, &mut fragment, opened, now);
            }
        }
        Inbound::Wait | Inbound::Drop(_) => {}
    }
}

fn source(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 12, 8)
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 16, 24)
}

fn address(packet: &[u8], v4: usize, v6: usize) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => packet.get(v4..)?.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        6 => packet.get(v6..)?.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    }
}

/// The addresses of both tunnels, one of each family.
fn inner() -> [[IpAddr; 2]; 2] {
    [0, 1].map(|n| {
        let v6 = Ipv6Addr::new(0xfd00, 8, u16::from(n), 0, 0, 0, 0, 2);
        [IpAddr::from(Ipv4Addr::new(10, 8, n, 2)), IpAddr::from(v6)]
    })
}

fn input() -> PolicyInput {
    let [[uk4, uk6], [fr4, fr6]] = inner();
    let view = |addresses: [IpAddr; 2]| {
        let [IpAddr::V4(v4), IpAddr::V6(v6)] = addresses else { unreachable!("one of each family") };
        TunnelView {
            state: TunnelState::Up,
            lease: LeaseId::new(1),
            inner_v4: Some(v4),
            inner_v6: Some(v6),
            presented_v4: Some(v4),
            presented_v6: Some(v6),
            limit: 1_400,
        }
    };
    let claim = |tunnel, prefix: &str| Claim {
        tunnel,
        prefix: prefix.parse::<IpNet>().expect("a prefix"),
        origin: ClaimOrigin::Assigned,
    };
    let [uk, fr] = TUNNELS;
    PolicyInput {
        rules: Vec::new(),
        claims: vec![
            claim(uk, "10.8.0.0/24"),
            claim(uk, "fd00:8:0::/64"),
            claim(fr, "10.8.1.0/24"),
            claim(fr, "fd00:8:1::/64"),
        ],
        defaults: Defaults { v4: DefaultChoice::Tunnel(uk), v6: DefaultChoice::Tunnel(uk) },
        undecided_until: None,
        fallback: Fallback::Auto,
        sources: [(uk4, uk), (uk6, uk), (fr4, fr), (fr6, fr)].into_iter().collect::<Sources>(),
        own: OwnAddresses {
            anchor_v4: Ipv4Addr::new(198, 18, 0, 1),
            anchor_v6: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 1),
            engine_v4: Ipv4Addr::new(198, 18, 0, 254),
            engine_v6: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0xfe),
        },
        accept: Vec::new(),
        tunnels: inner().map(view).to_vec(),
    }
}
