//! Runs simulations by the thousand: `mrvpn-sim --seeds N [--from S]`. `cargo xtask sim` builds and starts it. It prints how
//! far it is, and of each failed run its seed, the actions that are needed, and who said what. Exit code 1 where a run
//! failed, 2 where the command line is wrong.

mod arguments;
mod output;

use std::process::ExitCode;

use mrvpn_testbed::sim::pair::PairOverTls;
use mrvpn_testbed::sim::{Pair, Report, Scenario, Seeds, run_many};

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
    if arguments.tls > 0 {
        fine &= over_tls(Seeds { repeat_each: 0, ..Seeds::new(arguments.from, arguments.tls) });
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
