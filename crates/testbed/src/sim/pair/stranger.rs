//! Somebody on the way who sees every datagram and has no keys: sends recorded ones again, and forged ones that are right
//! in whatever stands in clear.

use std::collections::VecDeque;
use std::net::SocketAddr;

use mrvpn_proto::opcode::{KeyId, Opcode};

use crate::sim::seed::Dice;

/// Datagrams that are remembered.
const REMEMBERED: usize = 128;

/// Somebody on the way.
#[derive(Debug)]
pub(super) struct Stranger {
    dice: Dice,
    /// Whether it will ever send anything.
    awake: bool,
    seen: VecDeque<Seen>,
}

/// From whom, to whom, what.
pub(super) type Seen = (SocketAddr, SocketAddr, Vec<u8>);

impl Stranger {
    /// One that will send something, or never will and remembers nothing.
    pub(super) fn new(seed: u64, awake: bool) -> Self {
        Self { dice: Dice::of(seed, "stranger"), awake, seen: VecDeque::new() }
    }

    pub(super) fn see(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        if !self.awake {
            return;
        }
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((from, to, datagram.to_vec()));
    }

    /// Something that was seen.
    pub(super) fn replay(&mut self) -> Option<Seen> {
        let place = self.dice.place(self.seen.len());
        self.seen.get(place).cloned()
    }

    /// Something like what was seen.
    pub(super) fn forge(&mut self) -> Option<Seen> {
        let (from, to, mut datagram) = self.replay()?;
        match self.dice.below(6) {
            0 => self.change_first(&mut datagram),
            1 => datagram.truncate(self.dice.place(datagram.len())),
            2 => self.change_any(&mut datagram),
            3 => self.change_behind_session(&mut datagram),
            4 => {
                self.change_first(&mut datagram);
                self.change_behind_session(&mut datagram);
            }
            _ => self.lengthen(&mut datagram),
        }
        Some((from, to, datagram))
    }

    /// Another opcode or key id.
    fn change_first(&mut self, datagram: &mut [u8]) {
        let opcode = Opcode::of(self.byte() << 3);
        let key_id = KeyId::of(self.byte());
        if let Some(first) = datagram.first_mut() {
            *first = opcode.with_key(key_id);
        }
    }

    fn change_any(&mut self, datagram: &mut [u8]) {
        for _ in 0..=self.dice.below(8) {
            let (place, byte) = (self.dice.place(datagram.len()), self.byte());
            if let Some(target) = datagram.get_mut(place) {
                *target = byte;
            }
        }
    }

    /// Acknowledgements, message ids, tags: whatever the wrapping has there.
    fn change_behind_session(&mut self, datagram: &mut [u8]) {
        let place = 9 + self.dice.place(20);
        let byte = if self.dice.one_in(2) { self.byte() } else { u8::try_from(self.dice.below(9)).unwrap_or(0) };
        if let Some(target) = datagram.get_mut(place) {
            *target = byte;
        }
    }

    fn lengthen(&mut self, datagram: &mut Vec<u8>) {
        for _ in 0..=self.dice.below(900) {
            let byte = self.byte();
            datagram.push(byte);
        }
    }

    fn byte(&mut self) -> u8 {
        self.dice.next().to_be_bytes()[0]
    }
}
