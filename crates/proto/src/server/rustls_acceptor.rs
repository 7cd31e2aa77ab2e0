//! TLS servers by rustls and aws-lc-rs, set up as OpenVPN's are (openvpn-protocol.md section 4.1): no ALPN, no resumption
//! and no tickets, client certificates checked against a CA where one is given.

use std::sync::{Arc, OnceLock};

use mrvpn_clock::WallTime;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{Connection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::acceptor::TlsAcceptor;
use crate::tls::rustls::{FixedTime, RustlsTls};
use crate::tls::{Tls, TlsError};

/// Makes TLS servers of one certificate. Cheap to use: certificate and key are parsed once.
#[derive(Debug)]
pub struct RustlsAcceptor {
    provider: Arc<CryptoProvider>,
    identity: Arc<Identity>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl RustlsAcceptor {
    /// A server with this chain (leaf first) and key (PKCS#8), which takes any client.
    ///
    /// # Errors
    /// [`TlsError::Protocol`] where chain and key cannot be used.
    pub fn new(chain: &[Vec<u8>], pkcs8: &[u8]) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(failed)?;
        let identity = Arc::new(Identity(Arc::new(certified)));
        Ok(Self { provider, identity, clients: None, versions: rustls::ALL_VERSIONS.to_vec() })
    }

    /// Wants a certificate of each client, signed by one of these.
    ///
    /// # Errors
    /// [`TlsError::Protocol`] where none of them can be used.
    pub fn with_client_ca(mut self, authorities: &[Vec<u8>]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for der in authorities {
            roots.add(CertificateDer::from(der.clone())).map_err(failed)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        self.clients = Some(verifier.build().map_err(|error| TlsError::Protocol(error.to_string()))?);
        Ok(self)
    }

    /// Speaks TLS 1.2 alone.
    #[must_use]
    pub fn with_tls12_only(self) -> Self {
        Self { versions: vec![&rustls::version::TLS12], ..self }
    }
}

impl TlsAcceptor for RustlsAcceptor {
    fn accept(&self, wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        let builder = ServerConfig::builder_with_details(Arc::clone(&self.provider), Arc::new(FixedTime(wall)))
            .with_protocol_versions(&self.versions)
            .map_err(failed)?;
        let builder = match &self.clients {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let identity: Arc<Identity> = Arc::clone(&self.identity);
        let mut config = builder.with_cert_resolver(identity);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let connection = ServerConnection::new(Arc::new(config)).map_err(failed)?;
        Ok(Box::new(RustlsTls::new(Connection::Server(connection), Arc::new(OnceLock::new()))))
    }
}

fn failed(error: rustls::Error) -> TlsError {
    TlsError::Protocol(error.to_string())
}

/// The one certificate, whatever name a client asks for.
#[derive(Debug)]
struct Identity(Arc<CertifiedKey>);

impl ResolvesServerCert for Identity {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
