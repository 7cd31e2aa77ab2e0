//! Profiles that name files, and files that are no profiles: read with the rights of whoever asks, once, regular ones
//! of bounded size alone, and nothing of what is inside is shown.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::program::{HEAD, Said, check, check_as_ordinary_user, profile};
use crate::scratch::Scratch;

/// What must show nowhere.
const CANARY: &str = "canary-7f3a9c";

/// Directives that name a file, and go with an inline `ca`.
const BESIDE_CA: [&str; 6] = ["cert", "key", "extra-certs", "tls-auth", "tls-crypt", "tls-crypt-v2"];

/// The others that name a file.
const OTHERS: [&str; 6] = ["ca", "auth-user-pass", "crl-verify", "config", "askpass", "secret"];

// proves: T-52
#[test]
fn a_file_of_another_user_fails_with_the_callers_own_permission_denied() {
    let scratch = Scratch::new("others");
    scratch.file("secret", CANARY, 0o000);
    symlink(scratch.path().join("secret"), scratch.path().join("link")).unwrap();
    let inside = format!("../{}/secret", scratch.path().file_name().unwrap().to_str().unwrap());
    let whole = scratch.path().join("secret").display().to_string();
    for directive in BESIDE_CA {
        for path in ["secret", "link", "./secret", &inside, &whole] {
            scratch.file("a.ovpn", profile(&format!("{directive} {path}\n")), 0o644);
            let said = check_as_ordinary_user(&scratch, &["a.ovpn"]);
            refused_in_its_line(&said, directive, "Permission denied");
        }
    }
    scratch.file("a.ovpn", "client\nremote vpn.example\nauth-user-pass\nca secret\n", 0o644);
    let said = check_as_ordinary_user(&scratch, &["a.ovpn"]);
    assert!(said.out.contains("a.ovpn:4: error: `ca`: `secret`: Permission denied"), "{}", said.out);
}

// proves: T-52
#[test]
fn a_profile_or_configuration_of_another_user_is_not_read() {
    let scratch = Scratch::new("profile-of-others");
    for name in ["a.ovpn", "a.toml"] {
        scratch.file(name, CANARY, 0o000);
        let said = check_as_ordinary_user(&scratch, &[name]);
        assert_eq!(said.code, 1);
        assert!(said.out.contains("Permission denied") && !said.out.contains(CANARY), "{}", said.out);
    }
}

// proves: T-52
#[test]
fn devices_pipes_directories_and_large_files_are_not_read() {
    let scratch = Scratch::new("odd");
    mknodat(CWD, scratch.path().join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    symlink("/dev/zero", scratch.path().join("link-to-device")).unwrap();
    symlink("loop", scratch.path().join("loop")).unwrap();
    scratch.file("large", vec![b'x'; 2 * 1024 * 1024], 0o644);
    let odd = [
        ("pipe", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        ("link-to-device", "is not a regular file"),
        (".", "is not a regular file"),
        ("large", "larger than 1 MiB"),
        ("loop", "Too many levels of symbolic links"),
    ];
    for (path, why) in odd {
        for directive in BESIDE_CA {
            scratch.file("a.ovpn", profile(&format!("{directive} {path}\n")), 0o600);
            refused_in_its_line(&check(scratch.path(), &["a.ovpn"]), directive, why);
        }
        // As the profile itself, and as a configuration.
        for name in ["odd.ovpn", "odd.toml"] {
            let _ = std::fs::remove_file(scratch.path().join(name));
            symlink(path, scratch.path().join(name)).unwrap();
            let said = check(scratch.path(), &[name]);
            assert_eq!(said.code, 1);
            assert!(said.out.starts_with(&format!("{name}: error: ")) && said.out.contains(why), "{}", said.out);
        }
    }
}

// proves: T-52
#[test]
fn nothing_of_a_file_that_is_no_key_shows() {
    let scratch = Scratch::new("contents");
    scratch.file("private", format!("{CANARY}:x:0\n-----BEGIN {CANARY}-----\n{CANARY}\n"), 0o600);
    for directive in BESIDE_CA.into_iter().chain(OTHERS) {
        let text = format!("client\nremote vpn.example\n{directive} private\n");
        scratch.file("a.ovpn", text, 0o600);
        for arguments in [&["a.ovpn"][..], &["--json", "a.ovpn"]] {
            let said = check(scratch.path(), arguments);
            assert_eq!(said.code, 1, "{directive}");
            let shown = said.out.replace(&format!("-----END {CANARY}-----"), "");
            assert!(!shown.contains(CANARY) && !said.err.contains(CANARY), "{directive}: {}", said.out);
        }
    }
    scratch.file("odd.toml", format!("{CANARY}\n"), 0o600);
    assert_eq!(check(scratch.path(), &["odd.toml"]).code, 1);
}

fn refused_in_its_line(said: &Said, directive: &str, why: &str) {
    let place = format!("a.ovpn:{}: error: `{directive}`: ", HEAD + 1);
    let line = said.out.lines().find(|line| line.starts_with(&place));
    let line = line.unwrap_or_else(|| panic!("{directive} is not refused: {} {}", said.out, said.err));
    assert!(line.contains(why), "{line}");
    assert_eq!(said.code, 1);
    assert!(!said.out.contains(CANARY) && !said.err.contains(CANARY), "{}", said.out);
}
