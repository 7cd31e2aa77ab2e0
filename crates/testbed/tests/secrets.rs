//! Secrets stay in: no password and no key of a profile shows in what the program prints, answers or is started with, at
//! its most talkative.

use std::{collections::BTreeSet, fs, time::Duration};

use mrvpn_testbed::{ACCOUNT, FR, Mrvpn, ServerOptions, UK, US, World, Wrapping, mrvpn::tunnel};

// proves: I-11
#[test]
fn no_secret_of_a_profile_shows_anywhere_at_the_most_talkative_level() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None).with_password());
    world.start_server(FR, ServerOptions::new(Wrapping::TlsAuth).with_password());
    let good = world.profile(UK).account(ACCOUNT);
    let refused = world.profile(FR).account((ACCOUNT.0, "canary-of-a-wrong-password"));
    let silent = world.profile(US);
    let mut secrets: BTreeSet<String> = [ACCOUNT.1, "canary-of-a-wrong-password"].map(String::from).into();
    let mut arguments = Vec::new();
    for (name, profile) in [("uk", good), ("fr", refused), ("us", silent)] {
        secrets.extend(key_lines(&profile.text()));
        arguments.push(format!("{name}={}", world.write_profile(name, &profile).display()));
    }
    assert!(secrets.len() > 10, "there are keys to look for: {}", secrets.len());
    let mut engine = Mrvpn::start(&world, &arguments);
    engine.wait_tunnel("fr", "failed", Duration::from_secs(5));
    engine.wait(|status| tunnel(status, "uk")["state"] == "up");
    engine.wait_error("us", Duration::from_secs(15));
    let process = |file: &str| fs::read(format!("/proc/{}/{file}", engine.pid())).unwrap_or_default();
    let started = [process("cmdline"), process("environ")].concat();
    let shown = [
        engine.status().to_string(),
        String::from_utf8_lossy(&engine.run(&["status"]).stdout).into_owned(),
        String::from_utf8_lossy(&started).into_owned(),
        engine.log(),
    ];
    assert!(shown[3].len() > 200, "it is talkative: {}", shown[3]);
    for secret in &secrets {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for text in &shown {
            assert!(!text.contains(secret.as_str()) && !text.contains(&hex), "{secret:?} shows in:\n{text}");
        }
    }
    engine.down();
}

/// The lines of private and static keys in a profile.
fn key_lines(profile: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in profile.lines() {
        if line.starts_with("-----BEGIN") {
            inside = line.contains("KEY") || line.contains("key");
        } else if line.starts_with("-----END") {
            inside = false;
        } else if inside && line.len() >= 16 {
            lines.push(line.to_owned());
        }
    }
    lines
}
