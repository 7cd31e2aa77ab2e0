//! The thread with a real epoll and real sockets on loopback; a pair of Unix sockets stands for the TUN.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use mrvpn_netplan::QueueError;
use mrvpn_profile::Cipher;
use mrvpn_proto::key_block::KeyBlock;
use mrvpn_proto::stream::frame_length;
use mrvpn_proto::wrapping::Side;
use mrvpn_proto::{DataKeys, Inner, KeyId, PING, PeerId};
use mrvpn_router::packet::checksum::{Sum, pseudo_v4};
use mrvpn_router::{
    Attachment, Claim, ClaimOrigin, DefaultChoice, Defaults, Fallback, LeaseId, Offload, OwnAddresses, Policy,
    PolicyInput, TunnelState, TunnelView,
};

use super::*;
use crate::attempt::Attempt;

const UK: TunnelId = TunnelId::new(0);
const SESSION: Attempt = Attempt::new(1);
const ANCHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const INNER: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 2);
const REMOTE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Long enough for a loaded machine; nothing waits for its end but a failure.
const PATIENCE: Duration = Duration::from_secs(10);

struct SocketQueue(UnixDatagram, QueueCapabilities);

impl AsFd for SocketQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Queue for SocketQueue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError> {
        match self.0.recv(buffer) {
            // An empty datagram: by this a test deletes the device.
            Ok(0) => Err(QueueError::Gone),
            Ok(length) => Ok(Some((length, Offload::NONE))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, _: Offload, parts: &[&[u8]]) -> Result<bool, QueueError> {
        Ok(self.0.send(&parts.concat()).is_ok())
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.1
    }
}

/// A running lane, its TUN, its server.
struct Running {
    handle: LaneHandle<SocketQueue>,
    host: UnixDatagram,
    server: UdpSocket,
    keys: DataKeys,
    reports: mpsc::Receiver<LaneReport>,
}

fn start(capabilities: QueueCapabilities) -> Running {
    let (host, tun) = UnixDatagram::pair().unwrap();
    tun.set_nonblocking(true).unwrap();
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    server.connect(client.local_addr().unwrap()).unwrap();
    let (sender, reports) = mpsc::channel(8);
    let lane = Lane::new([1; 32], policy(), Attachment::Rules);
    let none = capabilities == QueueCapabilities::default();
    let wanted = if none { OffloadSet::NONE } else { OffloadSet::ALL };
    let handle = LaneThread::spawn(lane, SocketQueue(tun, capabilities), wanted, sender).unwrap();
    let command = LaneCommand::Adopt { tunnel: UK, attempt: SESSION, keys: Box::new(keys(Side::Client)), ping: None };
    handle.send(LaneMessage { command, socket: Some((UK, HandedSocket::Datagrams(client))) });
    Running { handle, host, server, keys: keys(Side::Server), reports }
}

fn policy() -> Arc<Policy> {
    let prefix = "203.0.113.0/24".parse().unwrap();
    let view = TunnelView {
        state: TunnelState::Up,
        lease: LeaseId::new(1),
        inner_v4: Some(INNER),
        inner_v6: None,
        presented_v4: None,
        presented_v6: None,
        limit: 1_448,
    };
    Arc::new(Policy::new(PolicyInput {
        rules: Vec::new(),
        claims: vec![Claim { tunnel: UK, prefix, origin: ClaimOrigin::Pushed }],
        defaults: Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered },
        undecided_until: None,
        fallback: Fallback::Auto,
        sources: [(INNER.into(), UK)].into(),
        own: OwnAddresses {
            anchor_v4: ANCHOR,
            anchor_v6: std::net::Ipv6Addr::LOCALHOST,
            engine_v4: Ipv4Addr::new(198, 18, 0, 254),
            engine_v6: std::net::Ipv6Addr::LOCALHOST,
        },
        accept: Vec::new(),
        tunnels: vec![view],
    }))
}

fn keys(side: Side) -> DataKeys {
    let block = KeyBlock::from_bytes(std::array::from_fn(|place| place.to_le_bytes()[0]));
    DataKeys::new(&block, side, Cipher::Aes128Gcm, KeyId::FIRST, PeerId::new(1).unwrap())
}

fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 1, 0x40, 0, 64, 17, 0, 0];
    packet.extend(source.0.octets());
    packet.extend(destination.0.octets());
    let checksum = Sum::of(&packet).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(source.1.to_be_bytes());
    packet.extend(destination.1.to_be_bytes());
    packet.extend([0, 9, 0, 0, payload]);
    let checksum = pseudo_v4(source.0, destination.0, 17, 9).and(Sum::of(&packet[20..])).checksum();
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

impl Running {
    fn at_server(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        let length = self.server.recv(&mut buffer).unwrap();
        self.keys.opener.open(&mut buffer[..length], clock::now()).unwrap().to_vec()
    }

    fn send_sealed(&mut self, packet: &[u8]) {
        let mut frame = vec![0; mrvpn_proto::Sealer::HEADROOM];
        frame.extend_from_slice(packet);
        self.keys.sealer.seal(&mut frame).unwrap();
        self.server.send(&frame).unwrap();
    }

    fn at_host(&self) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        let length = self.host.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    fn report(&mut self) -> LaneReport {
        let start = Instant::now();
        loop {
            match self.reports.try_recv() {
                Ok(report) => return report,
                Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("no report: {error}"),
            }
        }
    }
}

#[test]
fn packets_pass_both_ways_with_and_without_offload() {
    let all = QueueCapabilities { checksum: true, tso: true, uso: true };
    for capabilities in [all, QueueCapabilities::default()] {
        let mut running = start(capabilities);
        for number in 0..50 {
            running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), number)).unwrap();
            assert_eq!(running.at_server(), udp((INNER, 5_000), (REMOTE, 53), number));
            running.send_sealed(&udp((REMOTE, 53), (INNER, 5_000), number));
            assert_eq!(running.at_host(), udp((REMOTE, 53), (ANCHOR, 5_000), number));
        }
        running.handle.stop();
    }
}

/// A lane whose tunnel has a TCP stream; `unread` is handed over with it.
fn start_stream(unread: Vec<u8>) -> (Running, TcpStream) {
    let mut running = start(QueueCapabilities { checksum: true, tso: true, uso: true });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    running.keys = keys(Side::Server);
    let command = LaneCommand::Adopt { tunnel: UK, attempt: SESSION, keys: Box::new(keys(Side::Client)), ping: None };
    let handed = HandedStream { stream, unread, unsent: Vec::new() };
    running.handle.send(LaneMessage { command, socket: Some((UK, HandedSocket::Stream(handed))) });
    (running, server)
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&frame_length(packet).unwrap()[..], packet].concat()
}

impl Running {
    fn sealed(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; mrvpn_proto::Sealer::HEADROOM];
        frame.extend_from_slice(packet);
        self.keys.sealer.seal(&mut frame).unwrap();
        framed(&frame)
    }

    fn read_framed(&mut self, server: &mut TcpStream) -> Vec<u8> {
        let mut length = [0; 2];
        server.read_exact(&mut length).unwrap();
        let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
        server.read_exact(&mut packet).unwrap();
        self.keys.opener.open(&mut packet, clock::now()).unwrap().to_vec()
    }
}

#[test]
fn packets_pass_both_ways_in_a_stream_however_it_is_cut() {
    let (mut running, mut server) = start_stream(Vec::new());
    for number in 0..50 {
        running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), number)).unwrap();
        assert_eq!(running.read_framed(&mut server), udp((INNER, 5_000), (REMOTE, 53), number));
    }
    let stream: Vec<u8> =
        (0..50).flat_map(|number| running.sealed(&udp((REMOTE, 53), (INNER, 5_000), number))).collect();
    for (place, piece) in stream.chunks(37).enumerate() {
        server.write_all(piece).unwrap();
        if place % 7 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    for number in 0..50 {
        assert_eq!(running.at_host(), udp((REMOTE, 53), (ANCHOR, 5_000), number));
    }
    running.handle.stop();
}

#[test]
fn what_was_read_before_the_lane_had_the_stream_is_not_lost() {
    let mut early = start(QueueCapabilities::default());
    early.keys = keys(Side::Server);
    let first = early.sealed(&[&PING[..], &[]].concat());
    let control = framed(&[0x28, 9, 9]);
    let unread = [&first[..], &control[..], &framed(&[0x28, 1, 2])[..3]].concat();
    let (mut running, mut server) = start_stream(unread);
    assert_eq!(running.report(), LaneReport::Control { tunnel: UK, datagram: vec![0x28, 9, 9] });
    server.write_all(&framed(&[0x28, 1, 2])[3..]).unwrap();
    assert_eq!(running.report(), LaneReport::Control { tunnel: UK, datagram: vec![0x28, 1, 2] });
}

#[test]
fn the_end_of_a_stream_is_reported_once_and_costs_no_processor() {
    let (mut running, server) = start_stream(Vec::new());
    drop(server);
    let ended = LaneReport::StreamEnded { tunnel: UK, attempt: SESSION, error: ErrorKind::UnexpectedEof };
    assert_eq!(running.report(), ended);
    for number in 0..20 {
        running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), number)).unwrap();
    }
    thread::sleep(Duration::from_millis(100));
    while let Ok(report) = running.reports.try_recv() {
        assert_eq!(report, LaneReport::Dropping, "it was said already");
    }
}

#[test]
fn a_stream_that_holds_no_packets_is_over() {
    let (mut running, mut server) = start_stream(Vec::new());
    server.write_all(b"\x00\x00 this is no packet").unwrap();
    let ended = LaneReport::StreamEnded { tunnel: UK, attempt: SESSION, error: ErrorKind::InvalidData };
    assert_eq!(running.report(), ended);
}

// proves: F-15
#[test]
fn a_stream_that_takes_nothing_for_a_while_loses_whole_packets_and_goes_on_in_order() {
    let (mut running, mut server) = start_stream(Vec::new());
    let payload = vec![7; 1_300];
    let long = |number: u32| {
        let mut packet = udp((ANCHOR, 5_000), (REMOTE, 53), 0);
        packet.truncate(28);
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&payload);
        let length = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[24..26].copy_from_slice(&(length - 20).to_be_bytes());
        packet[26..28].copy_from_slice(&[0, 0]);
        packet[10..12].copy_from_slice(&[0, 0]);
        let checksum = Sum::of(&packet[..20]).checksum();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet
    };
    let count = 20_000_u32;
    for number in 0..count {
        running.host.send(&long(number)).unwrap();
    }
    let mut seen = Vec::new();
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut framer = mrvpn_proto::stream::Framer::new(1 << 20);
    while let Ok(length) = server.read(framer.spare()) {
        framer.filled(length);
        while let Some(place) = framer.next_packet().unwrap() {
            let packet = running.keys.opener.open(framer.packet(place), clock::now()).unwrap();
            seen.push(u32::from_be_bytes([packet[28], packet[29], packet[30], packet[31]]));
        }
    }
    assert!(seen.is_sorted(), "order is kept");
    assert!(seen.len() > 100 && seen.len() < count as usize, "{} of {count} had room", seen.len());
    running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), 1)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(running.read_framed(&mut server), udp((INNER, 5_000), (REMOTE, 53), 1));
}

#[test]
fn a_control_datagram_becomes_a_report_and_the_session_s_datagram_leaves() {
    let mut running = start(QueueCapabilities::default());
    running.server.send(&[0x28, 1, 2]).unwrap();
    assert_eq!(running.report(), LaneReport::Control { tunnel: UK, datagram: vec![0x28, 1, 2] });
    let command = LaneCommand::Control { tunnel: UK, datagram: vec![0x20, 3] };
    running.handle.send(LaneMessage { command, socket: None });
    let mut buffer = [0; 10];
    assert_eq!(running.server.recv(&mut buffer).unwrap(), 2);
}

#[test]
fn a_farewell_leaves_before_the_socket_is_closed() {
    let mut running = start(QueueCapabilities::default());
    for command in [LaneCommand::ExitNotify { tunnel: UK }, LaneCommand::Release { tunnel: UK }] {
        running.handle.send(LaneMessage { command, socket: None });
    }
    assert_eq!(Inner::of(&running.at_server()), Inner::OccExit);
}

// proves: F-14
#[test]
fn a_server_that_is_gone_is_reported_twice_a_second_at_most() {
    let mut running = start(QueueCapabilities::default());
    // Its port is closed now: the refusal of one packet is told when the next is sent.
    running.server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let mut sent = 0_u8;
    while start.elapsed() < Duration::from_millis(700) {
        running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), sent)).unwrap();
        sent = sent.wrapping_add(1);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(matches!(running.report(), LaneReport::SocketError { error: ErrorKind::ConnectionRefused, .. }));
    thread::sleep(Duration::from_millis(20));
    let mut reports = 1;
    while let Ok(report) = running.reports.try_recv() {
        reports += usize::from(report != LaneReport::Dropping);
    }
    assert!(reports <= 2, "{reports} reports in 0.7 s");
}

#[test]
fn a_session_whose_socket_cannot_be_used_is_over() {
    let mut running = start(QueueCapabilities::default());
    let command = LaneCommand::Adopt { tunnel: UK, attempt: SESSION, keys: Box::new(keys(Side::Client)), ping: None };
    let unconnected = HandedSocket::Datagrams(UdpSocket::bind("127.0.0.1:0").unwrap());
    running.handle.send(LaneMessage { command, socket: Some((UK, unconnected)) });
    let error = ErrorKind::NotConnected;
    assert_eq!(running.report(), LaneReport::StreamEnded { tunnel: UK, attempt: SESSION, error });
}

#[test]
fn a_lane_that_is_stopped_has_closed_its_queue() {
    let running = start(QueueCapabilities::default());
    running.handle.stop();
    assert!(running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), 0)).is_err());
}

// proves: F-16
#[test]
fn another_queue_takes_the_place_of_one_that_is_gone_and_flows_go_on() {
    let mut running = start(QueueCapabilities::default());
    running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), 1)).unwrap();
    assert_eq!(running.at_server(), udp((INNER, 5_000), (REMOTE, 53), 1));
    let (host, tun) = UnixDatagram::pair().unwrap();
    tun.set_nonblocking(true).unwrap();
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    running.host.send(&[]).unwrap();
    assert_eq!(running.report(), LaneReport::QueueGone);
    running.handle.replace_queue(SocketQueue(tun, QueueCapabilities { checksum: true, tso: true, uso: true }));
    assert!(running.handle.offloads().tso, "its capabilities are its own");
    running.host = host;
    running.send_sealed(&udp((REMOTE, 53), (INNER, 5_000), 3));
    assert_eq!(running.at_host(), udp((REMOTE, 53), (ANCHOR, 5_000), 3));
    running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), 4)).unwrap();
    assert_eq!(running.at_server(), udp((INNER, 5_000), (REMOTE, 53), 4));
}

#[test]
fn a_ping_leaves_in_time() {
    let mut running = start(QueueCapabilities::default());
    let command = LaneCommand::Adopt {
        tunnel: UK,
        attempt: SESSION,
        keys: Box::new(keys(Side::Client)),
        ping: Some(Duration::from_millis(50)),
    };
    running.handle.send(LaneMessage { command, socket: None });
    assert_eq!(running.at_server(), PING);
}
