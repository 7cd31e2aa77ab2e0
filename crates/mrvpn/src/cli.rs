//! The command line: what can be said, and the exit code of it. Each command has a file of its own below.

mod check; // judges files without connecting
mod demo; // a world of its own, and proof
mod down; // all down
mod engine; // the process that serves
mod events; // what happens
mod explain; // why a flow goes where it goes
mod init; // a commented mrvpn.toml
mod logs; // the engine's own log
mod man; // manual pages
mod reload; // read the files again
mod status; // what stands
mod summary; // what `up` and `status` print for people
mod terminal; // colour and progress
mod tunnel; // one tunnel
mod up; // bring tunnels up

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::failure::{Failure, USAGE};

/// Many OpenVPN tunnels at once, every flow through the one its rule names.
///
/// Each tunnel keeps the address that its own server assigned; a program that binds to it, or a rule, decides which
/// tunnel a connection takes. A tunnel that is down refuses its traffic; it never goes another way.
#[derive(Debug, Parser)]
#[command(name = "mrvpn", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Which engine, where several run on this machine [default: the only one that runs, else `default`]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "MRVPN_INSTANCE",
        hide_env_values = true,
        display_order = 100
    )]
    instance: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Printed below the list of commands.
const AFTER_HELP: &str = "\
To begin:   mrvpn check uk.ovpn              what of the file is used, and what not
            sudo mrvpn up uk.ovpn fr.ovpn    both tunnels, until Ctrl-C
            mrvpn explain example.org        which way it goes, and why
Who may:    root and the group mrvpn all; who started it with sudo may look (status, explain, events, logs)
Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration; 3 of `status`: no engine runs";

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring tunnels up and keep them up, until Ctrl-C or `mrvpn down`
    ///
    /// Profiles are `.ovpn` files as a provider gives them. One interface carries the addresses of all tunnels; each
    /// tunnel that is lost is connected again. It changes routes and so needs root: `sudo mrvpn up uk.ovpn fr.ovpn`.
    ///
    /// With rules of your own, tunnels are in a file: `mrvpn init *.ovpn > mrvpn.toml`, then `sudo mrvpn up`.
    Up(UpArguments),
    /// Take all down, and leave this machine as if mrvpn had never run; also after an engine that was killed
    ///
    /// It waits until everything is as before. Where nothing is up, that is fine too.
    Down,
    /// Read the files again that `up` has read; only what changed is touched
    ///
    /// Tunnels and connections that are the same before and after go on undisturbed. A file with a mistake changes nothing.
    /// Files are read with your rights, and passwords that were typed at `up` need not be typed again.
    Reload {
        /// Print what would change and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Start, stop, restart, add or remove one tunnel; the others are not touched
    ///
    /// What is done here lasts until the engine ends. What shall last longer belongs into mrvpn.toml, and `mrvpn reload`.
    #[command(subcommand)]
    Tunnel(tunnel::TunnelVerb),
    /// What `up --detach` starts
    #[command(hide = true)]
    Engine {
        /// Seconds until it reports at the latest
        #[arg(long)]
        wait: u64,
        /// Length in bytes of what comes on standard input
        #[arg(long)]
        bundle: usize,
    },
    /// Show tunnels, addresses, default, conflicts, drops (exit code 3 when no engine runs)
    ///
    /// For each tunnel: its state, the address that its server assigned, by which addresses a program can choose it, what it
    /// carries, and what went wrong and what to do. For the whole: which tunnel has what no rule names, and what two want.
    Status {
        /// Print the whole document as one line of JSON
        #[arg(long)]
        json: bool,
        /// Print it again at each change, until the engine ends or Ctrl-C; on a terminal with rates
        #[arg(long)]
        watch: bool,
    },
    /// Say where a connection goes, and why not elsewhere
    ///
    /// It asks the engine that runs; nothing is connected. A name is looked up as any program of yours would, and each of
    /// its addresses is explained.
    Explain(explain::ExplainArguments),
    /// Print what happens from now on, one event a line, numbered
    ///
    /// States of tunnels, addresses that come and go, conflicts, drops; until the engine ends or Ctrl-C.
    Events {
        /// A line of JSON for each
        #[arg(long)]
        json: bool,
    },
    /// Print the engine's log: its last 10,000 lines
    ///
    /// It is in the engine's memory and in no file; passwords and keys are never in it.
    Logs {
        /// Lines of this tunnel alone
        #[arg(value_name = "NAME")]
        tunnel: Option<String>,
        /// Go on with lines to come, until the engine ends or Ctrl-C
        #[arg(short, long)]
        follow: bool,
    },
    /// Judge profiles and mrvpn.toml without connecting: what is used, ignored and refused, and why
    ///
    /// Each with its line. With a mrvpn.toml the profiles that it names are judged too. Exit code 1 where a file is refused.
    Check {
        /// Print one JSON array, an entry a file
        #[arg(long)]
        json: bool,
        /// Files that end in .ovpn or .toml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print a commented mrvpn.toml: a tunnel for each profile, and examples of rules
    ///
    /// Nothing is written or connected: `mrvpn init uk.ovpn fr.ovpn > mrvpn.toml`.
    Init {
        /// Profiles, or directories with profiles [default: those of this directory]
        #[arg(value_name = "PROFILE|DIR")]
        profiles: Vec<PathBuf>,
    },
    /// See it work: three servers, three tunnels, one interface, and proof of which way each request takes
    ///
    /// It needs no profile, no server and no root, and takes some seconds. Everything is in network namespaces that vanish with
    /// it: nothing of this machine is touched, and no other program is started. Exit code 0: every proof holds.
    Demo {
        /// Print what was found as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a shell needs to complete commands
    ///
    /// For bash: `mrvpn completions bash > ~/.local/share/bash-completion/completions/mrvpn`. For fish: `mrvpn completions
    /// fish > ~/.config/fish/completions/mrvpn.fish`. For zsh: into a file `_mrvpn` in a directory of `$fpath`.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a directory: one for each command
    Man {
        /// The directory, which is made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
struct UpArguments {
    /// mrvpn.toml to use [default: ./mrvpn.toml, then $XDG_CONFIG_HOME/mrvpn/mrvpn.toml, then /etc/mrvpn/mrvpn.toml]
    #[arg(short, long, value_name = "FILE", conflicts_with = "profiles")]
    config: Option<PathBuf>,

    /// A file of user and password for tunnels that have none of their own: two lines, mode 0600
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,

    /// Leave the engine running in the background, and return when each tunnel is up or has failed (exit code 0: all up)
    #[arg(long)]
    detach: bool,

    /// Report after so many seconds at the latest; what is not up yet goes on
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    wait: u64,

    /// Print each step that would be done to this host, and do nothing
    #[arg(long, conflicts_with = "detach")]
    dry_run: bool,

    /// Profiles to bring up, the first being first in order; NAME=FILE names the tunnel
    #[arg(value_name = "[NAME=]PROFILE")]
    profiles: Vec<String>,
}

/// Runs the command and gives its exit code.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let instance = arguments.instance.as_deref();
    let Some(command) = arguments.command else {
        let _ = write!(std::io::stderr(), "{}", Arguments::command().render_help());
        return ExitCode::from(USAGE);
    };
    let outcome = match command {
        Command::Up(up) => up::run(&up, instance),
        Command::Down => down::run(instance),
        Command::Reload { dry_run } => reload::run(dry_run, instance),
        Command::Tunnel(verb) => tunnel::run(verb, instance),
        Command::Engine { wait, bundle } => Ok(engine::detached(wait, bundle, instance)),
        Command::Status { json, watch } => status::run(json, watch, instance),
        Command::Explain(explain) => explain::run(&explain, instance),
        Command::Events { json } => events::run(json, instance),
        Command::Logs { tunnel, follow } => logs::run(tunnel.as_deref(), follow, instance),
        Command::Check { json, files } => check::run(json, &files),
        Command::Init { profiles } => init::run(&profiles),
        Command::Demo { json } => demo::run(json),
        Command::Completions { shell } => completions(shell),
        Command::Man { directory } => man::run(&directory),
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

/// Prints one line of many; `false` where nobody reads any longer.
fn print_line(text: &str) -> bool {
    writeln!(std::io::stdout(), "{text}").is_ok()
}

/// What a command says that needs an engine.
fn no_engine() -> Failure {
    Failure::failed("no engine runs").hint("`sudo mrvpn up PROFILE...` starts one")
}

fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "mrvpn", &mut script);
    // Whoever does not read it to its end does not want it.
    let _ = std::io::stdout().write_all(&script);
    Ok(0)
}
