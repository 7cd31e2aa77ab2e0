//! Scripted TLS of the server: other randoms in each negotiation, all of them following from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use mrvpn_clock::WallTime;
use mrvpn_proto::peer::ScriptedTls;
use mrvpn_proto::server::TlsAcceptor;
use mrvpn_proto::{Tls, TlsError};

/// Makes scripted servers.
#[derive(Debug)]
pub(super) struct Acceptor(AtomicU64);

impl Acceptor {
    pub(super) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl TlsAcceptor for Acceptor {
    fn accept(&self, _wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        Ok(Box::new(ScriptedTls::server(self.0.fetch_add(1, Ordering::Relaxed))))
    }
}
