//! Profiles that would run a program, load code, open a port or write a file. Nothing of that happens, and each such
//! line is named with what mrvpn does instead.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::program::{HEAD, check, profile};
use crate::scratch::Scratch;

/// Directives that run the program behind `$`, give programs something, or open a port.
const RUN: [&str; 27] = [
    "up $",
    "down $",
    "down-pre",
    "up-delay 1",
    "up-restart",
    "route-up $",
    "route-pre-down $",
    "ipchange $",
    "tls-verify $",
    "auth-user-pass-verify $ via-file",
    "client-connect $",
    "client-disconnect $",
    "client-crresponse $",
    "learn-address $",
    "tls-crypt-v2-verify $",
    "tls-export-cert $",
    "dns-updown $",
    "iproute $",
    "script-security 3 system",
    "setenv PATH $",
    "setenv LD_PRELOAD $",
    "setenv-safe PROGRAM $",
    "management 127.0.0.1 7505",
    "management /tmp/mrvpn-test-control.sock unix",
    "management-client",
    "management-query-passwords",
    "management-up-down",
];

/// Directives that load what is behind `$`.
const LOAD: [&str; 6] =
    ["plugin $", "plugin $ argument", "engine $", "providers legacy $", "pkcs11-providers $", "dev-node unix:$"];

/// Directives that write what is behind `$`, or change where and as whom the program works.
const WRITE: [&str; 19] = [
    "log $",
    "log-append $",
    "status $ 1",
    "status-version 3",
    "writepid $",
    "tmp-dir $",
    "cd $",
    "chroot $",
    "user nobody",
    "group nogroup",
    "setcon unconfined",
    "replay-persist $",
    "ifconfig-pool-persist $",
    "syslog name",
    "daemon name",
    "inetd",
    "nice -20",
    "mlock",
    "machine-readable-output",
];

// proves: T-50
#[test]
fn what_runs_a_program_is_ignored_by_name_and_runs_nothing() {
    let scratch = Scratch::new("run");
    let program = trap(&scratch);
    for directive in RUN {
        let verdict = judged(&scratch, directive, &program);
        assert_eq!(verdict["accepted"], true, "{directive}: {verdict}");
        let remark = remark(&verdict["ignored"], directive);
        assert!(remark["why"].as_str().unwrap().len() > 20, "{directive}: {remark}");
        assert!(!verdict["used"].as_array().unwrap().contains(&remark["directive"]), "{directive}");
    }
    assert!(!scratch.path().join("ran").exists(), "a program of a profile was run");
}

// proves: T-50
#[test]
fn what_loads_code_refuses_the_file_by_name_however_it_is_written() {
    let scratch = Scratch::new("load");
    let program = trap(&scratch);
    for directive in LOAD {
        let (name, rest) = directive.split_once(' ').unwrap();
        let forms = [
            directive.to_owned(),
            format!("--{directive}"),
            format!("'{name}' {rest}"),
            format!("\t\"{name}\"   {rest}\r"),
            format!("setenv opt {directive}"),
        ];
        for form in forms {
            let verdict = judged(&scratch, &form, &program);
            assert_eq!(verdict["accepted"], false, "{form}");
            let remark = remark(&verdict["refused"], directive);
            assert!(!remark["hint"].as_str().unwrap().is_empty(), "{form}: {remark}");
        }
        for permission in [format!("ignore-unknown-option {name}"), String::from("setenv FORWARD_COMPATIBLE 1")] {
            let verdict = judged(&scratch, &format!("{permission}\n{directive}"), &program);
            assert_eq!(verdict["accepted"], false, "{permission}: {directive}");
        }
    }
    assert!(!scratch.path().join("ran").exists(), "a program of a profile was run");
}

// proves: T-51
#[test]
fn what_writes_is_ignored_by_name_and_writes_nothing() {
    let scratch = Scratch::new("write");
    let target = scratch.path().join("target");
    for directive in WRITE {
        let verdict = judged(&scratch, directive, &target);
        assert_eq!(verdict["accepted"], true, "{directive}: {verdict}");
        assert!(remark(&verdict["ignored"], directive)["why"].as_str().unwrap().len() > 20, "{directive}");
        assert!(!target.exists(), "{directive}");
    }
}

// proves: T-51
#[test]
fn a_thousand_hostile_imports_leave_the_file_system_as_it_was() {
    let scratch = Scratch::new("thousand");
    let home = scratch.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("existing"), "what was there").unwrap();
    fs::create_dir(home.join("directory")).unwrap();
    let targets = ["existing", "new", "directory", "directory/new", "../home/new", "./existing"];
    let directives: Vec<&str> = RUN.into_iter().chain(LOAD).chain(WRITE).collect();
    let names: Vec<String> = (0..1_000).map(|number| format!("import-{number}.ovpn")).collect();
    for (number, name) in names.iter().enumerate() {
        let one = directives[number % directives.len()].replace('$', targets[number % targets.len()]);
        let other = directives[(number * 7 + 3) % directives.len()].replace('$', targets[(number / 6) % targets.len()]);
        fs::write(home.join(name), profile(&format!("cd directory\n{one}\n{other}\n"))).unwrap();
    }
    let before = Entry::all_below(&home);
    for batch in names.chunks(100) {
        let arguments: Vec<String> = batch.iter().map(|name| format!("home/{name}")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = check(scratch.path(), &arguments);
        assert!(said.out.contains("100 files: "), "{}", said.err);
    }
    assert_eq!(before.len(), 1_003);
    assert!(before == Entry::all_below(&home), "something was written, or something is gone");
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["home"]);
}

/// A program that leaves a mark when it is run.
fn trap(scratch: &Scratch) -> PathBuf {
    let mark = scratch.path().join("ran");
    scratch.file("trap", format!("#!/bin/sh\necho ran >{}\n", mark.display()), 0o755)
}

/// The verdict on a profile that ends in `directive`, with the path in place of `$`.
fn judged(scratch: &Scratch, directive: &str, path: &Path) -> Value {
    let text = directive.replace('$', &path.display().to_string());
    scratch.file("hostile.ovpn", profile(&format!("{text}\n")), 0o600);
    let said = check(scratch.path(), &["--json", "hostile.ovpn"]);
    let verdict = said.json()[0].take();
    assert_eq!(said.code == 0, verdict["accepted"] == true, "{directive}");
    verdict
}

/// What is said of the directive, which stands in the line after the head.
fn remark<'a>(remarks: &'a Value, directive: &str) -> &'a Value {
    let name = directive.split(' ').next().unwrap_or_default();
    let found = remarks
        .as_array()
        .into_iter()
        .flatten()
        .find(|remark| remark["directive"] == name && remark["line"] == HEAD + 1);
    found.unwrap_or_else(|| panic!("nothing is said of {directive}: {remarks}"))
}

/// One file or directory as it is.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    inode: u64,
    mode: u32,
    modified: SystemTime,
    content: Vec<u8>,
}

impl Entry {
    fn all_below(directory: &Path) -> BTreeMap<PathBuf, Self> {
        let mut found = BTreeMap::from([(directory.to_owned(), Self::of(directory))]);
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.extend(Self::all_below(&path));
            } else {
                found.insert(path.clone(), Self::of(&path));
            }
        }
        found
    }

    fn of(path: &Path) -> Self {
        let about = fs::symlink_metadata(path).expect("it is there");
        let content = if about.is_file() { fs::read(path).expect("it can be read") } else { Vec::new() };
        Self { inode: about.ino(), mode: about.mode(), modified: about.modified().expect("it has a time"), content }
    }
}
