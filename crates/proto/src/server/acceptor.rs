//! Who makes the TLS server of each negotiation: the counterpart of `tls::TlsConnector`. The real one is
//! `rustls_acceptor.rs`; a scripted one for simulations is in `peer`.

use mrvpn_clock::WallTime;

use crate::tls::{Tls, TlsError};

/// Makes the TLS server of each new negotiation.
pub trait TlsAcceptor: Send + Sync {
    /// A fresh server; `wall` is the time by which certificates are judged.
    ///
    /// # Errors
    /// [`TlsError`] where none can be made.
    fn accept(&self, wall: WallTime) -> Result<Box<dyn Tls>, TlsError>;
}
