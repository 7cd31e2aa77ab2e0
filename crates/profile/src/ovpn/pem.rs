//! PEM objects out of a text: base64 between a BEGIN and an END line, whatever else stands around them (RFC 7468,
//! read leniently: indented lines, CRLF, comments between objects). What an object holds is not looked into beyond its
//! outermost length.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::profile::{PrivateKey, PrivateKeyFormat};
use crate::{Secret, escape::escape};

/// All certificates of a text, in order, in DER.
///
/// # Errors
///
/// In words for the user; also if there is none.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut found = Vec::new();
    for object in objects(text)? {
        match object.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => found.push(object.der.expose().clone()),
            "TRUSTED CERTIFICATE" => {
                return Err(String::from(
                    "a TRUSTED CERTIFICATE is OpenSSL's own form; convert it with `openssl x509`",
                ));
            }
            _ => {}
        }
    }
    if found.is_empty() { Err(String::from("it holds no PEM certificate")) } else { Ok(found) }
}

/// The first private key of a text.
///
/// # Errors
///
/// [`KeyError`]: none, encrypted, or of a form that is not read.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKey, KeyError> {
    for object in objects(text).map_err(KeyError::Unreadable)? {
        let format = match object.label.as_str() {
            "PRIVATE KEY" => PrivateKeyFormat::Pkcs8,
            "RSA PRIVATE KEY" => PrivateKeyFormat::Pkcs1,
            "EC PRIVATE KEY" => PrivateKeyFormat::Sec1,
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            label if label.ends_with("PRIVATE KEY") => {
                return Err(KeyError::Unreadable(format!("a {} is not read", escape(label.as_bytes()))));
            }
            _ => continue,
        };
        return if object.encrypted { Err(KeyError::Encrypted) } else { Ok(PrivateKey { format, der: object.der }) };
    }
    Err(KeyError::Unreadable(String::from("it holds no PEM private key")))
}

/// The first client key of tls-crypt-v2 of a text: OpenVPN's own object, which is no DER.
///
/// # Errors
///
/// In words for the user.
pub(super) fn openvpn_client_key(text: &[u8]) -> Result<Secret<Vec<u8>>, String> {
    let mut objects = objects(text)?.into_iter();
    if let Some(found) = objects.find(|object| object.label.starts_with(OPENVPN)) {
        return match found.label.strip_prefix(OPENVPN) {
            Some("client key") => Ok(found.der),
            Some(_) | None => Err(String::from("this is the key of a server, which no client should have")),
        };
    }
    Err(String::from("the line -----BEGIN OpenVPN tls-crypt-v2 client key----- is missing"))
}

/// Begins the labels of OpenVPN's own objects.
const OPENVPN: &str = "OpenVPN tls-crypt-v2 ";

/// Why a text gives no private key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    /// A passphrase would be needed.
    Encrypted,
    /// In words for the user.
    Unreadable(String),
}

struct Object {
    label: String,
    der: Secret<Vec<u8>>,
    encrypted: bool,
}

fn objects(text: &[u8]) -> Result<Vec<Object>, String> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut found = Vec::new();
    while let Some(label) = lines.by_ref().find_map(begin) {
        let end = format!("-----END {label}-----");
        let mut body = Vec::new();
        loop {
            let line = lines.next().ok_or_else(|| format!("the line {} is missing", escape(end.as_bytes())))?;
            if line == end.as_bytes() {
                break;
            }
            body.push(line);
        }
        found.push(object(label, &body)?);
    }
    Ok(found)
}

fn begin(line: &[u8]) -> Option<String> {
    let label = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
    String::from_utf8(label.to_vec()).ok()
}

/// Old OpenSSL keys have header lines (`Proc-Type: 4,ENCRYPTED`) and an empty line before the base64.
fn object(label: String, body: &[&[u8]]) -> Result<Object, String> {
    let encrypted = body.iter().any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"));
    if encrypted {
        return Ok(Object { label, der: Secret::new(Vec::new()), encrypted });
    }
    let digits = || body.iter().filter(|line| !line.contains(&b':'));
    let len = digits().fold(0_usize, |sum, line| sum.saturating_add(line.len()));
    // Sized at once, so that no half-grown copy of a key stays behind in freed memory.
    let mut text = Zeroizing::new(Vec::with_capacity(len));
    digits().for_each(|line| text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace())));
    let fits = |der: &Secret<Vec<u8>>| label.starts_with(OPENVPN) || is_whole(der.expose());
    let der = STANDARD.decode(text.as_slice()).map(Secret::new).ok().filter(fits);
    let der = der.ok_or_else(|| format!("the {} is damaged or cut off", escape(label.as_bytes())))?;
    Ok(Object { label, der, encrypted })
}

/// Whether the bytes are one DER sequence to the last byte.
fn is_whole(der: &[u8]) -> bool {
    let Some((header, content)) = der.split_at_checked(2) else { return false };
    match header {
        [0x30, short @ ..=0x7f] => content.len() == usize::from(*short),
        [0x30, 0x81..=0x84] => {
            let octets = usize::from(header.last().copied().unwrap_or_default() & 0x0f);
            let Some((length, rest)) = content.split_at_checked(octets) else { return false };
            length.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte)) == rest.len()
        }
        _ => false,
    }
}
