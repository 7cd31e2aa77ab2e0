//! Packets of model apps and of the far ends of tunnels: built and read by hand, so that what the router did to them is seen
//! by eyes that are not the router's. Every packet carries a [`Tag`] as its payload, TCP's SYN and RST too: who made it, for
//! which flow, how many-th. What apps say to each other is in `apps.rs`.

use std::net::{IpAddr, SocketAddr};

/// IP protocol numbers.
pub(crate) const TCP: u8 = 6;
/// UDP.
pub(crate) const UDP: u8 = 17;
/// ICMP: echo and errors.
pub(crate) const ICMP: u8 = 1;
/// ICMPv6.
pub(crate) const ICMPV6: u8 = 58;

/// TCP flags: opens.
pub(crate) const SYN: u8 = 0x02;
/// Ends at once.
pub(crate) const RST: u8 = 0x04;
/// Acknowledges.
pub(crate) const ACK: u8 = 0x10;

const MAGIC: u32 = 0x7369_6d77;
/// Bytes of a tag.
pub(crate) const TAG: usize = 20;

/// Why a packet exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An app asks.
    Ask = 0,
    /// A far end answers.
    Answer = 1,
    /// A far end says something that nobody asked for, to a port that may be accepted.
    Unasked = 2,
    /// A far end lies: a martian, or an answer to a flow of another tunnel.
    Forged = 3,
}

/// What a packet says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: Kind,
    /// The place of the server that made it; of the app's own packets 255.
    pub(crate) place: u8,
    /// Which session of that server made it.
    pub(crate) session: u32,
    pub(crate) flow: u32,
    pub(crate) number: u32,
}

/// A packet as it is to be built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: u8,
    /// TCP's flags; of ICMP echo whether it is a reply (1).
    pub(crate) flags: u8,
    pub(crate) tag: Tag,
    /// Bytes of payload; the tag stands first, zeros follow.
    pub(crate) payload: usize,
    /// IPv4 identification.
    pub(crate) id: u16,
}

/// A whole packet as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Source with its port; of echo the identifier.
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: u8,
    pub(crate) flags: u8,
    /// `None` where the payload is none of ours, as in refusals.
    pub(crate) tag: Option<Tag>,
    pub(crate) payload: usize,
    /// An ICMP error.
    pub(crate) error: bool,
    /// Whether all checksums are right.
    pub(crate) sound: bool,
}

/// A fragment of a packet that is larger than its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FragmentOf {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) id: u16,
}

/// Whether a tunnel speaks of itself: the payload of a ping, not a packet.
pub(crate) fn is_packet(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| matches!(first >> 4, 4 | 6)) && bytes.len() >= 20
}

impl Draft {
    /// Its bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut body = self.header();
        body.resize(body.len() + self.payload.max(TAG), 0);
        let at = body.len() - self.payload.max(TAG);
        self.tag.write(&mut body[at..at + TAG]);
        let sum = transport_sum(&self.source.ip(), &self.destination.ip(), self.protocol_number(), &body);
        put_checksum(&mut body, self.protocol, sum);
        let mut packet = self.ip_header(body.len());
        packet.append(&mut body);
        packet
    }

    fn protocol_number(&self) -> u8 {
        if self.protocol == ICMP && self.source.is_ipv6() { ICMPV6 } else { self.protocol }
    }

    fn header(&self) -> Vec<u8> {
        let (from, to) = (self.source.port().to_be_bytes(), self.destination.port().to_be_bytes());
        match self.protocol {
            UDP => {
                let length = u16::try_from(8 + self.payload.max(TAG)).unwrap_or(u16::MAX).to_be_bytes();
                [from, to, length, [0, 0]].concat()
            }
            TCP => {
                let (sequence, acknowledged) = self.tag.sequence();
                let mut header = [from, to].concat();
                header.extend(sequence.to_be_bytes());
                header.extend(acknowledged.to_be_bytes());
                header.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
                header
            }
            _ => {
                let kind = match (self.source.is_ipv4(), self.flags == 1) {
                    (true, false) => 8,
                    (true, true) => 0,
                    (false, false) => 128,
                    (false, true) => 129,
                };
                // The identifier stands for the port: the asker's own.
                let id = if self.flags == 1 { to } else { from };
                let number = (self.tag.number as u16).to_be_bytes();
                [[kind, 0], [0, 0], id, number].concat()
            }
        }
    }

    fn ip_header(&self, body: usize) -> Vec<u8> {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let length = u16::try_from(20 + body).unwrap_or(u16::MAX).to_be_bytes();
                let id = self.id.to_be_bytes();
                let mut header =
                    vec![0x45, 0, length[0], length[1], id[0], id[1], 0, 0, 64, self.protocol_number(), 0, 0];
                header.extend(source.octets());
                header.extend(destination.octets());
                let sum = !fold(add(0, &header));
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                header
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let length = u16::try_from(body).unwrap_or(u16::MAX).to_be_bytes();
                let mut header = vec![0x60, 0, 0, 0, length[0], length[1], self.protocol_number(), 64];
                header.extend(source.octets());
                header.extend(destination.octets());
                header
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
        }
    }
}

impl Tag {
    /// Sequence and acknowledgement number of TCP, where both sides send one tag in turns, the SYN with the first.
    fn sequence(&self) -> (u32, u32) {
        let (bytes, number) = (TAG as u32, self.number);
        let app = self.flow.wrapping_mul(0x9e37_79b1);
        let far = self.flow.wrapping_mul(0x85eb_ca6b) ^ 0x5bd1_e995;
        let begins = |base: u32| base.wrapping_add(bytes.wrapping_mul(number)).wrapping_add(u32::from(number > 0));
        let ends = |base: u32| base.wrapping_add(bytes.wrapping_mul(number + 1)).wrapping_add(1);
        match self.kind {
            Kind::Ask if number == 0 => (begins(app), 0),
            Kind::Ask => (begins(app), begins(far)),
            Kind::Answer | Kind::Unasked | Kind::Forged => (begins(far), ends(app)),
        }
    }

    fn write(&self, into: &mut [u8]) {
        into[..4].copy_from_slice(&MAGIC.to_be_bytes());
        into[4] = self.kind as u8;
        into[5] = self.place;
        into[6..8].fill(0);
        into[8..12].copy_from_slice(&self.session.to_be_bytes());
        into[12..16].copy_from_slice(&self.flow.to_be_bytes());
        into[16..20].copy_from_slice(&self.number.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..at + 4)?.first_chunk()?));
        if word(0)? != MAGIC {
            return None;
        }
        let kind = [Kind::Ask, Kind::Answer, Kind::Unasked, Kind::Forged].get(usize::from(*bytes.get(4)?)).copied()?;
        Some(Self { kind, place: *bytes.get(5)?, session: word(8)?, flow: word(12)?, number: word(16)? })
    }
}

impl Seen {
    /// Reads a whole packet; `None` for what is no packet.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let (source, destination, protocol, header) = ends(packet)?;
        let body = packet.get(header..)?;
        let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..at + 2)?.first_chunk()?));
        let icmp = matches!(protocol, ICMP | ICMPV6);
        let (from, to, flags, begin) = match protocol {
            UDP => (port(0)?, port(2)?, 0, 8),
            TCP => (port(0)?, port(2)?, *body.get(13)?, usize::from(*body.get(12)? >> 4) * 4),
            ICMP | ICMPV6 => {
                let (id, kind) = (port(4)?, *body.first()?);
                match kind {
                    8 | 128 => (id, 0, 0, 8),
                    0 | 129 => (0, id, 1, 8),
                    _ => (0, 0, 0, body.len()),
                }
            }
            _ => (0, 0, 0, body.len()),
        };
        let error = icmp && !matches!(body.first(), Some(0 | 8 | 128 | 129));
        let payload = body.get(begin..).unwrap_or_default();
        let sound = transport_sum(&source, &destination, protocol, body) == 0
            && (source.is_ipv6() || !fold(add(0, &packet[..header])) == 0);
        Some(Self {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
            protocol: if icmp { ICMP } else { protocol },
            flags,
            tag: Tag::read(payload),
            payload: payload.len(),
            error,
            sound,
        })
    }
}

/// Source, destination, protocol and where the header of the transport is.
fn ends(packet: &[u8]) -> Option<(IpAddr, IpAddr, u8, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let at = |from: usize| Some(IpAddr::from(*packet.get(from..from + 4)?.first_chunk::<4>()?));
            Some((at(12)?, at(16)?, *packet.get(9)?, usize::from(packet.first()? & 0xf) * 4))
        }
        6 => {
            let at = |from: usize| Some(IpAddr::from(*packet.get(from..from + 16)?.first_chunk::<16>()?));
            Some((at(8)?, at(24)?, *packet.get(6)?, 40))
        }
        _ => None,
    }
}

/// What an IPv4 packet is a part of, where its payload begins in the whole, and whether more follows; `None` for whole
/// packets.
pub(crate) fn fragment(packet: &[u8]) -> Option<(FragmentOf, usize, bool)> {
    let (source, destination, protocol, _) = ends(packet)?;
    let word = u16::from_be_bytes(*packet.get(6..8)?.first_chunk()?);
    let (offset, more) = (usize::from(word & 0x1fff) * 8, word & 0x2000 != 0);
    if source.is_ipv6() || (offset == 0 && !more) {
        return None;
    }
    let id = u16::from_be_bytes(*packet.get(4..6)?.first_chunk()?);
    Some((FragmentOf { source, destination, protocol, id }, offset, more))
}

/// Cuts an IPv4 packet into fragments of at most `most` bytes.
pub(crate) fn cut(packet: &[u8], most: usize) -> Vec<Vec<u8>> {
    if packet.len() <= most || packet[0] >> 4 != 4 {
        return vec![packet.to_vec()];
    }
    let (header, body) = packet.split_at(20);
    let step = (most - 20) / 8 * 8;
    let pieces = body.chunks(step).enumerate();
    let last = body.len().div_ceil(step) - 1;
    let piece = |(place, piece): (usize, &[u8])| {
        let mut fragment = header.to_vec();
        fragment.extend_from_slice(piece);
        let word = u16::try_from(place * step / 8).unwrap_or(0) | if place < last { 0x2000 } else { 0 };
        finish(&mut fragment, word);
        fragment
    };
    pieces.map(piece).collect()
}

/// Joins fragments, given by where they begin, whose last is there, to a whole packet; `None` while one is missing.
pub(crate) fn join(pieces: &std::collections::BTreeMap<usize, Vec<u8>>) -> Option<Vec<u8>> {
    let mut whole: Vec<u8> = pieces.get(&0)?.get(..20)?.to_vec();
    let mut last = false;
    for (offset, piece) in pieces {
        if *offset != whole.len() - 20 {
            return None;
        }
        whole.extend_from_slice(piece.get(20..)?);
        last = fragment(piece).is_some_and(|(_, _, more)| !more);
    }
    finish(&mut whole, 0);
    last.then_some(whole)
}

/// Sets length, fragment word and checksum of an IPv4 packet.
fn finish(packet: &mut [u8], word: u16) {
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&word.to_be_bytes());
    packet[10..12].fill(0);
    let sum = !fold(add(0, &packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn put_checksum(body: &mut [u8], protocol: u8, sum: u16) {
    let (at, sum) = match protocol {
        // Zero means that there is none (RFC 768).
        UDP => (6, if sum == 0 { 0xffff } else { sum }),
        TCP => (16, sum),
        _ => (2, sum),
    };
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of a transport packet, 0 where it holds a right one; ICMP over IPv4 has no pseudo-header.
fn transport_sum(source: &IpAddr, destination: &IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let pseudo = match (source, destination, protocol) {
        (IpAddr::V4(_), IpAddr::V4(_), ICMP) => 0,
        (IpAddr::V4(source), IpAddr::V4(destination), _) => {
            add(add(u32::from(protocol) + body.len() as u32, &source.octets()), &destination.octets())
        }
        (IpAddr::V6(source), IpAddr::V6(destination), _) => {
            add(add(u32::from(protocol) + body.len() as u32, &source.octets()), &destination.octets())
        }
        (IpAddr::V4(_), IpAddr::V6(_), _) | (IpAddr::V6(_), IpAddr::V4(_), _) => 0,
    };
    !fold(add(pseudo, body))
}

/// RFC 1071.
fn add(mut sum: u32, bytes: &[u8]) -> u32 {
    let mut pairs = bytes.chunks_exact(2);
    for pair in &mut pairs {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    match pairs.remainder() {
        [last] => sum + (u32::from(*last) << 8),
        _ => sum,
    }
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(source: &str, destination: &str, protocol: u8, flags: u8, payload: usize) -> Draft {
        let tag = Tag { kind: Kind::Ask, place: 255, session: 3, flow: 70_000, number: 9 };
        let at = |text: &str| text.parse().unwrap();
        Draft { source: at(source), destination: at(destination), protocol, flags, tag, payload, id: 5 }
    }

    #[test]
    fn what_is_built_is_read_again_with_right_checksums() {
        for (source, destination) in [("10.0.0.1:5", "10.0.0.2:6"), ("[fd00::1]:5", "[fd00::2]:6")] {
            for (protocol, flags) in [(UDP, 0), (TCP, SYN), (TCP, ACK), (ICMP, 0), (ICMP, 1)] {
                let draft = draft(source, destination, protocol, flags, 33);
                let seen = Seen::read(&draft.build()).unwrap();
                assert!(seen.sound && !seen.error, "{seen:?}");
                assert_eq!((seen.tag, seen.protocol, seen.flags), (Some(draft.tag), protocol, flags));
                let echo = protocol == ICMP;
                assert_eq!(seen.source.port(), if echo && flags == 1 { 0 } else { 5 });
                assert_eq!(seen.destination.port(), if echo && flags == 0 { 0 } else { 6 });
            }
        }
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let packet = draft("10.0.0.1:5", "10.0.0.2:6", UDP, 0, 20).build();
        for place in [12, 16, 20, 30] {
            let mut other = packet.clone();
            other[place] ^= 4;
            assert!(!Seen::read(&other).unwrap().sound);
        }
    }

    #[test]
    fn fragments_join_to_what_was_cut() {
        let packet = draft("10.0.0.1:5", "10.0.0.2:6", UDP, 0, 4_000).build();
        let pieces = cut(&packet, 1_500);
        assert_eq!(pieces.len(), 3);
        let mut kept = std::collections::BTreeMap::new();
        for piece in pieces.iter().rev() {
            assert_eq!(join(&kept), None);
            let (_, offset, _) = fragment(piece).unwrap();
            kept.insert(offset, piece.clone());
        }
        assert_eq!(join(&kept), Some(packet));
    }
}
