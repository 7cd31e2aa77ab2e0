//! The thread with a real epoll and real sockets on loopback; a pair of Unix sockets stands for the TUN.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use mrvpn_netplan::QueueError;
use mrvpn_profile::Cipher;
use mrvpn_proto::key_block::KeyBlock;
use mrvpn_proto::wrapping::Side;
use mrvpn_proto::{DataKeys, Inner, KeyId, PING, PeerId};
use mrvpn_router::packet::checksum::{Sum, pseudo_v4};
use mrvpn_router::{
    Attachment, Claim, ClaimOrigin, DefaultChoice, Defaults, Fallback, LeaseId, Offload, OwnAddresses, Policy,
    PolicyInput, TunnelState, TunnelView,
};

use super::*;

const UK: TunnelId = TunnelId::new(0);
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
            Ok(length) => Ok(Some((length, Offload::NONE))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
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
    handle: LaneHandle,
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
    let handle = LaneThread::spawn(lane, SocketQueue(tun, capabilities), sender).unwrap();
    let command = LaneCommand::Adopt { tunnel: UK, keys: Box::new(keys(Side::Client)), ping: None };
    handle.send(LaneMessage { command, socket: Some((UK, client)) });
    Running { handle, host, server, keys: keys(Side::Server), reports }
}

fn policy() -> Arc<Policy> {
    let prefix = "203.0.113.0/24".parse().unwrap();
    let view = TunnelView {
        state: TunnelState::Up,
        lease: LeaseId::new(1),
        inner_v4: Some(INNER),
        inner_v6: None,
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
            engine_v4: Ipv4Addr::new(198, 18, 0, 254),
            engine_v6: std::net::Ipv6Addr::LOCALHOST,
        },
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
    assert!(matches!(running.report(), LaneReport::SocketError { error: io::ErrorKind::ConnectionRefused, .. }));
    thread::sleep(Duration::from_millis(20));
    let mut reports = 1;
    while running.reports.try_recv().is_ok() {
        reports += 1;
    }
    assert!(reports <= 2, "{reports} reports in 0.7 s");
}

#[test]
fn a_lane_that_is_stopped_has_closed_its_queue() {
    let running = start(QueueCapabilities::default());
    running.handle.stop();
    assert!(running.host.send(&udp((ANCHOR, 5_000), (REMOTE, 53), 0)).is_err());
}

#[test]
fn a_ping_leaves_in_time() {
    let mut running = start(QueueCapabilities::default());
    let command =
        LaneCommand::Adopt { tunnel: UK, keys: Box::new(keys(Side::Client)), ping: Some(Duration::from_millis(50)) };
    running.handle.send(LaneMessage { command, socket: None });
    assert_eq!(running.at_server(), PING);
}
