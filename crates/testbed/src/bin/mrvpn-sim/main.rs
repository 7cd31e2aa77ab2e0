//! Runs simulations by the thousand: `mrvpn-sim --seeds N [--from S]`. `cargo xtask sim` builds and starts it. It prints how
//! far it is, and of each failed run its seed, the actions that are needed, and who said what. Exit code 1 where a run
//! failed, 2 where the command line is wrong.

mod arguments;
mod output;

use std::process::ExitCode;

use mrvpn_testbed::sim::hostile::HostileScenario;
use mrvpn_testbed::sim::pair::PairOverTls;
use mrvpn_testbed::sim::{Pair, Report, Scenario, Seeds, WorldScenario, run_many};

use arguments::Arguments;

fn main() -> ExitCode {
    let words = std::env::args().skip(1);
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(reason) => {
            output::say(&format!("{reason}\n{}", arguments::USAGE));
            return ExitCode::from(2);
        }
    };
    let mut fine = true;
    if arguments.pair > 0 {
        fine &= run(&Pair, Seeds::new(arguments.from, arguments.pair));
    }
    if arguments.world > 0 {
        fine &= run(&WorldScenario::default(), Seeds::new(arguments.from, arguments.world));
    }
    if arguments.hostile > 0 {
        fine &= hostile(arguments.from, arguments.hostile);
    }
    if arguments.tls > 0 {
        fine &= over_tls(Seeds { repeat_each: 0, ..Seeds::new(arguments.from, arguments.tls) });
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each script so many times. What the engine holds meanwhile is counted by the tests alone.
fn hostile(from: u64, rounds: u64) -> bool {
    let scenario = HostileScenario::of(&[], || 0);
    run(&scenario, Seeds::new(from, rounds.saturating_mul(scenario.len() as u64)))
}

fn over_tls(seeds: Seeds) -> bool {
    match PairOverTls::new() {
        Ok(pair) => run(&pair, seeds),
        Err(reason) => {
            output::say(&format!("no certificates can be made: {reason}"));
            false
        }
    }
}

/// Runs these seeds of a scenario; whether all went well.
fn run<S: Scenario>(scenario: &S, seeds: Seeds) -> bool {
    let report: Report = run_many(scenario, seeds, |progress| output::progress(scenario.name(), progress));
    output::report(scenario.name(), seeds, &report);
    report.failures.is_empty()
}
