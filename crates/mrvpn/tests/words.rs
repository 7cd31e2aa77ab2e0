//! What the program says to who has never seen it: each command used wrongly, or without an engine, names what is wrong
//! and what to do. No kernel is changed and no engine is started; what commands do is tested elsewhere.

#![expect(clippy::unwrap_used, reason = "a test program")]

#[path = "support/expected.rs"]
mod expected; // what was said against what shall be
#[path = "../src/load/scratch.rs"]
mod scratch; // directories

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use scratch::Scratch;

const PROFILE: &str = "client\ndev tun\nremote 192.0.2.1\nremote-cert-tls server\nauth-user-pass\n\
                       <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";

/// The program, where no engine runs under the name that it asks for.
fn command(here: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mrvpn"));
    command.args(arguments).current_dir(here).stdin(Stdio::null());
    command.env("XDG_RUNTIME_DIR", here).env("XDG_CONFIG_HOME", here).env("MRVPN_INSTANCE", "nobody-runs-this");
    command
}

fn run(here: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(here, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn without_an_engine_each_command_says_so_and_how_to_start_one() {
    let scratch = Scratch::new("down");
    for arguments in [&["status"][..], &["status", "--watch"]] {
        let (code, out, _) = run(scratch.path(), arguments);
        assert_eq!((code, out.as_str()), (3, "down: no engine runs (`mrvpn up PROFILE...` starts one)\n"));
    }
    for arguments in [&["status", "--json"][..], &["status", "--watch", "--json"]] {
        assert_eq!(run(scratch.path(), arguments).1, "{\"state\":\"down\",\"tunnels\":[]}\n");
    }
    for arguments in [&["explain", "192.0.2.1"][..], &["events"], &["logs"], &["logs", "uk", "-f"]] {
        let (code, out, err) = run(scratch.path(), arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert_eq!(err, "error: no engine runs\nhint: `sudo mrvpn up PROFILE...` starts one\n", "{arguments:?}");
    }
}

#[test]
fn a_mistake_on_the_command_line_exits_with_2_and_says_what_is_meant() {
    let scratch = Scratch::new("usage");
    let cases: [(&[&str], &str); 12] = [
        (&[], "sudo mrvpn up uk.ovpn fr.ovpn"),
        (&["statsu"], "'status'"),
        (&["status", "--jsno"], "'--json'"),
        (&["explain"], "<DST[:PORT]>"),
        (&["explain", "example.org:99999"], "a port is a number from 1 to 65535"),
        (&["explain", "https://example.org/"], "example.org:443"),
        (&["explain", "192.0.2.1:80", "--proto", "icmp"], "icmp has no ports"),
        (&["explain", "192.0.2.1", "--from", "here"], "--from"),
        (&["logs", "uk", "fr"], "'fr'"),
        (&["init", "absent.ovpn"], "absent.ovpn: "),
        (&["--instance", "a/b", "status"], "1 to 32 letters, digits"),
        (&["completions", "cmd"], "bash"),
    ];
    for (arguments, said) in cases {
        let (code, out, err) = run(scratch.path(), arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}

#[test]
fn what_init_prints_is_accepted_by_check() {
    let scratch = Scratch::new("init");
    fs::create_dir(scratch.path().join("profiles")).unwrap();
    for name in ["uk.ovpn", "profiles/New York.ovpn", "profiles/fr.ovpn"] {
        fs::write(scratch.path().join(name), PROFILE).unwrap();
    }
    for (arguments, names) in [
        (&["init"][..], &["uk"][..]),
        (&["init", "uk.ovpn", "profiles"], &["uk", "new-york", "fr"]),
        (&["init", "./profiles/fr.ovpn"], &["fr"]),
    ] {
        let (code, out, err) = run(scratch.path(), arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        let named: Vec<&str> =
            out.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
        assert_eq!(named, names);
        assert!(!out.contains(scratch.path().to_str().unwrap()), "paths are relative: {out}");
        fs::write(scratch.path().join("mrvpn.toml"), &out).unwrap();
        let (code, out, _) = run(scratch.path(), &["check", "mrvpn.toml"]);
        assert_eq!(code, 0, "{out}");
    }
}

#[test]
fn init_leaves_out_what_cannot_be_used_and_says_so() {
    let scratch = Scratch::new("init-refused");
    let (code, out, err) = run(scratch.path(), &["init"]);
    assert_eq!(code, 0);
    assert!(err.contains("no .ovpn file here") && out.contains("# [[tunnel]]"), "{err}{out}");
    fs::write(scratch.path().join("bad.ovpn"), format!("{PROFILE}plugin x.so\n")).unwrap();
    fs::write(scratch.path().join("uk.ovpn"), PROFILE).unwrap();
    let (code, out, err) = run(scratch.path(), &["init"]);
    assert_eq!(code, 0);
    assert!(err.contains("bad.ovpn is refused") && out.contains("# Refused: line "), "{err}{out}");
    fs::write(scratch.path().join("mrvpn.toml"), out).unwrap();
    assert_eq!(run(scratch.path(), &["check", "mrvpn.toml"]).0, 0);
}

/// Commands of a help text, `help` left out.
fn commands(help: &str) -> Vec<String> {
    let listed = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The help of a command and of all below it.
fn help(here: &Path, command: &[&str]) -> String {
    let (code, text, err) = run(here, &[command, &["--help"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{command:?}");
    let mut all = format!("$ mrvpn {}\n{text}\n", [command, &["--help"]].concat().join(" "));
    for name in commands(&text) {
        all += &help(here, &[command, &[&name]].concat());
    }
    all
}

#[test]
fn what_help_and_the_manual_pages_say_is_what_was_read() {
    let scratch = Scratch::new("said");
    let here = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/words").join(name);
    assert_eq!(run(scratch.path(), &["man", "pages"]).0, 0);
    let pages = scratch.path().join("pages");
    let mut names: Vec<_> = fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let page = |name| format!("{name:?}\n{}\n", fs::read_to_string(pages.join(name)).unwrap());
    let man: String = names.iter().map(page).collect();
    let said = [("help.txt", help(scratch.path(), &[])), ("man.txt", man)];
    let version = env!("CARGO_PKG_VERSION");
    let lasting = |text: &str| -> String {
        text.replace(version, "VERSION").lines().map(|line| format!("{}\n", line.trim_end())).collect()
    };
    let compare = |(file, text): &(&str, String)| expected::compare(&here(file), &lasting(text));
    let differences: Vec<String> = said.iter().filter_map(compare).collect();
    assert!(differences.is_empty(), "{}\n(MRVPN_WRITE_EXPECTED=1 writes them anew)", differences.join("\n"));
}

#[test]
fn every_command_has_a_page_and_completions_and_hidden_ones_have_none() {
    let scratch = Scratch::new("pages");
    let commands = commands(&run(scratch.path(), &["--help"]).1);
    let has = |name: &str| commands.iter().any(|command| command == name);
    assert!(has("explain") && has("tunnel") && !has("engine"));
    assert_eq!(run(scratch.path(), &["man", "pages"]).0, 0);
    let (_, completions, _) = run(scratch.path(), &["completions", "bash"]);
    for command in &commands {
        assert!(scratch.path().join(format!("pages/mrvpn-{command}.1")).is_file(), "{command}");
        assert!(completions.contains(command), "{command}");
    }
    assert!(!scratch.path().join("pages/mrvpn-engine.1").exists());
}

#[test]
fn a_reader_that_goes_early_is_no_fault() {
    let scratch = Scratch::new("closed");
    for arguments in [&["init"][..], &["completions", "bash"], &["status", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(scratch.path(), arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code().is_some_and(|code| code < 4) && !said.contains("panicked"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn every_reason_of_a_drop_is_explained_in_the_documents() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/drops.md")).unwrap();
    let explained: Vec<&str> =
        page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect();
    let reasons: Vec<&str> = mrvpn_router::DropReason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(explained, reasons);
}
