//! Every transport, wrapping, cipher and TLS version with Debian's server, keys renewed by both sides every few seconds while
//! questions flow. A round has sixteen servers and one engine with sixteen tunnels.

use std::time::Duration;

use mrvpn_testbed::{
    Farm, Field, Mrvpn, Outside, PROTOS, ServerOptions, Transport, World, Wrapping, ask, mrvpn::tunnel, ping,
};

/// Seconds between two renewals, of each side.
const RENEW: u32 = 5;

/// How long questions flow: two renewals after the first keys, whichever side begins.
const FLOW: Duration = Duration::from_secs(14);

#[test]
fn keys_of_aes_128_gcm_are_renewed_without_a_lost_packet_whatever_carries_and_wraps_them() {
    round("AES-128-GCM");
}

#[test]
fn keys_of_aes_256_gcm_are_renewed_without_a_lost_packet_whatever_carries_and_wraps_them() {
    round("AES-256-GCM");
}

#[test]
fn keys_of_chacha20_poly1305_are_renewed_without_a_lost_packet_whatever_carries_and_wraps_them() {
    round("CHACHA20-POLY1305");
}

#[test]
fn keys_are_renewed_over_ipv4_and_ipv6_outside_in_both_transports() {
    let world = World::new(0);
    let mut all = Vec::new();
    for transport in Transport::ALL {
        for outside in [Outside::Four, Outside::Six] {
            let options = ServerOptions::new(Wrapping::TlsCrypt).transport(transport).outside(outside);
            all.push(renewed(options));
        }
    }
    let farm = Farm::new(&world, all);
    let mut engine = Mrvpn::up(&world, &farm.arguments());
    for field in farm.fields() {
        let remote = tunnel(&engine.status(), &field.name)["remote"].to_string();
        assert!(remote.contains(field.options.transport.word()), "{remote}");
        assert_eq!(remote.contains("2001:db8:2:9::2"), field.options.outside == Outside::Six, "{remote}");
    }
    carry_over_renewals(&world, &farm, &mut engine);
    engine.down();
}

fn round(cipher: &str) {
    let world = World::new(0);
    let mut all = Vec::new();
    for transport in Transport::ALL {
        for wrapping in Wrapping::ALL {
            for tls in ["tls-version-max 1.2", "tls-version-min 1.3"] {
                let options = ServerOptions::new(wrapping).transport(transport).line(tls);
                all.push(renewed(options).line(&format!("data-ciphers {cipher}")));
            }
        }
    }
    let farm = Farm::new(&world, all);
    let mut engine = Mrvpn::up(&world, &farm.arguments());
    carry_over_renewals(&world, &farm, &mut engine);
    for field in farm.fields() {
        assert_eq!(tunnel(&engine.status(), &field.name)["cipher"], cipher);
        let tls = if says(field, "tls-version-max 1.2") { "TLSv1.2" } else { "TLSv1.3" };
        assert_eq!(handshakes(field, tls), handshakes(field, "TLSv1."), "{}", what(field));
    }
    engine.down();
}

/// Asks through every tunnel at once until each has had new keys twice: nothing is lost, nothing comes twice, no tunnel has
/// left the state `up`, and each server has seen the client that it knows.
#[track_caller]
fn carry_over_renewals(world: &World, farm: &Farm, engine: &mut Mrvpn) {
    let before = engine.status();
    let probes: Vec<_> = farm.fields().iter().map(|field| (field, field.probe(world, 100, FLOW))).collect();
    for (field, probe) in probes {
        let seen = probe.finish(FLOW + Duration::from_secs(15));
        assert_eq!(
            (&seen["lost"], &seen["twice"]),
            (&0.into(), &0.into()),
            "{}: {seen}\n{}",
            what(field),
            engine.log()
        );
        assert_eq!(seen["refused"], 0, "{}: {seen}", what(field));
    }
    let after = engine.status();
    for field in farm.fields() {
        let (before, after) = (tunnel(&before, &field.name), tunnel(&after, &field.name));
        assert_eq!((&after["state"], &after["since"]), (&"up".into(), &before["since"]), "{}: {after:#}", what(field));
        let made = handshakes(field, "TLSv1.");
        assert!(made >= 3, "{}: keys were made {made} times\n{}", what(field), field.server.log());
        for proto in PROTOS {
            let answer = ask(&world.client, proto, &field.inner, None);
            assert!(answer.is("farm", &field.client), "{}: {answer:?}", what(field));
        }
        assert!(ping(&world.client, &field.inner, Some(&field.client)), "{}", what(field));
    }
}

fn renewed(options: ServerOptions) -> ServerOptions {
    options.line(&format!("reneg-sec {RENEW}")).profile_line(&format!("reneg-sec {RENEW}"))
}

/// How many key exchanges with this TLS version the server has ended well.
fn handshakes(field: &Field, version: &str) -> usize {
    field.server.log().lines().filter(|line| line.contains(&format!("Control Channel: {version}"))).count()
}

fn says(field: &Field, line: &str) -> bool {
    field.options.lines.iter().any(|known| known == line)
}

fn what(field: &Field) -> String {
    let options = &field.options;
    format!("{} by {}, {}, {:?}", field.name, options.transport.word(), options.wrapping, options.lines)
}
