//! What can go wrong with one tunnel: each is a named error that says what to do, and the others stay up.

use std::time::{Duration, Instant};

use mrvpn_testbed::{
    ACCOUNT, FR, Mrvpn, NOBODY, OPENVPN_PORT, PROTOS, ProfileText, REGIONS, ServerOptions, UK, US, World, Wrapping,
    ask, cpu_time, mrvpn::tunnel,
};
use serde_json::Value;

// proves: F-29
#[test]
fn a_wrong_password_is_named_within_5_s_and_tried_once() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None));
    world.start_server(FR, ServerOptions::new(Wrapping::TlsAuth).with_password());
    let wrong = world.profile(FR).account((ACCOUNT.0, "wrong"));
    let mut engine = with_good_uk(&world, &[("fr", &wrong)]);
    let failed = engine.wait_tunnel("fr", "failed", Duration::from_secs(5));
    assert_eq!(failed["error"]["code"], "auth-refused", "{failed:#}");
    assert_eq!(failed["error"]["stage"], "auth");
    says_what_to_do(&failed);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(world.server(FR).logins(), 1, "a refused password is not tried again");
    uk_works(&world);
    engine.down();
}

// proves: F-29
#[test]
fn three_tunnels_of_one_account_try_a_wrong_password_once() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options.with_password());
    let mut engine = Mrvpn::start(
        &world,
        &REGIONS.map(|region| {
            let wrong = world.profile(region).account((ACCOUNT.0, "wrong"));
            format!("{}={}", region.name, world.write_profile(region.name, &wrong).display())
        }),
    );
    assert_eq!(engine.wait_end(Duration::from_secs(15)), Some(1), "all were refused for good: {}", engine.log());
    let logins: usize = REGIONS.into_iter().map(|region| world.server(region).logins()).sum();
    assert_eq!(logins, 1, "{}", engine.log());
}

// proves: F-29
#[test]
fn three_tunnels_of_one_account_with_the_right_password_all_come_up() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options.with_password());
    let arguments = REGIONS.map(|region| {
        let right = world.profile(region).account(ACCOUNT);
        format!("{}={}", region.name, world.write_profile(region.name, &right).display())
    });
    let engine = Mrvpn::up(&world, &arguments);
    for region in REGIONS {
        assert_eq!(world.server(region).logins(), 1);
        assert!(ask(&world.client, PROTOS[1], region.inner, None).is(region.name, region.client));
    }
    engine.down();
}

#[test]
fn a_wrong_ca_is_named_within_5_s() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let wrong = world.profile(US).ca(&world.pki.foreign_ca);
    let mut engine = with_good_uk(&world, &[("us", &wrong)]);
    let failed = engine.wait_error("us", Duration::from_secs(5));
    assert_eq!(failed["error"]["stage"], "certificate", "{failed:#}");
    says_what_to_do(&failed);
    uk_works(&world);
    engine.down();
}

#[test]
fn an_unknown_host_name_is_named_within_10_s() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let wrong = world.profile(FR).remote("nowhere.test");
    let mut engine = with_good_uk(&world, &[("fr", &wrong)]);
    let failed = engine.wait_error("fr", Duration::from_secs(10));
    assert_eq!(failed["error"]["stage"], "name", "{failed:#}");
    assert!(failed["error"]["message"].to_string().contains("nowhere.test"), "{failed:#}");
    says_what_to_do(&failed);
    uk_works(&world);
    engine.down();
}

#[test]
fn a_wrong_tls_crypt_key_and_a_silent_server_are_named_after_10_s_and_tries_go_on() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let wrong_key = world.profile(US).static_key(&world.pki.foreign_static_key);
    let nobody = world.profile(FR).remote(NOBODY);
    let begin = Instant::now();
    let mut engine = with_good_uk(&world, &[("us", &wrong_key), ("fr", &nobody)]);
    for name in ["us", "fr"] {
        let tunnel = engine.wait_error(name, Duration::from_secs(14));
        assert_eq!(tunnel["error"]["code"], "no-answer", "{tunnel:#}");
        assert_ne!(tunnel["state"], "failed", "it goes on trying: {tunnel:#}");
        says_what_to_do(&tunnel);
    }
    assert!(begin.elapsed() > Duration::from_secs(9), "not before 10 s: {:?}", begin.elapsed());
    let hint = tunnel(&engine.status(), "us")["error"]["hint"].to_string();
    assert!(hint.contains("tls-crypt"), "{hint}");
    let before = world.region_counters(US).packets("outer");
    mrvpn_testbed::wait_until("another try", Duration::from_secs(30), || {
        (world.region_counters(US).packets("outer") > before).then_some(())
    });
    uk_works(&world);
    engine.down();
}

// proves: F-14
#[test]
fn a_refused_port_costs_at_most_two_tries_a_second_and_no_cpu() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None));
    let closed = world.profile(FR);
    let mut engine = with_good_uk(&world, &[("fr", &closed)]);
    let (tries, cpu, seconds) = (world.region_counters(FR).packets("outer"), cpu_time(engine.pid()), 8);
    std::thread::sleep(Duration::from_secs(seconds));
    let tries = world.region_counters(FR).packets("outer") - tries;
    assert!(tries <= 2 * seconds, "{tries} tries in {seconds} s");
    let cpu = cpu_time(engine.pid()) - cpu;
    assert!(cpu <= Duration::from_secs(seconds) / 100, "{cpu:?} of CPU in {seconds} s");
    let failed = engine.wait_error("fr", Duration::from_secs(10));
    says_what_to_do(&failed);
    world.start_server(FR, ServerOptions::new(Wrapping::TlsAuth));
    engine.wait_tunnel("fr", "up", Duration::from_secs(40));
    assert!(ask(&world.client, PROTOS[0], FR.inner, None).is("fr", FR.client));
    uk_works(&world);
    engine.down();
}

#[test]
fn when_every_password_is_wrong_up_takes_down_what_it_made_and_exits_1() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None).with_password());
    let before = mrvpn_testbed::HostSnapshot::take(&world.client);
    let wrong = world.write_profile("uk", &world.profile(UK).account((ACCOUNT.0, "wrong")));
    let mut engine = Mrvpn::start(&world, &[format!("uk={}", wrong.display())]);
    assert_eq!(engine.wait_end(Duration::from_secs(10)), Some(1), "{}", engine.log());
    assert!(engine.log().contains("uk"), "{}", engine.log());
    assert_eq!(before.difference(&mrvpn_testbed::HostSnapshot::take(&world.client)), "");
}

/// Starts a right uk first and the given others after it; uk is up when this returns.
fn with_good_uk(world: &World, others: &[(&str, &ProfileText)]) -> Mrvpn {
    let mut arguments = vec![format!("uk={}", world.write_profile("uk", &world.profile(UK)).display())];
    for (name, profile) in others {
        arguments.push(format!("{name}={}", world.write_profile(name, profile).display()));
    }
    let mut engine = Mrvpn::start(world, &arguments);
    engine.wait_tunnel("uk", "up", Duration::from_secs(5));
    engine
}

fn uk_works(world: &World) {
    for proto in PROTOS {
        let answer = ask(&world.client, proto, UK.inner, None);
        assert!(answer.is("uk", UK.client), "{answer:?} (server at {}:{OPENVPN_PORT})", UK.outer);
    }
}

fn says_what_to_do(tunnel: &Value) {
    let error = &tunnel["error"];
    for field in ["message", "hint"] {
        assert!(error[field].as_str().is_some_and(|text| text.len() > 10), "{field}: {tunnel:#}");
    }
}
