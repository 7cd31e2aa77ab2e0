//! Random rules, claims, states, leases and packets against a plain model: which tunnel a flow belongs to is kept in a
//! list and picked by reading the order of the design aloud.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mrvpn_router::{
    Attachment, Claim, ClaimOrigin, DefaultChoice, DropReason, Inbound, LeaseId, Offload, Outbound, PolicyInput,
    PortRange, Rule, Target, TunnelId, TunnelState,
};
use proptest::prelude::*;

use crate::packets::*;
use crate::six::to_four;
use crate::world::*;

const TUNNELS: [TunnelId; 3] = [UK, FR, US];

#[derive(Clone, Debug)]
enum Step {
    Send {
        kind: u8,
        source: usize,
        port: u16,
        to: Ipv4Addr,
        flags: u8,
        attachment: Attachment,
    },
    /// The remote end answers the last packet that went out, through some tunnel.
    Answer {
        through: TunnelId,
    },
    State {
        tunnel: TunnelId,
        state: u8,
    },
    Lease {
        tunnel: TunnelId,
        last: u8,
    },
    Rules(Vec<Rule>),
    Claims(Vec<Claim>),
    /// The user stops a tunnel, so that it lets its claims go.
    Stop(TunnelId),
    Default(DefaultChoice),
    Pass(u64),
}

fn any_tunnel() -> impl Strategy<Value = TunnelId> {
    prop::sample::select(TUNNELS.to_vec())
}

/// A handful of hosts, so that prefixes and flows meet.
fn any_host() -> impl Strategy<Value = Ipv4Addr> {
    (prop::sample::select(vec![20_u8, 20, 60]), 0_u8..3, 1_u8..4).prop_map(|(a, b, d)| Ipv4Addr::new(a, b, 0, d))
}

fn any_prefix() -> impl Strategy<Value = ipnet::IpNet> {
    (any_host(), prop::sample::select(vec![0_u8, 6, 8, 14, 16, 30, 32]))
        .prop_map(|(host, bits)| ipnet::IpNet::new(host.into(), bits).unwrap())
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let targets = prop_oneof![
        4 => any_tunnel().prop_map(Target::Tunnel),
        1 => Just(Target::Direct),
        1 => Just(Target::Block),
    ];
    let from = prop::sample::select(vec![vec![], vec![], vec![format!("{ANCHOR}/32").parse().unwrap()]]);
    let proto = prop::sample::select(vec![vec![], vec![], vec![TCP], vec![UDP, ICMP]]);
    let port = prop::sample::select(vec![vec![], vec![], vec![PortRange { first: 80, last: 90 }]]);
    (prop::collection::vec(any_prefix(), 0..3), from, proto, port, targets)
        .prop_map(|(to, from, proto, port, via)| Rule { name: None, to, from, proto, port, via })
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(any_rule(), 0..4)
}

fn any_claims() -> impl Strategy<Value = Vec<Claim>> {
    let claim =
        (any_tunnel(), any_prefix()).prop_map(|(tunnel, prefix)| Claim { tunnel, prefix, origin: ClaimOrigin::Pushed });
    prop::collection::vec(claim, 0..8)
}

fn any_default() -> impl Strategy<Value = DefaultChoice> {
    prop_oneof![
        Just(DefaultChoice::NotOffered),
        Just(DefaultChoice::Undecided),
        any_tunnel().prop_map(DefaultChoice::Tunnel),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let flags = prop::sample::select(vec![SYN, SYN, SYN, ACK, ACK]);
    let attachment = prop_oneof![
        6 => Just(Attachment::Rules),
        1 => any_tunnel().prop_map(Attachment::Prefer),
        1 => any_tunnel().prop_map(Attachment::Only),
    ];
    let send = (0_u8..4, 0_usize..8, 80_u16..83, any_host(), flags, attachment).prop_map(
        |(kind, source, port, to, flags, attachment)| Step::Send { kind, source, port, to, flags, attachment },
    );
    prop_oneof![
        12 => send,
        4 => any_tunnel().prop_map(|through| Step::Answer { through }),
        2 => (any_tunnel(), 0_u8..4).prop_map(|(tunnel, state)| Step::State { tunnel, state }),
        1 => (any_tunnel(), 2_u8..5).prop_map(|(tunnel, last)| Step::Lease { tunnel, last }),
        1 => any_rules().prop_map(Step::Rules),
        1 => any_claims().prop_map(Step::Claims),
        1 => any_tunnel().prop_map(Step::Stop),
        1 => any_default().prop_map(Step::Default),
        1 => (1_u64..500).prop_map(Step::Pass),
    ]
}

/// Protocol, app's end, remote end, attachment.
type Tuple = (u8, End, End, Attachment);

/// Tunnel, lease, protocol, remote end, port as the server sees it.
type Mapping = (TunnelId, LeaseId, u8, End, u16);

/// What is known of a flow.
#[derive(Clone, Copy)]
struct Life {
    tunnel: TunnelId,
    lease: LeaseId,
    /// Its connection has ended.
    ended: bool,
    /// The user has taken it back.
    withdrawn: bool,
}

struct Model {
    world: World,
    leases: u32,
    flows: Vec<(Tuple, Life)>,
    /// Connections whose SYN nobody has acknowledged: all segments of a connection are the same bytes of its stream.
    unacknowledged: HashSet<Tuple>,
    /// Whose answers are whose.
    mappings: BTreeMap<Mapping, Tuple>,
    /// The last packet that went out.
    last: Option<Vec<u8>>,
}

impl Model {
    fn new(six: bool, rules: Vec<Rule>, claims: Vec<Claim>, default: DefaultChoice) -> Self {
        let world = World::over(six, |input| {
            (input.rules, input.claims, input.defaults.v4) = (rules, claims, default);
        });
        Self {
            world,
            leases: 100,
            flows: Vec::new(),
            unacknowledged: HashSet::new(),
            mappings: BTreeMap::new(),
            last: None,
        }
    }

    fn step(&mut self, step: Step) {
        let before = self.world.input.clone();
        match step {
            Step::Send { kind, source, port, to, flags, attachment } => {
                let sources = [ANCHOR, ANCHOR, bind(UK), bind(FR), bind(US), inner(UK), inner(FR), v4("192.168.1.9")];
                let (from, to) = ((sources[source], 5000 + port), (to, port));
                let packet = match kind {
                    0 | 1 => tcp(from, to, flags, &[], b"payload"),
                    2 => udp(from, to, b"payload"),
                    _ => echo(8, from.0, to.0, from.1, b"payload"),
                };
                self.send(&packet, attachment);
            }
            Step::Answer { through } => self.answer(through),
            Step::State { tunnel, state } => {
                let until = self.world.now + Duration::from_secs(1);
                let state = match state {
                    0 => TunnelState::Down,
                    1 => TunnelState::Hold(until),
                    _ => TunnelState::Up,
                };
                self.world.set_state(tunnel, state);
            }
            Step::Lease { tunnel, last } => {
                self.leases += 1;
                let lease = LeaseId::new(self.leases);
                // Addresses may be equal across tunnels and come again.
                self.world.change(|input| {
                    input.tunnels[tunnel.index()].lease = lease;
                    input.tunnels[tunnel.index()].inner_v4 = Some(Ipv4Addr::new(10, 8, 0, last));
                });
            }
            Step::Rules(rules) => self.world.change(|input| input.rules = rules),
            Step::Claims(claims) => self.world.change(|input| input.claims = claims),
            Step::Stop(tunnel) => self.world.change(|input| {
                input.tunnels[tunnel.index()].state = TunnelState::Down;
                input.claims.retain(|claim| claim.tunnel != tunnel);
                if input.defaults.v4 == DefaultChoice::Tunnel(tunnel) {
                    input.defaults.v4 = DefaultChoice::NotOffered;
                }
            }),
            Step::Default(default) => self.world.change(|input| input.defaults.v4 = default),
            Step::Pass(ms) => {
                self.world.pass(Duration::from_millis(ms));
                self.world.router.handle_timeout(self.world.now);
            }
        }
        self.withdraw(&before);
        self.told();
    }

    /// Flows that the user has taken back since `before`: by rules, or by stopping their tunnel.
    fn withdraw(&mut self, before: &PolicyInput) {
        let after = &self.world.input;
        let holds = |input: &PolicyInput, tunnel: TunnelId| {
            input.defaults.v4 == DefaultChoice::Tunnel(tunnel)
                || input.claims.iter().any(|claim| claim.tunnel == tunnel)
        };
        for (tuple, life) in &mut self.flows {
            let stopped = after.tunnels[life.tunnel.index()].state == TunnelState::Down
                && holds(before, life.tunnel)
                && !holds(after, life.tunnel);
            let (old, new) = (picked(before, tuple), picked(after, tuple));
            let ruled = before.rules != after.rules && (old.1 || new.1);
            life.withdrawn |= new.0 != Ok(life.tunnel) && (stopped || ruled);
        }
    }

    /// Resets come for the connections that have ended and for no others, each once.
    fn told(&mut self) {
        let end_of =
            |packet: &[u8]| ((destination(packet), destination_port(packet)), (source(packet), source_port(packet)));
        let resets = self.world.resets();
        let four = |reset: &Vec<u8>| if self.world.six { to_four(reset) } else { reset.clone() };
        let mut told: Vec<_> = resets.iter().map(four).map(|reset| end_of(&reset)).collect();
        let input = &self.world.input;
        let is_over = |(tuple, life): &(Tuple, Life)| {
            let view = input.tunnels[life.tunnel.index()];
            let away = match view.state {
                TunnelState::Up => false,
                TunnelState::Hold(until) => until <= self.world.now,
                TunnelState::Down => true,
            };
            let waits_in_vain = away && self.unacknowledged.contains(tuple);
            tuple.0 == TCP && (life.withdrawn || view.lease != life.lease || waits_in_vain)
        };
        let (over, stay): (Vec<_>, Vec<_>) = self.flows.iter().partition::<Vec<(Tuple, Life)>, _>(|flow| is_over(flow));
        let untold = over.iter().filter(|flow| !flow.1.ended);
        let mut expected: Vec<_> = untold.map(|(tuple, _)| (tuple.1, tuple.2)).collect();
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected);
        self.flows = stay;
    }

    fn send(&mut self, packet: &[u8], attachment: Attachment) {
        let drops = self.drops();
        let tuple = tuple(packet, attachment);
        let mut sent = packet.to_vec();
        let outcome = self.world.outbound_on(attachment, &mut sent, &Offload::NONE);
        let opens = packet[9] != TCP || packet[33] == SYN;
        let may_reopen = packet[9] == TCP && opens;
        let known = self.flow(&tuple);
        let input = &self.world.input;
        let lease_of = |tunnel: TunnelId| input.tunnels[tunnel.index()].lease;
        let live =
            known.filter(|life| lease_of(life.tunnel) == life.lease && !life.withdrawn && !(life.ended && may_reopen));
        let picked = picked(input, &tuple).0;
        let expected = live.map(|life| life.tunnel).or_else(|| picked.ok());
        match outcome {
            Outbound::Forward { tunnel, .. } => {
                let view = input.tunnels[tunnel.index()];
                assert_eq!(Some(tunnel), expected, "I-2: the flow's tunnel, or the picked one");
                assert_eq!(view.state, TunnelState::Up);
                assert_eq!(Some(source(&sent)), view.inner_v4, "I-3: the tunnel's address now");
                assert!(live.is_some() || opens);
                assert!(is_right(&sent));
                assert_eq!(self.drops(), drops);
                let ended = live.is_some_and(|life| life.ended);
                self.set_flow(tuple, Some(Life { tunnel, lease: view.lease, ended, withdrawn: false }));
                if packet[9] == TCP && packet[33] == SYN {
                    self.unacknowledged.insert(tuple);
                }
                self.mappings.retain(|_, old| *old != tuple);
                self.mappings.insert((tunnel, view.lease, tuple.0, tuple.2, source_port(&sent)), tuple);
                self.last = Some(sent);
            }
            Outbound::Hold { tunnel, .. } => {
                assert_eq!(tunnel, expected);
                assert_eq!((sent.as_slice(), self.drops()), (packet, drops));
            }
            Outbound::Refuse { tunnel, refusal } => {
                assert_eq!((sent.as_slice(), self.drops()), (packet, drops + 1));
                let reason = refusal.reason();
                let over = matches!(reason, DropReason::LeaseEnded | DropReason::Withdrawn);
                let whose = if over { known.map(|life| life.tunnel) } else { expected };
                assert_eq!(tunnel, whose, "{reason:?}");
                let picked = picked.err().filter(|_| live.is_none() && !over);
                assert!(picked.is_none_or(|picked| reasons(picked).contains(&reason)), "{picked:?} {reason:?}");
                assert!(!over || live.is_none());
                match live {
                    _ if over => self.set_flow(tuple, None),
                    Some(life) if packet[9] == TCP && reason == DropReason::TunnelDown => {
                        self.set_flow(tuple, Some(Life { ended: true, ..life }));
                    }
                    _ => {}
                }
            }
            Outbound::Drop(reason) => panic!("these packets are answered: {reason:?}"),
            Outbound::Wait => panic!("these packets are whole"),
            Outbound::Ask => panic!("these flows are few"),
        }
    }

    fn answer(&mut self, through: TunnelId) {
        let Some(sent) = self.last.clone() else { return };
        let drops = self.drops();
        let mut answer = swapped(&sent);
        if sent[9] == TCP {
            answer[33] = if sent[33] == SYN { SYN | ACK } else { ACK };
            seal(&mut answer);
        }
        let view = self.world.input.tunnels[through.index()];
        let remote = (destination(&sent), if sent[9] == ICMP { 0 } else { destination_port(&sent) });
        let mapping = self.mappings.get(&(through, view.lease, sent[9], remote, source_port(&sent)));
        let asked = mapping.copied().filter(|tuple| {
            let life = self.flow(tuple).filter(|life| (life.tunnel, life.lease) == (through, view.lease));
            life.is_some_and(|life| !life.withdrawn) && view.inner_v4 == Some(source(&sent))
        });
        match self.world.inbound(through, &mut answer) {
            Inbound::Forward { attachment } => {
                let asked = asked.expect("I-4: only what a flow of this tunnel in this lease asked for arrives");
                assert_eq!(
                    (attachment, destination(&answer), destination_port(&answer)),
                    (asked.3, asked.1.0, asked.1.1)
                );
                assert!(is_right(&answer));
                assert_eq!(self.drops(), drops);
                self.unacknowledged.remove(&asked);
            }
            Inbound::Wait => panic!("these packets are whole"),
            Inbound::Drop(_) => {
                assert_eq!(asked, None);
                assert_eq!(self.drops(), drops + 1);
            }
        }
    }

    fn flow(&self, tuple: &Tuple) -> Option<Life> {
        self.flows.iter().find(|flow| flow.0 == *tuple).map(|flow| flow.1)
    }

    fn set_flow(&mut self, tuple: Tuple, flow: Option<Life>) {
        self.flows.retain(|old| old.0 != tuple);
        self.flows.extend(flow.map(|flow| (tuple, flow)));
    }

    fn drops(&self) -> u64 {
        self.world.router.drops().reasons().map(|(_, count)| count).sum()
    }
}

fn tuple(packet: &[u8], attachment: Attachment) -> Tuple {
    let remote = if packet[9] == ICMP { 0 } else { destination_port(packet) };
    (packet[9], (source(packet), source_port(packet)), (destination(packet), remote), attachment)
}

/// The order of the design, read aloud; and whether a rule decided.
fn picked(input: &PolicyInput, flow: &Tuple) -> (Result<TunnelId, &'static str>, bool) {
    let &(protocol, from, to, attachment) = flow;
    let (source, destination) = (IpAddr::from(from.0), IpAddr::from(to.0));
    for rule in &input.rules {
        let port = protocol != ICMP && rule.port.iter().any(|port| (port.first..=port.last).contains(&to.1));
        let matches = (rule.to.is_empty() || rule.to.iter().any(|net| net.contains(&destination)))
            && (rule.from.is_empty() || rule.from.iter().any(|net| net.contains(&source)))
            && (rule.proto.is_empty() || rule.proto.contains(&protocol))
            && (rule.port.is_empty() || port);
        if matches {
            return match (rule.via, attachment) {
                (Target::Block, _) => (Err("block"), true),
                (_, Attachment::Only(tunnel)) => (Ok(tunnel), false),
                (Target::Tunnel(tunnel), _) => (Ok(tunnel), true),
                (Target::Direct, _) => (Err("direct"), true),
            };
        }
    }
    if let Some(tunnel) = attachment.tunnel() {
        return (Ok(tunnel), false);
    }
    if let Some(tunnel) = input.sources.get(&source) {
        return (Ok(*tunnel), false);
    }
    let mut best: Option<Claim> = None;
    for claim in input.claims.iter().filter(|claim| claim.prefix.contains(&destination)) {
        let longer = best.is_none_or(|best| claim.prefix.prefix_len() > best.prefix.prefix_len());
        best = if longer { Some(*claim) } else { best };
    }
    let picked = match (best, input.defaults.v4) {
        (Some(claim), _) => Ok(claim.tunnel),
        (None, DefaultChoice::Tunnel(tunnel)) => Ok(tunnel),
        (None, DefaultChoice::Undecided) => Err("undecided"),
        (None, DefaultChoice::NotOffered) => Err("nobody"),
    };
    (picked, false)
}

/// Reasons that fit when no tunnel was picked.
fn reasons(picked: &str) -> Vec<DropReason> {
    let own = match picked {
        "block" => return vec![DropReason::Blocked],
        "direct" => DropReason::BoundDirect,
        "nobody" => DropReason::Unclaimed,
        _ => DropReason::TunnelDown,
    };
    vec![own, DropReason::OlderThanClaim, DropReason::NotSyn]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // proves: I-2, I-3, I-4, T-70, T-72, T-73, T-80
    #[test]
    fn no_flow_of_one_tunnel_is_ever_given_to_another_and_every_packet_has_an_outcome(
        rules in any_rules(), claims in any_claims(), default in any_default(),
        steps in prop::collection::vec(any_step(), 1..120), six in any::<bool>(),
    ) {
        let mut model = Model::new(six, rules, claims, default);
        for step in steps {
            model.step(step);
        }
    }

    // proves: T-44
    #[test]
    fn any_bytes_have_an_outcome_and_stop_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..120), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kind in 0_usize..6, cut in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new();
        let sent = world.send(FR, &udp(app(53), web(), b"question"));
        let mut packet = match kind {
            0 => bytes,
            1 => tcp(app(1), web(), SYN, &[2, 4, 5, 180, 1, 1, 1, 0], &bytes),
            2 => udp(app(53), web(), &bytes),
            3 => icmp_error(v4("10.64.0.1"), inner(FR), [3, 4], 60, &sent),
            4 => swapped(&sent),
            _ => echo(8, ANCHOR, web().0, 1, &bytes),
        };
        for (at, value) in flips {
            if !packet.is_empty() {
                let at = at.index(packet.len());
                packet[at] = value;
            }
        }
        if kind == 0 && !packet.is_empty() {
            packet.truncate(cut.index(packet.len()));
        }
        let count = |world: &World| world.router.drops().reasons().map(|entry| entry.1).sum::<u64>();
        let before = count(&world);
        let mut out = packet.clone();
        let outcome = world.outbound(&mut out);
        let counted = matches!(outcome, Outbound::Refuse { .. } | Outbound::Drop(_));
        prop_assert_eq!(count(&world) - before, u64::from(counted));
        let forwarded = matches!(outcome, Outbound::Forward { .. });
        prop_assert!(forwarded || out == packet);
        if let Outbound::Refuse { refusal, .. } = outcome {
            world.answer(&packet, refusal);
        }
        let before = count(&world);
        let outcome = world.inbound(FR, &mut packet);
        prop_assert_eq!(count(&world) - before, u64::from(matches!(outcome, Inbound::Drop(_))));
    }
}
