//! Each outcome and reason, by the packet that causes it.

use std::time::Duration;

use mrvpn_router::{
    Accept, Attachment, Claim, ClaimOrigin, DefaultChoice, DropReason, Inbound, LeaseId, Offload, Outbound, PortRange,
    Refusal, Rule, Target, TunnelId, TunnelState, TunnelView, limits,
};

use crate::packets::*;
use crate::world::*;

fn rule(to: &str, via: Target) -> Rule {
    Rule { name: None, to: vec![to.parse().unwrap()], from: vec![], proto: vec![], port: vec![], via }
}

fn claim(tunnel: TunnelId, prefix: &str) -> Claim {
    Claim { tunnel, prefix: prefix.parse().unwrap(), origin: ClaimOrigin::Pushed }
}

fn established(world: &mut World, port: u16) {
    world.send(FR, &tcp(app(port), web(), SYN, &[], b""));
    world.receive(FR, &tcp(web(), (inner(FR), port), SYN | ACK, &[], b""));
    world.send(FR, &tcp(app(port), web(), ACK, &[], b""));
}

// proves: I-3
#[test]
fn each_way_to_a_tunnel_leads_there_with_its_address() {
    let mut world = World::with(|input| input.rules.push(rule("192.0.2.0/24", Target::Tunnel(US))));
    let packet = |from, to: &str| udp((from, 1000), end(to), b"");
    for (tunnel, packet) in [
        (US, packet(ANCHOR, "192.0.2.1:53")),
        (US, packet(bind(UK), "192.0.2.2:53")),
        (UK, packet(bind(UK), "10.10.0.1:53")),
        (UK, packet(inner(UK), "10.10.0.1:53")),
        (US, packet(ANCHOR, "10.10.0.1:53")),
        (FR, packet(ANCHOR, "203.0.113.1:53")),
    ] {
        assert_eq!(source(&world.send(tunnel, &packet)), inner(tunnel));
    }
}

// proves: T-79
#[test]
fn broadcast_multicast_and_dhcp_enter_no_tunnel() {
    // Even a rule that covers them does not let them in.
    let mut world = World::with(|input| input.rules.push(rule("0.0.0.0/0", Target::Tunnel(UK))));
    for to in ["224.0.0.251:5353", "224.0.0.252:5355", "239.255.255.250:1900", "255.255.255.255:67", "10.9.255.255:137"]
    {
        world.dropped(&udp(app(137), end(to), b""), DropReason::Multicast);
    }
    world.dropped(&udp(app(68), end("192.168.1.1:67"), b""), DropReason::Multicast);
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn what_is_no_packet_is_malformed() {
    let mut world = World::new();
    world.dropped(&[], DropReason::Malformed);
    world.dropped(&[0x50; 40], DropReason::Malformed);
    let good = udp(app(1), web(), b"x");
    world.dropped(&good[..good.len() - 1], DropReason::Malformed);
    let mut long = good.clone();
    set(&mut long, 24, 10);
    world.dropped(&long, DropReason::Malformed);
    world.dropped(&ip(ANCHOR, web().0, TCP, &[], &[0; 19]), DropReason::Malformed);
    world.dropped(&[0x60; 39], DropReason::Malformed);
}

#[test]
fn a_rule_that_blocks_is_felt_on_every_attachment() {
    let mut world = World::with(|input| input.rules.push(rule("203.0.113.0/24", Target::Block)));
    for attachment in [Attachment::Rules, Attachment::Prefer(FR), Attachment::Only(FR)] {
        let outcome = world.router.outbound(&mut udp(app(1), web(), b""), &Offload::NONE, attachment, world.now);
        let refusal = Refusal::Denied(DropReason::Blocked);
        assert_eq!(outcome, Outbound::Refuse { tunnel: None, refusal });
    }
}

#[test]
fn direct_and_unclaimed_flows_cannot_go_from_inside() {
    let mut world = World::with(|input| {
        input.rules.push(rule("192.0.2.0/24", Target::Direct));
        input.defaults.v4 = DefaultChoice::NotOffered;
    });
    world.refused(None, &udp((bind(UK), 1), end("192.0.2.1:53"), b""), DropReason::BoundDirect);
    world.refused(None, &udp(app(1), web(), b""), DropReason::Unclaimed);
    for own in [ANCHOR, ENGINE, bind(US), inner(US)] {
        world.refused(None, &udp((bind(UK), 1), (own, 53), b""), DropReason::Unclaimed);
    }
}

#[test]
fn rules_with_ports_look_at_the_destination_port() {
    let port = PortRange { first: 8000, last: 8010 };
    let mut world = World::with(|input| {
        input.rules.push(Rule { port: vec![port], to: vec![], ..rule("0.0.0.0/0", Target::Tunnel(UK)) });
    });
    for (port, tunnel) in [(7999, FR), (8000, UK), (8010, UK), (8011, FR)] {
        world.send(tunnel, &udp(app(8005), (web().0, port), b""));
    }
    world.send(FR, &echo(8, ANCHOR, web().0, 8005, b""));
}

#[test]
fn an_undecided_default_holds_until_its_moment_and_then_refuses() {
    let mut world = World::with(|input| input.defaults.v4 = DefaultChoice::Undecided);
    let packet = udp(app(1), web(), b"");
    world.refused(None, &packet, DropReason::TunnelDown);
    let until = world.now + Duration::from_secs(1);
    world.change(|input| input.undecided_until = Some(until));
    assert_eq!(world.outbound(&mut packet.clone()), Outbound::Hold { tunnel: None, until });
    world.send(UK, &udp(app(1), end("10.8.0.1:53"), b""));
    world.pass(Duration::from_secs(1));
    world.refused(None, &packet, DropReason::TunnelDown);
}

// proves: T-70, I-2
#[test]
fn a_flow_keeps_its_tunnel_while_that_is_held_or_down_and_when_claims_and_defaults_change() {
    World::both().into_iter().for_each(a_tunnel_that_comes_and_goes);
}

fn a_tunnel_that_comes_and_goes(mut world: World) {
    established(&mut world, 7000);
    let data = tcp(app(7000), web(), ACK, &[], b"data");
    let question = udp(app(7000), web(), b"question");
    world.send(FR, &question);
    world.change(|input| input.defaults.v4 = DefaultChoice::Tunnel(US));
    world.send(FR, &question);
    world.change(|input| input.claims.push(claim(UK, "203.0.113.0/24")));
    world.send(FR, &data);
    world.send(FR, &question);
    world.send(UK, &udp(app(7001), web(), b"new"));

    let until = world.now + Duration::from_secs(1);
    world.set_state(FR, TunnelState::Hold(until));
    let drops = world.router.drops().reasons().count();
    for packet in [&data, &question] {
        let mut same = packet.clone();
        assert_eq!(world.outbound(&mut same), Outbound::Hold { tunnel: Some(FR), until });
        assert_eq!(&same, packet);
    }
    assert_eq!(world.router.drops().reasons().count(), drops, "what is held is not counted");
    world.pass(Duration::from_secs(1));
    world.refused(Some(FR), &data, DropReason::TunnelDown);
    world.set_state(FR, TunnelState::Down);
    world.refused(Some(FR), &data, DropReason::TunnelDown);
    world.refused(Some(FR), &question, DropReason::TunnelDown);
    world.set_state(FR, TunnelState::Up);
    world.send(FR, &question);
    world.send(FR, &data);
}

// proves: T-70
#[test]
fn a_new_flow_of_a_tunnel_that_is_not_up_is_held_or_refused_and_leaves_no_trace() {
    World::both().into_iter().for_each(a_tunnel_that_is_down);
}

fn a_tunnel_that_is_down(mut world: World) {
    world.set_state(FR, TunnelState::Down);
    world.refused(Some(FR), &udp(app(1), web(), b""), DropReason::TunnelDown);
    world.refused(Some(FR), &tcp(app(1), web(), SYN, &[], b""), DropReason::TunnelDown);
    assert_eq!(world.router.flows(), 0);
    world.set_state(FR, TunnelState::Up);
    world.change(|input| input.tunnels[FR.index()].inner_v4 = None);
    world.refused(Some(FR), &udp(app(1), web(), b""), DropReason::NoAddress);
}

// proves: T-70
#[test]
fn a_number_that_is_no_tunnels_carries_nothing_and_takes_nothing() {
    World::both().into_iter().for_each(a_tunnel_that_is_not);
}

fn a_tunnel_that_is_not(mut world: World) {
    established(&mut world, 7000);
    let asked = world.send(FR, &udp(app(7000), web(), b"question"));
    let entry = Accept { tunnel: FR, protocol: UDP, ports: PortRange { first: 1, last: u16::MAX } };
    for listed in [true, false] {
        world.change(|input| {
            input.tunnels[FR.index()] = TunnelView::ABSENT;
            input.sources.retain(|_, tunnel| *tunnel != FR);
            input.accept = vec![entry];
            input.rules = vec![rule("192.0.2.0/24", Target::Tunnel(FR))];
            if !listed {
                input.tunnels.truncate(FR.index());
            }
        });
        assert_eq!(world.resets().len(), usize::from(listed), "its connections are told");
        if listed {
            world.refused(Some(FR), &udp(app(7000), web(), b"question"), DropReason::LeaseEnded);
        }
        for to in ["192.0.2.1:53", "10.9.0.1:53", "203.0.113.80:443"] {
            world.refused(Some(FR), &udp(app(1), end(to), b""), DropReason::TunnelDown);
            world.refused(Some(FR), &tcp(app(1), end(to), SYN, &[], b""), DropReason::TunnelDown);
        }
        for attachment in [Attachment::Prefer(FR), Attachment::Only(FR)] {
            let outcome = world.outbound_on(attachment, &mut udp(app(1), web(), b""), &Offload::NONE);
            let refusal = Refusal::Denied(DropReason::TunnelDown);
            assert_eq!(outcome, Outbound::Refuse { tunnel: Some(FR), refusal });
        }
        for answer in [swapped(&asked), udp(web(), (inner(FR), 1), b""), udp(web(), (v4("0.0.0.0"), 1), b"")] {
            assert_eq!(world.inbound(FR, &mut answer.clone()), Inbound::Drop(DropReason::NotOurAddress));
        }
        assert_eq!(world.router.flows(), 0);
    }
    world.send(UK, &udp(app(1), end("10.8.0.1:53"), b""));
}

#[test]
fn flows_of_an_ended_lease_are_refused_once_and_may_begin_anew() {
    let mut world = World::new();
    established(&mut world, 7000);
    world.send(FR, &udp(app(7000), web(), b"question"));
    world.send(FR, &tcp(app(7001), web(), SYN, &[], b""));
    let address = v4("10.9.0.77");
    world.change(|input| {
        input.tunnels[FR.index()].lease = LeaseId::new(9);
        input.tunnels[FR.index()].inner_v4 = Some(address);
    });

    let data = tcp(app(7000), web(), ACK, &[], b"data");
    let refusal = world.refused(Some(FR), &data, DropReason::LeaseEnded);
    assert_eq!(world.answer(&data, refusal).map(|answer| answer[33]), Some(RST));
    world.refused(Some(FR), &data, DropReason::NotSyn);
    world.refused(Some(FR), &udp(app(7000), web(), b"question"), DropReason::LeaseEnded);
    assert_eq!(source(&world.send(FR, &udp(app(7000), web(), b"question"))), address);
    // A SYN that comes again waits for no refusal.
    assert_eq!(source(&world.send(FR, &tcp(app(7001), web(), SYN, &[], b""))), address);
}

#[test]
fn a_flow_that_began_elsewhere_is_refused() {
    let mut world = World::new();
    let card = (v4("192.168.1.20"), 4000);
    world.refused(Some(FR), &tcp(card, web(), ACK, &[], b"data"), DropReason::OlderThanClaim);
    world.refused(Some(FR), &tcp(card, web(), SYN, &[], b""), DropReason::OlderThanClaim);
    world.refused(Some(UK), &udp(card, end("10.8.0.1:53"), b""), DropReason::OlderThanClaim);
    world.refused(Some(FR), &echo(8, card.0, web().0, 1, b""), DropReason::OlderThanClaim);
}

#[test]
fn tcp_without_syn_of_no_flow_is_refused() {
    let mut world = World::new();
    for flags in [ACK, FIN | ACK, RST, SYN | ACK, 0] {
        world.refused(Some(FR), &tcp(app(1), web(), flags, &[], b""), DropReason::NotSyn);
    }
}

#[test]
fn what_is_not_translated_is_refused_after_the_same_pick() {
    let mut world = World::with(|input| {
        input.rules.push(rule("192.0.2.0/24", Target::Block));
        input.rules.push(rule("198.51.100.0/24", Target::Direct));
    });
    let gre = |to: &str| ip(ANCHOR, v4(to), 47, &[], &[0; 20]);
    let timestamp = |to: &str| ip(ANCHOR, v4(to), ICMP, &[], &[13, 0, 0, 0, 0, 0, 0, 0]);
    world.refused(Some(FR), &timestamp("203.0.113.1"), DropReason::Protocol);
    world.refused(None, &timestamp("192.0.2.1"), DropReason::Blocked);
    world.refused(None, &gre("192.0.2.1"), DropReason::Blocked);
    world.refused(None, &gre("198.51.100.1"), DropReason::BoundDirect);
    world.dropped(&echo(0, ANCHOR, web().0, 1, b""), DropReason::NoFlow);
}

#[test]
fn what_is_too_big_is_refused_only_if_it_must_not_be_fragmented() {
    let mut world = World::new();
    let sized = |length: u16| udp(app(1), web(), &vec![0; usize::from(length) - 28]);
    for length in [LIMIT - 1, LIMIT] {
        world.send(FR, &unfragmentable(sized(length)));
    }
    let refusal = world.refused(Some(FR), &unfragmentable(sized(LIMIT + 1)), DropReason::TooBig);
    assert_eq!(refusal, Refusal::TooBig(LIMIT));
    world.send(FR, &sized(LIMIT + 1));
}

// proves: T-80, T-44
#[test]
fn a_packet_for_any_other_address_is_dropped() {
    let mut world = World::new();
    let sent = world.send(FR, &udp(app(53), web(), b"question"));
    let answer = swapped(&sent);
    for to in [inner(UK), bind(FR), ANCHOR, v4("192.168.1.1"), v4("10.9.0.3"), v4("224.0.0.1"), v4("127.0.0.1")] {
        let mut astray = answer.clone();
        astray[16..20].copy_from_slice(&to.octets());
        seal_header(&mut astray);
        seal(&mut astray);
        world.unwanted(FR, &astray, DropReason::NotOurAddress);
    }
    world.receive(FR, &answer);
}

// proves: T-45, I-4
#[test]
fn what_the_host_has_not_asked_for_does_not_arrive() {
    World::both().into_iter().for_each(a_scan);
}

fn a_scan(mut world: World) {
    let ours = |port| (inner(FR), port);
    for port in [1, 22, 80, 443, 1194, u16::MAX] {
        world.unwanted(FR, &tcp(web(), ours(port), SYN, &[], b""), DropReason::Unasked);
        world.unwanted(FR, &udp(web(), ours(port), b""), DropReason::Unasked);
        for flags in [SYN | ACK, ACK, FIN | ACK, RST] {
            world.unwanted(FR, &tcp(web(), ours(port), flags, &[], b""), DropReason::NoFlow);
        }
    }
    world.unwanted(FR, &echo(8, web().0, inner(FR), 1, b""), DropReason::Unasked);
    world.unwanted(FR, &echo(0, web().0, inner(FR), 1, b""), DropReason::NoFlow);
    world.unwanted(FR, &ip(web().0, inner(FR), 47, &[], &[0; 20]), DropReason::Unasked);
    if !world.six {
        world.unwanted(FR, &ip(web().0, inner(FR), ICMP, &[], &[13, 0, 0, 0, 0, 0, 0, 0]), DropReason::Protocol);
    }
}

// proves: I-4, T-72, T-73, T-81
#[test]
fn an_answer_arrives_only_from_its_tunnel_its_remote_and_its_ports() {
    // Both servers gave the same address, so that nothing but the tunnel differs.
    let equal = |six| World::over(six, |input| input.tunnels[US.index()].inner_v4 = Some(inner(FR)));
    [false, true].map(equal).into_iter().for_each(answers_astray);
}

fn answers_astray(mut world: World) {
    established(&mut world, 7000);
    let to = (inner(FR), 7000);
    let data = tcp(web(), to, ACK, &[], b"data");
    world.unwanted(US, &data, DropReason::NoFlow);
    world.unwanted(FR, &tcp((web().0, 444), to, ACK, &[], b"data"), DropReason::NoFlow);
    world.unwanted(FR, &tcp((v4("203.0.113.81"), 443), to, ACK, &[], b"data"), DropReason::NoFlow);
    world.unwanted(FR, &tcp(web(), (inner(FR), 7001), ACK, &[], b"data"), DropReason::NoFlow);
    world.unwanted(FR, &udp(web(), to, b"data"), DropReason::Unasked);
    assert_eq!(destination(&world.receive(FR, &data)), ANCHOR);
    world.change(|input| input.tunnels[FR.index()].lease = LeaseId::new(9));
    world.unwanted(FR, &data, DropReason::NoFlow);
}

// proves: T-44
#[test]
fn broken_packets_from_a_server_are_dropped() {
    let mut world = World::new();
    let answer = swapped(&world.send(FR, &udp(app(53), web(), b"question")));
    for (at, value) in [(8, 0), (10, answer[10] ^ 1)] {
        let mut broken = answer.clone();
        broken[at] = value;
        if at == 8 {
            seal_header(&mut broken);
        }
        world.unwanted(FR, &broken, DropReason::Malformed);
    }
    let routed = ip(web().0, inner(FR), UDP, &[131, 3, 4, 0], &answer[20..]);
    world.unwanted(FR, &routed, DropReason::Malformed);
    world.unwanted(FR, &[], DropReason::Malformed);
    let unknown = world.inbound(TunnelId::new(77), &mut answer.clone());
    assert_eq!(unknown, Inbound::Drop(DropReason::NotOurAddress));
    world.receive(FR, &answer);
}

#[test]
fn two_attachments_may_have_equal_flows() {
    let mut world = World::new();
    let packet = udp(app(53), web(), b"question");
    let mut sent = Vec::new();
    for attachment in [Attachment::Rules, Attachment::Prefer(FR), Attachment::Only(FR)] {
        let mut packet = packet.clone();
        let outcome = world.router.outbound(&mut packet, &Offload::NONE, attachment, world.now);
        assert_eq!(outcome, Outbound::Forward { tunnel: FR, limit: LIMIT });
        sent.push((attachment, packet));
    }
    for (attachment, packet) in sent {
        let outcome = world.inbound(FR, &mut swapped(&packet));
        assert_eq!(outcome, Inbound::Forward { attachment });
    }
}

#[test]
fn an_own_device_takes_the_tunnels_address_as_source() {
    let mut world = World::with(|input| {
        // Presented under its bind address alone.
        input.sources.remove(&inner(US).into());
    });
    let packet = udp((inner(US), 53), web(), b"question");
    world.refused(Some(FR), &packet, DropReason::OlderThanClaim);
    let outcome = world.router.outbound(&mut packet.clone(), &Offload::NONE, Attachment::Only(US), world.now);
    assert_eq!(outcome, Outbound::Forward { tunnel: US, limit: LIMIT });
}

#[test]
fn flows_end_by_their_time_and_no_earlier() {
    let grain = limits::GRAIN;
    let question = udp(app(53), web(), b"question");
    let cases: [(&[Vec<u8>], Duration); 3] = [
        (std::slice::from_ref(&question), limits::UDP_UNREPLIED),
        (&[echo(8, ANCHOR, web().0, 1, b"")], limits::ECHO),
        (&[tcp(app(1), web(), SYN, &[], b"")], limits::TCP_OPENING),
    ];
    for (packets, life) in cases {
        let mut world = World::new();
        let sent: Vec<_> = packets.iter().map(|packet| world.send(FR, packet)).collect();
        world.pass(life);
        world.router.handle_timeout(world.now);
        assert_eq!(world.router.flows(), 1);
        let due = world.router.poll_timeout();
        assert_eq!(due, Some(world.now + grain));
        world.pass(grain);
        // Nobody has called for the time-out yet, and still it is over.
        assert_ne!(world.inbound(FR, &mut swapped(&sent[0])), Inbound::Forward { attachment: Attachment::Rules });
        world.router.handle_timeout(world.now);
        assert_eq!((world.router.flows(), world.router.poll_timeout()), (0, None));
    }
}

#[test]
fn answers_and_data_prolong_a_flow() {
    let mut world = World::new();
    established(&mut world, 7000);
    let sent = world.send(FR, &udp(app(53), web(), b"question"));
    world.pass(Duration::from_secs(50));
    world.receive(FR, &swapped(&sent));
    world.pass(Duration::from_secs(170));
    world.receive(FR, &swapped(&sent));
    world.pass(Duration::from_secs(7_200));
    world.router.handle_timeout(world.now);
    assert_eq!(world.router.flows(), 1);
    world.send(FR, &tcp(app(7000), web(), ACK, &[], b"data"));
}

#[test]
fn every_packet_puts_off_the_end_of_its_flow() {
    let mut world = World::new();
    let ping = echo(8, ANCHOR, web().0, 1, b"ping");
    let sent = world.send(FR, &ping);
    world.pass(Duration::from_secs(20));
    world.send(FR, &ping);
    world.pass(Duration::from_secs(25));
    world.receive(FR, &swapped(&sent));
}

#[test]
fn a_connection_that_was_refused_ends_soon() {
    let mut world = World::new();
    established(&mut world, 7000);
    world.set_state(FR, TunnelState::Down);
    world.refused(Some(FR), &tcp(app(7000), web(), ACK, &[], b"data"), DropReason::TunnelDown);
    world.pass(limits::TCP_CLOSING + limits::GRAIN);
    world.router.handle_timeout(world.now);
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn a_syn_on_an_ended_connection_opens_another_one() {
    let mut world = World::new();
    established(&mut world, 7000);
    world.change(|input| input.claims.push(claim(UK, "203.0.113.0/24")));
    let syn = tcp(app(7000), web(), SYN, &[], b"");
    world.send(FR, &syn);
    world.receive(FR, &tcp(web(), (inner(FR), 7000), RST, &[], b""));
    world.send(UK, &syn);
}

#[test]
fn a_remote_to_which_every_port_is_taken_takes_no_other_app() {
    let mut world = World::new();
    for port in 0..=u16::MAX {
        world.send(FR, &tcp(app(port), web(), SYN, &[], b""));
    }
    world.refused(Some(FR), &tcp((bind(FR), 9), web(), SYN, &[], b""), DropReason::PortsUsed);
    world.send(FR, &tcp((bind(FR), 9), end("203.0.113.81:443"), SYN, &[], b""));
}

// proves: T-75
#[test]
fn a_full_table_gives_up_half_open_flows_and_no_established_one() {
    let mut world = World::new();
    let app_of = |number: usize| (if number.is_multiple_of(2) { ANCHOR } else { bind(FR) }, (number / 2) as u16);
    let open = |world: &mut World, number: usize| {
        let app = app_of(number);
        let sent = world.send(FR, &tcp(app, web_of(number), SYN, &[], b""));
        let port = source_port(&sent);
        world.receive(FR, &tcp(web_of(number), (inner(FR), port), SYN | ACK, &[], b""));
        world.send(FR, &tcp(app, web_of(number), ACK, &[], b""));
    };
    for number in 0..limits::FLOWS - 1 {
        open(&mut world, number);
    }
    assert_eq!(world.router.flows(), limits::FLOWS - 1);
    let half_open = |port| tcp(app(port), end("203.0.113.90:80"), SYN, &[], b"");
    world.send(FR, &half_open(1));
    assert_eq!(world.router.flows(), limits::FLOWS);
    world.send(FR, &half_open(2));
    assert_eq!(world.router.flows(), limits::FLOWS);
    // The one place is taken by an established flow now, and nothing is given up for another.
    world.receive(FR, &tcp(end("203.0.113.90:80"), (inner(FR), 2), SYN | ACK, &[], b""));
    world.send(FR, &tcp(app(2), end("203.0.113.90:80"), ACK, &[], b""));
    world.refused(Some(FR), &half_open(3), DropReason::TableFull);
    world.send(FR, &tcp(app_of(0), web_of(0), ACK, &[], b"still here"));
    // Flows of an ended lease make room.
    world.change(|input| input.tunnels[FR.index()].lease = LeaseId::new(9));
    world.send(FR, &half_open(3));
    assert_eq!(world.router.flows(), limits::FLOWS);
}

#[test]
fn a_call_takes_away_a_bounded_number_of_flows() {
    for (count, left) in
        [(limits::EXPIRED_PER_CALL - 1, 0), (limits::EXPIRED_PER_CALL, 0), (limits::EXPIRED_PER_CALL + 1, 1)]
    {
        let mut world = World::new();
        for number in 0..count {
            world.send(FR, &udp(app(number as u16), web(), b""));
        }
        world.pass(Duration::from_secs(100));
        world.router.handle_timeout(world.now);
        assert_eq!(world.router.flows(), left);
        assert_eq!(world.router.poll_timeout().is_some_and(|due| due <= world.now), left > 0);
    }
}

fn web_of(number: usize) -> End {
    (v4("203.0.113.80"), 443 + (number % 3) as u16)
}
