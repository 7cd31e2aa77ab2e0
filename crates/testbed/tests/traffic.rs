//! What passes: TCP, UDP and ping through each tunnel with each cipher, and many megabytes intact.

use std::time::Duration;

use mrvpn_testbed::{Background, FR, Mrvpn, PROTOS, REGIONS, UK, US, World, ask, mrvpn::tunnel, ping};

#[test]
fn tcp_udp_and_ping_pass_through_each_tunnel_with_each_cipher() {
    let mut world = World::new(0);
    let ciphers = [(UK, "AES-128-GCM"), (FR, "CHACHA20-POLY1305"), (US, "AES-256-GCM")];
    world.start_servers(|region, options| {
        let cipher = ciphers.iter().find(|(known, _)| *known == region).unwrap().1;
        options.line(&format!("data-ciphers {cipher}"))
    });
    let mut engine = Mrvpn::up(&world, &world.write_profiles());
    for (region, cipher) in ciphers {
        let before = world.region_counters(region).packets("expected");
        for source in [None, Some(region.client)] {
            for proto in PROTOS {
                assert!(ask(&world.client, proto, region.inner, source).is(region.name, region.client));
            }
            assert!(ping(&world.client, region.inner, source), "{} from {source:?}", region.name);
        }
        assert!(world.region_counters(region).packets("expected") > before);
        assert_eq!(tunnel(&engine.status(), region.name)["cipher"], cipher);
    }
    let status = engine.wait(|status| REGIONS.iter().all(|region| tunnel(status, region.name)["rx_bytes"] != 0));
    assert!(REGIONS.iter().all(|region| tunnel(&status, region.name)["tx_bytes"] != 0), "{status:#}");
    engine.down();
}

#[test]
fn a_hundred_megabytes_each_way_arrive_intact_while_the_other_tunnels_transfer() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let transfer =
        |to: &str, megabytes: u64| Background::transfer(&world.client, to, None, megabytes * 1_000_000, &world.scratch);
    let transfers = [(UK, transfer(UK.inner, 100)), (FR, transfer(FR.inner, 25)), (US, transfer(US.inner, 25))];
    for (region, transfer) in transfers {
        let outcome = transfer.finish(Duration::from_secs(120));
        assert_eq!(outcome["region"], region.name, "{outcome}\n{}", engine.log());
    }
    for region in REGIONS {
        assert_eq!(world.region_counters(region).packets("strange"), 0);
        assert_eq!(tunnel(&engine.status(), region.name)["state"], "up");
    }
    engine.down();
}

#[test]
fn datagrams_of_every_size_pass_whole_and_larger_ones_in_fragments() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let engine = Mrvpn::up(&world, &world.write_profiles());
    for size in ["1", "56", "1300", "1392", "1400", "1440", "1472"] {
        let echoed = world.client.try_run("ping", &["-n", "-c", "1", "-W", "1", "-M", "dont", "-s", size, UK.inner]);
        assert!(echoed.is_ok(), "{size} bytes: {echoed:?}");
    }
    engine.down();
}
