//! `cargo xtask bench [NAME...]`: one tunnel, our client and Debian's openvpn client. In the first cases each against the
//! same stock server; in those called `fast-...` our client against our region server, next to openvpn against openvpn. The
//! peers take turns, so that a slow minute of the machine hits both. The client's side is pinned to core 0, the server's to
//! core 1. Prints the table of docs/benchmarks.md.

mod case; // what is measured, by its name
mod far_end; // the server of a lab
mod lab; // two namespaces and a server
mod row; // figures of several runs, and the table

use std::{io::Write, process::ExitCode};

use case::Case;
use lab::{Lab, PEERS};
use row::Table;

/// Runs of each peer in each case.
const RUNS: u32 = 5;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (options, names): (Vec<String>, Vec<String>) = words.into_iter().partition(|word| word.starts_with("--"));
    let quick = options.iter().any(|word| word == "--quick");
    let text = match Case::chosen(&names) {
        Ok(cases) => measured(&cases, if quick { 1 } else { RUNS }),
        Err(reason) => {
            // Nothing is left to do where standard error cannot be written to.
            let _ = writeln!(std::io::stderr(), "{reason}");
            return ExitCode::from(2);
        }
    };
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn measured(cases: &[Case], runs: u32) -> String {
    let mut table = Table::default();
    for case in cases {
        for _ in 0..runs {
            for peer in PEERS {
                // A lab a turn: two of them at once would share addresses, and an idle server is not always idle.
                let mut lab = Lab::new(case.server_of(peer), &case.wanted());
                for figure in case.run(&mut lab, peer) {
                    table.add(*case, peer, figure);
                }
            }
        }
    }
    table.text(&lab::machine())
}
