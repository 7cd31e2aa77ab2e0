//! Certificates and keys of one or more regions, made at the moment they are wanted: a CA, a server's certificate, one for
//! each client, the shared key of tls-auth and tls-crypt, the server key of tls-crypt-v2. It lives in memory alone, and a
//! clone is the same authority: a region that is started again with it is known to its clients. It is for tests and demos;
//! whose certificate may be believed outside of them is nobody's question here.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mrvpn_profile::StaticKey;
use mrvpn_proto::server::ServerKey;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::error::RegionError;

/// Characters of a line of base64 in PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;
/// Bytes of a line of a static key, as OpenVPN writes it.
const KEY_LINE: usize = 16;
/// The first byte of what a tls-crypt-v2 key says of its client: text (`tls_crypt.c`, TLS_CRYPT_METADATA_TYPE_USER).
const METADATA_TEXT: u8 = 0;

/// A CA with all keys that its servers and clients need.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    ca: String,
    ca_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    server: Leaf,
    static_key: [u8; StaticKey::LEN],
    server_key: ServerKey,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM (PKCS#8).
    pub key: String,
    pub(crate) certificate_der: Vec<u8>,
    pub(crate) key_der: Vec<u8>,
}

impl Authority {
    /// Makes everything anew.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new() -> Result<Self, RegionError> {
        let key = KeyPair::generate().map_err(certificate)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(certificate)?;
        params.distinguished_name.push(DnType::CommonName, "Region CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&key).map_err(certificate)?;
        let issuer = Issuer::new(params, key);
        let server = leaf(&issuer, "server", ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(Self(Arc::new(Inner {
            ca: ca.pem(),
            ca_der: ca.der().to_vec(),
            issuer,
            server,
            static_key: random()?,
            server_key: ServerKey::from_bytes(&random()?),
        })))
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.0.ca
    }

    /// A new certificate of a client of this common name, with its key.
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn client(&self, name: &str) -> Result<Leaf, RegionError> {
        leaf(&self.0.issuer, name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The shared key of tls-auth and tls-crypt, as OpenVPN writes it.
    #[must_use]
    pub fn static_key_text(&self) -> String {
        let mut text = String::from("-----BEGIN OpenVPN Static key V1-----\n");
        for line in self.0.static_key.chunks(KEY_LINE) {
            text.extend(line.iter().map(|byte| format!("{byte:02x}")));
            text.push('\n');
        }
        text + "-----END OpenVPN Static key V1-----\n"
    }

    /// A new key of tls-crypt-v2 for the client of this name, as OpenVPN writes it.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn v2_client_key_text(&self, name: &str) -> Result<String, RegionError> {
        let bytes: [u8; StaticKey::LEN] = random()?;
        let mut both = bytes.to_vec();
        let metadata = [&[METADATA_TEXT], name.as_bytes()].concat();
        both.extend(self.0.server_key.seal(&static_key(bytes), &metadata));
        let encoded = STANDARD.encode(both);
        let lines: Vec<&[u8]> = encoded.as_bytes().chunks(PEM_LINE).collect();
        let body = String::from_utf8_lossy(&lines.join(&b'\n')).into_owned();
        let kind = "OpenVPN tls-crypt-v2 client key";
        Ok(format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n"))
    }

    pub(crate) fn ca_der(&self) -> &[u8] {
        &self.0.ca_der
    }

    pub(crate) fn server(&self) -> &Leaf {
        &self.0.server
    }

    pub(crate) fn static_key(&self) -> StaticKey {
        static_key(self.0.static_key)
    }

    pub(crate) fn server_key(&self) -> ServerKey {
        self.0.server_key.clone()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(***)")
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaf(***)")
    }
}

fn leaf(issuer: &Issuer<'static, KeyPair>, name: &str, usage: ExtendedKeyUsagePurpose) -> Result<Leaf, RegionError> {
    let key = KeyPair::generate().map_err(certificate)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(certificate)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let signed = params.signed_by(&key, issuer).map_err(certificate)?;
    Ok(Leaf {
        certificate: signed.pem(),
        key: key.serialize_pem(),
        certificate_der: signed.der().to_vec(),
        key_der: key.serialize_der(),
    })
}

fn static_key(bytes: [u8; StaticKey::LEN]) -> StaticKey {
    StaticKey::from_bytes(bytes.to_vec()).expect("an array of the key's length has it")
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], RegionError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| RegionError::Randomness)?;
    Ok(bytes)
}

fn certificate(error: rcgen::Error) -> RegionError {
    RegionError::Certificate(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_key_is_read_as_openvpn_writes_it() {
        let authority = Authority::new().unwrap();
        let read = StaticKey::from_text(authority.static_key_text().as_bytes()).unwrap();
        assert_eq!(read, authority.static_key());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let authority = Authority::new().unwrap();
        let printed = format!("{authority:?} {:?}", authority.client("alice").unwrap());
        assert_eq!(printed, "Authority(***) Leaf(***)");
    }
}
