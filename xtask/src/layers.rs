//! The map of crates (ARCHITECTURE.md), held by a tool: a dependency that the map does not have fails, and so does a pure
//! crate that could do I/O, read a clock or hold `unsafe`.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{metadata, sources::root, step::Reasons};

/// Each crate of the workspace with the crates of the workspace that it may use.
const MAP: [(&str, &[&str]); 11] = [
    ("mrvpn-clock", &[]),
    ("mrvpn-profile", &["mrvpn-clock"]),
    ("mrvpn-proto", &["mrvpn-clock", "mrvpn-profile"]),
    ("mrvpn-router", &["mrvpn-clock"]),
    ("mrvpn-netplan", &["mrvpn-clock", "mrvpn-profile", "mrvpn-router"]),
    ("mrvpn-host", &["mrvpn-clock", "mrvpn-netplan", "mrvpn-router"]),
    ("mrvpn-engine", &["mrvpn-clock", "mrvpn-netplan", "mrvpn-profile", "mrvpn-proto", "mrvpn-router"]),
    (
        "mrvpn-region",
        &["mrvpn-clock", "mrvpn-engine", "mrvpn-host", "mrvpn-netplan", "mrvpn-profile", "mrvpn-proto", "mrvpn-router"],
    ),
    (
        "mrvpn",
        &[
            "mrvpn-clock",
            "mrvpn-engine",
            "mrvpn-host",
            "mrvpn-netplan",
            "mrvpn-profile",
            "mrvpn-proto",
            "mrvpn-region",
            "mrvpn-router",
        ],
    ),
    (
        TESTBED,
        &[
            "mrvpn-clock",
            "mrvpn-engine",
            "mrvpn-netplan",
            "mrvpn-profile",
            "mrvpn-proto",
            "mrvpn-region",
            "mrvpn-router",
        ],
    ),
    ("xtask", &[]),
];

/// For tests: others may use it as a dev-dependency, and its own tests may use everything.
const TESTBED: &str = "mrvpn-testbed";

/// Crates that take time, randomness and the platform as arguments.
const PURE: [&str; 5] = ["mrvpn-clock", "mrvpn-profile", "mrvpn-proto", "mrvpn-router", "mrvpn-netplan"];

/// What a pure crate could do I/O, wait or read a clock with.
const IMPURE: [&str; 12] = [
    "async-io",
    "chrono",
    "getrandom",
    "jiff",
    "libc",
    "mio",
    "netlink-sys",
    "nix",
    "quinn-udp",
    "rustix",
    "socket2",
    "tokio",
];

/// What the clippy.toml of a pure crate must ban at least.
const BANS: [&str; 6] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::net::UdpSocket",
    "std::fs::File",
    "std::process::Command",
];

/// What tests alone may do with the protocol, such as a scripted TLS: never built into the program.
const TEST_FEATURE: (&str, &str) = ("mrvpn-proto", "test-peer");

/// Compares `cargo metadata` and the pure crates' files with the map.
pub(crate) fn check() -> Result<String, Reasons> {
    let metadata = metadata::read().map_err(|reason| vec![reason])?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let mut reasons: Reasons = packages.iter().flat_map(judge_package).collect();
    reasons.extend(PURE.into_iter().flat_map(judge_pure));
    if reasons.is_empty() { Ok(format!("{} crates", packages.len())) } else { Err(reasons) }
}

fn judge_package(package: &Value) -> Reasons {
    let name = text(package, "name");
    let Some((_, allowed)) = MAP.iter().find(|(known, _)| *known == name) else {
        return vec![format!("{name} is not on the map: add it to xtask/src/layers.rs and to ARCHITECTURE.md")];
    };
    let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
    dependencies.iter().filter_map(|dependency| judge(name, allowed, dependency)).collect()
}

fn judge(package: &str, allowed: &[&str], dependency: &Value) -> Option<String> {
    let (name, kind) = (text(dependency, "name"), text(dependency, "kind"));
    if kind == "dev" {
        // A crate names itself to switch on a feature for its own tests.
        let fine =
            !is_ours(name) || allowed.contains(&name) || [package, TESTBED].contains(&name) || package == TESTBED;
        return (!fine).then(|| format!("{package}'s tests may not use {name}: tests across crates live in testbed"));
    }
    if is_ours(name) && !allowed.contains(&name) {
        return Some(format!("{package} may not use {name}"));
    }
    if PURE.contains(&package) && IMPURE.contains(&name) {
        return Some(format!("{package} is pure and may not use {name}: time, randomness and I/O are arguments"));
    }
    let features = dependency["features"].as_array().cloned().unwrap_or_default();
    let test_peer =
        package != TESTBED && name == TEST_FEATURE.0 && features.iter().any(|feature| feature == TEST_FEATURE.1);
    test_peer.then(|| format!("{package} may use {}'s feature {} in tests only", TEST_FEATURE.0, TEST_FEATURE.1))
}

fn judge_pure(package: &str) -> Reasons {
    let directory = root().join("crates").join(package.trim_start_matches("mrvpn-"));
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    let mut reasons = Vec::new();
    if !read("src/lib.rs").contains("#![forbid(unsafe_code)]") {
        reasons.push(format!("{package} is pure: its lib.rs needs #![forbid(unsafe_code)]"));
    }
    let clippy = read("clippy.toml");
    let missing: BTreeSet<&str> = BANS.into_iter().filter(|ban| !clippy.contains(&format!("\"{ban}\""))).collect();
    if !missing.is_empty() {
        reasons.push(format!("{package} is pure: its clippy.toml does not ban {missing:?}"));
    }
    reasons
}

fn is_ours(name: &str) -> bool {
    MAP.iter().any(|(known, _)| *known == name)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependency: Value) -> Value {
        json!({"name": name, "dependencies": [dependency]})
    }

    #[test]
    fn a_dependency_that_the_map_does_not_have_is_named() {
        let reasons = judge_package(&package("mrvpn-router", json!({"name": "mrvpn-engine", "kind": null})));
        assert_eq!(reasons, ["mrvpn-router may not use mrvpn-engine"]);
    }

    #[test]
    fn a_pure_crate_may_not_use_the_platform_but_its_tests_may() {
        assert_eq!(judge_package(&package("mrvpn-proto", json!({"name": "tokio", "kind": null}))).len(), 1);
        assert!(judge_package(&package("mrvpn-proto", json!({"name": "tokio", "kind": "dev"}))).is_empty());
    }

    #[test]
    fn testbed_and_the_test_peer_are_for_tests_only() {
        let testbed = |kind: Value| package("mrvpn-engine", json!({"name": "mrvpn-testbed", "kind": kind}));
        assert_eq!(judge_package(&testbed(Value::Null)).len(), 1);
        assert!(judge_package(&testbed(json!("dev"))).is_empty());
        let peer = |kind: Value| {
            package("mrvpn-engine", json!({"name": "mrvpn-proto", "kind": kind, "features": ["test-peer"]}))
        };
        assert_eq!(judge_package(&peer(Value::Null)).len(), 1);
        assert!(judge_package(&peer(json!("dev"))).is_empty());
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_named() {
        assert_eq!(judge_package(&package("mrvpn-new", json!({"name": "serde", "kind": null}))).len(), 1);
    }
}
