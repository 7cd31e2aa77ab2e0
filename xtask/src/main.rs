//! The project's own commands, `cargo xtask NAME`:
//!
//! * `test`    all tests, kernel tests included; sets up what they need
//! * `check`   format, lints, documentation, layers, threat rows, licences
//! * `sim`     simulated runs by the thousand: `[--seeds N] [--from S]`, without root
//! * `layers`  which crate may depend on which
//! * `bench`   our client beside Debian's openvpn client, against the same server and against our own
//!
//! What the tests themselves are made of is in `crates/testbed`; nothing here touches a network.

mod cargo_test; // runs `cargo test` and adds up what it says
mod check; // all that is checked without running the program
mod error_codes; // each is documented
mod hashes; // maps by hash have a random key
mod layers; // the map of crates
mod machine; // Debian packages and rights that kernel tests need
mod metadata; // what cargo says of the workspace
mod sources; // the project's Rust files
mod step; // one line of output a step
mod test; // the order of the tests
mod testbed_tests; // which of testbed's need a kernel
mod threats; // rows that must have a test

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use step::say;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = words.first().map(String::as_str);
    let passed = match command {
        Some("test") => test::run(),
        Some("check") => check::run(),
        Some("sim") => sim(&words[1..]),
        Some("layers") => step::report("layers", layers::check),
        Some("bench") => bench(&words[1..]),
        _ => {
            say("cargo xtask test | check | sim [--seeds N] [--from S] | layers | bench [--quick] [NAME...]");
            return ExitCode::from(2);
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The measuring program is testbed's; here both are built as users would have them.
fn bench(arguments: &[String]) -> bool {
    let measured = machine::prepare(machine::FOR_BENCH).and_then(|()| {
        let program = metadata::released_program()?;
        let build = ["build", "--release", "--package", "mrvpn", "--package", "mrvpn-testbed", "--bins"];
        if !cargo(&build, &program) {
            return Err(String::from("mrvpn does not build"));
        }
        let bench = ["run", "--release", "--quiet", "--package", "mrvpn-testbed", "--bin", "testbed-bench", "--"];
        let words: Vec<&str> = bench.into_iter().chain(arguments.iter().map(String::as_str)).collect();
        Ok(cargo(&words, &program))
    });
    measured.unwrap_or_else(|reason| {
        say(&reason);
        false
    })
}

/// The simulating program is testbed's; it is built as fast as it goes.
fn sim(arguments: &[String]) -> bool {
    let sim = ["run", "--release", "--quiet", "--package", "mrvpn-testbed", "--bin", "mrvpn-sim", "--"];
    let words: Vec<&str> = sim.into_iter().chain(arguments.iter().map(String::as_str)).collect();
    cargo(&words, Path::new(""))
}

/// Runs cargo with its output shown and the program under test in `MRVPN_BIN`; whether it succeeded.
fn cargo(arguments: &[&str], program: &Path) -> bool {
    let status = Command::new("cargo").args(arguments).env("MRVPN_BIN", program).current_dir(sources::root()).status();
    status.is_ok_and(|status| status.success())
}
