//! What the program asks of a running engine, and what it is answered, as values. How they are carried out is `obey.rs`'s;
//! how they travel from other processes is the program's.

use mrvpn_netplan::Step;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::config::EngineConfig;
use crate::explained::{Explained, FlowQuery};
use crate::status::Status;

/// What the program asks of a running engine.
#[derive(Debug)]
pub enum Command {
    /// The status document.
    Status(oneshot::Sender<Status>),
    /// Where a flow goes, and why. An engine that is ending does not answer.
    Explain {
        /// Which.
        query: FlowQuery,
        /// For the answer.
        answer: oneshot::Sender<Explained>,
    },
    /// Run another configuration: what is the same in both is not touched. Nothing changes when it is refused.
    Reload {
        /// All of it; its scope is passed over.
        config: Box<EngineConfig>,
        /// Say what would change and change nothing.
        dry_run: bool,
        /// For what came of it, once the host has been changed.
        answer: oneshot::Sender<Result<Reloaded, Refused>>,
    },
    /// One tunnel, the others untouched.
    Tunnel {
        /// Its name.
        name: String,
        /// What.
        verb: TunnelVerb,
        /// For a sentence that says what holds now.
        answer: oneshot::Sender<Result<String, Refused>>,
    },
    /// End everything and leave the host as it was.
    Shutdown,
}

/// What is done to one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelVerb {
    /// Connect again after a stop or a failure.
    Start,
    /// Disconnect: rules keep what they give to it, what its server claimed is let go.
    Stop,
    /// Disconnect and connect again.
    Restart,
}

/// What a reload has changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Names of tunnels that are new.
    pub added: Vec<String>,
    /// Names of tunnels that are gone.
    pub removed: Vec<String>,
    /// Names of tunnels that have to connect again.
    pub restarted: Vec<String>,
    /// Names of tunnels of which only what the engine does with them has changed.
    pub changed: Vec<String>,
    /// Whether the rules are others.
    pub rules: bool,
    /// Changes of the host, in order.
    pub steps: Vec<Step>,
    /// What takes effect with the next `up` only, and other sentences for the user.
    pub notes: Vec<String>,
}

/// The engine does not do it, and nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refused {
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Refused {
    /// Whoever asks comes too late.
    pub(super) fn ending() -> Self {
        Self { message: "the engine is ending".to_owned(), hint: "wait until it has ended, then `mrvpn up`".to_owned() }
    }
}
