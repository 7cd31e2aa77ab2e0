//! `cargo xtask bench`: one tunnel, our client and Debian's openvpn client, each against the same stock server, TCP up and
//! down by iperf3. The peers take turns, so that a slow minute of the machine hits both. The client's side is pinned to core
//! 0, the server's to core 1. Prints the table of docs/benchmarks.md.

mod lab; // two namespaces and a server
mod row; // figures of several runs, and the table

use std::process::ExitCode;

use lab::{Direction, Lab, Peer};
use row::Row;

/// Runs of each peer in each direction.
const RUNS: u32 = 5;

fn main() -> ExitCode {
    let quick = std::env::args().skip(1).any(|word| word == "--quick");
    let mut lab = Lab::new();
    let mut rows = Vec::new();
    for direction in [Direction::Up, Direction::Down] {
        rows.extend([Peer::Openvpn, Peer::Mrvpn].map(|peer| Row::new(peer, direction)));
    }
    for _ in 0..if quick { 1 } else { RUNS } {
        for peer in [Peer::Openvpn, Peer::Mrvpn] {
            let client = lab.connect(peer);
            for row in rows.iter_mut().filter(|row| row.peer == peer) {
                row.add(lab.measure(&client, row.direction));
            }
            client.end();
        }
    }
    let text = row::table(&rows, &lab::machine());
    use std::io::Write;
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
