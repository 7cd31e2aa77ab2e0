//! A lane with everything around it made by hand: queue, sockets, servers, policy and clock. Shared by the `lane_*`
//! tests; nothing here runs by itself.

#![allow(dead_code, clippy::unwrap_used, reason = "a test helper, of which each test file uses its own part")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_engine::Attempt;
use mrvpn_engine::lane::{Counters, Lane, LaneCommand, LaneIo, LaneReport, ReceiveBatch, SocketError, Train, Turn};
use mrvpn_netplan::{Queue, QueueCapabilities, QueueError};
use mrvpn_profile::Cipher;
use mrvpn_proto::key_block::KeyBlock;
use mrvpn_proto::wrapping::Side;
use mrvpn_proto::{DataKeys, KeyId, PeerId, Sealer};
use mrvpn_router::packet::checksum::{Sum, pseudo_v4};
use mrvpn_router::{
    AppId, Attachment, Checksum, Claim, ClaimOrigin, DefaultChoice, Defaults, DropReason, Fallback, FlowTuple, LeaseId,
    Offload, OwnAddresses, Policy, PolicyInput, SegmentKind, Segmentation, TunnelId, TunnelState, TunnelView,
};

/// The first tunnel: claims 203.0.113.0/24, inner address 10.100.0.2.
pub(crate) const UK: TunnelId = TunnelId::new(0);
/// The second tunnel: claims 198.51.100.0/24, inner address 10.101.0.2.
pub(crate) const FR: TunnelId = TunnelId::new(1);
/// The session of each tunnel.
pub(crate) const SESSION: Attempt = Attempt::new(1);
/// Largest inner packet of both.
pub(crate) const LIMIT: u16 = 1_448;
/// The anchor, from which programs speak.
pub(crate) const ANCHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// A place behind the first tunnel.
pub(crate) const IN_UK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// A place behind the second.
pub(crate) const IN_FR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

/// All offloads of a device.
pub(crate) const ALL: QueueCapabilities = QueueCapabilities { checksum: true, tso: true, uso: true };

/// A moment `seconds` after the clock's origin.
pub(crate) fn at(seconds: f64) -> Moment {
    Moment::default() + Duration::from_secs_f64(seconds)
}

/// The inner address of a tunnel.
pub(crate) fn inner(tunnel: TunnelId) -> Ipv4Addr {
    Ipv4Addr::new(10, 100 + u8::try_from(tunnel.number()).unwrap(), 0, 2)
}

/// Two tunnels in these states.
pub(crate) fn policy(states: [TunnelState; 2]) -> Arc<Policy> {
    policy_of_leases(states, [1, 2])
}

/// The same in these leases.
pub(crate) fn policy_of_leases(states: [TunnelState; 2], leases: [u32; 2]) -> Arc<Policy> {
    let claim = |tunnel, prefix: &str| Claim { tunnel, prefix: prefix.parse().unwrap(), origin: ClaimOrigin::Pushed };
    let view = |tunnel: TunnelId, state| TunnelView {
        state,
        lease: LeaseId::new(leases[tunnel.index()]),
        inner_v4: Some(inner(tunnel)),
        inner_v6: None,
        presented_v4: None,
        presented_v6: None,
        limit: LIMIT,
    };
    Arc::new(Policy::new(PolicyInput {
        rules: Vec::new(),
        claims: vec![claim(UK, "203.0.113.0/24"), claim(FR, "198.51.100.0/24")],
        defaults: Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered },
        undecided_until: None,
        fallback: Fallback::Auto,
        sources: [(IpAddr::V4(inner(UK)), UK), (IpAddr::V4(inner(FR)), FR)].into(),
        own: OwnAddresses {
            anchor_v4: ANCHOR,
            anchor_v6: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 1),
            engine_v4: Ipv4Addr::new(198, 18, 0, 254),
            engine_v6: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0xfe),
        },
        accept: Vec::new(),
        tunnels: vec![view(UK, states[0]), view(FR, states[1])],
    }))
}

/// The keys of one side of a tunnel's session; `generation` makes different ones.
pub(crate) fn keys(tunnel: TunnelId, side: Side, generation: u8) -> DataKeys {
    let mut bytes = [0; KeyBlock::LEN];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = place.to_le_bytes()[0] ^ tunnel.number().to_le_bytes()[0] ^ (generation << 4);
    }
    let key_id = KeyId::new(generation).unwrap();
    DataKeys::new(&KeyBlock::from_bytes(bytes), side, Cipher::Aes256Gcm, key_id, PeerId::new(5).unwrap())
}

/// The server of one tunnel.
pub(crate) struct Server {
    pub(crate) keys: DataKeys,
}

impl Server {
    pub(crate) fn new(tunnel: TunnelId) -> Self {
        Self { keys: keys(tunnel, Side::Server, 0) }
    }

    /// A data packet with `inner` in it.
    pub(crate) fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; Sealer::HEADROOM];
        frame.extend_from_slice(inner);
        self.keys.sealer.seal(&mut frame).unwrap();
        frame
    }

    /// What is in a data packet.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.keys.opener.open(&mut datagram.to_vec(), at(0.0)).unwrap().to_vec()
    }
}

/// The TUN queue.
#[derive(Default)]
pub(crate) struct HandQueue {
    pub(crate) to_read: VecDeque<(Vec<u8>, Offload)>,
    pub(crate) written: Vec<(Offload, Vec<u8>)>,
    pub(crate) capabilities: QueueCapabilities,
    pub(crate) full: bool,
    pub(crate) gone: bool,
    pub(crate) down: bool,
    /// Flows whose programs were asked for: each has one of its own.
    pub(crate) asked: Vec<FlowTuple>,
}

impl Queue for HandQueue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError> {
        if self.gone {
            return Err(QueueError::Gone);
        }
        let Some((packet, offload)) = self.to_read.pop_front() else { return Ok(None) };
        buffer[..packet.len()].copy_from_slice(&packet);
        Ok(Some((packet.len(), offload)))
    }

    fn write(&mut self, offload: Offload, parts: &[&[u8]]) -> Result<bool, QueueError> {
        if self.gone {
            return Err(QueueError::Gone);
        }
        if self.down {
            return Err(std::io::Error::other("input/output error").into());
        }
        if !self.full {
            self.written.push((offload, parts.concat()));
        }
        Ok(!self.full)
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.capabilities
    }

    fn app(&mut self, flow: &FlowTuple) -> Option<AppId> {
        self.asked.push(*flow);
        Some(AppId { uid: u32::from(flow.source_port?), cgroup: 1 })
    }
}

/// Queue and sockets.
#[derive(Default)]
pub(crate) struct HandIo {
    pub(crate) queue: HandQueue,
    pub(crate) arrived: BTreeMap<TunnelId, VecDeque<Vec<u8>>>,
    /// The datagrams of each train, by tunnel, in order.
    pub(crate) sent: Vec<(TunnelId, Vec<Vec<u8>>)>,
    pub(crate) send_error: Option<SocketError>,
    pub(crate) receive_error: Option<SocketError>,
}

impl LaneIo for HandIo {
    type Queue = HandQueue;

    fn queue(&mut self) -> &mut HandQueue {
        &mut self.queue
    }

    fn ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool {
        tunnels.extend(self.arrived.keys());
        !self.queue.to_read.is_empty() || self.queue.gone
    }

    fn receive(&mut self, tunnel: TunnelId, into: &mut ReceiveBatch) -> Result<usize, SocketError> {
        if let Some(error) = self.receive_error {
            return Err(error);
        }
        let Some(arrived) = self.arrived.get_mut(&tunnel) else { return Ok(0) };
        while let Some(datagram) = arrived.front()
            && into.push(datagram)
        {
            arrived.pop_front();
        }
        Ok(into.count())
    }

    fn send(&mut self, tunnel: TunnelId, train: &Train<'_>) -> Result<(), SocketError> {
        if let Some(error) = self.send_error {
            return Err(error);
        }
        self.sent.push((tunnel, train.datagrams().map(<[u8]>::to_vec).collect()));
        Ok(())
    }
}

/// A lane, its surroundings and the servers of both tunnels.
pub(crate) struct World {
    pub(crate) lane: Lane,
    pub(crate) io: HandIo,
    pub(crate) servers: [Server; 2],
    pub(crate) counters: Arc<Counters>,
}

impl World {
    /// Two tunnels in these states; those that are up have keys.
    pub(crate) fn new(states: [TunnelState; 2], capabilities: QueueCapabilities) -> Self {
        let mut lane = Lane::new([7; 32], policy(states), Attachment::Rules);
        for (tunnel, state) in [UK, FR].into_iter().zip(states) {
            if state == TunnelState::Up {
                adopt(&mut lane, tunnel, None, at(0.0));
            }
        }
        let queue = HandQueue { capabilities, ..HandQueue::default() };
        let counters = lane.counters();
        let io = HandIo { queue, ..HandIo::default() };
        Self { lane, io, servers: [Server::new(UK), Server::new(FR)], counters }
    }

    /// Both tunnels up.
    pub(crate) fn up(capabilities: QueueCapabilities) -> Self {
        Self::new([TunnelState::Up, TunnelState::Up], capabilities)
    }

    pub(crate) fn read(&mut self, packet: Vec<u8>, offload: Offload) {
        self.io.queue.to_read.push_back((packet, offload));
    }

    pub(crate) fn arrive(&mut self, tunnel: TunnelId, datagram: Vec<u8>) {
        self.io.arrived.entry(tunnel).or_default().push_back(datagram);
    }

    /// A packet from a tunnel's server.
    pub(crate) fn arrive_sealed(&mut self, tunnel: TunnelId, inner: &[u8]) {
        let datagram = self.servers[tunnel.index()].seal(inner);
        self.arrive(tunnel, datagram);
    }

    /// Turns until nothing is left to do.
    pub(crate) fn run(&mut self, now: Moment) {
        while self.turn(now).busy {}
    }

    /// One turn; afterwards nothing is overdue.
    pub(crate) fn turn(&mut self, now: Moment) -> Turn {
        let turn = self.lane.turn(&mut self.io, now);
        assert!(turn.busy || self.lane.poll_timeout().is_none_or(|due| due > now), "a deadline in the past");
        turn
    }

    /// What was reported, but for that packets are dropped, which the counters say.
    pub(crate) fn reports(&mut self) -> Vec<LaneReport> {
        let all = std::iter::from_fn(|| self.lane.poll_report());
        all.filter(|report| *report != LaneReport::Dropping).collect()
    }

    /// The inner packets that the server of `tunnel` has got since the last time.
    pub(crate) fn at_server(&mut self, tunnel: TunnelId) -> Vec<Vec<u8>> {
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.io.sent).into_iter().partition(|(to, _)| *to == tunnel);
        self.io.sent = others;
        let server = &mut self.servers[tunnel.index()];
        mine.iter().flat_map(|(_, datagrams)| datagrams).map(|datagram| server.open(datagram)).collect()
    }

    /// What was written to the interface since the last time.
    pub(crate) fn written(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.io.queue.written).into_iter().map(|(_, packet)| packet).collect()
    }

    pub(crate) fn drops(&self, tunnel: TunnelId, reason: DropReason) -> u64 {
        self.counters.drops(Some(tunnel), reason)
    }

    /// Opens a TCP flow to `remote` by its SYN and forgets all that happened; returns the source port that the server
    /// saw.
    pub(crate) fn open_flow(&mut self, tunnel: TunnelId, remote: Ipv4Addr, port: u16) -> u16 {
        self.read(Tcp::new(ANCHOR, remote, port).flags(SYN).packet(), Offload::NONE);
        self.run(at(0.0));
        let seen = self.at_server(tunnel);
        u16::from_be_bytes([seen[0][20], seen[0][21]])
    }
}

pub(crate) fn adopt(lane: &mut Lane, tunnel: TunnelId, ping: Option<Duration>, now: Moment) {
    let keys = Box::new(keys(tunnel, Side::Client, 0));
    lane.handle(LaneCommand::Adopt { tunnel, attempt: SESSION, keys, ping }, now);
}

/// TCP flags.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;

/// A TCP segment over IPv4.
#[derive(Clone)]
pub(crate) struct Tcp {
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) sequence: u32,
    pub(crate) flags: u8,
    pub(crate) id: u16,
    pub(crate) payload: Vec<u8>,
}

impl Tcp {
    /// From a program to port 443 of `remote`.
    pub(crate) fn new(source: Ipv4Addr, remote: Ipv4Addr, port: u16) -> Self {
        Self { source: (source, port), destination: (remote, 443), sequence: 1, flags: ACK, id: 1, payload: Vec::new() }
    }

    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// The other way.
    pub(crate) fn answer(mut self) -> Self {
        std::mem::swap(&mut self.source, &mut self.destination);
        self
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut packet = self.without_checksum();
        let sum = self.pseudo(packet.len() - 20).and(Sum::of(&packet[20..]));
        packet[36..38].copy_from_slice(&sum.checksum().to_be_bytes());
        packet
    }

    /// A super-packet as the kernel hands it out.
    pub(crate) fn super_packet(&self, size: u16) -> (Vec<u8>, Offload) {
        let mut packet = self.without_checksum();
        let pseudo = self.pseudo(packet.len() - 20).fold();
        packet[36..38].copy_from_slice(&pseudo.to_be_bytes());
        let segmentation = Some(Segmentation { kind: SegmentKind::Tcp4, size, header: 40 });
        (packet, Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segmentation })
    }

    /// The segments of `size` bytes that the kernel would have made of it.
    pub(crate) fn segments(&self, size: usize) -> Vec<Vec<u8>> {
        let pieces = self.payload.chunks(size).enumerate();
        let segment = |(index, piece): (usize, &[u8])| {
            let last = (index + 1) * size >= self.payload.len();
            let mut segment = self.clone();
            segment.sequence = self.sequence.wrapping_add(u32::try_from(index * size).unwrap());
            segment.id = self.id.wrapping_add(u16::try_from(index).unwrap());
            segment.flags = if last { self.flags } else { self.flags & !PSH };
            segment.payload = piece.to_vec();
            segment.packet()
        };
        pieces.map(segment).collect()
    }

    fn pseudo(&self, length: usize) -> Sum {
        pseudo_v4(self.source.0, self.destination.0, 6, u16::try_from(length).unwrap())
    }

    fn without_checksum(&self) -> Vec<u8> {
        let mut packet = ip_header(6, self.id, self.source.0, self.destination.0, 20 + self.payload.len());
        packet.extend_from_slice(&self.source.1.to_be_bytes());
        packet.extend_from_slice(&self.destination.1.to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 9, 0x50, self.flags, 1, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(&self.payload);
        packet
    }
}

/// A UDP datagram over IPv4.
pub(crate) fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len();
    let mut packet = ip_header(17, 3, source.0, destination.0, length);
    packet.extend_from_slice(&source.1.to_be_bytes());
    packet.extend_from_slice(&destination.1.to_be_bytes());
    packet.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(payload);
    let pseudo = pseudo_v4(source.0, destination.0, 17, u16::try_from(length).unwrap());
    let checksum = pseudo.and(Sum::of(&packet[20..])).checksum();
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

fn ip_header(protocol: u8, id: u16, source: Ipv4Addr, destination: Ipv4Addr, payload: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&u16::try_from(20 + payload).unwrap().to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    let checksum = Sum::of(&header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// Source and destination of an IPv4 packet.
pub(crate) fn addresses(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    (address(12), address(16))
}

/// Whether the transport checksum of a whole TCP or UDP packet is right.
pub(crate) fn is_right(packet: &[u8]) -> bool {
    let (source, destination) = addresses(packet);
    let length = u16::try_from(packet.len() - 20).unwrap();
    pseudo_v4(source, destination, packet[9], length).and(Sum::of(&packet[20..])).fold() == 0xffff
        && Sum::of(&packet[..20]).fold() == 0xffff
}
