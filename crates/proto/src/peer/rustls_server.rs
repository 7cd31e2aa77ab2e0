//! A single TLS server by rustls, for whole handshakes in one process.

use mrvpn_clock::WallTime;

use crate::server::{RustlsAcceptor, TlsAcceptor as _};
use crate::tls::{Tls, TlsError};

/// A server with this chain (leaf first) and key (PKCS#8), TLS 1.2 alone or both versions; it asks for no client
/// certificate.
///
/// # Errors
/// [`TlsError::Protocol`] where chain and key cannot be used.
pub fn rustls_server(chain: &[Vec<u8>], pkcs8: &[u8], tls12_only: bool) -> Result<Box<dyn Tls>, TlsError> {
    let acceptor = RustlsAcceptor::new(chain, pkcs8)?;
    let acceptor = if tls12_only { acceptor.with_tls12_only() } else { acceptor };
    // No certificate is judged, so that no time matters.
    acceptor.accept(WallTime::from_unix(0))
}
