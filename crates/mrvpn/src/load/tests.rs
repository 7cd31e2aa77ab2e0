use std::path::Path;

use mrvpn_profile::Secret;

use super::*;
use crate::control::Source;
use crate::load::scratch::Scratch;
use crate::log_ring::LogRing;

const PROFILE: &str = "client\ndev tun\nremote 192.0.2.1\nremote-cert-tls server\n\
                       <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";

/// What a command reads of one file in `scratch`.
fn arguments(scratch: &Scratch) -> Arguments {
    let config = scratch.path().join("mrvpn.toml").display().to_string();
    Arguments { source: Source { config: Some(config), ..Source::default() }, service_credentials: None }
}

fn profile(scratch: &Scratch, more: &str) {
    scratch.file("uk.ovpn", format!("{PROFILE}{more}"), 0o600);
}

fn config(scratch: &Scratch, engine: &str, tunnel: &str) {
    let text = format!("[engine]\n{engine}\n[[tunnel]]\nname = \"uk\"\nprofile = \"uk.ovpn\"\n{tunnel}\n");
    scratch.file("mrvpn.toml", &text, 0o600);
}

fn account(scratch: &Scratch, name: &str, user: &str) -> String {
    scratch.file(name, format!("{user}\nsecret\n"), 0o600).display().to_string()
}

fn user(arguments: &Arguments) -> Option<String> {
    let loaded = load(arguments, &mut Disk::default()).unwrap();
    loaded.config.tunnels[0].credentials.as_ref().map(|given| given.user.clone())
}

#[test]
fn user_and_password_come_from_the_nearest_place_that_has_them() {
    let scratch = Scratch::new("order");
    let mut arguments = arguments(&scratch);
    profile(&scratch, "auth-user-pass\n");
    config(&scratch, "", "");
    assert_eq!(user(&arguments), None);
    arguments.service_credentials = Some(scratch.path().display().to_string());
    account(&scratch, "uk.auth", "service");
    assert_eq!(user(&arguments).as_deref(), Some("service"));
    account(&scratch, "engine.auth", "engine");
    config(&scratch, "credentials = \"engine.auth\"", "");
    assert_eq!(user(&arguments).as_deref(), Some("engine"));
    arguments.source.credentials = Some(account(&scratch, "said.auth", "said"));
    assert_eq!(user(&arguments).as_deref(), Some("said"));
    account(&scratch, "named.auth", "named");
    profile(&scratch, "auth-user-pass named.auth\n");
    assert_eq!(user(&arguments).as_deref(), Some("named"));
    profile(&scratch, "auth-user-pass named.auth\n<auth-user-pass>\ninline\nsecret\n</auth-user-pass>\n");
    assert_eq!(user(&arguments).as_deref(), Some("inline"));
    account(&scratch, "own.auth", "own");
    config(&scratch, "credentials = \"engine.auth\"", "credentials = \"own.auth\"");
    assert_eq!(user(&arguments).as_deref(), Some("own"));
}

#[test]
fn what_was_typed_fills_only_what_no_file_has() {
    let scratch = Scratch::new("typed");
    profile(&scratch, "auth-user-pass\n");
    config(&scratch, "", "");
    let mut loaded = load(&arguments(&scratch), &mut Disk::default()).unwrap();
    let given = |user: &str| Credentials { user: user.to_owned(), password: Secret::new(String::from("secret")) };
    fill(&mut loaded.config.tunnels, &BTreeMap::from([(String::from("uk"), given("typed"))]));
    fill(&mut loaded.config.tunnels, &BTreeMap::from([(String::from("uk"), given("later"))]));
    assert_eq!(loaded.config.tunnels[0].credentials.as_ref().map(|given| given.user.as_str()), Some("typed"));
}

#[test]
fn a_tunnel_that_asks_for_no_password_gets_none_and_the_user_is_told() {
    let scratch = Scratch::new("not-asked");
    let own = "<cert>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</cert>\n\
               <key>\n-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n</key>\n";
    profile(&scratch, own);
    account(&scratch, "own.auth", "own");
    config(&scratch, "", "credentials = \"own.auth\"");
    let loaded = load(&arguments(&scratch), &mut Disk::default()).unwrap();
    assert_eq!(loaded.config.tunnels[0].credentials, None);
    assert!(loaded.notes[0].contains("asks for no user"), "{:?}", loaded.notes);
}

// proves: T-62
#[test]
fn a_password_file_of_a_profile_that_others_can_read_is_refused_with_the_line_to_type() {
    let scratch = Scratch::new("named-open");
    profile(&scratch, "auth-user-pass named.auth\n");
    config(&scratch, "", "");
    scratch.file("named.auth", "ann\ncanary\n", 0o644);
    let failure = load(&arguments(&scratch), &mut Disk::default()).unwrap_err();
    assert_eq!(failure.code(), crate::failure::USAGE);
    assert!(failure.to_string().contains("named.auth") && failure.to_string().contains("chmod 600"), "{failure}");
    assert!(!format!("{failure:?}").contains("canary"));
}

#[test]
fn a_profile_with_a_key_inside_that_others_can_read_is_warned_of() {
    let scratch = Scratch::new("key-open");
    config(&scratch, "", "");
    profile(&scratch, "auth-user-pass\n<auth-user-pass>\nann\nsecret\n</auth-user-pass>\n");
    let notes = || load(&arguments(&scratch), &mut Disk::default()).unwrap().notes;
    assert_eq!(notes(), Vec::<String>::new());
    scratch.file("uk.ovpn", std::fs::read_to_string(scratch.path().join("uk.ovpn")).unwrap(), 0o644);
    assert!(notes()[0].contains("chmod 600"), "{:?}", notes());
}

// proves: T-52
#[test]
fn an_engine_comes_to_the_same_configuration_without_opening_a_file() {
    let scratch = Scratch::new("same");
    let named = "auth-user-pass /nowhere/named.auth\ntls-crypt missing/tc.key\n";
    scratch.file("uk.ovpn", format!("{PROFILE}{named}"), 0o644);
    let key = "0123456789abcdef0123456789abcdef\n".repeat(16);
    let block = format!("-----BEGIN OpenVPN Static key V1-----\n{key}-----END OpenVPN Static key V1-----\n");
    scratch.file("tc.key", &block, 0o600);
    account(&scratch, "engine.auth", "engine");
    let rules = "[[rule]]\nto = \"10.0.0.0/8\"\nvia = \"uk\"\n";
    config(
        &scratch,
        "credentials = \"engine.auth\"\ninterface = \"vpn\"",
        &format!("bypass = \"203.0.113.9\"\n{rules}"),
    );
    let gathered = gather(arguments(&scratch)).unwrap();
    let (here, bundle) = gathered.ask(&[]).unwrap();
    let bytes = bundle.encode().unwrap();
    drop(scratch);
    let mut sent = Bundle::decode(&bytes).unwrap();
    let there = load(&sent.arguments, &mut sent.files).unwrap();
    assert_eq!(there, here);
    assert_eq!(there.config.tunnels[0].credentials.as_ref().unwrap().user, "engine");
    assert!(there.notes[0].contains("tc.key"), "{:?}", there.notes);
}

#[test]
fn what_of_a_profile_is_ignored_stands_in_the_log_under_its_tunnel() {
    let scratch = Scratch::new("ignored");
    config(&scratch, "", "");
    profile(&scratch, "auth-user-pass\nup /bin/true\n");
    let ring = LogRing::new();
    ring.during(|| load(&arguments(&scratch), &mut Disk::default())).unwrap();
    let lines = ring.read(0, usize::MAX).lines;
    assert_eq!(lines.iter().map(|line| line.tunnel.as_deref()).collect::<Vec<_>>(), [Some("uk")]);
    assert!(lines[0].text.contains(":11: `up` is ignored"), "{}", lines[0].text);
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let scratch = Scratch::new("broken");
    config(&scratch, "interfaec = \"vpn\"", "");
    let failure = load(&arguments(&scratch), &mut Disk::default()).unwrap_err();
    assert!(failure.to_string().contains("mrvpn.toml:2: "), "{failure}");
    config(&scratch, "", "");
    profile(&scratch, "frobnicate\n");
    let failure = load(&arguments(&scratch), &mut Disk::default()).unwrap_err();
    assert!(failure.to_string().contains("uk.ovpn:10: "), "{failure}");
    assert_eq!(failure.code(), crate::failure::USAGE);
}

#[test]
fn a_path_is_shown_as_seen_from_here() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(shown(&here.join("a/uk.ovpn")), "a/uk.ovpn");
    assert_eq!(shown(Path::new("/elsewhere/uk.ovpn")), "/elsewhere/uk.ovpn");
}
