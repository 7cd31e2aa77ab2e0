//! TLS behind one small trait (openvpn-protocol.md section 4): bytes in and out, application data a record at a time,
//! and the exporter. No I/O: records travel in control packets. [`rustls`] is the real one; a scripted one for
//! simulations is in `peer`.

mod certificate;
mod error;
pub mod rustls;
mod verify;

use mrvpn_clock::WallTime;

pub use error::{TlsError, TlsSetupError};

/// Judges a server's chain, the leaf first, as the handshake does at the time `wall`; for tests that have certificates
/// and no handshake. Returns what the user should know though it is accepted.
///
/// # Errors
/// Why it is refused.
#[cfg(any(test, feature = "test-peer"))]
pub fn judge_certificate(
    options: &mrvpn_profile::TlsOptions,
    strict_server: bool,
    chain: &[Vec<u8>],
    wall: WallTime,
) -> Result<Vec<String>, String> {
    let policy = verify::ServerPolicy::new(options, strict_server).map_err(|error| error.to_string())?;
    let chain: Vec<_> = chain.iter().map(|der| rustls_pki_types::CertificateDer::from(der.as_slice())).collect();
    let (leaf, others) = chain.split_first().ok_or("an empty chain")?;
    policy.judge(leaf, others, wall).map_err(|error| error.to_string())
}

/// One TLS session, of either side.
pub trait Tls: Send {
    /// Takes bytes of the peer, cut anywhere.
    ///
    /// # Errors
    /// [`TlsError`] ends the session; [`Self::write_tls`] may have an alert for the peer.
    fn read_tls(&mut self, bytes: &[u8]) -> Result<(), TlsError>;

    /// Appends all bytes that wait for the peer to `into`.
    fn write_tls(&mut self, into: &mut Vec<u8>);

    /// Whether the handshake is still on.
    fn is_handshaking(&self) -> bool;

    /// Sends application data as one record: at most 2,048 bytes, as an OpenVPN server reads no more at once.
    ///
    /// # Errors
    /// [`TlsError`] ends the session.
    fn write_plaintext(&mut self, one_record: &[u8]) -> Result<(), TlsError>;

    /// Application data of one record of the peer.
    fn read_plaintext(&mut self) -> Option<Vec<u8>>;

    /// Fills `into` with keying material for `label`, without context (RFC 5705, RFC 8446 section 7.5).
    ///
    /// # Errors
    /// [`TlsError`] while the handshake is on.
    fn export(&self, label: &str, into: &mut [u8]) -> Result<(), TlsError>;

    /// What the user should know of the peer's certificate though it was accepted.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The common name of the peer's certificate, where it showed one that was accepted and has one. Foreign text.
    fn peer_name(&self) -> Option<String> {
        None
    }
}

/// Makes the TLS client of each new session.
pub trait TlsConnector: Send + Sync {
    /// A fresh client; `wall` is the time by which certificates are judged.
    ///
    /// # Errors
    /// [`TlsError`] where none can be made.
    fn connect(&self, wall: WallTime) -> Result<Box<dyn Tls>, TlsError>;
}
