//! The world itself, proved with Debian's own client, so that a failure elsewhere is a failure of the program under test.

use std::time::Duration;

use mrvpn_testbed::{
    ACCOUNT, Background, FR, HostSnapshot, PROTOS, REGIONS, ServerOptions, UK, UNCLAIMED, US, World, Wrapping, ask,
    ping, run_helper, stock_client,
};

#[test]
fn the_world_itself_works_with_the_stock_client() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let clients: Vec<_> = REGIONS
        .into_iter()
        .map(|region| {
            let profile = world.write_profile(region.name, &world.profile(region));
            stock_client::start(&world.client, &profile, &format!("tun-{}", region.name), &world.scratch)
        })
        .collect();
    assert_eq!(clients.len(), 3);
    for region in REGIONS {
        for proto in PROTOS {
            let answer = ask(&world.client, proto, region.inner, None);
            assert!(answer.is(region.name, region.client), "{answer:?}");
        }
        assert!(ping(&world.client, region.inner, None));
        let counters = world.region_counters(region);
        assert!(counters.packets("expected") > 0 && counters.packets("strange") == 0, "{counters:?}");
    }
    let answer = Background::transfer(&world.client, FR.inner, None, 5_000_000, &world.scratch);
    assert_eq!(answer.finish(Duration::from_secs(20))["region"], "fr");
    let probe = Background::probe(&world.client, US.inner, None, 500, Duration::from_secs(1), &world.scratch);
    let seen = probe.finish(Duration::from_secs(5));
    assert_eq!((&seen["sent"], &seen["lost"]), (&500.into(), &0.into()), "{seen}");
}

#[test]
fn without_a_tunnel_internet_answers_everything_and_counts_it() {
    let world = World::new(2);
    for (address, counter) in [("203.0.113.10", "public"), (UNCLAIMED, "unclaimed"), (UK.inner, "inner")] {
        let before = world.internet_counters().packets(counter);
        for proto in PROTOS {
            assert!(ask(&world.client, proto, address, None).is("internet", "192.168.1.2"));
        }
        assert!(world.internet_counters().packets(counter) > before, "{counter}");
    }
    assert!(ask(&world.guest, PROTOS[0], UNCLAIMED, None).is("internet", "192.168.50.2"));
    assert!(world.internet_counters().packets("forwarded") > 0);
    let answer = run_helper(&world.client, "scan", &["--host", "192.168.1.1", "--port", "7000"]);
    assert_eq!(answer["answered"][0]["tcp"], "open", "{answer}");
}

#[test]
fn a_server_with_a_password_counts_logins_and_refuses_a_wrong_one() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None).with_password());
    let right = world.write_profile("right", &world.profile(UK).account(ACCOUNT));
    let client = stock_client::start(&world.client, &right, "tun-uk", &world.scratch);
    assert_eq!(world.server(UK).logins(), 1);
    drop(client);
}

#[test]
fn a_snapshot_shows_every_change_of_the_network_and_nothing_else() {
    let world = World::new(0);
    let before = HostSnapshot::take(&world.client);
    assert!(ask(&world.client, PROTOS[1], UNCLAIMED, None).is("internet", "192.168.1.2"));
    let same = HostSnapshot::take(&world.client);
    assert_eq!(before.difference(&same), "");
    world.client.ip("rule add pref 5000 from 10.9.9.9 lookup 77\nroute add throw 10.9.0.0/16 table 77");
    world.client.sysctl("net.ipv4.conf.eth0.arp_ignore", "2");
    let difference = before.difference(&HostSnapshot::take(&world.client));
    for change in ["+ 5000:", "+ throw 10.9.0.0/16", "- net.ipv4.conf.eth0.arp_ignore = 0"] {
        assert!(difference.contains(change), "{change} is not in\n{difference}");
    }
}
