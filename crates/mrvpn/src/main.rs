//! `mrvpn`: the program. It joins the pieces: the command line reads files with the caller's rights, the engine runs with
//! the Linux host, a control socket stands between the two. It decides nothing about packets or tunnels.

mod bundle; // what a command sends to an engine instead of paths
mod cli; // commands
mod control; // the socket between a command and the engine
mod failure; // errors as the user reads them
mod hardening; // secrets stay in this process
mod instance; // several engines: names, directories, locks
mod load; // files into a configuration
mod log_ring; // the engine's own log
mod running; // what an engine runs now, and how commands change it
mod state; // what outlasts an engine

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(cli::Arguments::parse())
}
