//! Servers whose certificate something is wrong with: each fault has its own error code, none is tried for good, and a
//! certificate that only lacks marks is taken with a warning unless something asks for them.

use std::time::Duration;

use mrvpn_testbed::{Fault, Mrvpn, PROTOS, ProfileText, ServerOptions, UK, World, Wrapping, ask, mrvpn::tunnel};
use serde_json::Value;

// proves: T-22, T-20
#[test]
fn each_fault_of_a_certificate_has_its_own_code() {
    let mut world = World::new(0);
    let cases = [
        (Fault::Expired, "certificate-expired"),
        (Fault::NotYetValid, "certificate-not-yet-valid"),
        (Fault::OtherCa, "wrong-ca"),
        (Fault::ClientUsage, "certificate-purpose"),
        (Fault::NoUsage, "certificate-purpose"),
    ];
    for (fault, code) in cases {
        let profile = world.profile(UK);
        expect(&mut world, Some(fault), &profile, code);
    }
}

// proves: T-21
#[test]
fn a_certificate_with_another_name_has_its_own_code() {
    let mut world = World::new(0);
    for line in
        ["verify-x509-name lon.example name", "verify-x509-name srv name-prefix", "verify-x509-name Server name"]
    {
        let profile = world.profile(UK).line(line);
        expect(&mut world, None, &profile, "certificate-name");
    }
    for line in ["verify-x509-name server name", "verify-x509-name serv name-prefix", "verify-x509-name CN=server"] {
        let profile = world.profile(UK).line(line);
        let tunnel = comes_up(&world, &profile);
        assert_eq!(tunnel["warnings"], serde_json::json!([]), "{line}: {tunnel:#}");
    }
}

// proves: T-20
#[test]
fn a_certificate_without_marks_is_taken_with_a_warning_when_the_profile_asks_for_none() {
    let mut world = World::new(0);
    let profile = world.profile(UK).without_server_usage();
    // A client's certificate can never pose as the server.
    expect(&mut world, Some(Fault::ClientUsage), &profile, "certificate-purpose");
    world.pki.make("nousage", Fault::NoUsage);
    world.replace_server(UK, ServerOptions::new(Wrapping::None).identity("nousage"));
    let tunnel = comes_up(&world, &profile);
    assert!(tunnel["warnings"].to_string().contains("remote-cert-tls server"), "{tunnel:#}");
}

/// Starts the server with the fault; the tunnel has this code at stage `certificate` within 5 s and is not up.
#[track_caller]
fn expect(world: &mut World, fault: Option<Fault>, profile: &ProfileText, code: &str) {
    let identity = fault.map_or_else(|| String::from("server"), |fault| format!("{fault:?}").to_lowercase());
    if let Some(fault) = fault {
        world.pki.make(&identity, fault);
    }
    world.replace_server(UK, ServerOptions::new(Wrapping::None).identity(&identity));
    let path = world.write_profile("uk", profile);
    let mut engine = Mrvpn::start(world, &[format!("uk={}", path.display())]);
    let failed = engine.wait_error("uk", Duration::from_secs(5));
    let error = &failed["error"];
    assert_eq!((&error["code"], &error["stage"]), (&code.into(), &"certificate".into()), "{fault:?}: {failed:#}");
    assert!(
        ["message", "hint"].iter().all(|text| error[text].as_str().is_some_and(|text| text.len() > 10)),
        "{error:#}"
    );
    assert_ne!(failed["state"], "up", "{failed:#}");
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).region.as_deref() != Some("uk"));
}

#[track_caller]
fn comes_up(world: &World, profile: &ProfileText) -> Value {
    let path = world.write_profile("uk", profile);
    let engine = Mrvpn::up(world, &[format!("uk={}", path.display())]);
    let tunnel = tunnel(&engine.status(), "uk");
    engine.down();
    tunnel
}
