//! The packets that go through the tunnel, and the book of them: each is numbered and names the lease that it belongs to,
//! so that one which was never sent, comes twice, comes changed, or belongs to another session is seen.

use std::time::Duration;

use mrvpn_clock::Moment;

use crate::sim::seed::Dice;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What was sent and what has arrived.
#[derive(Debug)]
pub(super) struct Book {
    seed: u64,
    up: Vec<Sent>,
    down: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    at: Moment,
    lease: u32,
    arrived: bool,
}

/// Version as of an IPv4 packet, then way, lease and number.
const HEADER: usize = 14;
/// Bytes of most packets, at most.
const USUAL: u64 = 150;
/// Bytes of the largest packet: with everything around it still below 1,300.
const LARGEST: u64 = 1_200;

impl Book {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, up: Vec::new(), down: Vec::new() }
    }

    /// A new packet.
    pub(super) fn send(&mut self, way: Way, lease: u32, now: Moment) -> Vec<u8> {
        let sent = self.of_mut(way);
        let number = sent.len() as u64;
        sent.push(Sent { at: now, lease, arrived: false });
        self.packet(way, lease, number)
    }

    /// Notes a packet that came out of the tunnel of this lease.
    ///
    /// # Errors
    /// Why it must not have.
    pub(super) fn arrive(&mut self, way: Way, lease: u32, packet: &[u8]) -> Result<(), String> {
        let number = packet.get(6..).and_then(|rest| rest.first_chunk()).map_or(u64::MAX, |it| u64::from_be_bytes(*it));
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(sent) = self.of_mut(way).get_mut(place) else {
            return Err(format!("a packet came {way:?} that was never sent: {} bytes", packet.len()));
        };
        if std::mem::replace(&mut sent.arrived, true) {
            return Err(format!("packet {number} came {way:?} twice"));
        }
        if sent.lease != lease {
            return Err(format!("packet {number} {way:?} was sent in lease {} and came in {lease}", sent.lease));
        }
        if packet != self.packet(way, lease, number) {
            return Err(format!("packet {number} came {way:?} changed"));
        }
        Ok(())
    }

    /// The first packet sent from `from` on, and before `to`, that has not arrived.
    pub(super) fn missing(&self, way: Way, from: Moment, to: Moment) -> Option<(usize, Moment)> {
        let sent = self.of(way).iter().enumerate();
        let mut missing = sent.filter(|(_, sent)| sent.at >= from && sent.at < to && !sent.arrived);
        missing.next().map(|(number, sent)| (number, sent.at))
    }

    /// How many were sent before `to`, and how many of these have arrived.
    pub(super) fn counts(&self, way: Way, to: Moment) -> (u64, u64) {
        let sent = || self.of(way).iter().filter(|sent| sent.at < to);
        (sent().count() as u64, sent().filter(|sent| sent.arrived).count() as u64)
    }

    /// The longest time between two packets that arrived, by when they were sent.
    pub(super) fn longest_gap(&self, way: Way) -> Duration {
        let arrived = || self.of(way).iter().filter(|sent| sent.arrived);
        let gaps = arrived().zip(arrived().skip(1)).map(|(one, next)| next.at.since(one.at));
        gaps.max().unwrap_or_default()
    }

    fn packet(&self, way: Way, lease: u32, number: u64) -> Vec<u8> {
        let mut dice = Dice::new(self.seed ^ (number << 1 | u64::from(way == Way::Down)));
        let most = if dice.one_in(16) { LARGEST } else { USUAL };
        let len = HEADER + usize::try_from(dice.below(most - HEADER as u64)).unwrap_or(0);
        let mut packet = Vec::with_capacity(len);
        packet.extend_from_slice(&[0x45, u8::from(way == Way::Down)]);
        packet.extend_from_slice(&lease.to_be_bytes());
        packet.extend_from_slice(&number.to_be_bytes());
        while packet.len() < len {
            packet.extend_from_slice(&dice.next().to_be_bytes());
        }
        packet.truncate(len);
        packet
    }

    const fn of(&self, way: Way) -> &Vec<Sent> {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    const fn of_mut(&mut self, way: Way) -> &mut Vec<Sent> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> (Book, Vec<u8>) {
        let mut book = Book::new(1);
        book.send(Way::Up, 7, Moment::default());
        let packet = book.send(Way::Up, 7, Moment::from_nanos(5));
        (book, packet)
    }

    #[test]
    fn what_was_sent_arrives_once() {
        let (mut book, packet) = book();
        assert_eq!(book.missing(Way::Up, Moment::default(), Moment::from_nanos(9)), Some((0, Moment::default())));
        assert_eq!(book.arrive(Way::Up, 7, &packet), Ok(()));
        assert_eq!(book.counts(Way::Up, Moment::from_nanos(9)), (2, 1));
        assert_eq!(book.missing(Way::Up, Moment::from_nanos(5), Moment::from_nanos(9)), None);
        assert!(book.arrive(Way::Up, 7, &packet).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_packet_of_another_lease_or_changed_or_unknown_is_seen() {
        let (mut other, packet) = book();
        assert!(other.arrive(Way::Up, 8, &packet).unwrap_err().contains("lease"));
        let (mut changed, mut packet) = book();
        *packet.last_mut().unwrap() ^= 1;
        assert!(changed.arrive(Way::Up, 7, &packet).unwrap_err().contains("changed"));
        let (mut unknown, packet) = book();
        assert!(unknown.arrive(Way::Down, 7, &packet).unwrap_err().contains("never sent"));
        assert!(unknown.arrive(Way::Up, 7, &[]).unwrap_err().contains("never sent"));
    }
}
