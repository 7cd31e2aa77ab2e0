//! Certificates, keys and what is asked of the server's certificate (openvpn-protocol.md section 4.3). Only what the
//! file says; the checks themselves are the TLS layer's.

use super::judgement::{Fate, Judgement};
use super::material::{Content, Files, Materials};
use super::pem::{self, KeyError};
use crate::TlsOptions;
use crate::escape::escape;
use crate::profile::{PeerName, PrivateKey};

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Tls {
    options: TlsOptions,
}

impl Tls {
    pub(super) fn take(
        &mut self,
        name: &str,
        parameters: &[&str],
        line: u32,
        materials: &mut Materials,
    ) -> Option<Fate> {
        Some(match (name, parameters) {
            ("ca" | "cert" | "extra-certs" | "key", _) => {
                return materials.take_file(name, parameters.first().copied(), line);
            }
            ("remote-cert-tls", ["server", ..]) => set(&mut self.options.remote_cert_tls_server),
            ("ns-cert-type", ["server", ..]) => set(&mut self.options.ns_cert_type_server),
            ("remote-cert-tls" | "ns-cert-type", _) => {
                Fate::refused("only a server can be on the other side", format!("write `{name} server`"))
            }
            ("remote-cert-ku", masks) => self.key_usage(masks),
            ("remote-cert-eku", [oid, ..]) => self.extended_key_usage(oid),
            ("verify-x509-name", [name, kind @ ..]) => self.peer_name(name, kind.first().copied()),
            ("peer-fingerprint", [text, ..]) => self.fingerprint(text),
            ("tls-version-min", [version, ..]) => self.version_min(version),
            ("tls-version-max", [version, ..]) => self.version_max(version),
            ("tls-cert-profile", ["suiteb", ..]) => {
                Fate::refused("Suite B certificates are not enforced in this version", "remove the line")
            }
            ("tls-cert-profile", _) => Fate::ignored(
                "certificates need RSA of 2048 bits or an elliptic curve, and SHA-2, whatever the profile says",
            ),
            (
                "remote-cert-eku" | "verify-x509-name" | "peer-fingerprint" | "tls-version-min" | "tls-version-max",
                [],
            ) => Fate::wrong("it needs a value", "add the value, or remove the line"),
            _ => return None,
        })
    }

    /// Hexadecimal masks of one byte; none means that the extension must be there.
    fn key_usage(&mut self, masks: &[&str]) -> Fate {
        let masks: Option<Vec<u8>> = masks.iter().map(|mask| u8::from_str_radix(mask, 16).ok()).collect();
        let Some(masks) = masks else {
            return Fate::wrong("a key usage is two hexadecimal digits", "write for example `remote-cert-ku a0 88`");
        };
        self.options.remote_cert_ku = Some(masks);
        Fate::Used
    }

    fn extended_key_usage(&mut self, text: &str) -> Fate {
        let oid = match text {
            "TLS Web Server Authentication" => "1.3.6.1.5.5.7.3.1",
            "TLS Web Client Authentication" => "1.3.6.1.5.5.7.3.2",
            dotted if is_oid(dotted) => dotted,
            other => {
                let why = format!("`{}` is no usage that mrvpn knows by name", escape(other.as_bytes()));
                return Fate::wrong(why, "write it as numbers, as in 1.3.6.1.5.5.7.3.1");
            }
        };
        self.options.remote_cert_eku = Some(oid.to_owned());
        Fate::Used
    }

    fn peer_name(&mut self, name: &str, kind: Option<&str>) -> Fate {
        let name = name.to_owned();
        self.options.verify_x509_name = Some(match kind {
            None | Some("subject") => PeerName::Subject(name),
            Some("name") => PeerName::CommonName(name),
            Some("name-prefix") => PeerName::CommonNamePrefix(name),
            Some(_) => return Fate::wrong("its type is subject, name or name-prefix", "correct the type"),
        });
        Fate::Used
    }

    fn fingerprint(&mut self, text: &str) -> Fate {
        match fingerprint(text) {
            Some(fingerprint) => {
                self.options.peer_fingerprints.push(fingerprint);
                Fate::Used
            }
            None => Fate::wrong("a fingerprint is SHA-256 as 32 hexadecimal bytes", FINGERPRINT_HINT),
        }
    }

    fn version_min(&mut self, version: &str) -> Fate {
        match version {
            "1.0" | "1.1" => Fate::ignored("TLS below 1.2 is never spoken"),
            "1.2" => Fate::Used,
            "1.3" => set(&mut self.options.tls13_only),
            _ => Fate::wrong("the version is 1.0, 1.1, 1.2 or 1.3", "write `tls-version-min 1.2`"),
        }
    }

    fn version_max(&mut self, version: &str) -> Fate {
        match version {
            "1.0" | "1.1" => Fate::refused("TLS below 1.2 is never spoken", "ask the operator to allow TLS 1.2"),
            "1.2" => set(&mut self.options.tls12_only),
            "1.3" => Fate::Used,
            _ => Fate::wrong("the version is 1.2 or 1.3", "write `tls-version-max 1.3`, or remove the line"),
        }
    }

    pub(super) fn finish(
        self,
        materials: &mut Materials,
        files: &mut dyn Files,
        judgement: &mut Judgement,
    ) -> TlsOptions {
        let mut options = self.options;
        let fingerprints = materials.read("peer-fingerprint", files, judgement);
        options.peer_fingerprints.extend(fingerprints.map(|content| listed(content, judgement)).unwrap_or_default());
        let ca = materials.read("ca", files, judgement);
        let has_ca = ca.is_some();
        options.ca = ca.map(|ca| certificates("ca", ca, judgement)).unwrap_or_default();
        own_chain(&mut options, materials, files, judgement);
        check_versions(&options, judgement);
        check_trust(&options, has_ca, judgement);
        options
    }
}

/// `cert`, `extra-certs` and `key`.
fn own_chain(options: &mut TlsOptions, materials: &mut Materials, files: &mut dyn Files, judgement: &mut Judgement) {
    let cert = materials.read("cert", files, judgement);
    let key = materials.read("key", files, judgement);
    let extra = materials.read("extra-certs", files, judgement);
    match (&cert, &key) {
        (Some(cert), None) => {
            judgement.refuse(cert.line, "cert", "a certificate without its `key`", "add the `key`, or remove `cert`");
        }
        (None, Some(key)) => {
            judgement.refuse(key.line, "key", "a key without its certificate", "add the `cert`, or remove `key`");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    options.cert = cert.map(|cert| certificates("cert", cert, judgement)).unwrap_or_default();
    options.cert.extend(extra.map(|extra| certificates("extra-certs", extra, judgement)).unwrap_or_default());
    options.key = key.and_then(|key| private_key(key, judgement));
}

fn certificates(name: &str, content: Content, judgement: &mut Judgement) -> Vec<Vec<u8>> {
    let Some(bytes) = content.bytes else { return Vec::new() };
    pem::certificates(bytes.expose()).unwrap_or_else(|why| {
        judgement.refuse(content.line, name, &why, "get the certificate from the provider again, in PEM form");
        Vec::new()
    })
}

fn private_key(content: Content, judgement: &mut Judgement) -> Option<PrivateKey> {
    match pem::private_key(content.bytes?.expose()) {
        Ok(key) => Some(key),
        Err(KeyError::Encrypted) => {
            let why = "the key is encrypted, and passphrases are not in this version";
            let hint = "decrypt it once: `openssl pkey -in client.key -out client-plain.key`, chmod 600, and use that";
            judgement.refuse(content.line, "key", why, hint);
            None
        }
        Err(KeyError::Unreadable(why)) => {
            judgement.refuse(content.line, "key", &why, "get the key from the provider again, in PEM form");
            None
        }
    }
}

/// Fingerprints of an inline block, one a line.
fn listed(content: Content, judgement: &mut Judgement) -> Vec<[u8; 32]> {
    let Some(bytes) = content.bytes else { return Vec::new() };
    let lines = bytes.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b";"));
    let read: Option<Vec<[u8; 32]>> = lines.map(|line| str::from_utf8(line).ok().and_then(fingerprint)).collect();
    read.filter(|list| !list.is_empty()).unwrap_or_else(|| {
        let why = "fingerprints are SHA-256 as 32 hexadecimal bytes, one a line";
        judgement.refuse(content.line, "peer-fingerprint", why, FINGERPRINT_HINT);
        Vec::new()
    })
}

/// 32 bytes in hexadecimal with colons between them.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let byte = |part: &str| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten();
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    bytes?.try_into().ok()
}

fn check_versions(options: &TlsOptions, judgement: &mut Judgement) {
    if options.tls12_only && options.tls13_only {
        let why = "`tls-version-min 1.3` and `tls-version-max 1.2` leave no version";
        judgement.refuse(0, "tls-version-min", why, "remove one of the two lines");
    }
}

/// Something must say whom to trust, and it should say that only a server is.
fn check_trust(options: &TlsOptions, has_ca: bool, judgement: &mut Judgement) {
    let said = |names: &[&str]| names.iter().any(|name| judgement.has_refused(name));
    let (source_refused, check_refused) = (said(&SOURCES_OF_TRUST), said(&CHECKS));
    if !has_ca && options.peer_fingerprints.is_empty() && !source_refused {
        let hint = "add the provider's `ca`, or the server's `peer-fingerprint`";
        judgement.refuse(0, "ca", "nothing says which servers to trust: the profile has no `ca`", hint);
    }
    let asks = options.remote_cert_tls_server
        || options.ns_cert_type_server
        || options.verify_x509_name.is_some()
        || options.remote_cert_eku.is_some()
        || !options.peer_fingerprints.is_empty();
    if !asks && !check_refused {
        judgement.warn(0, "", ANY_CERTIFICATE, "add `remote-cert-tls server`");
    }
}

/// Where whom to trust comes from: one that is refused says enough.
const SOURCES_OF_TRUST: [&str; 5] = ["ca", "<ca>", "capath", "pkcs12", "peer-fingerprint"];

/// What a profile asks of the server's certificate: the same.
const CHECKS: [&str; 7] = [
    "remote-cert-tls",
    "ns-cert-type",
    "verify-x509-name",
    "remote-cert-eku",
    "peer-fingerprint",
    "verify-hash",
    "tls-remote",
];

fn set(flag: &mut bool) -> Fate {
    *flag = true;
    Fate::Used
}

fn is_oid(text: &str) -> bool {
    text.contains('.') && text.split('.').all(|part| crate::address::number(part).is_some())
}

const ANY_CERTIFICATE: &str = "any certificate of this CA can pose as the server";
const FINGERPRINT_HINT: &str = "`openssl x509 -in server.crt -noout -fingerprint -sha256` prints it";
