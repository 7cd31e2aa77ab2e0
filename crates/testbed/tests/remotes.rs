//! Which of a profile's remotes is taken: dead ones are passed, blocks have their own transport, a name gives addresses of
//! both families, and two attempts at once never leave two logins at a server.

use std::time::{Duration, Instant};

use mrvpn_testbed::{
    ACCOUNT, Mrvpn, NOBODY, OPENVPN_PORT, Outside, PROTOS, ServerOptions, Transport, UK, US, World, Wrapping, ask,
    mrvpn::tunnel,
};

/// An address that refuses: the client's router, where no server is.
const CLOSED: &str = "192.168.1.1";

#[test]
fn dead_entries_of_a_list_of_remotes_are_passed() {
    for transport in Transport::ALL {
        let mut world = World::new(0);
        world.start_server(UK, ServerOptions::new(Wrapping::None).transport(transport));
        let list = [(CLOSED, 1194), (NOBODY, 1194), ("nowhere.test", 1194), (UK.outer, OPENVPN_PORT)];
        let profile = world.profile(UK).remotes(&list).transport(transport).line("connect-timeout 3");
        let path = world.write_profile("uk", &profile);
        let begin = Instant::now();
        let mut engine = Mrvpn::start(&world, &[format!("uk={}", path.display())]);
        let uk = engine.wait_tunnel("uk", "up", Duration::from_secs(20));
        assert_eq!(uk["remote"], format!("{}:1194/{}", UK.outer, transport.word()), "after {:?}", begin.elapsed());
        assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
        engine.down();
    }
}

#[test]
fn a_block_has_its_own_transport_and_remote_random_finds_the_living_one() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None).transport(Transport::Tcp));
    let blocks = format!(
        "<connection>\nremote {NOBODY} 1194 udp\nconnect-timeout 2\n</connection>\n\
         <connection>\nremote {} {OPENVPN_PORT} tcp\n</connection>\nremote-random",
        UK.outer
    );
    for _ in 0..2 {
        let path = world.write_profile("uk", &world.profile(UK).remotes(&[]).line(&blocks));
        let mut engine = Mrvpn::start(&world, &[format!("uk={}", path.display())]);
        let uk = engine.wait_tunnel("uk", "up", Duration::from_secs(15));
        assert_eq!(uk["remote"], format!("{}:1194/tcp", UK.outer));
        engine.down();
    }
}

#[test]
fn a_name_with_addresses_of_both_families_is_tried_by_both_and_logs_in_once() {
    for (outside, transport) in [
        (Outside::Four, Transport::Udp),
        (Outside::Six, Transport::Udp),
        (Outside::Four, Transport::Tcp),
        (Outside::Six, Transport::Tcp),
    ] {
        let mut world = World::new(0);
        let options = ServerOptions::new(Wrapping::None).transport(transport).outside(outside).with_password();
        world.start_server(UK, options);
        let profile = world.profile(UK).remote(&UK.dual_name()).transport(transport).account(ACCOUNT);
        let path = world.write_profile("uk", &profile);
        let begin = Instant::now();
        let mut engine = Mrvpn::start(&world, &[format!("uk={}", path.display())]);
        let uk = engine.wait_tunnel("uk", "up", Duration::from_secs(10));
        assert_eq!(uk["remote"].to_string().contains("2001:db8:2:"), outside == Outside::Six, "{uk:#}");
        assert!(begin.elapsed() < Duration::from_secs(6), "{outside:?} {transport:?}: {:?}", begin.elapsed());
        assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(world.server(UK).logins(), 1, "{outside:?} {transport:?}\n{}", world.server(UK).log());
        engine.down();
    }
}

#[test]
fn a_tunnel_whose_server_dies_moves_to_the_next_remote() {
    let mut world = World::new(0);
    let same = || ServerOptions::new(Wrapping::None);
    world.start_server(UK, same());
    world.start_server(US, same());
    let profile = world.profile(UK).remotes(&[(UK.outer, OPENVPN_PORT), (US.outer, OPENVPN_PORT)]);
    let path = world.write_profile("both", &profile);
    let mut engine = Mrvpn::up(&world, &[format!("both={}", path.display())]);
    assert!(tunnel(&engine.status(), "both")["remote"].to_string().contains(UK.outer));
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
    world.kill_server(UK);
    let status = engine.wait_for(Duration::from_secs(25), |status| {
        let both = tunnel(status, "both");
        both["state"] == "up" && both["remote"].to_string().contains(US.outer)
    });
    assert!(tunnel(&status, "both")["assigned"].to_string().contains(US.client), "{status:#}");
    assert!(ask(&world.client, PROTOS[0], US.inner, None).is("us", US.client));
    engine.down();
}
