//! TLS by rustls and aws-lc-rs. Set up as OpenVPN peers need it (openvpn-protocol.md sections 4.1 and 4.2): no server
//! name, no ALPN, no resumption, certificates judged by `verify.rs` at the session's own wall time. TLS 1.2 and 1.3.

use std::collections::VecDeque;
use std::io::{BufRead as _, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mrvpn_clock::WallTime;
use mrvpn_profile::TlsOptions;
use mrvpn_profile::escape::escape;
use mrvpn_profile::profile::{PrivateKey, PrivateKeyFormat};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer, ServerName, UnixTime,
};

use super::certificate::Facts;
use super::verify::ServerPolicy;
use super::{Tls, TlsConnector, TlsError, TlsSetupError};

/// Makes TLS clients of one profile. Cheap to use: certificates and keys are parsed once.
#[derive(Debug)]
pub struct RustlsConnector {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    policy: Arc<ServerPolicy>,
    identity: Option<Arc<SingleCertAndKey>>,
}

impl RustlsConnector {
    /// Takes certificates, key and rules of `options`. With `strict_server` a server certificate must be marked as a
    /// server's even if the profile does not ask.
    ///
    /// # Errors
    /// [`TlsSetupError`]: the profile's fault, always.
    pub fn new(options: &TlsOptions, strict_server: bool) -> Result<Self, TlsSetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Ok(Self {
            versions: versions(options)?,
            policy: Arc::new(ServerPolicy::new(options, strict_server)?),
            identity: identity(options, &provider)?,
            provider,
        })
    }
}

impl TlsConnector for RustlsConnector {
    fn connect(&self, wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        let verdict = Arc::new(OnceLock::new());
        let verifier = Judge {
            policy: Arc::clone(&self.policy),
            provider: Arc::clone(&self.provider),
            wall,
            verdict: Arc::clone(&verdict),
        };
        let clock = Arc::new(FixedTime(wall));
        let builder = ClientConfig::builder_with_details(Arc::clone(&self.provider), clock)
            .with_protocol_versions(&self.versions)
            .map_err(|error| protocol(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            Some(identity) => {
                let identity: Arc<SingleCertAndKey> = Arc::clone(identity);
                builder.with_client_cert_resolver(identity)
            }
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        // Never sent and never compared: rustls only wants one.
        let name = ServerName::try_from("openvpn.invalid").map_err(|error| TlsError::Protocol(error.to_string()))?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| protocol(&error))?;
        Ok(Box::new(RustlsTls::new(Connection::Client(connection), verdict)))
    }
}

fn versions(options: &TlsOptions) -> Result<Vec<&'static SupportedProtocolVersion>, TlsSetupError> {
    use rustls::version::{TLS12, TLS13};
    match (options.tls12_only, options.tls13_only) {
        (true, true) => Err(TlsSetupError::NoVersion),
        (true, false) => Ok(vec![&TLS12]),
        (false, true) => Ok(vec![&TLS13]),
        (false, false) => Ok(vec![&TLS13, &TLS12]),
    }
}

/// The profile's own certificate and key, if it has any.
fn identity(options: &TlsOptions, provider: &CryptoProvider) -> Result<Option<Arc<SingleCertAndKey>>, TlsSetupError> {
    let (chain, key) = match (options.cert.as_slice(), &options.key) {
        ([], None) => return Ok(None),
        ([], Some(_)) | ([_, ..], None) => return Err(TlsSetupError::HalfIdentity),
        (chain, Some(key)) => (chain, key),
    };
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let bad = |error: rustls::Error| TlsSetupError::BadIdentity(escape(error.to_string().as_bytes()));
    let certified = CertifiedKey::from_der(chain, private_key(key), provider).map_err(bad)?;
    Ok(Some(Arc::new(SingleCertAndKey::from(certified))))
}

fn private_key(key: &PrivateKey) -> PrivateKeyDer<'static> {
    let der = key.der.expose().clone();
    match key.format {
        PrivateKeyFormat::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
        PrivateKeyFormat::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
        PrivateKeyFormat::Sec1 => PrivateSec1KeyDer::from(der).into(),
    }
}

/// One rustls connection behind the trait.
pub(crate) struct RustlsTls {
    connection: Connection,
    verdict: Arc<Verdict>,
    records: VecDeque<Vec<u8>>,
}

/// What the judge said of the server's certificate: warnings, or why it was refused.
type Verdict = OnceLock<Result<Vec<String>, TlsError>>;

impl RustlsTls {
    pub(crate) fn new(connection: Connection, verdict: Arc<Verdict>) -> Self {
        Self { connection, verdict, records: VecDeque::new() }
    }

    /// The judge's own words, where it was the judge who refused.
    fn explain(&self, error: &rustls::Error) -> TlsError {
        match self.verdict.get() {
            Some(Err(refusal)) => refusal.clone(),
            Some(Ok(_)) | None => protocol(error),
        }
    }

    /// Moves application data out, a record at a time.
    fn collect_records(&mut self) {
        let mut reader = self.connection.reader();
        while let Ok(record) = reader.fill_buf() {
            let len = record.len();
            if len == 0 {
                return;
            }
            self.records.push_back(record.to_vec());
            reader.consume(len);
        }
    }
}

impl Tls for RustlsTls {
    fn read_tls(&mut self, mut bytes: &[u8]) -> Result<(), TlsError> {
        while !bytes.is_empty() {
            let read = self.connection.read_tls(&mut bytes);
            if read.map_err(|error| TlsError::Protocol(error.to_string()))? == 0 {
                return Err(TlsError::Closed);
            }
            let state = self.connection.process_new_packets().map_err(|error| self.explain(&error))?;
            self.collect_records();
            if state.peer_has_closed() {
                return Err(TlsError::Closed);
            }
        }
        Ok(())
    }

    fn write_tls(&mut self, into: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Writing to a Vec does not fail; if rustls has nothing after all, neither have we.
            if self.connection.write_tls(into).unwrap_or(0) == 0 {
                return;
            }
        }
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn write_plaintext(&mut self, one_record: &[u8]) -> Result<(), TlsError> {
        let written = self.connection.writer().write_all(one_record);
        written.map_err(|error| TlsError::Protocol(error.to_string()))
    }

    fn read_plaintext(&mut self) -> Option<Vec<u8>> {
        self.records.pop_front()
    }

    fn export(&self, label: &str, into: &mut [u8]) -> Result<(), TlsError> {
        let exported = self.connection.export_keying_material(into, label.as_bytes(), None);
        exported.map(|_| ()).map_err(|error| protocol(&error))
    }

    fn warnings(&self) -> Vec<String> {
        match self.verdict.get() {
            Some(Ok(warnings)) => warnings.clone(),
            Some(Err(_)) | None => Vec::new(),
        }
    }

    fn peer_name(&self) -> Option<String> {
        let leaf = self.connection.peer_certificates()?.first()?;
        Facts::parse(leaf).ok()?.common_names.first().cloned()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls's enum grows; whatever it says is shown")]
fn protocol(error: &rustls::Error) -> TlsError {
    match error {
        rustls::Error::AlertReceived(alert) => TlsError::Alert(format!("{alert:?}")),
        other => TlsError::Protocol(escape(other.to_string().as_bytes())),
    }
}

/// rustls asks it about certificates; it asks the policy and remembers the answer.
#[derive(Debug)]
struct Judge {
    policy: Arc<ServerPolicy>,
    provider: Arc<CryptoProvider>,
    wall: WallTime,
    verdict: Arc<Verdict>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.policy.judge(end_entity, intermediates, self.wall);
        let alert = verdict.as_ref().err().map(alert_for);
        // A connection verifies one certificate; a second verdict would mean another certificate, so the first stands.
        if self.verdict.set(verdict).is_err() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        match alert {
            None => Ok(ServerCertVerified::assertion()),
            Some(error) => Err(error.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Which alert the server gets.
const fn alert_for(refusal: &TlsError) -> CertificateError {
    match refusal {
        TlsError::UnknownIssuer { .. } | TlsError::WrongFingerprint(_) => CertificateError::UnknownIssuer,
        TlsError::Expired { .. } => CertificateError::Expired,
        TlsError::NotYetValid { .. } => CertificateError::NotValidYet,
        TlsError::WrongPurpose(_) | TlsError::NotMarkedAsServer => CertificateError::InvalidPurpose,
        TlsError::WrongName { .. } => CertificateError::NotValidForName,
        TlsError::BadCertificate(_) | TlsError::BadName => CertificateError::BadEncoding,
        TlsError::ChainTooLong
        | TlsError::BadChain(_)
        | TlsError::Alert(_)
        | TlsError::Protocol(_)
        | TlsError::FlightTooLong
        | TlsError::Closed => CertificateError::ApplicationVerificationFailure,
    }
}

/// A clock that stands still: the session's wall time.
#[derive(Debug)]
pub(crate) struct FixedTime(pub(crate) WallTime);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.unix())))
    }
}
