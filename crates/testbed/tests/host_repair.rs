//! What others do to what is ours, on the real kernel: it is noticed, the kernel is read as a plan again, and the
//! difference to what should stand mends it. Also what the host says of itself: filters, rules and tables of others,
//! connections and services.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mrvpn_host::{LinuxHost, NetworkWatch};
use mrvpn_netplan::{Host, Plan, Scope, Watch, apply, diff};
use mrvpn_testbed::HostSnapshot;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::host_support::{Street, device, inside, wanted_both};

mod host_support;

/// 500 ms: until what others have done is mended (threats-and-faults, F-21).
const LIMIT: Duration = Duration::from_millis(500);

// proves: F-21
#[test]
fn what_others_delete_of_ours_is_noticed_and_put_back() {
    let street = Street::new(0);
    let scope = Scope::first();
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap().with_scope(&scope);
        let _queues = host.open(&device(true)).unwrap();
        let mut watch = host.watch().unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&Plan::empty(&scope), &wanted)).unwrap();
        assert_eq!(host.standing(&scope).unwrap(), wanted);
        let whole = HostSnapshot::take(&street.host);
        for deed in [
            "ip rule del priority 5300",
            "ip -6 rule del priority 5330",
            "ip rule flush",
            "ip route flush table 19713",
            "ip -6 route del default dev mrvpn0 table 19712",
            "ip addr del 198.18.0.1/32 dev mrvpn0",
            "ip addr flush dev mrvpn0",
            "ip addr add 10.7.7.7/32 dev mrvpn0",
            "ip link set mrvpn0 down",
            "nft flush ruleset",
            "nft delete table arp mrvpn_default",
            "nft flush chain inet mrvpn_default output",
            "nft insert rule inet mrvpn_default prerouting accept",
            "nft delete element inet mrvpn_default ours4 { 198.18.0.1 }",
            "nft add table inet mrvpn_default { flags dormant; }",
        ] {
            watch.drain().unwrap();
            let done = Instant::now();
            let (program, words) = deed.split_once(' ').unwrap();
            street.host.run(program, &words.split(' ').collect::<Vec<_>>());
            assert!(readable(&watch, LIMIT), "{deed}: not noticed");
            assert!(watch.drain().unwrap());
            let standing = host.standing(&scope).unwrap();
            let steps = diff(&standing, &wanted);
            assert!(!steps.is_empty(), "{deed}");
            apply(&mut host, &steps).unwrap_or_else(|error| panic!("{deed}: {error:?}"));
            assert!(done.elapsed() < LIMIT, "{deed}: {:?}", done.elapsed());
            let mended = host.standing(&scope).unwrap();
            assert_eq!(diff(&mended, &wanted), [], "{deed}");
            if deed == "ip rule flush" {
                street.host.ip("rule add priority 32766 lookup main\nrule add priority 32767 lookup default");
            }
        }
        let now = HostSnapshot::take(&street.host);
        let differs = whole.difference(&now);
        let of_ours = differs.lines().filter(|line| line.starts_with("- ") && !line.contains("valid_lft"));
        assert_eq!(of_ours.count(), 0, "{differs}");
    });
}

#[test]
fn a_deleted_device_is_made_again_and_everything_stands_on_it() {
    let street = Street::new(0);
    let scope = Scope::first();
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap().with_scope(&scope);
        let gone = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&Plan::empty(&scope), &wanted)).unwrap();
        street.host.ip("link del mrvpn0");
        let left = host.standing(&scope).unwrap();
        assert!(left.addresses.is_empty() && left.rules == wanted.rules);
        drop(gone);
        let _queues = host.open(&device(true)).unwrap();
        let steps = diff(&host.standing(&scope).unwrap(), &wanted);
        apply(&mut host, &steps).unwrap();
        assert_eq!(host.standing(&scope).unwrap(), wanted);
    });
}

#[test]
fn the_watch_hears_of_rules_and_tables_of_both_families_and_is_quiet_otherwise() {
    let street = Street::new(0);
    inside(&street.host, || {
        let mut watch = NetworkWatch::new().unwrap();
        watch.drain().unwrap();
        assert!(!readable(&watch, Duration::from_millis(20)));
        for deed in ["ip rule add priority 9 nop", "ip -6 rule add priority 9 nop", "nft add table inet other"] {
            let (program, words) = deed.split_once(' ').unwrap();
            street.host.run(program, &words.split(' ').collect::<Vec<_>>());
            assert!(readable(&watch, LIMIT), "{deed}");
            assert!(watch.drain().unwrap());
            assert!(!watch.drain().unwrap() && !readable(&watch, Duration::ZERO));
        }
    });
}

#[test]
fn the_facts_name_filters_rules_marks_tables_and_engines_of_others() {
    for (all, card, strict) in [(0, 0, false), (1, 0, true), (0, 1, true), (1, 2, false), (2, 1, false)] {
        let street = Street::new(0);
        street.host.sysctl("net.ipv4.conf.all.rp_filter", &all.to_string());
        street.host.sysctl("net.ipv4.conf.eth0.rp_filter", &card.to_string());
        inside(&street.host, || {
            let mut host = LinuxHost::new().unwrap().with_scope(&Scope::first());
            let _queues = host.open(&device(true)).unwrap();
            assert_eq!(host.facts().unwrap().strict_reverse_path, strict, "all {all}, card {card}");
        });
    }
    let street = Street::new(0);
    street.host.ip("link add mrvpn1 type veth peer name end1
        link set mrvpn1 up
        addr add 10.101.0.2/32 dev mrvpn1
        route add default dev mrvpn1 table 19715 proto 77
        route add unreachable default table 19717 metric 9 proto 77
        -6 route add unreachable default table 19717 proto 77
        route add default via 192.168.7.1 table 99
        rule add priority 1000 lookup 99
        rule add priority 1010 fwmark 0xca6c lookup 99
        -6 rule add priority 1020 fwmark 0x10/0xf0 lookup 99
        rule add priority 1030 from 10.0.0.1 fwmark 0/0xff lookup 99");
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap().with_scope(&Scope::first());
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted_both(&mut host);
        apply(&mut host, &diff(&Plan::empty(&Scope::first()), &wanted)).unwrap();
        let facts = host.facts().unwrap();
        let seen: Vec<_> = facts.engines.iter().map(|engine| (engine.slot, engine.device.as_deref())).collect();
        assert_eq!(seen, [(1, Some("mrvpn1")), (2, None)]);
        assert_eq!(facts.foreign_priorities, [1000, 1010, 1020, 1030]);
        assert_eq!(facts.foreign_marks, [(0, 0xff), (0x10, 0xf0), (0xca6c, u32::MAX)]);
        assert_eq!(facts.foreign_tables, [99]);
        assert!(!facts.addresses.contains(&"10.101.0.2".parse().unwrap()));
        assert!(!facts.addresses.contains(&"198.18.0.1".parse().unwrap()));
        assert!(facts.on_link.iter().all(|on| on.device == "eth0" || on.device == "end1"), "{facts:?}");
        let names = host.device_names().unwrap();
        assert_eq!(names, ["end1", "eth0", "lo", "mrvpn0", "mrvpn1"]);
    });
}

#[test]
fn connections_that_came_in_and_services_for_outside_are_found() {
    let street = Street::new(0);
    inside(&street.host, || {
        let (both, v4) = (TcpListener::bind("[::]:22").unwrap(), TcpListener::bind("192.168.7.2:80").unwrap());
        let mut theirs = Vec::new();
        let mut ours = Vec::new();
        for (listener, to) in [(&both, "192.168.7.2:22"), (&both, "[fd00:7::2]:22"), (&v4, "192.168.7.2:80")] {
            inside(&street.neighbour, || theirs.push(TcpStream::connect(to).unwrap()));
            ours.push(listener.accept().unwrap());
        }
        let local = TcpStream::connect("127.0.0.1:22").unwrap();
        let _out = {
            let mut far = None;
            inside(&street.neighbour, || far = Some(TcpListener::bind("192.168.7.1:81").unwrap()));
            (TcpStream::connect("192.168.7.1:81").unwrap(), far)
        };
        let bound = ["0.0.0.0:53", "[::]:500", "192.168.7.2:54", "127.0.0.1:323", "0.0.0.0:68", "0.0.0.0:5353"]
            .map(|at| UdpSocket::bind(at).unwrap());
        let asking = UdpSocket::bind("192.168.7.2:4444").unwrap();
        asking.connect("192.168.7.1:53").unwrap();
        let sessions = LinuxHost::new().unwrap().sessions().unwrap();
        let found: Vec<String> = sessions.inbound.iter().map(|tuple| tuple.local.to_string()).collect();
        assert_eq!(found, ["192.168.7.2:22", "192.168.7.2:80", "[fd00:7::2]:22"]);
        assert_eq!(sessions.inbound[0].remote, theirs[0].local_addr().unwrap());
        let services: Vec<String> = sessions.datagram_services.iter().map(ToString::to_string).collect();
        assert_eq!(services, ["0.0.0.0:53", "192.168.7.2:54", "[::]:500"]);
        drop((local, bound, asking));
    });
}

fn readable(watch: &NetworkWatch, patience: Duration) -> bool {
    let fd = watch.as_fd();
    let mut ready = [PollFd::new(&fd, PollFlags::IN)];
    let limit = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    poll(&mut ready, Some(&limit)).unwrap() > 0
}
