//! TLS that is none: plain bytes in flights of a real handshake's sizes, randoms and exported keys that follow from a
//! seed, so that a simulated run repeats exactly. It protects nothing, but damage is seen as real TLS sees it: each record
//! has a check value over its number and its bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use mrvpn_clock::WallTime;

use crate::server::TlsAcceptor;
use crate::tls::{Tls, TlsConnector, TlsError};
use crate::wrapping::Side;

/// One end of a scripted TLS session.
#[derive(Debug)]
pub struct ScriptedTls {
    side: Side,
    random: [u8; 32],
    peer_random: Option<[u8; 32]>,
    hello: usize,
    out: Vec<u8>,
    buffered: Vec<u8>,
    records: VecDeque<Vec<u8>>,
    /// Records put and taken so far.
    numbers: (u64, u64),
    done: bool,
    refusal: Option<TlsError>,
}

/// Makes scripted clients.
#[derive(Clone, Debug)]
pub struct ScriptedConnector {
    /// From this follow the randoms.
    pub seed: u64,
    /// What each client thinks of the server's certificate.
    pub refusal: Option<TlsError>,
}

impl TlsConnector for ScriptedConnector {
    fn connect(&self, _wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        let mut tls = ScriptedTls::client(self.seed);
        tls.refusal = self.refusal.clone();
        Ok(Box::new(tls))
    }
}

/// Makes scripted servers.
#[derive(Debug)]
pub struct ScriptedAcceptor {
    /// From this follow the randoms: others each time.
    next: AtomicU64,
}

impl ScriptedAcceptor {
    /// The first server's randoms follow from `seed`, the next one's from the number behind it.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { next: AtomicU64::new(seed) }
    }
}

impl TlsAcceptor for ScriptedAcceptor {
    fn accept(&self, _wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        Ok(Box::new(ScriptedTls::server(self.next.fetch_add(1, Ordering::Relaxed))))
    }
}

/// Bytes of the flights of TLS 1.3 with RSA-2048 certificates on both sides.
const CLIENT_HELLO: usize = 330;
const SERVER_HELLO: usize = 2_300;
const CLIENT_FINISHED: usize = 1_560;
const TICKETS: usize = 158;

/// Kind and length, as long as a real record's header.
const HEADER: usize = 5;
/// Content type and tag of an encrypted record.
const TRAILER: usize = 17;
/// Bytes of the check value at the end of a record, within the trailer.
const CHECK: usize = 8;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const APPLICATION: u8 = 23;
/// Bytes of the largest fragment of a handshake.
const FRAGMENT: usize = 16_384;
/// Bytes of the largest record: more than anything that tests send as one.
const RECORD: usize = 1 << 20;
/// Random, number of records that follow and check value.
const SMALLEST_HANDSHAKE: usize = 32 + 1 + CHECK;

impl ScriptedTls {
    /// A client whose randoms follow from `seed`.
    #[must_use]
    pub fn client(seed: u64) -> Self {
        let mut tls = Self::new(Side::Client, seed, CLIENT_HELLO);
        tls.put_handshake(CLIENT_HELLO);
        tls
    }

    /// A server whose randoms follow from `seed`.
    #[must_use]
    pub fn server(seed: u64) -> Self {
        Self::new(Side::Server, seed, SERVER_HELLO)
    }

    /// A server whose first flight has `hello` bytes.
    #[must_use]
    pub fn server_with_flight(seed: u64, hello: usize) -> Self {
        Self::new(Side::Server, seed, hello)
    }

    /// A client that refuses every server for this reason.
    #[must_use]
    pub fn client_refusing(seed: u64, refusal: TlsError) -> Self {
        Self { refusal: Some(refusal), ..Self::client(seed) }
    }

    fn new(side: Side, seed: u64, hello: usize) -> Self {
        let mut input = seed.to_be_bytes().to_vec();
        input.push(u8::from(side == Side::Server));
        Self {
            side,
            random: sha256(&input),
            peer_random: None,
            hello,
            out: Vec::new(),
            buffered: Vec::new(),
            records: VecDeque::new(),
            numbers: (0, 0),
            done: false,
            refusal: None,
        }
    }

    /// A flight of `len` bytes in all. Each record begins with the random and the number of records that follow.
    fn put_handshake(&mut self, len: usize) {
        let records = len.div_ceil(HEADER + FRAGMENT);
        let mut left = len;
        for following in (0..records).rev() {
            let size = (left / (following + 1)).saturating_sub(HEADER);
            left -= HEADER + size;
            let mut body = self.random.to_vec();
            body.push(u8::try_from(following).unwrap_or(u8::MAX));
            body.resize(size.max(SMALLEST_HANDSHAKE), 0);
            self.put_checked(HANDSHAKE, body);
        }
    }

    /// The end of `body` is room for the check value.
    fn put_checked(&mut self, kind: u8, mut body: Vec<u8>) {
        let end = body.len().saturating_sub(CHECK);
        let value = check(self.numbers.0, kind, &body[..end]).to_be_bytes();
        body[end..].copy_from_slice(&value);
        self.numbers.0 += 1;
        self.put(kind, &body);
    }

    fn put(&mut self, kind: u8, body: &[u8]) {
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.out.push(kind);
        self.out.extend_from_slice(&len.to_be_bytes());
        self.out.extend_from_slice(body);
    }

    fn take(&mut self, kind: u8, record: &[u8]) -> Result<(), TlsError> {
        if kind == ALERT {
            return Err(TlsError::Alert(String::from("Scripted")));
        }
        let damaged = || TlsError::Protocol(String::from("a damaged record"));
        let (body, value) = record.split_last_chunk::<CHECK>().ok_or_else(damaged)?;
        if u64::from_be_bytes(*value) != check(self.numbers.1, kind, body) {
            return Err(damaged());
        }
        self.numbers.1 += 1;
        match kind {
            HANDSHAKE => self.take_handshake(body),
            APPLICATION => {
                let plain = record.len().saturating_sub(TRAILER);
                self.records.push_back(body[..plain].to_vec());
                Ok(())
            }
            _ => Err(TlsError::Protocol(String::from("an unknown record"))),
        }
    }

    fn take_handshake(&mut self, body: &[u8]) -> Result<(), TlsError> {
        let Some((random, [0, ..])) = body.split_first_chunk::<32>() else { return Ok(()) };
        match (self.side, self.peer_random) {
            (Side::Client, None) => {
                if let Some(refusal) = &self.refusal {
                    let refusal = refusal.clone();
                    self.put(ALERT, &[2, 48]);
                    return Err(refusal);
                }
                self.peer_random = Some(*random);
                self.put_handshake(CLIENT_FINISHED);
                self.done = true;
            }
            (Side::Server, None) => {
                self.peer_random = Some(*random);
                self.put_handshake(self.hello);
            }
            (Side::Server, Some(_)) => {
                self.done = true;
                self.put_handshake(TICKETS);
            }
            (Side::Client, Some(_)) => {}
        }
        Ok(())
    }
}

impl Tls for ScriptedTls {
    fn read_tls(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        self.buffered.extend_from_slice(bytes);
        while let Some(&[kind, len @ ..]) = self.buffered.first_chunk::<HEADER>() {
            let end = HEADER.saturating_add(u32::from_be_bytes(len) as usize);
            if end > RECORD {
                return Err(TlsError::Protocol(String::from("a damaged record")));
            }
            if self.buffered.len() < end {
                break;
            }
            let record: Vec<u8> = self.buffered.drain(..end).collect();
            self.take(kind, &record[HEADER..])?;
        }
        Ok(())
    }

    fn write_tls(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.out);
    }

    fn is_handshaking(&self) -> bool {
        !self.done
    }

    fn write_plaintext(&mut self, one_record: &[u8]) -> Result<(), TlsError> {
        let mut body = one_record.to_vec();
        body.resize(one_record.len() + TRAILER, 0);
        self.put_checked(APPLICATION, body);
        Ok(())
    }

    fn read_plaintext(&mut self) -> Option<Vec<u8>> {
        self.records.pop_front()
    }

    fn export(&self, label: &str, into: &mut [u8]) -> Result<(), TlsError> {
        let Some(peer) = self.peer_random else {
            return Err(TlsError::Protocol(String::from("the handshake is not over")));
        };
        let (client, server) = match self.side {
            Side::Client => (self.random, peer),
            Side::Server => (peer, self.random),
        };
        for (place, chunk) in into.chunks_mut(32).enumerate() {
            let input = [client.as_slice(), &server, label.as_bytes(), &place.to_be_bytes()].concat();
            chunk.copy_from_slice(&sha256(&input)[..chunk.len()]);
        }
        Ok(())
    }
}

/// A value that any damage changes. Who wants to deceive can make it, too.
fn check(number: u64, kind: u8, body: &[u8]) -> u64 {
    let begin = (number << 8 | u64::from(kind)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    body.iter().fold(begin, |sum, byte| (sum.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95))
}

fn sha256(input: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, input).as_ref());
    out
}
