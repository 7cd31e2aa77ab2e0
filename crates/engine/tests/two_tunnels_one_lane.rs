//! The engine's values without any machine below them: two tunnels, one lane, a clock, a queue and sockets made by hand.

mod table;

use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_profile::{Credentials, Secret};
use mrvpn_proto::peer::Login;
use table::{ACCEPTED, ANCHOR, FR, Table, UK, ends, good, reply, udp};

const UK_INNER: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 2);
const FR_INNER: Ipv4Addr = Ipv4Addr::new(10, 101, 0, 2);
/// Claimed by uk through a pushed route.
const CLAIMED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);
/// Claimed by nobody.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn up() -> Table {
    let table = Table::new([good(), good()]);
    assert_eq!(table.states(), ["up", "up"], "{:#?}", table.status());
    table
}

// proves: I-2, I-3, I-4
#[test]
fn a_bound_packet_leaves_through_its_tunnel_and_the_answer_comes_back_to_who_asked() {
    let mut table = up();
    let interface = table.status().interface.unwrap().addresses;
    assert_eq!(interface, ["198.18.0.1/32", "10.100.0.2/32", "10.101.0.2/32", "198.18.1.1/32", "198.18.1.2/32"]);
    for (source, tunnel, inner) in [
        (UK_INNER, UK, UK_INNER),
        (FR_INNER, FR, FR_INNER),
        (Ipv4Addr::new(198, 18, 1, 1), UK, UK_INNER),
        (Ipv4Addr::new(198, 18, 1, 2), FR, FR_INNER),
    ] {
        assert!(table.send(udp(source, ANYWHERE, b"ask")).is_empty());
        let other = if tunnel == UK { FR } else { UK };
        assert!(table.at_server(other).is_empty(), "nothing of it at the other server");
        let seen = table.at_server(tunnel);
        assert_eq!(seen.iter().map(|packet| ends(packet)).collect::<Vec<_>>(), [(inner, ANYWHERE)]);
        table.answer(tunnel, &reply(&seen[0]));
        assert_eq!(table.received().iter().map(|packet| ends(packet)).collect::<Vec<_>>(), [(ANYWHERE, source)]);
    }
}

// proves: T-70
#[test]
fn a_claim_outlives_its_tunnel_which_comes_back_by_itself() {
    let mut table = up();
    table.send(udp(ANCHOR, CLAIMED, b"before"));
    assert_eq!(table.at_server(UK).len(), 1);
    table.off[0] = true;
    table.servers[0].forget();
    table.run(Duration::from_secs(6));
    assert_eq!(table.states(), ["reconnecting", "up"]);
    let refusal = table.send(udp(ANCHOR, CLAIMED, b"while down"));
    assert_eq!(refusal.len(), 1, "felt at once");
    assert_eq!(refusal[0][20..22], [3, 13], "ICMP: administratively prohibited");
    assert!(table.at_server(FR).is_empty(), "never through another tunnel");
    table.off[0] = false;
    table.run(Duration::from_secs(12));
    assert_eq!(table.states(), ["up", "up"]);
    table.send(udp(ANCHOR, CLAIMED, b"after"));
    assert_eq!(table.at_server(UK).iter().map(|packet| ends(packet)).collect::<Vec<_>>(), [(UK_INNER, CLAIMED)]);
}

#[test]
fn a_packet_that_comes_while_its_tunnel_is_away_for_a_moment_waits_for_it() {
    let mut table = up();
    table.servers[0].say("RESTART", table.now);
    table.run(Duration::ZERO);
    assert!(table.send(udp(UK_INNER, ANYWHERE, b"wait")).is_empty(), "neither sent nor refused");
    table.run(Duration::from_millis(500));
    assert_eq!(table.states(), ["up", "up"]);
    assert_eq!(table.at_server(UK).len(), 1, "sent when the tunnel was back");
}

// proves: F-29
#[test]
fn a_wrong_password_of_one_account_costs_one_login() {
    let wrong = || Login::Only(Credentials { user: "ann".to_owned(), password: Secret::new("other".to_owned()) });
    let mut table = Table::new([wrong(), wrong()]);
    table.run(Duration::from_secs(600));
    assert_eq!(table.states(), ["failed", "failed"]);
    let codes: Vec<_> = table.status().tunnels.into_iter().map(|tunnel| tunnel.error.unwrap().code).collect();
    assert_eq!(codes, ["auth-refused", "auth-refused"]);
    assert_eq!(table.servers[0].sessions() + table.servers[1].sessions(), 1);
}

#[test]
fn a_server_that_never_answers_is_reported_after_ten_seconds_and_tried_on() {
    let mut table = Table::new([good(), good()]);
    table.off = vec![true, false];
    table.servers[0].forget();
    table.run(Duration::from_secs(60));
    let status = table.status();
    let error = status.tunnels[0].error.clone().unwrap();
    assert_eq!((error.code.as_str(), error.stage.as_str()), ("no-answer", "no-answer"));
    assert_eq!(status.tunnels[1].state, "up");
    let (mut waits, mut tries) = (0, 0);
    for _ in 0..120 {
        table.run(Duration::from_millis(500));
        // What the wall says on the table, whenever it is asked.
        let now = "2027-01-15T08:00:00Z";
        match table.status().tunnels[0].error.clone().unwrap().retry_at {
            Some(retry_at) => {
                assert!(retry_at.as_str() >= now, "{retry_at} is over");
                waits += 1;
            }
            None => tries += 1,
        }
    }
    assert!(waits > 0 && tries > 0, "{waits} {tries}");
}

#[test]
fn closing_tells_the_servers_and_leaves_nothing_behind() {
    let mut table = up();
    table.fleet.close(table.now);
    table.run(Duration::from_secs(2));
    assert!(table.fleet.is_closed());
    for place in 0..2 {
        assert!(table.servers[place].said().iter().any(|text| text == "EXIT"), "server {place} was told");
    }
    assert_eq!(table.fleet.poll_timeout(), None);
}

#[test]
fn after_everything_is_drained_no_deadline_lies_in_the_past() {
    let mut table = up();
    for _ in 0..50 {
        table.run(Duration::from_millis(700));
        assert!(table.fleet.poll_timeout().is_none_or(|due| due > table.now));
    }
}

#[test]
fn what_a_tunnel_accepts_is_let_in_to_its_own_address_and_answered_through_it_and_nothing_else_is() {
    let mut table = up();
    for (port, let_in) in [(ACCEPTED, true), (ACCEPTED + 1, false), (5_000, false)] {
        let mut asked = udp(ANYWHERE, FR_INNER, b"hello");
        asked[22..24].copy_from_slice(&port.to_be_bytes());
        table.answer(FR, &asked);
        let arrived = table.received();
        assert_eq!(
            arrived.iter().map(|packet| ends(packet)).collect::<Vec<_>>(),
            vec![(ANYWHERE, FR_INNER); usize::from(let_in)]
        );
        for packet in arrived {
            assert!(table.send(reply(&packet)).is_empty());
            assert_eq!(table.at_server(FR), [reply(&asked)]);
            assert!(table.at_server(UK).is_empty());
        }
    }
}

/// Sends a numbered packet through both tunnels and answers it, every 20 ms for `time`; nothing may be lost or late.
fn talk(table: &mut Table, time: Duration) {
    for number in 0..time.as_millis() / 20 {
        let payload = number.to_be_bytes();
        for (tunnel, inner) in [(UK, UK_INNER), (FR, FR_INNER)] {
            assert!(table.send(udp(inner, ANYWHERE, &payload)).is_empty(), "packet {number} was refused");
            let seen = table.at_server(tunnel);
            assert_eq!(seen.len(), 1, "packet {number} of {tunnel} did not arrive");
            assert_eq!(seen[0][28..], payload);
            table.answer(tunnel, &reply(&seen[0]));
            let back = table.received();
            assert_eq!(back.len(), 1, "the answer to packet {number} of {tunnel} did not arrive");
            assert_eq!(back[0][28..], payload);
        }
        table.run(Duration::from_millis(20));
    }
}

// proves: F-27
#[test]
fn keys_are_renewed_under_load_and_loss_by_either_side_or_both_at_once_and_no_packet_is_lost() {
    for loss in [0, 20] {
        let mut table = Table::with_lines([good(), good()], "reneg-sec 0");
        assert_eq!(table.states(), ["up", "up"]);
        // The first key is used for longer than an acknowledgement may need under such loss.
        talk(&mut table, Duration::from_secs(10));
        table.loss = loss;
        for (by_server, by_client) in [(true, false), (false, true), (true, true), (true, true)] {
            for tunnel in [UK, FR] {
                let now = table.now;
                if by_server {
                    table.servers[tunnel.index()].renegotiate(now);
                }
                if by_client {
                    table.wear(tunnel);
                }
            }
            talk(&mut table, Duration::from_secs(15));
        }
        assert_eq!(table.states(), ["up", "up"], "{:#?}", table.status());
        for place in 0..2 {
            assert_eq!(table.servers[place].sessions(), 1, "one session all the time");
            assert_eq!(table.servers[place].exchanges(), 5, "the first and four more");
        }
    }
}

#[test]
fn keys_are_renewed_by_time_and_no_packet_is_lost() {
    let mut table = Table::with_lines([good(), good()], "reneg-sec 5");
    table.loss = 10;
    talk(&mut table, Duration::from_secs(32));
    assert_eq!(table.states(), ["up", "up"]);
    for place in 0..2 {
        assert!((4..=7).contains(&table.servers[place].exchanges()), "{}", table.servers[place].exchanges());
    }
}

#[test]
fn keys_are_renewed_by_the_bytes_that_the_lane_has_carried() {
    let mut table = Table::with_lines([good(), good()], "reneg-bytes 20000");
    talk(&mut table, Duration::from_secs(20));
    assert_eq!(table.states(), ["up", "up"]);
    for place in 0..2 {
        let exchanges = table.servers[place].exchanges();
        assert!((3..=6).contains(&exchanges), "64 kB were carried, and there were {exchanges} key exchanges");
    }
}
