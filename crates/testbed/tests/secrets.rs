//! Secrets stay in: no password and no key of a profile shows in what the program prints, answers or is started with, at
//! its most talkative; no other process of its user looks into it, it leaves no core file, and nobody inherits what it has
//! open.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, Output, Stdio},
    time::Duration,
};

use mrvpn_testbed::{
    ACCOUNT, FR, Mrvpn, PROTOS, Process, ServerOptions, UK, US, World, Wrapping, ask,
    mrvpn::{Detached, for_all, program, tunnel},
    wait_until,
};
use rustix::process::Signal;

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

// proves: T-62
#[test]
fn another_process_of_its_user_cannot_look_into_an_engine_and_it_leaves_no_core_file() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None));
    let home = world.scratch.path().join("user");
    fs::create_dir(&home).unwrap();
    let profile = home.join("uk.ovpn");
    fs::write(&profile, world.profile(UK).text()).unwrap();
    for path in [&home, &profile] {
        std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
    }
    fs::set_permissions(&profile, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // A user who is not root and may change the network, and open /dev/net/tun wherever that is root's alone.
    let as_user = |words: &[&str]| {
        let mut command = world.client.command("setpriv");
        command.args(["--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=+net_admin,+dac_override"]);
        command.args(["--ambient-caps=+net_admin,+dac_override"]).args(words);
        command.env("XDG_RUNTIME_DIR", &home).env("XDG_STATE_HOME", &home).env("CANARY", "a-word");
        command
    };
    let start = |name: &str, words: &[&str]| Process::start(name, as_user(words), world.scratch.path());
    let mrvpn = for_all(&program(), &world.scratch).display().to_string();
    let mut engine = start("engine", &[&mrvpn, "up", &format!("uk={}", profile.display())]);
    let open = start("open", &["sleep", "60"]);
    wait_until("the tunnel", Duration::from_secs(5), || {
        assert!(engine.is_running(), "{}", engine.log());
        ask(&world.client, PROTOS[1], UK.inner, None).is("uk", UK.client).then_some(())
    });
    let look = |pid: u32, file: &str| as_user(&["cat", &format!("/proc/{pid}/{file}")]).output().unwrap();
    let seen = |output: &Output| output.status.success() && !output.stdout.is_empty();
    for file in ["environ", "maps"] {
        assert!(seen(&look(open.pid(), file)), "the test sees what can be seen: {file}");
        let engine = look(engine.pid(), file);
        assert!(!seen(&engine), "{file}: {engine:?}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", engine.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{limits}");
    engine.signal(Signal::ABORT);
    let status = engine.wait_end(Duration::from_secs(2));
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false), "{status}\n{}", engine.log());
    drop(open);
    let output = as_user(&[&mrvpn, "down"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

// proves: T-64
#[test]
fn what_an_engine_has_open_nobody_inherits_and_it_inherits_nothing_of_a_shell() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let arguments = world.write_profiles();
    let mut engine = Mrvpn::up(&world, &arguments);
    // What whoever runs the tests has left open is passed on to every program that is started here.
    let mut sleep = world.client.command("sleep");
    sleep.arg("60");
    let other = Process::start("other", sleep, world.scratch.path());
    check_descriptors(engine.pid(), &descriptors(other.pid()));
    engine.down_for_now();

    // As a shell with files of its own starts it, and a program that waits for the end of a pipe.
    let engine = Detached::new(&world);
    let words: Vec<&str> = ["up", "--detach"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let inner = engine.command(&words);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7</etc/hostname 8>/dev/null 9>&1; exec \"$@\"", "sh"]).arg(inner.get_program());
    shell.args(inner.get_args()).stdin(Stdio::null()).current_dir(world.scratch.path());
    // It returns only when nobody has its output open any more.
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let pid = engine.pid().unwrap();
    check_descriptors(pid, &[]);
    let names: Vec<String> = descriptors(pid).into_iter().map(|(_, name, _)| name).collect();
    assert!(!names.iter().any(|name| name.contains("hostname")), "{names:?}");
    assert!(names.iter().all(|name| !name.starts_with("pipe:")), "{names:?}");
    assert_eq!(engine.run(&["down"]).status.code(), Some(0));
}

/// Every descriptor but the standard ones and those that others gave it closes on exec, and there are no children.
#[track_caller]
fn check_descriptors(pid: u32, given: &[(u32, String, bool)]) {
    let all = descriptors(pid);
    assert!(all.len() > 10, "{all:?}");
    for descriptor in all {
        let (number, _, closes) = descriptor;
        assert!(number <= 2 || closes || given.contains(&descriptor), "{descriptor:?} would be inherited");
    }
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        assert_eq!(children.trim(), "", "it has no children");
    }
}

/// Number, what it is, and whether it closes on exec (`O_CLOEXEC`, octal 02000000 in proc(5)).
fn descriptors(pid: u32) -> Vec<(u32, String, bool)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let read = |entry: fs::DirEntry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_link(entry.path()).ok()?.display().to_string();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
        Some((number, name, u32::from_str_radix(flags, 8).ok()? & 0o2_000_000 != 0))
    };
    entries.filter_map(read).collect()
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
