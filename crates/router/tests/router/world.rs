//! A router with three tunnels: addresses 10.8.0.2, 10.9.0.2, 10.10.0.2, presented as they are, bound by 198.18.1.x,
//! claims 10.8.0.0/16 and so on; the second one is the default.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_router::{
    Attachment, Claim, ClaimOrigin, DefaultChoice, Defaults, DropReason, Fallback, Inbound, LeaseId, Offload, Outbound,
    OwnAddresses, Policy, PolicyInput, Refusal, Router, Sources, TunnelId, TunnelState, TunnelView,
};

use crate::packets::v4;

pub(crate) const ANCHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const ENGINE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);
pub(crate) const LIMIT: u16 = 1400;

pub(crate) const UK: TunnelId = TunnelId::new(0);
pub(crate) const FR: TunnelId = TunnelId::new(1);
pub(crate) const US: TunnelId = TunnelId::new(2);

/// A router, its policy's input, and the time.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) input: PolicyInput,
    pub(crate) now: Moment,
}

pub(crate) fn inner(tunnel: TunnelId) -> Ipv4Addr {
    Ipv4Addr::new(10, 8 + tunnel.number() as u8, 0, 2)
}

pub(crate) fn bind(tunnel: TunnelId) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 1, 1 + tunnel.number() as u8)
}

pub(crate) fn input() -> PolicyInput {
    let tunnels = [UK, FR, US];
    let claim = |tunnel: TunnelId| Claim {
        tunnel,
        prefix: format!("10.{}.0.0/16", 8 + tunnel.number()).parse().unwrap(),
        origin: ClaimOrigin::Assigned,
    };
    let view = |tunnel: TunnelId| TunnelView {
        state: TunnelState::Up,
        lease: LeaseId::new(1 + u32::from(tunnel.number())),
        inner_v4: Some(inner(tunnel)),
        inner_v6: None,
        limit: LIMIT,
    };
    PolicyInput {
        rules: Vec::new(),
        claims: tunnels.map(claim).to_vec(),
        defaults: Defaults { v4: DefaultChoice::Tunnel(FR), v6: DefaultChoice::NotOffered },
        undecided_until: None,
        fallback: Fallback::Auto,
        sources: tunnels.iter().flat_map(|t| [(inner(*t).into(), *t), (bind(*t).into(), *t)]).collect::<Sources>(),
        own: OwnAddresses { anchor_v4: ANCHOR, engine_v4: ENGINE, engine_v6: "2001:2:0:1::fe".parse().unwrap() },
        tunnels: tunnels.map(view).to_vec(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A world whose policy is changed by `change` first.
    pub(crate) fn with(change: impl FnOnce(&mut PolicyInput)) -> Self {
        let mut input = input();
        change(&mut input);
        let router = Router::new([7; 32], Arc::new(Policy::new(input.clone())));
        Self { router, input, now: Moment::from_nanos(1_000_000_000_000) }
    }

    /// Sets another policy.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut PolicyInput)) {
        change(&mut self.input);
        self.router.set_policy(Arc::new(Policy::new(self.input.clone())));
    }

    pub(crate) fn set_state(&mut self, tunnel: TunnelId, state: TunnelState) {
        self.change(|input| input.tunnels[tunnel.index()].state = state);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(crate) fn outbound(&mut self, packet: &mut [u8]) -> Outbound {
        self.router.outbound(packet, &Offload::NONE, Attachment::Rules, self.now)
    }

    pub(crate) fn inbound(&mut self, tunnel: TunnelId, packet: &mut [u8]) -> Inbound {
        self.router.inbound(tunnel, packet, self.now)
    }

    /// Sends a packet that must be forwarded through `tunnel`, and returns it translated.
    pub(crate) fn send(&mut self, tunnel: TunnelId, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        assert_eq!(self.outbound(&mut packet), Outbound::Forward { tunnel, limit: LIMIT });
        packet
    }

    /// Takes a packet that must arrive, and returns it translated.
    pub(crate) fn receive(&mut self, tunnel: TunnelId, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        assert_eq!(self.inbound(tunnel, &mut packet), Inbound::Forward { attachment: Attachment::Rules });
        packet
    }

    /// Sends a packet that must be refused for `reason`, unchanged and counted once.
    pub(crate) fn refused(&mut self, tunnel: Option<TunnelId>, packet: &[u8], reason: DropReason) -> Refusal {
        let before = self.router.drops().total(reason);
        let mut same = packet.to_vec();
        let outcome = self.outbound(&mut same);
        let Outbound::Refuse { tunnel: whose, refusal } = outcome else { panic!("{outcome:?}") };
        assert_eq!((whose, refusal.reason()), (tunnel, reason));
        assert_eq!(same, packet);
        assert_eq!(self.router.drops().total(reason), before + 1);
        refusal
    }

    /// Sends a packet that must be dropped for `reason`, unchanged and counted once.
    pub(crate) fn dropped(&mut self, packet: &[u8], reason: DropReason) {
        let before = self.router.drops().total(reason);
        let mut same = packet.to_vec();
        assert_eq!(self.outbound(&mut same), Outbound::Drop(reason));
        assert_eq!(same, packet);
        assert_eq!(self.router.drops().total(reason), before + 1);
    }

    /// Takes a packet that must not arrive, for `reason`, counted once for its tunnel.
    pub(crate) fn unwanted(&mut self, tunnel: TunnelId, packet: &[u8], reason: DropReason) {
        let before = self.router.drops().of_tunnel(tunnel, reason);
        assert_eq!(self.inbound(tunnel, &mut packet.to_vec()), Inbound::Drop(reason));
        assert_eq!(self.router.drops().of_tunnel(tunnel, reason), before + 1);
    }

    /// The answer to a refused packet.
    pub(crate) fn answer(&mut self, packet: &[u8], refusal: Refusal) -> Option<Vec<u8>> {
        let mut into = vec![0xaa; mrvpn_router::limits::REFUSAL_BUFFER];
        let length = self.router.refuse(packet, refusal, self.now, &mut into)?;
        into.truncate(length);
        Some(into)
    }
}

/// An end on the anchor.
pub(crate) fn app(port: u16) -> (Ipv4Addr, u16) {
    (ANCHOR, port)
}

/// An end behind the default tunnel.
pub(crate) fn web() -> (Ipv4Addr, u16) {
    (v4("203.0.113.80"), 443)
}
