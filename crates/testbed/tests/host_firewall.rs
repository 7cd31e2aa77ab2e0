//! The engine's nftables tables on the real kernel: what a neighbour can learn, what arrives still, and that connections
//! which came in leave as they came. No engine takes part; the tables are those of a plan.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use mrvpn_host::{LinuxHost, LinuxQueue};
use mrvpn_netplan::{Host, HostError, Plan, Queue, Scope, Setting, Step, apply, diff};
use mrvpn_router::Offload;
use mrvpn_testbed::{HostSnapshot, Netns, unique_name};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host_support::{FAR, MARK, NEIGHBOUR, Street, device, inside, wanted_both, wanted_for_port};

mod host_support;

/// Addresses of ours on the interface.
const OURS: [&str; 4] = ["198.18.0.1", "10.100.0.2", "2001:2:0:1::1", "2001:db8:64::2"];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(500);

fn none() -> Plan {
    Plan::empty(&Scope::first())
}

// proves: T-08
#[test]
fn a_neighbour_learns_nothing_of_our_addresses_on_the_wire_or_in_the_device() {
    for rp_filter in [0, 1, 2] {
        let street = Street::new(rp_filter);
        inside(&street.host, || {
            let mut host = LinuxHost::new().unwrap();
            let mut queues = host.open(&device(true)).unwrap();
            let wanted = wanted_both(&mut host);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            // A listener makes every kind of packet worth an answer.
            let _listeners = ["0.0.0.0:80", "[::]:81"].map(|at| TcpListener::bind(at).unwrap());
            assert_eq!(guessed(&street, &mut queues[0]), (0, 0), "rp_filter {rp_filter}");
            street.host.run("nft", &["delete table inet mrvpn_default"]);
            let (_, inside_device) = guessed(&street, &mut queues[0]);
            assert!(inside_device > 0, "without the table the test must see something");
        });
    }
}

// proves: T-09
#[test]
fn nobody_on_the_lan_is_told_that_our_addresses_are_here() {
    let street = Street::new(0);
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        for address in OURS {
            assert!(!is_told(&street.neighbour, address), "{address}");
        }
        assert!(is_told(&street.neighbour, "192.168.7.2") && is_told(&street.neighbour, "fd00:7::2"));
        street.host.run("nft", &["delete table arp mrvpn_default"]);
        assert!(is_told(&street.neighbour, "198.18.0.1"), "without the table the test must see something");
    });
}

#[test]
fn sessions_from_before_live_through_up_and_down_whoever_speaks_first_and_new_ones_come_in() {
    for rp_filter in [0, 1, 2] {
        let street = Street::new(rp_filter);
        inside(&street.host, || {
            let (v4, v6) = (TcpListener::bind("0.0.0.0:22").unwrap(), TcpListener::bind("[fd00:7::2]:22").unwrap());
            let came = |from: &str| {
                let (listener, to) = if from.contains(':') { (&v6, "[fd00:7::2]:22") } else { (&v4, "192.168.7.2:22") };
                Pair::open(&street.neighbour, listener, from, to)
            };
            let everywhere = [NEIGHBOUR[0], NEIGHBOUR[1], FAR[0], FAR[1]];
            let mut before: Vec<Pair> = everywhere.iter().chain(&everywhere).map(|from| came(from)).collect();
            let mut host = LinuxHost::new().unwrap();
            let _queues = host.open(&device(true)).unwrap();
            let mut wanted = wanted_both(&mut host);
            assert_eq!(wanted.settings, if rp_filter == 1 { vec![Setting::SourceValidMark] } else { vec![] });
            let sessions = host.sessions().unwrap();
            assert_eq!(sessions.inbound.len(), 8, "{sessions:?}");
            wanted.firewall.as_mut().unwrap().inbound = sessions.inbound;
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            for (number, pair) in before.iter_mut().enumerate() {
                pair.talk(number < 4).unwrap_or_else(|error| panic!("{number}, rp_filter {rp_filter}: {error}"));
            }
            let mut after: Vec<Pair> = everywhere.iter().map(|from| came(from)).collect();
            let marks = street.host.run("nft", &["list", "ruleset"]);
            assert!(marks.contains("mrvpn_default"));
            apply(&mut host, &diff(&wanted, &none())).unwrap();
            for pair in before.iter_mut().chain(&mut after) {
                pair.talk(true).unwrap();
                pair.talk(false).unwrap();
            }
        });
    }
}

#[test]
fn without_the_set_a_session_from_before_in_which_we_speak_first_is_lost() {
    let street = Street::new(0);
    inside(&street.host, || {
        let listener = TcpListener::bind("0.0.0.0:22").unwrap();
        let mut pair = Pair::open(&street.neighbour, &listener, FAR[0], "192.168.7.2:22");
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        assert!(pair.talk(false).is_err());
    });
}

// conntrack is there only since the tables are: the answer to an old question is the first packet that it sees.
#[test]
fn a_connection_that_went_out_before_is_not_taken_for_one_that_came_in() {
    for rp_filter in [0, 2] {
        let street = Street::new(rp_filter);
        inside(&street.host, || {
            let far = format!("{}:80", FAR[0]);
            let listener = within(&street.neighbour, || TcpListener::bind(&far).unwrap());
            let mut pair = Pair::open(&street.host, &listener, "192.168.7.2", &far);
            let mut host = LinuxHost::new().unwrap();
            let mut queues = host.open(&device(true)).unwrap();
            let mut wanted = wanted_both(&mut host);
            let sessions = host.sessions().unwrap();
            assert_eq!(sessions.inbound, []);
            wanted.firewall.as_mut().unwrap().inbound = sessions.inbound;
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            drain(&mut queues[0]);
            assert!(pair.talk(false).is_err());
            assert!(drain(&mut queues[0]) > 0, "what we say goes to the engine");
        });
    }
}

#[test]
fn a_datagram_flow_that_went_out_before_is_not_taken_for_one_that_came_in_and_a_new_one_that_did_is() {
    let street = Street::new(0);
    inside(&street.host, || {
        let far = SocketAddr::new(FAR[0].parse().unwrap(), 443);
        let server = within(&street.neighbour, || UdpSocket::bind(far).unwrap());
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let client = UdpSocket::bind("192.168.7.2:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect(far).unwrap();
        client.send(b"hello").unwrap();
        let (_, asking) = server.recv_from(&mut [0; 8]).unwrap();
        let mut host = LinuxHost::new().unwrap();
        let mut queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        drain(&mut queues[0]);
        server.send_to(b"world", asking).unwrap();
        client.recv(&mut [0; 8]).unwrap();
        client.send(b"hello").unwrap();
        assert!(server.recv_from(&mut [0; 8]).is_err() && drain(&mut queues[0]) > 0, "what we say goes to the engine");
        let service = UdpSocket::bind("192.168.7.2:53").unwrap();
        service.set_read_timeout(Some(PATIENCE)).unwrap();
        server.send_to(b"hello", "192.168.7.2:53").unwrap();
        let (_, from) = service.recv_from(&mut [0; 8]).unwrap();
        service.send_to(b"world", from).unwrap();
        server.recv_from(&mut [0; 8]).unwrap();
    });
}

#[test]
fn a_strict_reverse_path_filter_needs_src_valid_mark_for_answers_to_the_engines_own_sockets() {
    let street = Street::new(1);
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        assert!(marked_echo(&street));
        host.apply(&Step::ReleaseSetting(Setting::SourceValidMark)).unwrap();
        assert!(!marked_echo(&street));
        host.apply(&Step::HoldSetting(Setting::SourceValidMark)).unwrap();
        assert!(marked_echo(&street));
    });
}

#[test]
fn an_answer_to_a_rule_with_a_port_comes_out_of_the_device_whatever_the_filter() {
    for rp_filter in [0, 1, 2] {
        let street = Street::new(rp_filter);
        inside(&street.host, || {
            let mut host = LinuxHost::new().unwrap();
            let mut queues = host.open(&device(false)).unwrap();
            let wanted = wanted_for_port(&mut host, 7);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            assert!(echoed(&mut queues[0]), "rp_filter {rp_filter}");
        });
    }
}

#[test]
fn what_goes_to_all_arrives_still_from_a_public_lan_too() {
    for rp_filter in [0, 1, 2] {
        let street = Street::new(rp_filter);
        street.host.ip("addr add 198.51.100.2/24 brd + dev eth0");
        street.neighbour.ip("addr add 198.51.100.1/24 brd + dev eth0");
        inside(&street.host, || {
            let mut host = LinuxHost::new().unwrap();
            let _queues = host.open(&device(true)).unwrap();
            let wanted = wanted_both(&mut host);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            // A strict filter judges who asks by ARP as well: without an answer the whole host would be gone.
            assert!(asks(&street.neighbour, "198.51.100.1", "198.51.100.2"), "rp_filter {rp_filter}");
            let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let group = Ipv4Addr::new(224, 0, 0, 251);
            socket.join_multicast_v4(&group, &Ipv4Addr::new(198, 51, 100, 2)).unwrap();
            for from in ["198.51.100.1", "192.168.7.1"] {
                for to in ["224.0.0.251", "198.51.100.255", "192.168.7.255", "255.255.255.255"] {
                    inside(&street.neighbour, || shout(from, to));
                    let heard = socket.recv_from(&mut [0; 64]);
                    assert!(heard.is_ok(), "{from} to {to}, rp_filter {rp_filter}: {heard:?}");
                }
            }
        });
    }
}

#[test]
fn bits_outside_the_mask_are_left_to_others() {
    let street = Street::new(0);
    street.host.run(
        "nft",
        &["add table inet other; add counter inet other packet; add counter inet other connection; \
          add chain inet other early { type filter hook prerouting priority -160; }; \
          add rule inet other early iifname eth0 tcp dport 22 meta mark set 0x55 ct mark set ct mark or 0x770000; \
          add chain inet other late { type filter hook input priority 0; }; \
          add rule inet other late tcp dport 22 meta mark 0x4d000055 counter name packet; \
          add rule inet other late tcp dport 22 ct mark 0x4d770000 counter name connection"],
    );
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        let listener = TcpListener::bind("0.0.0.0:22").unwrap();
        Pair::open(&street.neighbour, &listener, FAR[0], "192.168.7.2:22").talk(true).unwrap();
    });
    let counted = street.host.run("nft", &["list counters table inet other"]);
    assert!(!counted.contains("packets 0 "), "{counted}");
}

#[test]
fn a_port_published_for_a_container_is_forwarded_as_before_and_not_marked() {
    for rp_filter in [0, 1, 2] {
        let street = Street::new(rp_filter);
        let container = Netns::new(&unique_name());
        street.host.link("docker0", &container, "eth0");
        street.host.ip("addr add 172.17.0.1/16 dev docker0");
        street.host.sysctl("net.ipv4.ip_forward", "1");
        container.ip("addr add 172.17.0.2/16 dev eth0\nroute add default via 172.17.0.1");
        street.host.run(
            "nft",
            &["add table ip docker; add counter ip docker forwarded; add counter ip docker marked; \
              add chain ip docker nat { type nat hook prerouting priority dstnat; }; \
              add rule ip docker nat fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80; \
              add chain ip docker forward { type filter hook forward priority 0; }; \
              add rule ip docker forward counter name forwarded; \
              add rule ip docker forward meta mark != 0 counter name marked; \
              add rule ip docker forward ct mark != 0 counter name marked"],
        );
        inside(&street.host, || {
            let mut host = LinuxHost::new().unwrap();
            let _queues = host.open(&device(true)).unwrap();
            let wanted = wanted_both(&mut host);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            let listener = within(&container, || TcpListener::bind("0.0.0.0:80").unwrap());
            let mut pair = Pair::open(&street.neighbour, &listener, FAR[0], "192.168.7.2:8080");
            pair.talk(true).unwrap();
            pair.talk(false).unwrap();
        });
        let counted = street.host.run("nft", &["list counters table ip docker"]);
        let packets: Vec<&str> = counted.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
        assert!(packets[0] != "0" && packets[1] == "0", "{counted}");
    }
}

#[test]
fn tables_are_replaced_at_once_and_one_of_the_same_name_that_is_not_ours_is_named_and_left_alone() {
    let street = Street::new(0);
    let before = HostSnapshot::take(&street.host);
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap();
        let first = wanted_both(&mut host).firewall.map(Box::new).unwrap();
        let mut second = first.clone();
        second.others.push(String::from("mrvpn1"));
        second.addresses.pop();
        second.inbound = many_sessions();
        host.apply(&Step::SetFirewall { from: None, to: Some(first.clone()) }).unwrap();
        let listed = street.host.run("nft", &["list ruleset"]);
        for line in [
            "comment \"made by mrvpn\"",
            "ip daddr @ours4 fib saddr type != local drop",
            "ct direction original fib daddr type local",
            "type route hook output priority mangle",
            "arp daddr ip @ours drop",
        ] {
            assert!(listed.contains(line), "{line} is not in\n{listed}");
        }
        host.apply(&Step::SetFirewall { from: Some(first), to: Some(second.clone()) }).unwrap();
        let listed = street.host.run("nft", &["list ruleset"]);
        assert_eq!(listed.matches("table inet mrvpn_default").count(), 1);
        assert!(listed.contains("iifname \"mrvpn1\" return") && listed.contains("10.9.255.255 . 22"), "{listed}");
        host.apply(&Step::SetFirewall { from: Some(second.clone()), to: None }).unwrap();
        host.apply(&Step::SetFirewall { from: Some(second.clone()), to: None }).unwrap();
        street.host.run("nft", &["add table inet mrvpn_default"]);
        let error = host.apply(&Step::SetFirewall { from: None, to: Some(second) }).unwrap_err();
        assert!(matches!(&error, HostError::Taken { what } if what.contains("mrvpn_default")), "{error}");
        assert_eq!(street.host.run("nft", &["list ruleset"]), "table inet mrvpn_default {\n}\n");
        street.host.run("nft", &["delete table inet mrvpn_default"]);
    });
    assert_eq!(before.difference(&HostSnapshot::take(&street.host)), "");
}

/// As many sessions as are taken in, v4 and v6.
fn many_sessions() -> Vec<mrvpn_netplan::FourTuple> {
    let half = u32::try_from(mrvpn_host::limits::MAX_INBOUND / 2).unwrap();
    let v4 = (0..half).map(|n| IpAddr::from(Ipv4Addr::from_bits(0x0a09_ffff - n)));
    let v6 = (0..half).map(|n| IpAddr::from(std::net::Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(n))));
    let tuple = |local: IpAddr| mrvpn_netplan::FourTuple {
        local: SocketAddr::new(local, 22),
        remote: SocketAddr::new(local, 40_000),
    };
    v4.chain(v6).map(tuple).collect()
}

/// What a neighbour that sends everything to every address of ours is answered: on the wire, and in the device.
fn guessed(street: &Street, queue: &mut LinuxQueue) -> (u64, usize) {
    drain(queue);
    let before = street.answers();
    inside(&street.neighbour, || {
        for to in OURS {
            let six = usize::from(to.contains(':'));
            for from in [NEIGHBOUR[six], FAR[six]] {
                attack(from.parse().unwrap(), to.parse().unwrap());
            }
        }
    });
    thread::sleep(Duration::from_millis(100));
    (street.answers() - before, drain(queue))
}

/// Packets in the device that go to whoever attacked.
fn drain(queue: &mut LinuxQueue) -> usize {
    let mut buffer = vec![0; 65_536];
    let mut seen = 0;
    while let Some((length, _)) = queue.read(&mut buffer).unwrap() {
        let packet = &buffer[..length];
        let to: IpAddr = match packet[0] >> 4 {
            4 => IpAddr::from(*packet[16..].first_chunk::<4>().unwrap()),
            _ => IpAddr::from(*packet[24..].first_chunk::<16>().unwrap()),
        };
        seen += usize::from(NEIGHBOUR.iter().chain(&FAR).any(|from| to == from.parse::<IpAddr>().unwrap()));
    }
    seen
}

/// SYN, SYN-ACK and RST to an open and a closed port, a datagram, an echo request.
fn attack(from: IpAddr, to: IpAddr) {
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let (tcp, udp, icmp, echo) = match to {
        IpAddr::V4(_) => (Protocol::TCP, Protocol::UDP, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Protocol::TCP, Protocol::UDP, Protocol::ICMPV6, 128),
    };
    for port in [80, 81, 4444] {
        for flags in [SYN, SYN | ACK, RST, ACK] {
            let mut segment =
                vec![0x9c, 0x40, 0, port as u8, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
            segment[2..4].copy_from_slice(&(port as u16).to_be_bytes());
            raw(from, to, tcp, segment, Some(16));
        }
    }
    raw(from, to, udp, vec![0x9c, 0x40, 0x11, 0x5c, 0, 8, 0, 0], Some(6));
    let message = vec![echo, 0, 0, 0, 0, 7, 0, 1];
    raw(from, to, icmp, message, Some(2));
}

/// Sends a payload of an IP protocol; its checksum goes to `at`.
fn raw(from: IpAddr, to: IpAddr, protocol: Protocol, mut payload: Vec<u8>, at: Option<usize>) {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(to, 0)), Type::RAW, Some(protocol)).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    if let Some(at) = at {
        let pseudo = match (from, to) {
            (IpAddr::V4(_), _) if protocol == Protocol::ICMPV4 => Vec::new(),
            (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
            (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
            _ => unreachable!(),
        };
        let number = u16::try_from(i32::from(protocol)).unwrap();
        let tail = if pseudo.is_empty() {
            [0; 4]
        } else {
            let [l0, l1] = (payload.len() as u16).to_be_bytes();
            let [n0, n1] = number.to_be_bytes();
            [l0, l1, n0, n1]
        };
        let sum = sum(&[&pseudo, tail.as_slice(), &payload].concat());
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    // An error of an earlier packet may be reported here; it is no matter.
    let _ = socket.send_to(&payload, &SocketAddr::new(to, 0).into());
}

/// The internet checksum.
fn sum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Whether a question on the LAN for an address is answered with a card's number.
fn is_told(neighbour: &Netns, address: &str) -> bool {
    asks(neighbour, NEIGHBOUR[usize::from(address.contains(':'))], address)
}

/// The same, with a source of the one who asks.
fn asks(neighbour: &Netns, from: &str, address: &str) -> bool {
    let length = if address.contains(':') { 128 } else { 32 };
    let _ = neighbour.try_run("ip", &["route", "add", &format!("{address}/{length}"), "dev", "eth0"]);
    let _ = neighbour.try_run("ping", &["-c1", "-W1", "-I", from, address]);
    neighbour.run("ip", &["neigh", "show", address]).contains("lladdr")
}

/// A connection between the neighbour and this host, both ends in hand.
struct Pair {
    theirs: TcpStream,
    ours: TcpStream,
}

impl Pair {
    #[track_caller]
    fn open(neighbour: &Netns, listener: &TcpListener, from: &str, to: &str) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        let theirs = within(neighbour, || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
            socket.connect_timeout(&to.into(), Duration::from_secs(2)).map(|()| TcpStream::from(socket))
        });
        let theirs = theirs.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        let (ours, _) = listener.accept().unwrap();
        for stream in [&theirs, &ours] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        Self { theirs, ours }
    }

    /// A word there and a word back.
    fn talk(&mut self, they_first: bool) -> std::io::Result<()> {
        let (one, other) =
            if they_first { (&mut self.theirs, &mut self.ours) } else { (&mut self.ours, &mut self.theirs) };
        one.write_all(b"hello")?;
        other.read_exact(&mut [0; 5])?;
        other.write_all(b"world")?;
        one.read_exact(&mut [0; 5])
    }
}

/// Whether a socket with the engine's mark has an answer from far away.
fn marked_echo(street: &Street) -> bool {
    let far = SocketAddr::new(FAR[0].parse().unwrap(), 1194);
    let server = within(&street.neighbour, || UdpSocket::bind(far).unwrap());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    client.set_mark(MARK.0).unwrap();
    let client = UdpSocket::from(client);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"hello", far).unwrap();
    let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
    server.send_to(b"world", from).unwrap();
    client.recv_from(&mut [0; 8]).is_ok()
}

/// Whether a datagram to port 7 of a far place comes out of the device, and its echo arrives.
fn echoed(queue: &mut LinuxQueue) -> bool {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"hello", (FAR[0], 7)).unwrap();
    let mut buffer = vec![0; 65_536];
    while let Some((length, _)) = queue.read(&mut buffer).unwrap() {
        let mut packet = buffer[..length].to_vec();
        if packet[0] >> 4 == 4 && packet[9] == 17 && packet[16..20] == [203, 0, 113, 1] {
            let (from, to) = (packet[12..16].to_vec(), packet[16..20].to_vec());
            packet[12..16].copy_from_slice(&to);
            packet[16..20].copy_from_slice(&from);
            let ports = [packet[22], packet[23], packet[20], packet[21]];
            packet[20..24].copy_from_slice(&ports);
            assert!(queue.write(Offload::NONE, &[&packet]).unwrap());
        }
    }
    socket.recv_from(&mut [0; 8]).is_ok()
}

/// A datagram to all on the LAN.
fn shout(from: &str, to: &str) {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.bind_device(Some(b"eth0")).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.send_to(b"hello", &SocketAddr::new(to.parse().unwrap(), 5353).into()).unwrap();
}

/// Makes something in a namespace.
fn within<T: Send>(netns: &Netns, make: impl FnOnce() -> T + Send) -> T {
    let mut made = None;
    inside(netns, || made = Some(make()));
    made.unwrap()
}
