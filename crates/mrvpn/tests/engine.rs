//! The program's commands that start and change engines, as far as no kernel is changed: usage, broken files, dry runs, and
//! the process that `--detach` starts. What they do to a host is shown in namespaces by the testbed.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails there fails the test")]

#[path = "../src/load/scratch.rs"]
mod scratch; // directories

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use scratch::Scratch;

const PROFILE: &str = "client\ndev tun\nremote 192.0.2.1\nremote-cert-tls server\nauth-user-pass\n\
                       <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";

/// 65534: a user without rights, whom every Linux has.
const NOBODY: u32 = 65_534;

/// The program as a user without rights and without a terminal, whoever runs the test.
fn as_nobody(here: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
        fs::set_permissions(here, Permissions::from_mode(0o777)).unwrap();
    }
    command.args(["setsid", "--wait", env!("CARGO_BIN_EXE_mrvpn")]);
    command.args(arguments).current_dir(here).stdin(Stdio::null());
    command.env("XDG_RUNTIME_DIR", here).env("XDG_CONFIG_HOME", here).env("XDG_STATE_HOME", here.join("state"));
    command.env_remove("CREDENTIALS_DIRECTORY").env("MRVPN_INSTANCE", "nobody-runs-this");
    command
}

fn run(here: &Path, arguments: &[&str]) -> (i32, String, String) {
    told(&as_nobody(here, arguments).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_dry_run_needs_no_rights_asks_for_no_password_and_leaves_nothing() {
    let scratch = Scratch::new("dry");
    scratch.file("uk.ovpn", PROFILE, 0o644);
    let (code, out, err) = run(scratch.path(), &["up", "--dry-run", "uk.ovpn"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("open interface mrvpn"), "{out}");
    assert!(lines.iter().any(|line| line.starts_with("set nftables tables inet mrvpn_nobody-runs-this")), "{out}");
    assert!(lines.iter().any(|line| line.starts_with("add address ")), "{out}");
    assert_eq!(scratch.names(), ["uk.ovpn"]);
}

#[test]
fn up_without_rights_says_so_before_it_asks_for_anything() {
    let scratch = Scratch::new("rights");
    scratch.file("uk.ovpn", PROFILE, 0o644);
    for arguments in [&["up", "uk.ovpn"][..], &["up", "--detach", "uk.ovpn"]] {
        let (code, out, err) = run(scratch.path(), arguments);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("CAP_NET_ADMIN") && err.contains("sudo mrvpn up"), "{err}");
    }
    assert_eq!(scratch.names(), ["uk.ovpn"]);
}

#[test]
fn a_broken_file_is_named_with_its_line_and_is_wrong_usage() {
    let scratch = Scratch::new("broken");
    scratch.file("uk.ovpn", format!("{PROFILE}frobnicate\n"), 0o644);
    scratch.file("mrvpn.toml", "[[tunnel]]\nname = \"uk\"\nprofle = \"uk.ovpn\"\n", 0o644);
    for how in [&[][..], &["--detach"], &["--dry-run"]] {
        let (code, out, err) = run(scratch.path(), &[&["up"], how, &["uk.ovpn"]].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.starts_with("error: uk.ovpn:11: "), "{err}");
        let (code, _, err) = run(scratch.path(), &[&["up"], how].concat());
        assert_eq!(code, 2);
        assert!(err.starts_with("error: mrvpn.toml:3: ") && err.contains("profile"), "{err}");
    }
}

// proves: T-52
#[test]
fn a_file_that_the_caller_may_not_read_is_not_read() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new("not-yours");
    scratch.file("uk.ovpn", PROFILE.replace("remote-cert-tls server\n", "tls-crypt roots.key\n"), 0o644);
    scratch.file("roots.key", "canary\n", 0o600);
    let (code, _, err) = run(scratch.path(), &["up", "--dry-run", "uk.ovpn"]);
    assert_eq!(code, 2);
    assert!(err.contains("Permission denied") && !err.contains("canary"), "{err}");
}

#[test]
fn usage_is_held() {
    let scratch = Scratch::new("usage");
    scratch.file("uk.ovpn", PROFILE, 0o644);
    for wrong in [
        &["up", "--detach", "--dry-run", "uk.ovpn"][..],
        &["up", "--wait", "3601", "uk.ovpn"],
        &["up", "--wait", "-1", "uk.ovpn"],
        &["up", "uk=uk.ovpn", "uk=uk.ovpn"],
        &["up", "direct=uk.ovpn"],
        &["tunnel", "jump", "uk"],
        &["tunnel", "stop"],
        &["reload", "uk.ovpn"],
        &["--instance", "a/b", "up", "uk.ovpn"],
    ] {
        let (code, out, err) = run(scratch.path(), wrong);
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}: {err}");
        assert!(!err.is_empty());
    }
}

#[test]
fn down_with_nothing_to_do_is_fine_and_changes_need_an_engine() {
    let scratch = Scratch::new("nothing");
    let (code, out, _) = run(scratch.path(), &["down"]);
    assert_eq!((code, out.as_str()), (0, "no engine of this user is up\n"));
    for arguments in [&["reload"][..], &["tunnel", "stop", "uk"], &["tunnel", "remove", "uk"]] {
        let (code, _, err) = run(scratch.path(), arguments);
        assert_eq!(code, 1);
        assert!(err.contains("no engine runs") && err.contains("mrvpn up"), "{err}");
    }
}

#[test]
fn the_process_that_is_started_takes_nothing_but_a_bundle() {
    let scratch = Scratch::new("bundle");
    for sent in [&b""[..], b"{}\n", b"{\"version\":1}\n", b"\xff\xff\n", &[b'x'; 100_000]] {
        let mut command = as_nobody(scratch.path(), &["engine", "--wait", "0", "--bundle", &sent.len().to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(sent);
        let (code, out, _) = told(&child.wait_with_output().unwrap());
        assert_eq!(code, 2, "{out}");
        assert!(out.contains("the same version"), "{out}");
    }
}

#[test]
fn what_a_killed_engine_left_is_told_with_what_to_type() {
    let scratch = Scratch::new("left");
    fs::create_dir_all(scratch.path().join("mrvpn/nobody-runs-this")).unwrap();
    scratch.file("mrvpn/nobody-runs-this/journal", "", 0o600);
    for arguments in [&["status"][..], &["status", "--watch"]] {
        let (code, out, _) = run(scratch.path(), arguments);
        assert_eq!(code, 3);
        assert!(out.contains("was killed") && out.contains("`mrvpn down --instance nobody-runs-this`"), "{out}");
    }
    let (code, out, _) = run(scratch.path(), &["status", "--json"]);
    assert_eq!((code, out.as_str()), (3, "{\"state\":\"down\",\"tunnels\":[],\"left\":true}\n"));
    let (_, out, _) = run(scratch.path(), &["--instance", "another", "status"]);
    assert!(out.starts_with("down: no engine runs"), "{out}");
}

#[test]
fn several_engines_are_listed_where_none_is_named_to_one_who_may_not_open_their_locks_too() {
    let scratch = Scratch::new("several");
    let mut locks = Vec::new();
    for name in ["one", "two"] {
        let directory = scratch.path().join("mrvpn").join(name);
        fs::create_dir_all(&directory).unwrap();
        let socket = UnixListener::bind(directory.join("control.sock")).unwrap();
        fs::set_permissions(directory.join("control.sock"), Permissions::from_mode(0o666)).unwrap();
        let path = scratch.file(&format!("mrvpn/{name}/lock"), "", 0o600);
        let lock = fs::File::open(path).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        locks.push((socket, lock));
    }
    for arguments in [&["down"][..], &["reload"], &["status"]] {
        let mut command = as_nobody(scratch.path(), arguments);
        let (code, _, err) = told(&command.env_remove("MRVPN_INSTANCE").output().unwrap());
        assert_eq!(code, 2);
        assert!(err.contains("one, two") && err.contains("--instance"), "{err}");
    }
}
