//! The control socket: one line of JSON asks, one answers, or several where the request follows something. The kernel says
//! who calls; the engine believes nobody else. Here is what is said; who may say it is [`caller`].

mod caller; // who may do what
pub(crate) mod client; // a command asks
mod limits; // lengths, numbers and times
mod message; // a request in, a response out
mod peer; // who is at the other end
mod places; // clients that ask, and who leaves when all places are taken
pub(crate) mod server; // the engine answers
mod streams; // clients that follow something

use std::collections::BTreeMap;

use mrvpn_engine::FlowQuery;
use serde::{Deserialize, Serialize};

pub(crate) use limits::BUNDLE_LIMIT;

/// What a command asks: one line of JSON. A request with a `bundle` is followed by so many bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// The status document.
    Status,
    /// The status document now, and again at each change, a line each, until the caller goes.
    Watch,
    /// Where a flow goes, and why.
    Explain {
        /// Which.
        query: FlowQuery,
    },
    /// Events from now on, a line each, until the caller goes.
    Events,
    /// Lines of the engine's log, oldest first.
    Logs {
        /// Only those of this tunnel.
        tunnel: Option<String>,
        /// Those to come too, until the caller goes.
        follow: bool,
    },
    /// What the engine was told to run: `reload` reads the same again.
    Source,
    /// Run what the bundle says.
    Reload {
        /// Length of the bundle in bytes.
        bundle: usize,
        /// Say what would change and change nothing.
        dry_run: bool,
    },
    /// Add the tunnel of the bundle to what runs.
    TunnelAdd {
        /// Length of the bundle in bytes.
        bundle: usize,
    },
    /// Take a tunnel out of what runs.
    TunnelRemove {
        /// Its name.
        name: String,
    },
    /// Connect one tunnel again.
    TunnelStart {
        /// Its name.
        name: String,
    },
    /// Disconnect one tunnel.
    TunnelStop {
        /// Its name.
        name: String,
    },
    /// Disconnect one tunnel and connect it again.
    TunnelRestart {
        /// Its name.
        name: String,
    },
    /// End everything.
    Down,
}

impl Request {
    /// Length of the bundle that follows it.
    pub(crate) const fn bundle(&self) -> Option<usize> {
        match self {
            Self::Reload { bundle, .. } | Self::TunnelAdd { bundle } => Some(*bundle),
            Self::Status
            | Self::Watch
            | Self::Explain { .. }
            | Self::Events
            | Self::Logs { .. }
            | Self::Source
            | Self::TunnelRemove { .. }
            | Self::TunnelStart { .. }
            | Self::TunnelStop { .. }
            | Self::TunnelRestart { .. }
            | Self::Down => None,
        }
    }
}

/// What the engine answers: a line of JSON, several where the request says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Response {
    /// The status document.
    Status {
        /// It.
        status: Box<mrvpn_engine::Status>,
    },
    /// Where a flow goes.
    Explained {
        /// That.
        explained: Box<mrvpn_engine::Explained>,
    },
    /// One event.
    Event {
        /// It.
        event: mrvpn_engine::Event,
    },
    /// One line of the log.
    Log {
        /// It, without the end of the line.
        line: String,
    },
    /// All that there is has been sent.
    End,
    /// What the engine was told to run.
    Source {
        /// Arguments by which the same can be read again.
        source: Source,
    },
    /// What a reload changed, or would change.
    Reloaded {
        /// That.
        reloaded: ReloadedShown,
    },
    /// Done.
    Done {
        /// A sentence that says what holds now.
        message: String,
    },
    /// It is under way; the engine is gone when the connection ends.
    Ending,
    /// Not done.
    Refused {
        /// Why.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// By what a configuration was read; paths absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// mrvpn.toml.
    pub(crate) config: Option<String>,
    /// `NAME=PROFILE`, each.
    pub(crate) profiles: Vec<String>,
    /// `--credentials FILE`.
    pub(crate) credentials: Option<String>,
    /// Names of tunnels whose user and password the engine has from a prompt or the service manager: they need not be
    /// Files of user and password that were given for one profile, absolute, by its tunnel's name.
    #[serde(default)]
    pub(crate) accounts: BTreeMap<String, String>,
    /// given again.
    pub(crate) answered: Vec<String>,
}

/// What a reload has changed, for people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadedShown {
    /// Names of tunnels that are new.
    pub(crate) added: Vec<String>,
    /// Names of tunnels that are gone.
    pub(crate) removed: Vec<String>,
    /// Names of tunnels that connect again.
    pub(crate) restarted: Vec<String>,
    /// Names of tunnels of which only what the engine does with them has changed.
    pub(crate) changed: Vec<String>,
    /// Whether the rules are others.
    pub(crate) rules: bool,
    /// Changes of the host, a sentence each, in order.
    pub(crate) steps: Vec<String>,
    /// Sentences for the user.
    pub(crate) notes: Vec<String>,
}
