//! Data ciphers and `auth` as the file has them (openvpn-protocol.md section 7.1). Which one a session uses is decided
//! when the server has spoken.

use super::judgement::{Fate, Judgement};
use crate::escape::escape;
use crate::{Cipher, Digest};

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Ciphers {
    list: Option<List>,
    /// `cipher`, where this version speaks it.
    single: Option<Cipher>,
    fallback: Option<Cipher>,
    digest: Option<Digest>,
    /// `auth` of a name that this version does not know, with its line.
    odd_digest: Option<(String, u32)>,
}

#[derive(Debug)]
struct List {
    ciphers: Vec<Cipher>,
    line: u32,
}

impl Ciphers {
    pub(super) fn take(&mut self, name: &str, parameters: &[&str], line: u32) -> Option<Fate> {
        Some(match (name, parameters) {
            ("cipher" | "data-ciphers-fallback", ["none", ..]) => {
                Fate::refused("data would not be encrypted", "use AES-256-GCM, AES-128-GCM or CHACHA20-POLY1305")
            }
            ("cipher", [cipher, ..]) => single(cipher, &mut self.single),
            ("data-ciphers-fallback", [cipher, ..]) => single(cipher, &mut self.fallback),
            ("data-ciphers" | "ncp-ciphers", [list, ..]) => self.list(list, line),
            ("auth", ["none", ..]) => Fate::refused(
                "control packets would not be authenticated",
                "write the server's digest, as in `auth SHA256`",
            ),
            ("auth", [digest, ..]) => self.auth(digest, line),
            ("cipher" | "data-ciphers-fallback" | "data-ciphers" | "ncp-ciphers" | "auth", []) => {
                Fate::wrong("it needs a name", "write the name, or remove the line")
            }
            _ => return None,
        })
    }

    fn list(&mut self, text: &str, line: u32) -> Fate {
        let (mut ciphers, mut left_out) = (Vec::new(), Vec::new());
        for word in text.split(':').filter(|word| !word.is_empty()) {
            let name = word.strip_prefix('?').unwrap_or(word);
            match Cipher::by_name(name) {
                Some(cipher) => add(&mut ciphers, cipher),
                None if name == "DEFAULT" => Cipher::DEFAULT.into_iter().for_each(|cipher| add(&mut ciphers, cipher)),
                None => left_out.push(escape(name.as_bytes())),
            }
        }
        if ciphers.is_empty() {
            let hint =
                "ask the operator to allow AES-256-GCM, AES-128-GCM or CHACHA20-POLY1305, and add it to the list";
            return Fate::refused("none of these ciphers is in this version", hint);
        }
        self.list = Some(List { ciphers, line });
        match left_out.as_slice() {
            [] => Fate::Used,
            names => {
                Fate::UsedInPart(escape(format!("not in this version, left out: {}", names.join(", ")).as_bytes()))
            }
        }
    }

    fn auth(&mut self, name: &str, line: u32) -> Fate {
        match Digest::by_name(name) {
            Some(digest) => {
                self.digest = Some(digest);
                self.odd_digest = None;
                Fate::Used
            }
            None => {
                let shown = escape(name.as_bytes());
                self.odd_digest = Some((shown.clone(), line));
                Fate::Ignored(format!(
                    "{shown} is not in this version; AES-GCM and CHACHA20 authenticate data themselves"
                ))
            }
        }
    }

    /// `auth`, or OpenVPN's default.
    pub(super) fn digest(&self) -> Digest {
        self.digest.unwrap_or(Digest::Sha1)
    }

    /// The digest for tls-auth, where a wrong one would mean that the server never answers.
    pub(super) fn digest_of_tls_auth(&self, judgement: &mut Judgement) -> Option<Digest> {
        let Some((name, line)) = &self.odd_digest else { return Some(self.digest()) };
        let why = format!("tls-auth with {name} is not in this version");
        judgement.refuse(*line, "auth", &why, "ask the operator for `auth SHA256`, or for tls-crypt");
        None
    }

    /// The accepted ciphers in order, and the fallback.
    pub(super) fn finish(self, judgement: &mut Judgement) -> (Vec<Cipher>, Option<Cipher>) {
        match self.list {
            Some(list) => {
                if let Some(single) = self.single.filter(|single| !list.ciphers.contains(single)) {
                    let why = format!("`cipher {single}` is not in this list and not accepted");
                    judgement.warn(list.line, "data-ciphers", &why, "");
                }
                (list.ciphers, self.fallback)
            }
            // As OpenVPN 2.5: an older profile has `cipher` alone, and its server may never name one.
            None => (Cipher::DEFAULT.to_vec(), self.fallback.or(self.single)),
        }
    }
}

fn single(name: &str, slot: &mut Option<Cipher>) -> Fate {
    match Cipher::by_name(name) {
        Some(cipher) => {
            *slot = Some(cipher);
            Fate::Used
        }
        None => {
            *slot = None;
            let shown = escape(name.as_bytes());
            Fate::Ignored(format!(
                "{shown} is not in this version; servers of OpenVPN 2.4 and newer agree to AES-GCM or CHACHA20-POLY1305 in \
                 its place"
            ))
        }
    }
}

fn add(ciphers: &mut Vec<Cipher>, cipher: Cipher) {
    if !ciphers.contains(&cipher) {
        ciphers.push(cipher);
    }
}
