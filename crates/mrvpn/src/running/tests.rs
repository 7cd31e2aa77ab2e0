use mrvpn_profile::Secret;

use super::*;
use crate::load::scratch::Scratch;

const PROFILE: &str = "client\ndev tun\nremote 192.0.2.1\nremote-cert-tls server\nauth-user-pass\n\
                       <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn given(user: &str) -> Credentials {
    Credentials { user: user.to_owned(), password: Secret::new(String::from("secret")) }
}

/// A file with these tunnels, and a rule that names `fr`.
fn write(scratch: &Scratch, tunnels: &[&str]) -> Arguments {
    let mut text = String::new();
    for name in tunnels {
        scratch.file(&format!("{name}.ovpn"), PROFILE, 0o600);
        text += &format!("[[tunnel]]\nname = \"{name}\"\nprofile = \"{name}.ovpn\"\n");
    }
    text += "[[rule]]\nname = \"intranet\"\nto = \"10.0.0.0/8\"\nvia = \"fr\"\n";
    let config = scratch.file("mrvpn.toml", &text, 0o600).display().to_string();
    Arguments { source: Source { config: Some(config), ..Source::default() }, service_credentials: None }
}

fn bundle(arguments: Arguments, answers: &[(&str, Credentials)]) -> Bundle {
    let gathered = load::gather(arguments).unwrap();
    let names: Vec<String> = gathered.loaded.config.tunnels.iter().map(|tunnel| tunnel.name.clone()).collect();
    let (_, mut bundle) = gathered.ask(&names).unwrap();
    bundle.answers = answers.iter().map(|(name, given)| ((*name).to_owned(), given.clone())).collect();
    bundle
}

fn bytes(bundle: &Bundle) -> Zeroizing<Vec<u8>> {
    bundle.encode().unwrap()
}

/// An engine that was started with `arguments`, and what it hears.
fn started(arguments: Arguments, answers: &[(&str, Credentials)]) -> (Running, mpsc::Receiver<Command>) {
    let mut bundle = bundle(arguments, answers);
    let loaded = load::load(&bundle.arguments, &mut bundle.files).unwrap();
    let (commands, heard) = mpsc::channel(1);
    (Running::new(commands, Now::new("work", bundle.arguments, loaded, bundle.answers)), heard)
}

/// Takes the next configuration, with what `outcome` says came of it.
async fn take(heard: &mut mpsc::Receiver<Command>, outcome: Result<Reloaded, Refused>) -> EngineConfig {
    let Some(Command::Reload { config, answer, .. }) = heard.recv().await else { panic!("no reload came") };
    answer.send(outcome).unwrap();
    *config
}

fn users(config: &EngineConfig) -> Vec<Option<&str>> {
    config.tunnels.iter().map(|tunnel| tunnel.credentials.as_ref().map(|given| given.user.as_str())).collect()
}

#[test]
fn what_was_typed_once_need_not_be_typed_again() {
    run(async {
        let scratch = Scratch::new("running-typed");
        let arguments = write(&scratch, &["uk", "fr"]);
        let (running, mut heard) = started(arguments.clone(), &[("uk", given("ann"))]);
        assert_eq!(running.source().await.answered, ["uk"]);
        let sent = bytes(&bundle(arguments, &[("fr", given("bob"))]));
        let (done, config) = tokio::join!(running.reload(sent, false), take(&mut heard, Ok(Reloaded::default())));
        assert!(done.is_ok());
        assert_eq!(users(&config), [Some("ann"), Some("bob")]);
        assert_eq!(running.source().await.answered, ["fr", "uk"]);
    });
}

// proves: T-62
#[test]
fn a_password_that_was_typed_for_one_authority_is_not_given_to_another() {
    run(async {
        let scratch = Scratch::new("running-ca");
        let arguments = write(&scratch, &["uk", "fr"]);
        let (running, mut heard) = started(arguments.clone(), &[("uk", given("ann"))]);
        scratch.file("uk.ovpn", PROFILE.replace("MAA=", "MAIFAA=="), 0o600);
        let sent = bytes(&bundle(arguments, &[]));
        let (_, config) = tokio::join!(running.reload(sent, false), take(&mut heard, Ok(Reloaded::default())));
        assert_eq!(users(&config), [None, None]);
    });
}

#[test]
fn what_is_refused_or_only_tried_changes_nothing() {
    run(async {
        let scratch = Scratch::new("running-refused");
        let arguments = write(&scratch, &["uk", "fr"]);
        let (running, mut heard) = started(arguments, &[]);
        let more = write(&scratch, &["uk", "fr", "de"]);
        let sent = || bytes(&bundle(more.clone(), &[]));
        let no = Refused { message: String::from("no"), hint: String::from("yes") };
        let (done, _) = tokio::join!(running.reload(sent(), false), take(&mut heard, Err(no)));
        assert_eq!(done, Err(NotDone { why: String::from("no"), hint: Some(String::from("yes")) }));
        let (done, _) = tokio::join!(running.reload(sent(), true), take(&mut heard, Ok(Reloaded::default())));
        assert!(done.is_ok());
        assert_eq!(running.changes.now.lock().await.config.tunnels.len(), 2);
    });
}

#[test]
fn bytes_that_are_no_bundle_change_nothing() {
    run(async {
        let scratch = Scratch::new("running-bytes");
        let (running, _heard) = started(write(&scratch, &["uk", "fr"]), &[]);
        let done = running.reload(Zeroizing::new(b"{}\n".to_vec()), false).await;
        assert!(done.is_err_and(|error| error.hint.is_some_and(|hint| hint.contains("same version"))));
    });
}

#[test]
fn a_tunnel_is_added_behind_the_others_and_the_file_is_named_that_does_not_have_it() {
    run(async {
        let scratch = Scratch::new("running-add");
        let (running, mut heard) = started(write(&scratch, &["uk", "fr"]), &[]);
        let profile = scratch.file("de.ovpn", PROFILE, 0o600).display().to_string();
        let more = Arguments::one_more(&profile, None, None, &[]).unwrap();
        let sent = || bytes(&bundle(more.clone(), &[("de", given("ann"))]));
        let (done, config) = tokio::join!(running.add(sent()), take(&mut heard, Ok(Reloaded::default())));
        let said = done.unwrap();
        assert!(said.contains("mrvpn.toml") && said.contains("next reload"), "{said}");
        assert_eq!(users(&config), [None, None, Some("ann")]);
        assert_eq!(config.rules.len(), 1);
        let twice = running.add(sent()).await.unwrap_err();
        assert!(twice.why.contains("de"), "{}", twice.why);
    });
}

#[test]
fn a_tunnel_that_a_rule_names_stays_and_places_behind_one_that_goes_move_up() {
    run(async {
        let scratch = Scratch::new("running-remove");
        let (running, mut heard) = started(write(&scratch, &["uk", "fr"]), &[]);
        let refused = running.remove("fr").await.unwrap_err();
        assert!(refused.why.contains("`intranet`"), "{}", refused.why);
        assert!(running.remove("nobody").await.unwrap_err().hint.unwrap().contains("uk, fr"));
        let (done, config) = tokio::join!(running.remove("uk"), take(&mut heard, Ok(Reloaded::default())));
        assert!(done.unwrap().contains("next reload"));
        assert_eq!(config.tunnels[0].name, "fr");
        assert_eq!(config.rules[0].via, Target::Tunnel(TunnelId::new(0)));
        let last = running.remove("fr").await.unwrap_err();
        assert!(last.why.contains("intranet"), "{}", last.why);
    });
}

#[test]
fn an_engine_of_profiles_reads_again_what_was_added_and_not_what_was_removed() {
    run(async {
        let scratch = Scratch::new("running-profiles");
        let path = |name: &str| scratch.file(&format!("{name}.ovpn"), PROFILE, 0o600).display().to_string();
        let (running, mut heard) = started(Arguments::of(None, &[path("uk")], None).unwrap(), &[]);
        assert!(running.remove("uk").await.unwrap_err().hint.unwrap().contains("mrvpn down"));
        let more = bytes(&bundle(Arguments::one_more(&path("de"), None, None, &[]).unwrap(), &[]));
        let (done, _) = tokio::join!(running.add(more), take(&mut heard, Ok(Reloaded::default())));
        assert_eq!(done.unwrap(), "de is added and connects.");
        assert_eq!(running.source().await.profiles.len(), 2);
        let (done, _) = tokio::join!(running.remove("uk"), take(&mut heard, Ok(Reloaded::default())));
        assert_eq!(done.unwrap(), "uk is removed.");
        assert_eq!(running.source().await.profiles, [format!("de={}", path("de"))]);
    });
}

#[test]
fn a_tunnel_that_is_added_with_user_and_password_of_its_own_keeps_them_over_a_reload() {
    run(async {
        let scratch = Scratch::new("running-own");
        let path = |name: &str| scratch.file(&format!("{name}.ovpn"), PROFILE, 0o600).display().to_string();
        let account = |user: &str| scratch.file(user, format!("{user}\nsecret\n"), 0o600);
        let (all, own) = (account("all"), account("own"));
        let (running, mut heard) = started(Arguments::of(None, &[path("uk")], Some(&all)).unwrap(), &[]);
        let engines = running.source().await.credentials;
        let more = Arguments::one_more(&path("de"), Some(&own), engines, &[]).unwrap();
        let sent = bytes(&bundle(more, &[]));
        let (done, config) = tokio::join!(running.add(sent), take(&mut heard, Ok(Reloaded::default())));
        assert!(done.is_ok());
        assert_eq!(users(&config), [Some("all"), Some("own")]);
        let again = bytes(&bundle(Arguments::again(running.source().await), &[]));
        let (_, config) = tokio::join!(running.reload(again, false), take(&mut heard, Ok(Reloaded::default())));
        assert_eq!(users(&config), [Some("all"), Some("own")]);
        let (done, _) = tokio::join!(running.remove("de"), take(&mut heard, Ok(Reloaded::default())));
        assert!(done.is_ok() && running.source().await.accounts.is_empty());
    });
}

#[test]
fn an_interface_of_another_name_is_told_to_the_engine_in_the_place_that_it_has() {
    run(async {
        let scratch = Scratch::new("running-scope");
        let arguments = write(&scratch, &["uk", "fr"]);
        let (running, mut heard) = started(arguments.clone(), &[]);
        running.changes.now.lock().await.config.scope = load::scope_at(3, "work", &EngineConfig::new());
        let text = std::fs::read_to_string(scratch.path().join("mrvpn.toml")).unwrap();
        let reload = async |running: &Running, heard: &mut mpsc::Receiver<Command>| {
            let sent = bytes(&bundle(arguments.clone(), &[]));
            tokio::join!(running.reload(sent, false), take(heard, Ok(Reloaded::default()))).1.scope
        };
        assert_eq!(reload(&running, &mut heard).await, running.changes.now.lock().await.config.scope);
        scratch.file("mrvpn.toml", format!("[engine]\ninterface = \"vpn\"\n{text}"), 0o600);
        let other = reload(&running, &mut heard).await;
        assert_eq!((other.slot, other.device.as_str(), other.firewall.as_str()), (3, "vpn", "mrvpn_work"));
    });
}

#[test]
fn a_change_that_was_begun_is_carried_to_its_end_when_its_caller_goes() {
    run(async {
        let scratch = Scratch::new("running-gone");
        let (running, mut heard) = started(write(&scratch, &["uk", "fr"]), &[]);
        let sent = bytes(&bundle(write(&scratch, &["uk", "fr", "de"]), &[]));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(200), running.reload(sent, false)).await;
        assert!(waited.is_err());
        take(&mut heard, Ok(Reloaded::default())).await;
        assert_eq!(running.changes.now.lock().await.config.tunnels.len(), 3);
    });
}
