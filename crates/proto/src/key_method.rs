//! The key exchange message inside TLS, "key method 2" (openvpn-protocol.md section 5.1; OpenVPN `ssl.c`,
//! `key_method_2_write` and `key_method_2_read`). Its randoms make the data keys where TLS does not export them
//! (`key_block.rs`); they are sent in any case.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_profile::Credentials;
use zeroize::Zeroizing;

use crate::reader::Reader;

/// What the client puts into its message besides text: 48, 32 and 32 random bytes.
#[derive(Clone)]
pub struct KeySource {
    /// Only the client sends one.
    pub pre_master: Zeroizing<[u8; 48]>,
    /// Of either side.
    pub random1: [u8; 32],
    /// Of either side.
    pub random2: [u8; 32],
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeySource(***)")
    }
}

/// User and password as they are sent.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The user; empty with a token of a user that has only a certificate.
    pub user: &'a str,
    /// The password, or the token that stands for it.
    pub password: &'a str,
}

impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(***)")
    }
}

impl<'a> From<&'a Credentials> for Login<'a> {
    fn from(credentials: &'a Credentials) -> Self {
        Self { user: &credentials.user, password: credentials.password.expose() }
    }
}

/// The client's message.
#[derive(Clone, Debug)]
pub struct ClientMessage<'a> {
    /// The randoms.
    pub source: &'a KeySource,
    /// The options string (`options_string.rs`).
    pub options: &'a str,
    /// User and password, or what stands for them.
    pub login: Option<Login<'a>>,
    /// The peer info (`peer_info.rs`).
    pub peer_info: &'a str,
}

/// What a server's message says.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerMessage {
    /// The server's randoms: for keys that TLS does not export.
    pub random1: [u8; 32],
    /// As `random1`.
    pub random2: [u8; 32],
    /// The server's options string, as it stands; foreign bytes.
    pub options: Vec<u8>,
}

impl std::fmt::Debug for ServerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerMessage").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Why bytes are no key exchange message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyMethodError {
    /// It ends before the options string does; more may come.
    #[error("the key exchange message ends early")]
    Incomplete,
    /// It does not begin as one.
    #[error("the message is no key exchange message")]
    NotKeyMethod,
    /// Another key method than 2.
    #[error("the server uses key method {0}; OpenVPN has used 2 since 2.0")]
    Method(u8),
}

const METHOD: u8 = 2;

impl ClientMessage<'_> {
    /// The message as one TLS record.
    #[must_use]
    pub fn emit(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(2_048));
        out.extend_from_slice(&[0, 0, 0, 0, METHOD]);
        out.extend_from_slice(self.source.pre_master.as_slice());
        out.extend_from_slice(&self.source.random1);
        out.extend_from_slice(&self.source.random2);
        put_string(&mut out, Some(self.options));
        put_string(&mut out, self.login.map(|login| login.user));
        put_string(&mut out, self.login.map(|login| login.password));
        put_string(&mut out, Some(self.peer_info));
        out
    }
}

impl ServerMessage {
    /// Parses a server's message. It may end after the options string, as old servers' do.
    ///
    /// # Errors
    /// [`KeyMethodError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyMethodError> {
        let mut reader = Reader::new(bytes);
        begin(&mut reader)?;
        let random1 = reader.array().ok_or(KeyMethodError::Incomplete)?;
        let random2 = reader.array().ok_or(KeyMethodError::Incomplete)?;
        let options = take_string(&mut reader).ok_or(KeyMethodError::Incomplete)?;
        Ok(Self { random1, random2, options: options.to_vec() })
    }

    /// The value of an item of the options string (`cipher AES-256-GCM`): what follows `name` and a blank.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let text = std::str::from_utf8(&self.options).ok()?;
        text.split(',').find_map(|item| item.strip_prefix(name)?.strip_prefix(' '))
    }
}

/// Zero, then the method.
fn begin(reader: &mut Reader<'_>) -> Result<(), KeyMethodError> {
    match reader.u32() {
        Some(0) => {}
        Some(_) => return Err(KeyMethodError::NotKeyMethod),
        None => return Err(KeyMethodError::Incomplete),
    }
    match reader.u8().map(|method| method & 0x0f) {
        Some(METHOD) => Ok(()),
        Some(other) => Err(KeyMethodError::Method(other)),
        None => Err(KeyMethodError::Incomplete),
    }
}

/// Length with the final NUL, bytes, NUL; an absent string has length 0.
fn put_string(out: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else { return out.extend_from_slice(&[0, 0]) };
    let len = u16::try_from(text.len().saturating_add(1)).unwrap_or(u16::MAX);
    let kept = text.as_bytes().get(..usize::from(len).saturating_sub(1)).unwrap_or(text.as_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(kept);
    out.push(0);
}

fn take_string<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = reader.u16()?;
    let bytes = reader.take(usize::from(len))?;
    Some(bytes.strip_suffix(&[0]).unwrap_or(bytes))
}

/// A client's message as a server reads it: the counterpart of [`ClientMessage`]. Foreign bytes.
#[cfg(any(test, feature = "server"))]
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedClientMessage {
    /// The client's randoms, one behind the other: 48, 32 and 32 bytes.
    pub randoms: Vec<u8>,
    /// The client's options string.
    pub options: Vec<u8>,
    /// User name, empty where absent.
    pub user: Vec<u8>,
    /// Password, empty where absent.
    pub password: Vec<u8>,
    /// Peer info, empty where absent.
    pub peer_info: Vec<u8>,
}

#[cfg(any(test, feature = "server"))]
impl ReceivedClientMessage {
    /// Parses a client's message.
    ///
    /// # Errors
    /// [`KeyMethodError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyMethodError> {
        let mut reader = Reader::new(bytes);
        begin(&mut reader)?;
        let randoms = reader.take(48 + 64).ok_or(KeyMethodError::Incomplete)?.to_vec();
        let options = take_string(&mut reader).ok_or(KeyMethodError::Incomplete)?.to_vec();
        let mut next = || take_string(&mut reader).unwrap_or_default().to_vec();
        Ok(Self { randoms, options, user: next(), password: next(), peer_info: next() })
    }

    /// The randoms, for keys that TLS does not export.
    pub(crate) fn source(&self) -> Option<KeySource> {
        let mut reader = Reader::new(&self.randoms);
        let pre_master = Zeroizing::new(reader.array()?);
        Some(KeySource { pre_master, random1: reader.array()?, random2: reader.array()? })
    }
}

#[cfg(any(test, feature = "server"))]
impl std::fmt::Debug for ReceivedClientMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceivedClientMessage(***)")
    }
}

#[cfg(any(test, feature = "server"))]
impl Drop for ReceivedClientMessage {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.randoms);
        zeroize::Zeroize::zeroize(&mut self.password);
    }
}

/// A server's message.
#[cfg(any(test, feature = "server"))]
#[must_use]
pub fn emit_server_message(random1: &[u8; 32], random2: &[u8; 32], options: &str) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, METHOD];
    out.extend_from_slice(random1);
    out.extend_from_slice(random2);
    put_string(&mut out, Some(options));
    (0..3).for_each(|_| put_string(&mut out, None));
    out
}
