//! `up` in its ways, and `down`: what is printed, the exit code, and what is on the host afterwards. Commands against a
//! running engine are in `commands_tunnels.rs` and `commands_explain.rs`.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::{
    fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    ACCOUNT, FR, HostSnapshot, Mrvpn, NOBODY, PROTOS, ProfileText, REGIONS, ServerOptions, UK, US, World, Wrapping,
    ask,
    mrvpn::{Detached, User, become_user, for_all, program, tunnel},
};
use rustix::process::Signal;

const RULES: &str = "\n[[rule]]\nto = [\"203.0.113.10/32\"]\nport = [\"7000-7010\"]\nvia = \"us\"\n";

/// How long an end may take (threats-and-faults.md, F-34).
const END: Duration = Duration::from_secs(2);

// proves: F-20, F-34
#[test]
fn a_detached_engine_outlives_its_terminal_is_the_only_one_and_ends_by_sigterm() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let before = HostSnapshot::take(&world.client);
    let engine = Detached::new(&world);
    let arguments = world.write_config(RULES);
    let output = engine.up(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for region in REGIONS {
        assert!(text(&output.stdout).contains(&format!("{}  up  {}", region.name, region.client)), "{output:?}");
        assert!(ask(&world.client, PROTOS[0], region.inner, None).is(region.name, region.client));
    }
    let pid = engine.pid().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // State, parent, group, session, terminal (proc(5)).
    assert_eq!((fields[3], fields[4]), (pid.to_string().as_str(), "0"), "a session of its own, without a terminal");
    for stream in 0..3 {
        let to = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
        assert_eq!(to, Path::new("/dev/null"), "stream {stream}");
    }
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"), "it keeps no directory busy");
    rustix::process::kill_process(rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::HUP)
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(engine.status()["state"], "up", "a closed terminal does not reach it");

    // Another one is told who has the instance, in each way, and disturbs nothing.
    let since = engine.status()["since"].clone();
    for words in [&["up"][..], &["up", "--detach"], &["up", "--dry-run"]] {
        let words: Vec<&str> = words.iter().copied().chain(arguments.iter().map(String::as_str)).collect();
        let second = engine.run(&words);
        assert_eq!(second.status.code(), Some(1), "{second:?}");
        let told = text(&second.stderr);
        assert!(told.contains(&pid.to_string()) && told.contains("mrvpn down"), "{told}");
    }
    assert_eq!((engine.pid(), engine.status()["since"].clone()), (Some(pid), since));
    let took = engine.end_by(Signal::TERM);
    assert!(took < END, "ended after {took:?}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
    assert_eq!(engine.run(&["status", "--json"]).status.code(), Some(3));

    // Down twice: there is nothing to do the second time, and that is fine.
    assert_eq!(engine.up(&arguments).status.code(), Some(0));
    for said in ["the host is as before", "nothing is up"] {
        let output = engine.run(&["down"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stdout).contains(said), "{output:?}");
        assert!(!engine.is_running());
    }
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
}

#[test]
fn what_is_not_up_is_named_with_its_mend_and_nothing_is_left_where_all_were_refused() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None));
    world.start_server(FR, ServerOptions::new(Wrapping::TlsAuth).with_password());
    let before = HostSnapshot::take(&world.client);
    let profile =
        |name: &str, profile: ProfileText| format!("{name}={}", world.write_profile(name, &profile).display());
    let uk = profile("uk", world.profile(UK));
    let wrong = profile("fr", world.profile(FR).account((ACCOUNT.0, "wrong")));
    let silent = profile("us", world.profile(US).remote(NOBODY));
    let engine = Detached::new(&world);

    // One was refused for good: the others run on.
    let output = engine.up(&[&uk, &wrong]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(told.contains("auth-refused (auth): ") && told.contains("hint: check user and password"), "{told}");
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.iter().any(|words| words.starts_with(&["uk", "up", "10.100.0.2"])), "{told}");
    assert!(lines.iter().any(|words| words.starts_with(&["fr", "failed"])), "{told}");
    let status = engine.status();
    assert_eq!(status["state"], "degraded", "{status:#}");
    assert_eq!(tunnel(&status, "fr")["error"]["code"], "auth-refused");
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
    assert_eq!(engine.run(&["down"]).status.code(), Some(0));

    // One does not answer: it is waited for as long as is said, and it goes on trying.
    let (begun, output) = (Instant::now(), engine.up(&["--wait", "1", &uk, &silent]));
    let took = begun.elapsed();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
    let told = text(&output.stderr);
    assert!(told.contains("us is not up yet") && told.contains("mrvpn status"), "{told}");
    assert!(engine.is_running());
    assert_eq!(engine.run(&["down"]).status.code(), Some(0));
    let (begun, output) = (Instant::now(), engine.up(&[&uk, &silent]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "without an answer for 10 s it has failed: {:?}",
        begun.elapsed()
    );
    let status = engine.status();
    assert_eq!(tunnel(&status, "us")["error"]["code"], "no-answer", "{status:#}");
    assert!(text(&output.stdout).contains("no-answer") || text(&output.stderr).contains("no-answer"), "{output:?}");
    assert_eq!(engine.run(&["down"]).status.code(), Some(0));

    // All were refused for good, in either way.
    let output = engine.up(&[&wrong]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!((text(&output.stdout) + &text(&output.stderr)).contains("auth-refused"), "{output:?}");
    assert!(!engine.is_running(), "{:#}", engine.status());
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
    let output = engine.run(&["up", &wrong]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");

    // What cannot be read is said at once.
    world.scratch.write("broken.toml", "[engine]\nmark = 7\n[[tunnel]]\nname = \"uk\"\nprofil = \"uk.ovpn\"\n");
    for words in [&["up"][..], &["up", "--detach"], &["up", "--dry-run"]] {
        let output = engine.run(&[words, &["-c", "broken.toml"]].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("broken.toml:"), "{output:?}");
        let output = engine.run(&[words, &["uk=nowhere.ovpn"]].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("nowhere.ovpn"), "{output:?}");
    }
    assert!(!engine.is_running());
}

#[test]
fn a_dry_run_prints_what_up_then_does_changes_nothing_and_needs_no_root() {
    let mut world = World::new(0);
    world.start_servers(|region, options| match region.name {
        "fr" => options.push("redirect-gateway def1"),
        _ => options,
    });
    let arguments = world.write_config(RULES);
    let words: Vec<&str> = ["up", "--dry-run"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let mut engine = Mrvpn::up(&world, &arguments);
    engine.wait(|status| status["default"]["via"] == "fr");
    engine.down_for_now();

    // With what the servers were known to claim.
    let before = HostSnapshot::take(&world.client);
    let output = engine.run(&words);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "a dry run changes nothing");
    assert!(!Path::new("/run/mrvpn").join(engine.instance()).exists(), "and leaves nothing");
    let printed = text(&output.stdout);
    let printed: Vec<&str> = printed.lines().collect();
    assert!(printed[0].starts_with("open interface mrvpn0"), "{printed:#?}");
    for word in ["203.0.113.10", UK.prefix, "nftables"] {
        assert!(printed.iter().any(|line| line.contains(word)), "{word}: {printed:#?}");
    }
    engine.start_again(&world, &arguments);
    engine.wait(|status| status["state"] == "up");
    let log = engine.log();
    let done: Vec<&str> = log.lines().filter(|line| line.contains("network step")).collect();
    assert!(done.len() >= printed.len() - 1, "{printed:#?}\n{done:#?}");
    for (line, step) in printed[1..].iter().zip(&done) {
        assert!(is_step(line, step), "printed {line:?}, done {step:?}");
    }
    engine.down_for_now();

    // As anyone, with files that he may read.
    let user = User { uid: 65_534, groups: &[] };
    let mut arguments = Vec::new();
    for region in REGIONS {
        let path = world.write_profile(region.name, &world.profile(region));
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        arguments.push(format!("{}={}", region.name, path.display()));
    }
    let words: Vec<&str> = ["up", "--dry-run"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let output = engine.run_as(user, &words, &world.scratch);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("open interface"), "{output:?}");
    // But nothing is done without the right to.
    let mut command = world.client.command("setpriv");
    command.args(&become_user(user)[1..]).arg(for_all(&program(), &world.scratch)).arg("up").args(&arguments);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("sudo mrvpn up"), "{output:?}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
}

#[test]
fn a_command_that_could_mean_either_of_two_engines_lists_them() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None));
    world.start_server(FR, ServerOptions::new(Wrapping::TlsAuth));
    let profiles = world.write_profiles();
    let engines = [Mrvpn::up(&world, &profiles[..1]), Mrvpn::up(&world, &profiles[1..2])];
    for words in
        [&["status"][..], &["down"], &["reload"], &["logs"], &["tunnel", "stop", "uk"], &["explain", "10.0.0.1"]]
    {
        let output = nameless(&world, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        let told = text(&output.stderr);
        assert!(engines.iter().all(|engine| told.contains(engine.instance())), "{words:?}: {told}");
        assert!(told.contains("--instance"), "{words:?}: {told}");
    }
    let mut command = world.client.command(program());
    command.env("MRVPN_INSTANCE", engines[1].instance()).args(["status", "--json"]);
    let output = command.output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["tunnels"][0]["name"], "fr", "{status:#}");
    for (region, other) in [(UK, FR), (FR, UK)] {
        assert!(
            ask(&world.client, PROTOS[0], region.inner, None).is(region.name, region.client),
            "beside {}",
            other.name
        );
    }
    let [first, second] = engines;
    first.down();
    assert!(ask(&world.client, PROTOS[0], FR.inner, None).is("fr", FR.client), "one's end is not the other's");
    second.down();
}

/// Whether a printed line says the step that the log shows: the same kind, and every prefix and address that is named.
fn is_step(line: &str, step: &str) -> bool {
    let kinds = [("route", "AddRoute"), ("rule", "AddRule"), ("address", "AddAddress"), ("nftables", "SetFirewall")];
    let kind = kinds.iter().any(|(word, kind)| line.split(' ').any(|part| part == *word) && step.contains(kind));
    let named = line.split(' ').filter(|word| word.contains(['/', ':']) && !word.starts_with("0x"));
    kind && named.into_iter().all(|word| step.contains(word.trim_end_matches("/32")))
}

/// A command without the name of an instance.
fn nameless(world: &World, words: &[&str]) -> Output {
    world.client.command(program()).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
