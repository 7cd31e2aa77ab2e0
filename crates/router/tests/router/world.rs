//! A router with three tunnels: addresses 10.8.0.2, 10.9.0.2, 10.10.0.2, presented as they are, bound by 198.18.1.x,
//! claims 10.8.0.0/16 and so on; the second one is the default.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_router::{
    AppId, Attachment, Claim, ClaimOrigin, DefaultChoice, Defaults, DropReason, Fallback, FlowTuple, Inbound, LeaseId,
    Offload, Outbound, OwnAddresses, Policy, PolicyInput, Refusal, Router, Sources, TunnelId, TunnelState, TunnelView,
};

use crate::packets::{completed, v4};
use crate::six::{completed6, offload_six, policy_six, to_four, to_six};

pub(crate) const ANCHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const ENGINE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);
pub(crate) const LIMIT: u16 = 1400;

pub(crate) const UK: TunnelId = TunnelId::new(0);
pub(crate) const FR: TunnelId = TunnelId::new(1);
pub(crate) const US: TunnelId = TunnelId::new(2);

/// A router, its policy's input, and the time. With `six`, packets go in and come out over IPv6 and the policy is that of
/// [`policy_six`]; a test says and sees all of it in IPv4.
pub(crate) struct World {
    pub(crate) six: bool,
    pub(crate) router: Router,
    pub(crate) input: PolicyInput,
    pub(crate) now: Moment,
    /// What the platform knows of whose a flow is.
    pub(crate) app_of: fn(&FlowTuple) -> Option<AppId>,
    /// How often it was asked.
    pub(crate) asked: usize,
}

/// One of 64 programs, by the source port.
fn by_port(flow: &FlowTuple) -> Option<AppId> {
    Some(AppId { uid: u32::from(flow.source_port? % 64), cgroup: 0 })
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
        presented_v4: Some(inner(tunnel)),
        presented_v6: None,
        limit: LIMIT,
    };
    PolicyInput {
        rules: Vec::new(),
        claims: tunnels.map(claim).to_vec(),
        defaults: Defaults { v4: DefaultChoice::Tunnel(FR), v6: DefaultChoice::NotOffered },
        undecided_until: None,
        fallback: Fallback::Auto,
        sources: tunnels.iter().flat_map(|t| [(inner(*t).into(), *t), (bind(*t).into(), *t)]).collect::<Sources>(),
        own: OwnAddresses {
            anchor_v4: ANCHOR,
            anchor_v6: "2001:2:0:1::1".parse().unwrap(),
            engine_v4: ENGINE,
            engine_v6: "2001:2:0:1::fe".parse().unwrap(),
        },
        accept: Vec::new(),
        tunnels: tunnels.map(view).to_vec(),
    }
}

fn policy(six: bool, input: &PolicyInput) -> Arc<Policy> {
    Arc::new(Policy::new(if six { policy_six(input) } else { input.clone() }))
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// The same over IPv4 and over IPv6.
    pub(crate) fn both() -> [Self; 2] {
        [false, true].map(|six| Self::over(six, |_| ()))
    }

    /// A world whose policy is changed by `change` first.
    pub(crate) fn with(change: impl FnOnce(&mut PolicyInput)) -> Self {
        Self::over(false, change)
    }

    /// The same over IPv6 if `six`.
    pub(crate) fn over(six: bool, change: impl FnOnce(&mut PolicyInput)) -> Self {
        let mut input = input();
        change(&mut input);
        let router = Router::new([7; 32], policy(six, &input));
        Self { six, router, input, now: Moment::from_nanos(1_000_000_000_000), app_of: by_port, asked: 0 }
    }

    /// Sets another policy.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut PolicyInput)) {
        change(&mut self.input);
        self.router.set_policy(policy(self.six, &self.input), self.now);
    }

    pub(crate) fn set_state(&mut self, tunnel: TunnelId, state: TunnelState) {
        self.change(|input| input.tunnels[tunnel.index()].state = state);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(crate) fn outbound(&mut self, packet: &mut [u8]) -> Outbound {
        self.outbound_on(Attachment::Rules, packet, &Offload::NONE)
    }

    /// What comes out of a forwarded packet has its checksum completed.
    pub(crate) fn outbound_on(&mut self, attachment: Attachment, packet: &mut [u8], offload: &Offload) -> Outbound {
        if !self.six {
            let outcome = self.present(packet, offload, attachment);
            if matches!(outcome, Outbound::Forward { .. }) && *offload != Offload::NONE {
                packet.copy_from_slice(&completed(packet));
            }
            return outcome;
        }
        let mut six = to_six(packet);
        let offload = offload_six(&mut six, offload);
        let before = six.clone();
        let outcome = self.present(&mut six, &offload, attachment);
        if matches!(outcome, Outbound::Forward { .. }) {
            let whole = if offload == Offload::NONE { six } else { completed6(&six) };
            packet.copy_from_slice(&to_four(&whole));
        } else {
            assert_eq!(six, before, "what does not go on is unchanged");
        }
        outcome
    }

    /// Presents a packet, again after questions are answered.
    fn present(&mut self, packet: &mut [u8], offload: &Offload, attachment: Attachment) -> Outbound {
        let outcome = self.router.outbound(packet, offload, attachment, self.now);
        if outcome != Outbound::Ask {
            return outcome;
        }
        while let Some(question) = self.router.poll_question() {
            self.asked += 1;
            let app = (self.app_of)(&question.flow);
            self.router.answer(question, app);
        }
        let outcome = self.router.outbound(packet, offload, attachment, self.now);
        assert_ne!(outcome, Outbound::Ask, "the same is asked twice");
        outcome
    }

    /// The packet goes in and comes out as it is.
    pub(crate) fn outbound_on_as_it_is(&mut self, packet: &mut [u8], offload: &Offload) -> Outbound {
        self.router.outbound(packet, offload, Attachment::Rules, self.now)
    }

    pub(crate) fn inbound(&mut self, tunnel: TunnelId, packet: &mut [u8]) -> Inbound {
        if !self.six {
            return self.router.inbound(tunnel, packet, self.now);
        }
        let mut six = to_six(packet);
        let outcome = self.router.inbound(tunnel, &mut six, self.now);
        if matches!(outcome, Inbound::Forward { .. }) {
            packet.copy_from_slice(&to_four(&six));
        }
        outcome
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

    /// Sends a later fragment whose first has not come.
    pub(crate) fn waits(&mut self, packet: &[u8]) {
        let mut same = packet.to_vec();
        assert_eq!(self.outbound(&mut same), Outbound::Wait);
        assert_eq!(same, packet);
    }

    /// Passes time after which so many fragments have waited in vain.
    pub(crate) fn vain(&mut self, count: u64, tunnel: Option<TunnelId>) {
        let of = |world: &Self| match tunnel {
            Some(tunnel) => world.router.drops().of_tunnel(tunnel, DropReason::Fragment),
            None => world.router.drops().total(DropReason::Fragment),
        };
        let before = of(self);
        self.pass(mrvpn_router::limits::FRAGMENTED_LIFE);
        assert!(self.router.poll_timeout().is_some_and(|due| due <= self.now));
        self.router.handle_timeout(self.now);
        assert_eq!(of(self), before + count);
    }

    /// Takes a packet that must not arrive, for `reason`, counted once for its tunnel.
    pub(crate) fn unwanted(&mut self, tunnel: TunnelId, packet: &[u8], reason: DropReason) {
        let before = self.router.drops().of_tunnel(tunnel, reason);
        assert_eq!(self.inbound(tunnel, &mut packet.to_vec()), Inbound::Drop(reason));
        assert_eq!(self.router.drops().of_tunnel(tunnel, reason), before + 1);
    }

    /// The resets that tell connections of their end, as they are written to the interface.
    pub(crate) fn resets(&mut self) -> Vec<Vec<u8>> {
        let mut into = [0xaa; mrvpn_router::limits::REFUSAL_BUFFER];
        std::iter::from_fn(|| self.router.poll_refusal(&mut into).map(|length| into[..length].to_vec())).collect()
    }

    /// The answer to a refused packet.
    pub(crate) fn answer(&mut self, packet: &[u8], refusal: Refusal) -> Option<Vec<u8>> {
        let mut into = vec![0xaa; mrvpn_router::limits::REFUSAL_BUFFER];
        assert!(!self.six, "answers are read as they are");
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
