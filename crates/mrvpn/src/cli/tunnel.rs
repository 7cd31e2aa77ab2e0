//! `mrvpn tunnel start|stop|restart|add|remove`: one tunnel, the others untouched. Sentences come from the engine.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use mrvpn_profile::TunnelName;

use super::answer;
use super::up::tell_notes;
use crate::control::client::{Connection, unexpected};
use crate::control::{Request, Response, Source};
use crate::failure::Failure;
use crate::hardening;
use crate::instance::Instance;
use crate::load::{self, arguments::Arguments};

/// What is done to one tunnel.
#[derive(Debug, Subcommand)]
pub(super) enum TunnelVerb {
    /// Connect it again after a stop or a failure
    Start {
        /// Its name, as `mrvpn status` shows it
        name: String,
    },
    /// Disconnect it: rules keep what they give to it, what its server claimed is let go
    ///
    /// What a rule gives to it is refused until it is started again. For what its server claimed, it says who carries that
    /// now.
    Stop {
        /// Its name, as `mrvpn status` shows it
        name: String,
    },
    /// Disconnect it and connect it again
    Restart {
        /// Its name, as `mrvpn status` shows it
        name: String,
    },
    /// Bring up one more tunnel, behind those that run
    ///
    /// Where the engine was started with a mrvpn.toml, the tunnel is gone with the next reload unless it is written there.
    Add {
        /// The profile; NAME=FILE names the tunnel
        #[arg(value_name = "[NAME=]PROFILE")]
        profile: String,
        /// A file of user and password of this tunnel alone: two lines, mode 0600
        #[arg(long, value_name = "FILE")]
        credentials: Option<PathBuf>,
    },
    /// Disconnect it and forget it, with all that its server claimed
    Remove {
        /// Its name, as `mrvpn status` shows it
        name: String,
    },
}

pub(super) fn run(verb: TunnelVerb, named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_reach(named)?;
    let response = match verb {
        TunnelVerb::Start { name } => ask(&instance, &Request::TunnelStart { name }, &[])?,
        TunnelVerb::Stop { name } => ask(&instance, &Request::TunnelStop { name }, &[])?,
        TunnelVerb::Restart { name } => ask(&instance, &Request::TunnelRestart { name }, &[])?,
        TunnelVerb::Remove { name } => ask(&instance, &Request::TunnelRemove { name }, &[])?,
        TunnelVerb::Add { profile, credentials } => add(&instance, &profile, credentials.as_deref())?,
    };
    let Response::Done { message } = response else { return Err(unexpected()) };
    answer(&message);
    Ok(0)
}

/// Asks the engine of an instance, with a bundle where the request has one.
pub(super) fn ask(instance: &Instance, request: &Request, bundle: &[u8]) -> Result<Response, Failure> {
    let Some(mut connection) = Connection::open(&instance.socket())? else {
        return Err(Failure::failed("no engine runs").hint("`mrvpn up` starts one"));
    };
    connection.ask_with(request, bundle)
}

/// The profile is read here, with the caller's rights, and named beside the tunnels that run.
fn add(instance: &Instance, profile: &str, credentials: Option<&Path>) -> Result<Response, Failure> {
    hardening::keep_secrets();
    let Response::Source { source } = ask(instance, &Request::Source, &[])? else { return Err(unexpected()) };
    let Response::Status { status } = ask(instance, &Request::Status, &[])? else { return Err(unexpected()) };
    let taken = status.tunnels.iter().filter_map(|tunnel| TunnelName::parse(&tunnel.name).ok());
    let taken: Vec<TunnelName> = taken.collect();
    let gathered = load::gather(Arguments::one_more(profile, credentials, account(&source), &taken)?)?;
    tell_notes(&gathered.loaded.notes);
    let (_, bundle) = gathered.ask(&[])?;
    let bytes = bundle.encode()?;
    ask(instance, &Request::TunnelAdd { bundle: bytes.len() }, &bytes)
}

/// The account of tunnels that have none of their own, as the engine was started with it.
fn account(source: &Source) -> Option<String> {
    let of_file = || source.config.as_deref().and_then(|file| load::account_of(Path::new(file)));
    source.credentials.clone().or_else(|| of_file().and_then(|path: PathBuf| path.into_os_string().into_string().ok()))
}
