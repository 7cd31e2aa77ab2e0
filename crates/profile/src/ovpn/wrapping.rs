//! How control packets are wrapped: `tls-auth`, `tls-crypt`, `key-direction`. The key's text form is `static_key.rs`.

use super::ciphers::Ciphers;
use super::judgement::{Fate, Judgement};
use super::material::{Content, Files, Materials};
use crate::{KeyDirection, StaticKey, Wrap};

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Wrapping {
    direction: Option<KeyDirection>,
}

impl Wrapping {
    pub(super) fn take(
        &mut self,
        name: &str,
        parameters: &[&str],
        line: u32,
        materials: &mut Materials,
    ) -> Option<Fate> {
        match (name, parameters) {
            ("tls-auth", [path, rest @ ..]) => {
                if let Some(word) = rest.first() {
                    match direction(word) {
                        Some(direction) => self.direction = Some(direction),
                        None => return Some(wrong_direction()),
                    }
                }
                materials.take_file(name, Some(path), line)
            }
            ("tls-auth" | "tls-crypt", _) => materials.take_file(name, parameters.first().copied(), line),
            ("key-direction", [word, ..]) => Some(direction(word).map_or_else(wrong_direction, |direction| {
                self.direction = Some(direction);
                Fate::Used
            })),
            ("key-direction", []) => Some(wrong_direction()),
            _ => None,
        }
    }

    /// The wrapping; `None` if its key is refused, which is entered then.
    pub(super) fn finish(
        &self,
        materials: &mut Materials,
        files: &mut dyn Files,
        ciphers: &Ciphers,
        judgement: &mut Judgement,
    ) -> Option<Wrap> {
        let tls_auth = materials.read("tls-auth", files, judgement);
        let tls_crypt = materials.read("tls-crypt", files, judgement);
        match (tls_auth, tls_crypt) {
            (None, None) => Some(Wrap::None),
            (Some(_), Some(Content { line, .. })) => {
                let why = "the profile has `tls-auth` as well, and a server can mean only one of them";
                judgement.refuse(line, "tls-crypt", why, "remove the one that the server does not use");
                None
            }
            (Some(content), None) => {
                let key = key("tls-auth", content, judgement)?;
                let digest = ciphers.digest_of_tls_auth(judgement)?;
                Some(Wrap::TlsAuth { key, direction: self.direction.unwrap_or(KeyDirection::Both), digest })
            }
            (None, Some(content)) => Some(Wrap::TlsCrypt { key: key("tls-crypt", content, judgement)? }),
        }
    }
}

fn key(name: &'static str, content: Content, judgement: &mut Judgement) -> Option<StaticKey> {
    match StaticKey::from_text(content.bytes?.expose()) {
        Ok(key) => Some(key),
        Err(error) => {
            judgement.refuse(content.line, name, &error.to_string(), "get the key from the provider again, whole");
            None
        }
    }
}

fn direction(word: &str) -> Option<KeyDirection> {
    match word {
        "0" => Some(KeyDirection::Normal),
        "1" => Some(KeyDirection::Inverse),
        "bidirectional" => Some(KeyDirection::Both),
        _ => None,
    }
}

fn wrong_direction() -> Fate {
    Fate::wrong("the direction of a key is 0 or 1", "write 1, which is the usual one for clients")
}
