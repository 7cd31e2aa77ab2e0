//! `mrvpn demo`, as someone runs it who has just built it: as root, as an ordinary user, in a user namespace, and where
//! something is missing. Its world is its own; that of these tests is only where it must leave no trace.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    HostSnapshot, Netns, Process, Scratch,
    mrvpn::{User, become_user, for_all, program},
    unique_name,
};
use rustix::process::Signal;
use serde_json::Value;

/// Lines that the demo may have at most.
const LINES: usize = 40;

/// Columns that a terminal has at least; lines that name this program's path may be longer.
const COLUMNS: usize = 80;

/// Opens to all what is root's alone on this machine.
const OPEN_TUN: &str = "mknod $T/tun c 10 200 && chmod 0666 $T/tun && mount --bind $T/tun /dev/net/tun";

const SOMEBODY: User<'_> = User { uid: 65_534, groups: &[] };

/// A machine with an address, so that there is something to change.
struct Machine {
    netns: Netns,
    scratch: Scratch,
}

impl Machine {
    fn new() -> Self {
        let name = unique_name();
        let (netns, scratch) = (Netns::new(&name), Scratch::new(&name));
        netns.ip("link add eth0 type veth peer name eth1\nlink set eth1 up\nlink set eth0 up\naddr add 192.168.1.2/24 dev eth0");
        Self { netns, scratch }
    }

    /// A shell on this machine, as root with mounts of its own. `$P` is the program, `$T` this test's directory.
    fn shell(&self, script: &str) -> Command {
        use std::os::unix::fs::PermissionsExt;
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.scratch.path(), open).unwrap();
        let mut command = self.netns.command("unshare");
        command.args(["--mount", "sh", "-c", script]).env("T", self.scratch.path());
        command.env("P", for_all(&program(), &self.scratch)).env_remove("NO_COLOR");
        command
    }

    /// Runs it to its end; nothing of the machine has changed then.
    #[track_caller]
    fn run(&self, script: &str) -> Output {
        let before = HostSnapshot::take(&self.netns);
        let output = self.shell(script).stdin(Stdio::null()).output().unwrap();
        assert_eq!(before.difference(&HostSnapshot::take(&self.netns)), "", "{output:?}");
        output
    }

    /// Words for `$P demo` as an ordinary user, to whom /dev/net/tun is open.
    fn as_somebody(more: &str) -> String {
        format!("{OPEN_TUN} && exec {} {more}", become_user(SOMEBODY).join(" "))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The document of a demo that went well, each of its parts looked at.
#[track_caller]
fn proved(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout).lines().count(), 1, "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], true, "{document}");
    let tunnels = document["tunnels"].as_array().unwrap();
    let assigned = [("uk", "10.100.0.2"), ("fr", "10.101.0.2"), ("us", "10.102.0.2")];
    let lengths = [16, 16, 24];
    assert_eq!(tunnels.len(), assigned.len(), "{document}");
    for ((tunnel, (name, address)), length) in tunnels.iter().zip(assigned).zip(lengths) {
        assert_eq!(tunnel["name"], name);
        assert_eq!(tunnel["assigned"], serde_json::json!([format!("{address}/{length}")]));
        assert_eq!(tunnel["presented"], serde_json::json!([format!("{address}/32")]));
        let addresses = document["interface"]["addresses"].as_array().unwrap();
        assert!(addresses.contains(&tunnel["presented"][0]), "one interface has all: {document}");
    }
    let proofs = document["proof"].as_array().unwrap();
    for proof in proofs {
        let address = assigned.iter().find(|(name, _)| proof["via"] == *name).unwrap().1;
        assert_eq!(proof["region_seen"], proof["via"], "{proof}");
        assert_eq!((&proof["client_seen"], &proof["ok"]), (&address.into(), &true.into()), "{proof}");
        assert!(proof["request"].as_str().unwrap().starts_with("203.0.113.10:"), "{proof}");
    }
    let ways = |by: &str| proofs.iter().filter(|proof| proof["by"] == by).count();
    assert_eq!((ways("rule"), ways("source"), ways("default")), (3, 4, 1), "{document}");
    for aside in ["before", "after"] {
        assert_eq!(document[aside]["region_seen"], "internet", "without tunnels: {document}");
    }
    let restart = &document["restart"];
    assert_eq!((&restart["elsewhere"], &restart["in_clear"]), (&0.into(), &0.into()), "{restart}");
    assert_eq!((&restart["tunnel"], &restart["same_address"]), (&"fr".into(), &true.into()), "{restart}");
    assert!(restart["back_ms"].as_u64().is_some_and(|time| time < 10_000), "{restart}");
    for other in restart["others"].as_array().unwrap() {
        assert!(other["requests"].as_u64().unwrap() >= 1000, "{restart}");
        assert_eq!(other["lost"], 0, "{restart}");
    }
    document
}

/// Refused with this reason and this line to type; nothing on standard output.
#[track_caller]
fn refused(output: &Output, why: &str, line: &str) {
    let told = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{output:?}");
    assert!(told.starts_with("error: ") && told.contains(why), "{told}");
    assert!(told.contains("hint: ") && told.contains(line), "{told}");
}

#[test]
fn as_root_every_proof_holds_and_no_file_is_left() {
    let machine = Machine::new();
    let hidden =
        "mount -n -t tmpfs none /run && mount -n -t tmpfs none /var/lib && mkdir $T/home && export HOME=$T/home";
    let output = machine.run(&format!("{hidden} && $P demo --json && find /run /var/lib $T/home -mindepth 1 >&2"));
    proved(&output);
    assert_eq!(text(&output.stderr), "", "it keeps nothing: {output:?}");
}

#[test]
fn as_an_ordinary_user_every_proof_holds() {
    let machine = Machine::new();
    let output = machine.run(&Machine::as_somebody("$P demo --json"));
    proved(&output);
    assert_eq!(text(&output.stderr), "", "{output:?}");
}

#[test]
fn in_a_user_namespace_every_proof_holds() {
    let machine = Machine::new();
    let output = machine.run("exec unshare -Urn $P demo --json");
    proved(&output);
    assert_eq!(text(&output.stderr), "", "{output:?}");
}

#[test]
fn what_it_prints_is_what_the_readme_shows() {
    let machine = Machine::new();
    let output = machine.run(&Machine::as_somebody("$P demo"));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{output:?}");
    let printed = text(&output.stdout);
    assert!(printed.lines().count() <= LINES, "{printed}");
    assert!(printed.chars().all(|letter| letter == '\n' || (' '..='~').contains(&letter)), "plain text: {printed:?}");
    let program = for_all(&program(), &machine.scratch).display().to_string();
    for line in printed.lines().filter(|line| !line.contains(&program)) {
        assert!(line.len() <= COLUMNS, "{line}");
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let begin = printed.lines().next().unwrap();
    let shown = readme.lines().skip_while(|line| line.trim() != begin).take(printed.lines().count());
    let shown: Vec<String> = shown.map(lasting).collect();
    let printed: Vec<String> = printed.replace(&program, "target/release/mrvpn").lines().map(lasting).collect();
    assert_eq!(shown, printed, "README.md shows another output");
}

/// A line without what differs from run to run: times, numbers of requests, and the spaces that align them.
fn lasting(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let next = words.iter().skip(1).chain([&""]);
    let unit = |word: &str| ["ms", "s", "s.", "requests,"].contains(&word);
    let kept = words.iter().zip(next).map(|(word, next)| if unit(next) { "#" } else { word });
    kept.collect::<Vec<_>>().join(" ")
}

#[test]
fn on_a_terminal_it_has_colours_and_progress_unless_they_are_not_wanted() {
    let machine = Machine::new();
    let terminal = |before: &str| {
        let script = format!("{before} TERM=xterm exec script --quiet --return --command '$P demo' /dev/null");
        let output = machine.run(&script);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
    };
    let coloured = terminal("");
    assert!(coloured.contains("\x1b[32mok\x1b[0m") && coloured.contains("connecting three tunnels"), "{coloured:?}");
    let plain = terminal("NO_COLOR=1");
    assert!(!plain.contains("\x1b[3") && plain.contains("connecting three tunnels"), "{plain:?}");
    for shown in [&coloured, &plain] {
        assert!(shown.matches('\n').count() <= LINES, "{shown}");
    }
}

#[test]
fn ctrl_c_at_any_moment_leaves_nothing() {
    let machine = Machine::new();
    let before = HostSnapshot::take(&machine.netns);
    // A program that is killed before it listens ends as well. Only where its parent ignores Ctrl-C (`&`, `nohup`) it has none.
    for milliseconds in [5, 100, 400, 1000, 1700] {
        let name = format!("demo-{milliseconds}");
        let mut demo =
            Process::start(&name, machine.shell("exec env --default-signal $P demo"), machine.scratch.path());
        thread::sleep(Duration::from_millis(milliseconds));
        let asked = Instant::now();
        demo.signal(Signal::INT);
        let status = demo.wait_end(Duration::from_secs(5));
        assert!(!status.success() && asked.elapsed() < Duration::from_secs(2), "{status:?}: {}", demo.log());
        assert_eq!(before.difference(&HostSnapshot::take(&machine.netns)), "", "after {milliseconds} ms");
    }
}

#[test]
fn where_a_tun_device_cannot_be_had_it_says_why_and_what_to_type() {
    let machine = Machine::new();
    let missing = machine.run("mount -t tmpfs none /dev/net && exec $P demo");
    refused(&missing, "/dev/net/tun is missing", "`sudo modprobe tun`");
    let closed = "mknod $T/tun c 10 200 && chmod 0600 $T/tun && mount --bind $T/tun /dev/net/tun";
    let closed = machine.run(&format!("{closed} && exec {} $P demo --json", become_user(SOMEBODY).join(" ")));
    refused(&closed, "/dev/net/tun may not be opened by this user", "`sudo chmod 0666 /dev/net/tun`");
}

#[test]
fn where_namespaces_are_off_it_says_so_and_what_to_type() {
    let machine = Machine::new();
    let powerless = "exec setpriv --bounding-set=-all --inh-caps=-all $P demo";
    let script =
        |setting: &str, then: &str| format!("exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/{setting} && {then}'");
    let output = machine.run(&script("max_user_namespaces", powerless));
    refused(&output, "user namespaces are off", "`sudo sysctl user.max_user_namespaces=15000`");
    let output = machine.run(&script("max_net_namespaces", "exec $P demo"));
    refused(&output, "network namespaces are off", "`sudo sysctl user.max_net_namespaces=15000`");
}
