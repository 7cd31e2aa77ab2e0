//! The command line: what can be said, and the exit code of it. Each command has a file of its own below.

mod check; // judges files without connecting
mod down; // all down
mod status; // what stands
mod summary; // what `up` and `status` print for people
mod terminal; // colour and progress
mod up; // bring tunnels up

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::failure::Failure;

/// Many OpenVPN tunnels at once, every flow through the one its rule names.
///
/// Each tunnel keeps the address that its own server assigned; a program that binds to it, or a rule, decides which
/// tunnel a connection takes. A tunnel that is down refuses its traffic; it never goes another way.
#[derive(Debug, Parser)]
#[command(name = "mrvpn", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The engine to start or to talk to
    #[arg(long, global = true, value_name = "NAME", env = "MRVPN_INSTANCE")]
    instance: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring tunnels up and keep them up, until Ctrl-C or `mrvpn down`
    Up(UpArguments),
    /// Take all down; also cleans up after a killed engine
    Down,
    /// Show tunnels, addresses, default, conflicts, drops (exit code 3 when no engine runs)
    Status {
        /// Print the whole document as JSON
        #[arg(long)]
        json: bool,
    },
    /// Judge profiles and mrvpn.toml without connecting: used, ignored and why, refused and why
    Check {
        /// Print one JSON array, an entry a file
        #[arg(long)]
        json: bool,
        /// Files that end in .ovpn or .toml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct UpArguments {
    /// mrvpn.toml to use [default: ./mrvpn.toml, then $XDG_CONFIG_HOME/mrvpn/mrvpn.toml, then /etc/mrvpn/mrvpn.toml]
    #[arg(short, long, value_name = "FILE", conflicts_with = "profiles")]
    config: Option<PathBuf>,

    /// User and password for tunnels that have none of their own: two lines, mode 0600
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,

    /// Profiles to bring up, the first being first in order; NAME=FILE names the tunnel
    #[arg(value_name = "[NAME=]PROFILE")]
    profiles: Vec<String>,
}

/// Runs the command and gives its exit code.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let instance = arguments.instance.as_deref();
    let outcome = match arguments.command {
        Command::Up(up) => up::run(up, instance),
        Command::Down => down::run(instance),
        Command::Status { json } => status::run(json, instance),
        Command::Check { json, files } => check::run(json, &files),
        Command::Completions { shell } => completions(shell),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tell(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Prints a failure to stderr.
fn tell(failure: &Failure) {
    let _ = writeln!(std::io::stderr(), "{failure}");
}

/// Prints an answer to stdout.
fn answer(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn completions(shell: Shell) -> Result<u8, Failure> {
    clap_complete::generate(shell, &mut Arguments::command(), "mrvpn", &mut std::io::stdout());
    Ok(0)
}
