//! Who makes the TLS of both sides: scripted TLS, with which a run repeats exactly, or real TLS, which draws its own
//! randomness, so that only the outcome of a run can be compared.

use std::sync::Arc;

use mrvpn_profile::TlsOptions;
use mrvpn_proto::peer::{ScriptedAcceptor, ScriptedConnector};
use mrvpn_proto::server::{RustlsAcceptor, TlsAcceptor};
use mrvpn_proto::{RustlsConnector, TlsConnector};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Makes TLS for client and server.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) connector: Arc<dyn TlsConnector>,
    pub(super) acceptor: Arc<dyn TlsAcceptor>,
}

impl Ends {
    /// Scripted TLS that follows from a seed.
    pub(super) fn scripted(seed: u64) -> Self {
        Self {
            connector: Arc::new(ScriptedConnector { seed, refusal: None }),
            acceptor: Arc::new(ScriptedAcceptor::new(seed)),
        }
    }

    /// Real TLS, with a CA and a server's certificate made for it.
    ///
    /// # Errors
    /// Why they cannot be made.
    pub(super) fn real() -> Result<Self, String> {
        let ca = authority().map_err(|error| error.to_string())?;
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let certificate = server().and_then(|params| params.signed_by(&key, &ca)).map_err(|error| error.to_string())?;
        let options = TlsOptions { ca: vec![ca.der().to_vec()], ..TlsOptions::default() };
        let connector = RustlsConnector::new(&options, true).map_err(|error| error.to_string())?;
        let acceptor = RustlsAcceptor::new(&[certificate.der().to_vec()], &key.serialize_der());
        Ok(Self { connector: Arc::new(connector), acceptor: Arc::new(acceptor.map_err(|error| error.to_string())?) })
    }
}

fn named(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = named("Simulated CA")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn server() -> Result<CertificateParams, rcgen::Error> {
    let mut params = named("server")?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}
