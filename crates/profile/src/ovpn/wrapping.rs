//! How control packets are wrapped: `tls-auth`, `tls-crypt`, `tls-crypt-v2`, `key-direction`. The text form of a shared
//! key is `static_key.rs`.

use super::ciphers::Ciphers;
use super::judgement::{Fate, Judgement};
use super::material::{Content, Files, Materials};
use super::pem;
use crate::{KeyDirection, StaticKey, Wrap, limits};

/// What the file, or one of its `<connection>` blocks, said about it.
#[derive(Clone, Debug, Default)]
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
            (TLS_AUTH, [path, rest @ ..]) => {
                let said = rest.first().map_or(Fate::Used, |word| self.take_direction(word));
                if matches!(said, Fate::Wrong { .. }) {
                    return Some(said);
                }
                let taken = materials.take_file(name, Some(path), line);
                if taken == Some(Fate::Used) { Some(said) } else { taken }
            }
            (name, _) if is_wrapping(name) => materials.take_file(name, parameters.first().copied(), line),
            ("key-direction", [word, ..]) => Some(self.take_direction(word)),
            ("key-direction", []) => Some(wrong_direction()),
            _ => None,
        }
    }

    /// Profiles with the server's side of the key are in the wild, and then the server never answers.
    fn take_direction(&mut self, word: &str) -> Fate {
        let Some(direction) = direction(word) else { return wrong_direction() };
        self.direction = Some(direction);
        match direction {
            KeyDirection::Normal => Fate::UsedBut(String::from(
                "0 is usually the server's side of the key; if the server never answers, write 1 in its place",
            )),
            KeyDirection::Inverse | KeyDirection::Both => Fate::Used,
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
        let mut given: Option<(&'static str, Content)> = None;
        for name in KINDS {
            let Some(content) = materials.read(name, files, judgement) else { continue };
            if let Some((other, _)) = given {
                let why = format!("the profile has `{other}` as well, and a server can mean only one of them");
                judgement.refuse(content.line, name, &why, "remove the one that the server does not use");
                return None;
            }
            given = Some((name, content));
        }
        match given {
            None => Some(Wrap::None),
            Some((TLS_AUTH, content)) => {
                let key = shared_key(TLS_AUTH, content, judgement)?;
                let digest = ciphers.digest_of_tls_auth(judgement)?;
                Some(Wrap::TlsAuth { key, direction: self.direction.unwrap_or(KeyDirection::Both), digest })
            }
            Some((TLS_CRYPT_V2, content)) => client_key(content, judgement),
            Some((name, content)) => Some(Wrap::TlsCrypt { key: shared_key(name, content, judgement)? }),
        }
    }
}

/// Whether a directive of this name holds a wrapping's key, in a file or inline.
pub(super) fn is_wrapping(name: &str) -> bool {
    KINDS.contains(&name)
}

fn shared_key(name: &'static str, content: Content, judgement: &mut Judgement) -> Option<StaticKey> {
    match StaticKey::from_text(content.bytes?.expose()) {
        Ok(key) => Some(key),
        Err(error) => {
            judgement.refuse(content.line, name, &error.to_string(), AGAIN);
            None
        }
    }
}

/// A client key of tls-crypt-v2: 256 bytes of key, then the same sealed for the server (openvpn-protocol.md section 2.5).
fn client_key(content: Content, judgement: &mut Judgement) -> Option<Wrap> {
    match read_client_key(content.bytes?.expose()) {
        Ok(wrap) => Some(wrap),
        Err(why) => {
            judgement.refuse(content.line, TLS_CRYPT_V2, &why, AGAIN);
            None
        }
    }
}

fn read_client_key(text: &[u8]) -> Result<Wrap, String> {
    let payload = pem::openvpn_client_key(text)?;
    let damaged = || String::from("the key is damaged or cut off");
    let (key, wrapped) = payload.expose().split_at_checked(StaticKey::LEN).ok_or_else(damaged)?;
    let key = StaticKey::from_bytes(key.to_vec()).ok_or_else(damaged)?;
    if !(limits::WRAPPED_KEY_MIN..=limits::WRAPPED_KEY_MAX).contains(&wrapped.len()) || !ends_with_length(wrapped) {
        return Err(damaged());
    }
    Ok(Wrap::TlsCryptV2 { key, wrapped: wrapped.to_vec() })
}

/// The last two bytes of a wrapped key are the length of all of it.
fn ends_with_length(wrapped: &[u8]) -> bool {
    let length = wrapped.last_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)));
    length == Some(wrapped.len())
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

const TLS_AUTH: &str = "tls-auth";
const TLS_CRYPT_V2: &str = "tls-crypt-v2";
const KINDS: [&str; 3] = [TLS_AUTH, "tls-crypt", TLS_CRYPT_V2];

const AGAIN: &str = "get the key from the provider again, whole";
