//! Files that are made to cost time or memory: each ends in a verdict, and twice the file costs twice the time.

use std::time::{Duration, Instant};

use mrvpn_profile::ovpn::{self, NoFiles};

use crate::program::{check, profile};
use crate::scratch::Scratch;

/// What a bomb repeats.
const PARTS: [&str; 18] = [
    "\"",
    "'",
    "\\",
    " ",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "<a>\n",
    "<a>\n</a>\n",
    "<connection>\n",
    "remote a\n",
    "client\n",
    "a-directive-that-nobody-knows and its parameters\n",
    "remtoe a\n",
    "route 10.0.0.0 255.255.255.255\n",
    "setenv opt frob\n",
    "-----BEGIN A-----\n",
];

// proves: T-53
#[test]
fn files_of_the_largest_size_end_in_a_verdict_with_lines() {
    let scratch = Scratch::new("bombs");
    for part in PARTS {
        let bombs = [repeated(part, LARGEST), format!("client\nremote a\n<ca>\n{}", repeated(part, 200 * 1024))];
        for bomb in bombs {
            scratch.file("bomb.ovpn", bomb, 0o600);
            for arguments in [&["bomb.ovpn"][..], &["--json", "bomb.ovpn"]] {
                let said = check(scratch.path(), arguments);
                assert_eq!((said.code, said.err.as_str()), (1, ""), "{part:?}");
                assert!(said.out.contains("bomb.ovpn"), "{part:?}");
            }
        }
    }
}

// proves: T-53
#[test]
fn a_million_remotes_are_not_even_read() {
    let scratch = Scratch::new("million");
    scratch.file("a.ovpn", profile(&"remote vpn.example 1194\n".repeat(1_000_000)), 0o600);
    let said = check(scratch.path(), &["a.ovpn"]);
    assert!(said.out.contains("a.ovpn: error: is larger than 1 MiB") && said.code == 1, "{}", said.out);
    // As many as fit into a file that is read.
    scratch.file("b.ovpn", profile(&"remote a\n".repeat(29_000)), 0o600);
    let said = check(scratch.path(), &["b.ovpn"]);
    assert!(said.out.contains("more than 64 remotes") && said.out.lines().count() < 200, "{}", said.out);
}

// proves: T-53
#[test]
fn byte_order_marks_and_windows_line_ends_are_read_and_nul_and_open_blocks_refused_with_a_line() {
    let scratch = Scratch::new("marks");
    for (text, accepted) in [
        (format!("\u{feff}{}", profile("")), true),
        (profile("").replace('\n', "\r\n"), true),
        (format!("{}\0\n", profile("")), false),
        (profile("remote b\0.example\n"), false),
        (profile("<cert>\nnever closed\n"), false),
        (format!("{}\n", profile("").replacen("</ca>", "</ca", 1)), false),
    ] {
        scratch.file("a.ovpn", &text, 0o600);
        let said = check(scratch.path(), &["a.ovpn"]);
        assert_eq!(said.code == 0, accepted, "{text:?}: {}", said.out);
        assert!(accepted || said.out.lines().any(|line| line.starts_with("a.ovpn:") && line.contains(": error: ")));
    }
}

// proves: T-53
#[test]
fn time_grows_with_the_length_of_a_file_and_no_faster() {
    let slow: Vec<String> = PARTS.into_iter().filter_map(grows_too_fast).collect();
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

/// Compares what a KiB costs in a short and in a long file. If the cost grew with the square, it would be four times as
/// much; the best of several runs leaves out what else this machine does.
fn grows_too_fast(part: &str) -> Option<String> {
    let (short, long) = (repeated(part, LARGEST / 4), repeated(part, LARGEST));
    let mut ratios = Vec::new();
    for _ in 0..ATTEMPTS {
        let per_kib = |text: &str| best_time(text).as_secs_f64() / text.len() as f64;
        let ratio = per_kib(&long) / per_kib(&short);
        if ratio < 2.5 {
            return None;
        }
        ratios.push(ratio);
    }
    Some(format!("{part:?}: a KiB of the long file costs {ratios:.1?} times that of the short one"))
}

fn best_time(text: &str) -> Duration {
    let time = |_| {
        let started = Instant::now();
        let _ = ovpn::parse(text.as_bytes(), &mut NoFiles);
        started.elapsed()
    };
    (0..3).map(time).min().expect("three runs")
}

fn repeated(part: &str, length: usize) -> String {
    part.repeat(length / part.len())
}

/// 256 KiB: the longest file that is read line by line.
const LARGEST: usize = 256 * 1024;

/// Measurements before a file counts as slow.
const ATTEMPTS: usize = 4;
