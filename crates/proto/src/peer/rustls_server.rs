//! A TLS server by rustls, for whole handshakes in one process.

use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::{Connection, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::tls::rustls::RustlsTls;
use crate::tls::{Tls, TlsError};

/// A server with this chain (leaf first) and key (PKCS#8), TLS 1.2 alone or both versions; it asks for no client
/// certificate.
///
/// # Errors
/// [`TlsError::Protocol`] where chain and key cannot be used.
pub fn rustls_server(chain: &[Vec<u8>], pkcs8: &[u8], tls12_only: bool) -> Result<Box<dyn Tls>, TlsError> {
    let failed = |error: rustls::Error| TlsError::Protocol(error.to_string());
    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls12_only { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(failed)?;
    let connection = ServerConnection::new(Arc::new(config)).map_err(failed)?;
    Ok(Box::new(RustlsTls::new(Connection::Server(connection), Arc::new(OnceLock::new()))))
}
