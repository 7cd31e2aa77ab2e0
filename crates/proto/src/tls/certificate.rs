//! What one certificate says, as OpenVPN's rules need it: subject in OpenVPN's form, usages, validity
//! (openvpn-protocol.md section 4.3; OpenVPN `ssl_verify_openssl.c`). Judged by `verify.rs`; signatures are webpki's.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::WallTime;
use mrvpn_profile::escape::escape;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Oid, Tag};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, X509Name, X509Version};

use super::TlsError;

/// The facts of one certificate.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Subject as OpenVPN compares it: `C=US, O=Org, CN=name`, control characters as `_`, not escaped.
    pub(super) subject: String,
    /// Every common name of the subject.
    pub(super) common_names: Vec<String>,
    /// Whether a name has control characters or cannot be decoded.
    pub(super) has_bad_name: bool,
    /// Key usage, its first eight bits, digitalSignature as 0x80; `None` without the extension.
    pub(super) key_usage: Option<u8>,
    /// Extended key usages as dotted numbers; `None` without the extension.
    pub(super) extended_usage: Option<Vec<String>>,
    /// Netscape's certificate type, server as 0x40; `None` without the extension.
    pub(super) netscape_type: Option<u8>,
    /// CA flag and path length of the basic constraints; `None` without the extension.
    pub(super) constraints: Option<(bool, Option<u32>)>,
    /// Its RSA key has fewer than 2,048 bits: neither webpki nor rustls takes its signatures.
    pub(super) has_short_rsa_key: bool,
    /// X.509 version 1, which has no extensions.
    pub(super) is_version_1: bool,
    /// Valid from.
    pub(super) not_before: WallTime,
    /// Valid to, that second included.
    pub(super) not_after: WallTime,
}

pub(super) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const KEY_CERT_SIGN: u8 = 0x04;
const NETSCAPE_SERVER: u8 = 0x40;

impl Facts {
    pub(super) fn parse(der: &[u8]) -> Result<Self, TlsError> {
        let unreadable = |why: String| TlsError::BadCertificate(escape(why.as_bytes()));
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable(String::from("bytes behind its end")));
        }
        let names = Names::of(certificate.subject());
        let validity = certificate.validity();
        let mut facts = Self {
            subject: names.text,
            common_names: names.common_names,
            has_bad_name: names.bad,
            key_usage: None,
            extended_usage: None,
            netscape_type: None,
            constraints: None,
            has_short_rsa_key: has_short_rsa_key(&certificate),
            is_version_1: certificate.version() == X509Version::V1,
            not_before: wall(validity.not_before.timestamp()),
            not_after: wall(validity.not_after.timestamp()),
        };
        for extension in certificate.extensions() {
            facts.take_extension(extension.parsed_extension())?;
        }
        Ok(facts)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum; other extensions are webpki's affair")]
    fn take_extension(&mut self, extension: &ParsedExtension<'_>) -> Result<(), TlsError> {
        match extension {
            // The parser's lowest bit is the extension's first.
            ParsedExtension::KeyUsage(usage) => {
                let [_, low] = usage.flags.to_be_bytes();
                self.key_usage = Some(low.reverse_bits());
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let named = [
                    (usage.any, "2.5.29.37.0"),
                    (usage.server_auth, SERVER_AUTH),
                    (usage.client_auth, "1.3.6.1.5.5.7.3.2"),
                    (usage.code_signing, "1.3.6.1.5.5.7.3.3"),
                    (usage.email_protection, "1.3.6.1.5.5.7.3.4"),
                    (usage.time_stamping, "1.3.6.1.5.5.7.3.8"),
                    (usage.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
                ];
                let known = named.iter().filter(|(present, _)| *present).map(|(_, oid)| String::from(*oid));
                self.extended_usage = Some(known.chain(usage.other.iter().map(Oid::to_id_string)).collect());
            }
            ParsedExtension::NSCertType(kind) => {
                self.netscape_type = Some(if kind.ssl_server() { NETSCAPE_SERVER } else { 0 });
            }
            ParsedExtension::BasicConstraints(basic) => {
                self.constraints = Some((basic.ca, basic.path_len_constraint));
            }
            ParsedExtension::ParseError { .. } => {
                return Err(TlsError::BadCertificate(String::from("an extension is malformed")));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether an extended key usage names server authentication.
    pub(super) fn has_server_auth(&self) -> bool {
        self.extended_usage.as_ref().is_some_and(|usages| usages.iter().any(|usage| usage == SERVER_AUTH))
    }

    /// Whether Netscape's certificate type names a server.
    pub(super) fn is_netscape_server(&self) -> bool {
        self.netscape_type.is_some_and(|kind| kind & NETSCAPE_SERVER != 0)
    }

    /// Whether something in it says that it is a server's.
    pub(super) fn is_marked_as_server(&self) -> bool {
        self.has_server_auth() || (self.extended_usage.is_none() && self.is_netscape_server())
    }

    /// Whether it may sign others, as OpenSSL sees it (`v3_purp.c`, `check_ca`).
    pub(super) fn may_sign(&self) -> bool {
        if self.key_usage.is_some_and(|usage| usage & KEY_CERT_SIGN == 0) {
            return false;
        }
        match self.constraints {
            Some((ca, _)) => ca,
            None => self.is_version_1 || self.key_usage.is_some(),
        }
    }

    /// How many certificates may stand between it and the server's.
    pub(super) fn path_length(&self) -> Option<u32> {
        self.constraints.and_then(|(_, length)| length)
    }

    /// Fails if it is not valid at `now`.
    pub(super) fn check_time(&self, now: WallTime) -> Result<(), TlsError> {
        let subject = self.shown_subject();
        if now > self.not_after {
            return Err(TlsError::Expired { subject, not_after: self.not_after, now });
        }
        if now < self.not_before {
            return Err(TlsError::NotYetValid { subject, not_before: self.not_before, now });
        }
        Ok(())
    }

    /// The subject for errors and logs.
    pub(super) fn shown_subject(&self) -> String {
        escape(self.subject.as_bytes())
    }
}

fn has_short_rsa_key(certificate: &X509Certificate<'_>) -> bool {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size() < 2_048,
        Ok(_) | Err(_) => false,
    }
}

fn wall(timestamp: i64) -> WallTime {
    WallTime::from_unix(u64::try_from(timestamp).unwrap_or(0))
}

/// A subject, read.
#[derive(Default)]
struct Names {
    text: String,
    common_names: Vec<String>,
    bad: bool,
}

impl Names {
    /// Order as in the certificate, `, ` between parts, ` + ` between values of one part.
    fn of(subject: &X509Name<'_>) -> Self {
        let mut names = Self::default();
        let mut parts = Vec::new();
        for rdn in subject.iter_rdn() {
            let values: Vec<String> = rdn.iter().map(|attribute| names.take(attribute)).collect();
            parts.push(values.join(" + "));
        }
        names.text = parts.join(", ");
        names
    }

    fn take(&mut self, attribute: &AttributeTypeAndValue<'_>) -> String {
        let key = attribute.attr_type().to_id_string();
        let Some(value) = decode(attribute) else {
            self.bad = true;
            return format!("{}=?", short_name(&key));
        };
        self.bad |= value.chars().any(char::is_control);
        if key == "2.5.4.3" {
            self.common_names.push(value.clone());
        }
        format!("{}={}", short_name(&key), value.replace('\\', "\\\\"))
    }
}

/// The text of a value in the encodings that names use; `None` for any other, or if it does not fit its encoding.
fn decode(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(String::from),
        Tag::PrintableString | Tag::Ia5String | Tag::VisibleString | Tag::NumericString => {
            bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())
        }
        // OpenSSL reads T61 as Latin-1.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).ok().map(u16::from_be_bytes));
            String::from_utf16(&units.collect::<Option<Vec<u16>>>()?).ok()
        }
        _ => None,
    }
}

/// OpenSSL's short name of an attribute, or its dotted number.
fn short_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.17" => "postalCode",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.45" => "x500UniqueIdentifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "1.2.840.113549.1.9.2" => "unstructuredName",
        "1.3.6.1.4.1.311.60.2.1.1" => "jurisdictionL",
        "1.3.6.1.4.1.311.60.2.1.2" => "jurisdictionST",
        "1.3.6.1.4.1.311.60.2.1.3" => "jurisdictionC",
        other => other,
    }
}
