//! The fence on the real kernel: while policy rules or routes are gone, what is captured leaves by no card, and everything
//! else goes on. No engine takes part; the tables are those of a plan, and each packet is judged as the plan's list judges
//! it.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use mrvpn_host::LinuxHost;
use mrvpn_netplan::{Firewall, ForeignWay, Host, Plan, Probe, Scope, Step, apply, diff};
use mrvpn_router::{Claim, ClaimOrigin};
use mrvpn_testbed::Netns;
use socket2::{Domain, Socket, Type};

use crate::host_support::{
    Card, FAR, FR, MARK, NEIGHBOUR, Street, US, device, inside, planned_for_nobody, wanted, wanted_both,
};

mod host_support;

const TCP: u8 = 6;
const UDP: u8 = 17;
const EPERM: i32 = 1;

/// What takes capture away, all of it or part.
const DEEDS: [&str; 4] =
    ["ip rule flush", "ip -6 rule flush", "ip route flush table 19713", "ip -6 route flush table 19713"];

fn none() -> Plan {
    Plan::empty(&Scope::first())
}

/// What everybody has, again after a flush.
fn kernels_own_rules(netns: &Netns) {
    for family in ["-4", "-6"] {
        for (priority, table) in [("32766", "main"), ("32767", "default")] {
            let _ = netns.try_run("ip", &[family, "rule", "add", "priority", priority, "lookup", table]);
        }
    }
}

fn run(netns: &Netns, deed: &str) {
    let (program, words) = deed.split_once(' ').unwrap();
    netns.run(program, &words.split(' ').collect::<Vec<_>>());
    kernels_own_rules(netns);
}

// proves: F-21, I-1
#[test]
fn without_rules_or_routes_nothing_captured_leaves_and_it_is_felt_at_once_while_the_rest_goes_on() {
    for rp_filter in [0, 1, 2] {
        let street = Street::new(rp_filter);
        let far = listeners(&street.neighbour);
        inside(&street.host, || {
            let mut host = LinuxHost::new().unwrap();
            let _queues = host.open(&device(true)).unwrap();
            let wanted = wanted_both(&mut host);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            let service = TcpListener::bind("0.0.0.0:22").unwrap();
            for deed in DEEDS {
                run(&street.host, deed);
                let (case, before) = (format!("{deed}, rp_filter {rp_filter}"), street.answers());
                for to in FAR.into_iter().filter(|to| to.contains(':') == deed.contains("-6")) {
                    closed(to, &case);
                }
                assert_eq!(street.answers(), before, "{case}");
                for near in NEIGHBOUR {
                    open(near, &case);
                }
                assert!(marked().connect_timeout(&place(FAR[0], 80).into(), Duration::from_secs(1)).is_ok(), "{case}");
                came_in(&street.neighbour, &service, &case);
            }
            host.apply(&Step::SetFirewall { from: wanted.firewall.map(Box::new), to: None }).unwrap();
            open(FAR[0], "without the table the test must see something");
        });
        drop(far);
    }
}

/// Neither a datagram nor a connection leaves, bound to our address or not, and who asks is told at once.
fn closed(to: &str, case: &str) {
    let ours = if to.contains(':') { ["::", "2001:db8:64::2"] } else { ["0.0.0.0", "10.100.0.2"] };
    for from in ours {
        let socket = UdpSocket::bind(place(from, 0)).unwrap();
        let error = socket.send_to(b"hello", place(to, 53)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EPERM), "{case}: {from} to {to}: {error}");
        let socket = Socket::new(Domain::for_address(place(to, 80)), Type::STREAM, None).unwrap();
        socket.bind(&place(from, 0).into()).unwrap();
        let begun = Instant::now();
        let error = socket.connect_timeout(&place(to, 80).into(), Duration::from_secs(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{case}: {from} to {to}: {error}");
        assert!(begun.elapsed() < Duration::from_millis(500), "{case}: felt after {:?}", begun.elapsed());
    }
}

fn open(to: &str, case: &str) {
    let answer = TcpStream::connect_timeout(&place(to, 80), Duration::from_secs(3));
    assert!(answer.is_ok(), "{case}: {to}: {answer:?}");
}

/// Someone far away asks, and is answered.
fn came_in(neighbour: &Netns, service: &TcpListener, case: &str) {
    inside(neighbour, || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&place(FAR[0], 0).into()).unwrap();
        let answer = socket.connect_timeout(&place("192.168.7.2", 22).into(), Duration::from_secs(3));
        assert!(answer.is_ok(), "{case}: {answer:?}");
    });
    drop(service.accept().unwrap());
}

/// A socket as the engine has them.
fn marked() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_mark(MARK.0).unwrap();
    socket
}

/// Web servers at the neighbour's own addresses and far away.
fn listeners(neighbour: &Netns) -> Vec<TcpListener> {
    let mut all = Vec::new();
    inside(neighbour, || all.extend(["0.0.0.0", "::"].map(listener)));
    all
}

fn listener(address: &str) -> TcpListener {
    let at = place(address, 80);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    if at.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.bind(&at.into()).unwrap();
    socket.listen(64).unwrap();
    socket.into()
}

fn place(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

// proves: F-21
#[test]
fn the_kernel_refuses_exactly_what_the_list_says() {
    let card = Card::new(0);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted(&mut host, FR);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        // The way to everywhere needs no neighbour that answers: an address that all are at.
        card.netns.ip("addr add 198.51.100.2/24 brd + dev eth0
            link set eth0 arp off");
        let firewall = wanted.firewall.unwrap();
        let captured = |to: &str| card.route_get(to).contains("mrvpn0");
        assert!(captured("8.8.8.8"), "as long as the rules stand nothing is asked");
        run(&card.netns, "ip rule flush");
        let mut seen = [0, 0];
        for (to, port) in PLACES.iter().flat_map(|to| PORTS.map(|port| (*to, port))) {
            for from in ["0.0.0.0", "192.168.7.2", "10.101.0.2"] {
                let refused = expected(&firewall, from, to, port, UDP);
                assert_eq!(datagram_is_refused(from, to, port), refused, "a datagram from {from} to {to}:{port}");
                seen[usize::from(refused)] += 1;
            }
            let refused = expected(&firewall, "192.168.7.2", to, port, TCP);
            assert_eq!(connection_is_refused(to, port), refused, "a connection to {to}:{port}");
        }
        assert!(seen.iter().all(|seen| *seen > 20), "{seen:?}");
    });
}

const PLACES: [&str; 12] = [
    "203.0.113.10",
    "203.0.113.20",
    "203.0.113.30",
    "10.100.7.7",
    "10.101.0.1",
    "10.102.0.9",
    "192.168.7.9",
    "192.168.9.9",
    "192.168.44.4",
    "198.18.0.254",
    "198.51.100.9",
    "224.0.0.251",
];
const PORTS: [u16; 4] = [53, 80, 443, 9];

fn expected(firewall: &Firewall, from: &str, to: &str, port: u16, proto: u8) -> bool {
    // What is sent to many leaves by the card that has its source, whatever the rules say.
    let device = if to.starts_with("224.") && from == "10.101.0.2" { "mrvpn0" } else { "eth0" };
    let from: IpAddr = if from == "0.0.0.0" { "192.168.7.2" } else { from }.parse().unwrap();
    let probe = Probe { from: Some(from), to: to.parse().unwrap(), proto, port: Some(port), mark: 0, local: true };
    firewall.refuses(&probe, device)
}

fn datagram_is_refused(from: &str, to: &str, port: u16) -> bool {
    let socket = UdpSocket::bind(place(from, 0)).unwrap();
    match socket.send_to(b"hello", place(to, port)) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(EPERM), "{from} to {to}:{port}: {error}");
            true
        }
    }
}

fn connection_is_refused(to: &str, port: u16) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let answer = socket.connect_timeout(&place(to, port).into(), Duration::from_millis(20));
    answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

// proves: I-1
#[test]
fn a_program_that_binds_itself_to_a_card_is_refused_what_is_captured_and_nothing_else() {
    let street = Street::new(0);
    let far = listeners(&street.neighbour);
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        let before = street.answers();
        for (to, reached) in [(FAR[0], false), (FAR[1], false), (NEIGHBOUR[0], true), (NEIGHBOUR[1], true)] {
            let socket = Socket::new(Domain::for_address(place(to, 80)), Type::STREAM, None).unwrap();
            socket.bind_device(Some(b"eth0")).unwrap();
            let answer = socket.connect_timeout(&place(to, 80).into(), Duration::from_secs(1));
            assert_eq!(answer.is_ok(), reached, "{to}: {answer:?}");
            if !reached {
                assert_eq!(street.answers(), before, "{to}");
            }
        }
    });
    drop(far);
}

// A card's neighbours are found by packets that no policy rule is asked about.
#[test]
fn neighbours_of_a_public_network_are_found_and_a_card_keeps_its_address() {
    let street = Street::new(0);
    street.host.ip("addr add 2001:db8:7::2/64 dev eth0 nodad");
    street.neighbour.ip("addr add 2001:db8:7::1/64 dev eth0 nodad");
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        street.neighbour.run("ping", &["-c1", "-W3", "-I", "2001:db8:7::1", "2001:db8:7::2"]);
        let known = street.neighbour.run("ip", &["neigh", "show", "2001:db8:7::2"]);
        assert!(known.contains("lladdr"), "{known}");
        let client = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        client.bind_device(Some(b"eth0")).unwrap();
        client.bind(&place("192.168.7.2", 68).into()).unwrap();
        // A card asks its server, which it takes to be on its network.
        street.host.ip("neigh replace 203.0.113.1 lladdr 02:00:00:00:00:01 dev eth0");
        client.send_to(b"request", &place("203.0.113.1", 67).into()).unwrap();
    });
}

#[test]
fn policy_rules_of_others_that_come_before_ours_are_obeyed() {
    for (foreign, to, open_to) in [
        ("rule add pref 1000 lookup 999\nroute add 203.0.113.0/24 via 192.168.7.1 table 999", FAR[0], true),
        ("rule add pref 1000 lookup 999\nroute add 203.0.113.64/26 via 192.168.7.1 table 999", FAR[0], false),
        ("rule add pref 1000 to 203.0.113.0/24 lookup main", FAR[0], true),
        ("rule add pref 1000 from 192.168.7.2 lookup main", FAR[0], false),
        ("rule add pref 1000 lookup main suppress_prefixlength 0", FAR[0], false),
        (
            "rule add pref 1000 lookup main suppress_prefixlength 0\nroute add 203.0.113.0/25 via 192.168.7.1",
            FAR[0],
            true,
        ),
        ("rule add pref 1000 ipproto tcp dport 80 lookup main", FAR[0], true),
        ("rule add pref 1000 not fwmark 0x9 lookup 999\nroute add default via 192.168.7.1 table 999", FAR[0], true),
        ("rule add pref 1000 iif gone0 lookup main", FAR[0], false),
        ("rule add pref 6000 to 203.0.113.0/24 lookup main", FAR[0], false),
        ("-6 rule add pref 1000 lookup 999\n-6 route add default via fd00:7::1 table 999", FAR[1], true),
        ("-6 rule add pref 1000 lookup 999\n-6 route add default via fd00:7::1 table 999", FAR[0], false),
    ] {
        let street = Street::new(0);
        let far = listeners(&street.neighbour);
        street.host.ip(foreign);
        inside(&street.host, || {
            let mut host = LinuxHost::new().unwrap().with_scope(&Scope::first());
            let _queues = host.open(&device(true)).unwrap();
            let wanted = wanted_both(&mut host);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            let answer = TcpStream::connect_timeout(&place(to, 80), Duration::from_millis(300));
            assert_eq!(answer.is_ok(), open_to, "{foreign}: {answer:?}");
        });
        drop(far);
    }
}

#[test]
fn the_facts_name_where_policy_rules_of_others_before_ours_lead() {
    let street = Street::new(0);
    street.host.ip("route add 10.66.0.0/16 via 192.168.7.1 table 999
        route add unreachable 10.67.0.0/16 table 999
        rule add pref 900 lookup 77
        rule add pref 1000 fwmark 0x7/0xff to 10.9.0.0/16 ipproto udp dport 53-54 lookup 999
        rule add pref 1100 prohibit
        rule add pref 1200 iif gone0 lookup main
        rule add pref 1300 goto 32766
        rule add pref 6000 lookup main");
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap().with_scope(&Scope::first());
        let rules = host.facts().unwrap().foreign_rules;
        let seen: Vec<_> = rules.iter().map(|rule| (rule.priority, &rule.way)).collect();
        let led = ForeignWay::Routes(vec![("10.66.0.0/16".parse().unwrap(), String::from("eth0"))]);
        assert_eq!(seen, [(1000, &led), (1300, &ForeignWay::Anywhere)]);
        let first = &rules[0];
        let port = first.port.map(|port| (port.first, port.last));
        assert_eq!((first.mark, first.proto, port), (Some((7, 0xff)), Some(UDP), Some((53, 54))));
        assert_eq!((first.from, first.to), (None, Some("10.9.0.0/16".parse().unwrap())));
        assert!(
            LinuxHost::new().unwrap().facts().unwrap().foreign_rules.is_empty(),
            "without a scope nothing is before"
        );
    });
}

#[test]
fn one_more_claim_changes_elements_of_a_set_and_no_rule_and_many_of_them_fit() {
    let street = Street::new(0);
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap().with_scope(&Scope::first());
        let _queues = host.open(&device(true)).unwrap();
        let rules = || street.host.run("nft", &["-a", "-t", "list", "table", "inet", "mrvpn_default"]);
        let elements = || street.host.run("nft", &["list", "set", "inet", "mrvpn_default", "held4"]);
        let few = planned_for_nobody(&mut host, &claims(3));
        apply(&mut host, &diff(&none(), &few)).unwrap();
        let before = rules();
        assert!(elements().contains("11.0.4.0/24") && !elements().contains("11.0.6.0/24"), "{}", elements());
        for count in [4, 5, 16_000, 2, 0, 3] {
            let standing = host.standing(&Scope::first()).unwrap();
            let plan = planned_for_nobody(&mut host, &claims(count));
            for step in diff(&standing, &plan).iter().filter(|step| matches!(step, Step::SetFirewall { .. })) {
                host.apply(step).unwrap();
            }
            assert_eq!(host.standing(&Scope::first()).unwrap().firewall, plan.firewall, "{count} claims");
            assert_eq!(rules(), before, "{count} claims: the same rules by the same handles");
        }
        assert!(elements().contains("11.0.4.0/24"), "{}", elements());
        street.host.run("nft", &["delete", "element", "inet", "mrvpn_default", "held4", "{ 11.0.4.0/24 }"]);
        let standing = host.standing(&Scope::first()).unwrap();
        apply(&mut host, &diff(&standing, &few)).unwrap();
        assert_eq!(
            host.standing(&Scope::first()).unwrap().firewall,
            few.firewall,
            "set anew where someone has changed it"
        );
        assert_ne!(rules(), before);
    });
}

/// Networks that do not touch.
fn claims(count: u32) -> Vec<Claim> {
    let net = |n: u32| format!("11.{}.{}.0/24", n / 128, n % 128 * 2).parse().unwrap();
    (0..count).map(|n| Claim { tunnel: US, prefix: net(n), origin: ClaimOrigin::Pushed }).collect()
}
