//! The host made real, on the real kernel: plans applied by netlink in a namespace of their own, judged by what `ip`
//! prints and where packets come out. No server and no engine take part.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use mrvpn_host::{LinuxHost, LinuxQueue, NetworkWatch, sweep};
use mrvpn_netplan::model::{ModelHost, Verdict};
use mrvpn_netplan::{
    AddressBook, DeviceSpec, Host, HostError, OffloadSet, Plan, Pools, Probe, Queue, QueueCapabilities, Scope, Watch,
    apply, diff,
};
use mrvpn_profile::{Assignment, Ipv6Assignment};
use mrvpn_router::Offload;
use mrvpn_testbed::{HostSnapshot, Netns, unique_name};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::host_support::{Card, FR, MARK, UK, assignment, device, device_with, planned, planned_by, wanted};

mod host_support;

/// No journals are there.
const NOWHERE: &str = "/nonexistent";

/// The plan of a host without anything of ours.
fn none() -> Plan {
    Plan::empty(&Scope::first())
}

/// A host that knows whose it is: what stands of its own is no other engine's.
fn engine() -> LinuxHost {
    LinuxHost::new().unwrap().with_scope(&Scope::first())
}

#[test]
fn a_plan_of_three_tunnels_stands_on_the_kernel_and_leaves_nothing_behind() {
    let card = Card::new(0);
    let before = HostSnapshot::take(&card.netns);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        let queues = host.open(&device(true)).unwrap();
        let wanted = wanted(&mut host, UK);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        assert_eq!(host.ours().unwrap(), (wanted.routes.clone(), wanted.rules.clone()));
        card.shows_addresses(&[
            "198.18.0.1",
            "10.100.0.2",
            "10.101.0.2",
            "10.102.0.2",
            "198.18.1.1",
            "198.18.1.2",
            "198.18.1.3",
        ]);
        card.shows_lines();
        apply(&mut host, &diff(&wanted, &none())).unwrap();
        assert_eq!(host.ours().unwrap(), (Vec::new(), Vec::new()));
        drop(queues);
    });
    assert_eq!(before.difference(&HostSnapshot::take(&card.netns)), "");
}

#[test]
fn steps_that_are_done_already_are_fine_and_what_others_made_is_not_ours() {
    let card = Card::new(0);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted(&mut host, UK);
        let (steps, back) = (diff(&none(), &wanted), diff(&wanted, &none()));
        for steps in [&steps, &steps, &back, &back] {
            apply(&mut host, steps).unwrap();
        }
        card.netns.ip("rule add priority 5399 nop\nroute add throw 10.101.0.0/16 table 19713 metric 1024");
        let foreign = HostSnapshot::take(&card.netns);
        let error = apply(&mut host, &steps).unwrap_err();
        assert!(matches!(error.source, HostError::Taken { .. }), "{error:?}");
        assert!(error.left.is_empty());
        assert_eq!(foreign.difference(&HostSnapshot::take(&card.netns)), "");
    });
}

#[test]
fn every_packet_goes_where_the_plan_says() {
    for rp_filter in [0, 2] {
        let card = Card::new(rp_filter);
        card.inside(|| {
            let mut host = LinuxHost::new().unwrap();
            let mut queues = host.open(&device(true)).unwrap();
            let wanted = wanted(&mut host, UK);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            for (destination, way) in [
                ("203.0.113.10", "dev mrvpn0"),
                ("10.101.0.1", "dev mrvpn0"),
                ("198.18.0.254", "dev mrvpn0"),
                ("198.19.3.4", "dev mrvpn0"),
                ("2001:db8::1", "dev mrvpn0"),
                ("192.168.7.9", "dev eth0"),
                ("203.0.113.10 mark 0x4d000001", "via 192.168.7.1 dev eth0"),
                ("203.0.113.20 ipproto tcp dport 443", "via 192.168.7.1 dev eth0"),
                ("203.0.113.20 ipproto tcp dport 80", "dev mrvpn0"),
                ("203.0.113.30 ipproto udp dport 53", "dev mrvpn0"),
                ("198.51.100.9 from 192.168.9.2 iif docker0", "via 192.168.7.1 dev eth0"),
            ] {
                let answer = card.route_get(destination);
                assert!(answer.contains(way), "{destination}: {answer}");
            }
            assert!(card.route_get("203.0.113.10").contains("src 198.18.0.1"));
            let packet = sent(&mut queues[0], "10.101.0.2", "203.0.113.10:7");
            assert_eq!(
                (address(&packet, 12), address(&packet, 16)),
                ("10.101.0.2".parse().unwrap(), "203.0.113.10".parse().unwrap())
            );
        });
    }
}

// proves: T-10
#[test]
fn routes_and_public_networks_that_a_hostile_lan_hands_out_take_nothing() {
    let card = Card::new(0);
    card.inside(|| {
        let mut host = engine();
        let _queues = host.open(&device(true)).unwrap();
        let first = wanted(&mut host, UK);
        apply(&mut host, &diff(&none(), &first)).unwrap();
        card.netns.ip("route add 0.0.0.0/1 via 192.168.7.1
            route add 128.0.0.0/1 via 192.168.7.1
            route add 203.0.113.10/32 via 192.168.7.1
            addr add 8.8.8.2/24 dev eth0");
        for plan in [first.clone(), wanted(&mut host, UK)] {
            apply(&mut host, &diff(&first, &plan)).unwrap();
            for destination in ["203.0.113.10", "1.1.1.1", "8.8.8.8", "10.101.0.1"] {
                assert!(card.route_get(destination).contains("dev mrvpn0"), "{destination}");
            }
        }
    });
}

#[test]
fn the_model_host_answers_as_the_kernel_does() {
    let card = Card::new(0);
    card.inside(|| {
        let (mut host, mut model) = (LinuxHost::new().unwrap(), ModelHost::default());
        let mut queues = Some(host.open(&device(true)).unwrap());
        model.open(&device(true)).unwrap();
        let steps = diff(&none(), &wanted(&mut host, UK));
        apply(&mut host, &steps).unwrap();
        apply(&mut model, &steps).unwrap();
        for device_stands in [true, false] {
            if !device_stands {
                drop(queues.take());
                model.lose("mrvpn0");
            }
            for probe in probes() {
                assert_eq!(card.verdict(&probe), model.route(&probe), "{probe:?}, device {device_stands}");
            }
        }
    });
}

// proves: I-10
#[test]
fn when_the_device_is_gone_claims_are_refused_and_a_sweep_leaves_the_host_as_it_was() {
    let card = Card::new(0);
    let before = HostSnapshot::take(&card.netns);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        let queues = host.open(&device(true)).unwrap();
        let wanted = wanted(&mut host, UK);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        drop(queues); // as by kill -9
        for destination in ["203.0.113.10", "10.101.0.1", "198.18.0.254", "2001:db8::1"] {
            let error = card.netns.try_run("ip", &["route", "get", destination]).unwrap_err();
            assert!(error.contains("unreachable") || error.contains("No route"), "{destination}: {error}");
        }
        assert!(card.route_get("203.0.113.10 mark 0x4d000001").contains("dev eth0"));
        assert!(sweep(NOWHERE.as_ref()).unwrap() >= wanted.rules.len());
        assert_eq!(sweep(NOWHERE.as_ref()).unwrap(), 0);
    });
    assert_eq!(before.difference(&HostSnapshot::take(&card.netns)), "");
}

#[test]
fn a_sweep_leaves_an_engine_that_runs_alone() {
    let card = Card::new(0);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap().with_scope(&Scope::first());
        let queues = host.open(&device(true)).unwrap();
        let wanted = wanted(&mut host, UK);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        card.netns.ip("rule add priority 5430 iif lo lookup 19715 protocol 77\nroute add unreachable default table 19715 proto 77");
        card.netns.ip("rule add priority 5440 nop protocol 78");
        assert_eq!(sweep(NOWHERE.as_ref()).unwrap(), 2);
        assert_eq!(host.ours().unwrap(), (wanted.routes.clone(), wanted.rules.clone()));
        assert!(card.netns.run("ip", &["rule"]).contains("5440"));
        drop(queues);
    });
}

#[test]
fn where_ipv6_is_switched_off_it_is_captured_all_the_same_and_stays_off() {
    let card = Card::new(0);
    for scope in ["all", "default"] {
        card.netns.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1");
    }
    let before = HostSnapshot::take(&card.netns);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        let queues = host.open(&device(true)).unwrap();
        let wanted = wanted(&mut host, UK);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        card.shows_lines();
        assert!(card.route_get("203.0.113.10").contains("dev mrvpn0"));
        assert_eq!(card.netns.run("sysctl", &["-n", "net.ipv6.conf.eth0.disable_ipv6"]).trim(), "1");
        apply(&mut host, &diff(&wanted, &none())).unwrap();
        drop(queues);
    });
    assert_eq!(before.difference(&HostSnapshot::take(&card.netns)), "");
}

#[test]
fn a_watch_notices_a_card_that_comes_and_is_quiet_otherwise() {
    let card = Card::new(0);
    card.inside(|| {
        let mut watch = NetworkWatch::new().unwrap();
        let mut host = LinuxHost::new().unwrap();
        let before = host.facts().unwrap();
        watch.drain().unwrap();
        assert!(!watch.drain().unwrap());
        card.netns.ip("addr add 172.20.0.2/16 dev eth0");
        assert!(watch.drain().unwrap());
        assert!(!watch.drain().unwrap());
        assert_ne!(host.facts().unwrap(), before);
    });
}

#[test]
fn with_a_default_claimed_a_marked_socket_still_has_its_answers() {
    for rp_filter in [0, 2] {
        let (card, peer) = (Card::new(rp_filter), Netns::new(&unique_name()));
        card.netns.ip("link del eth0");
        card.netns.link("eth0", &peer, "eth0");
        card.netns.ip("addr add 192.168.7.2/24 dev eth0\nroute add default via 192.168.7.1");
        peer.ip("addr add 192.168.7.1/24 dev eth0\naddr add 203.0.113.1/32 dev lo");
        card.inside(|| {
            let mut host = LinuxHost::new().unwrap();
            let _queues = host.open(&device(true)).unwrap();
            let wanted = wanted(&mut host, UK);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            card.netns.run("ping", &["-c1", "-W2", "-m", "1291845632", "203.0.113.1"]);
            assert!(card.netns.try_run("ping", &["-c1", "-W1", "203.0.113.1"]).is_err());
            card.netns.run("ping", &["-c1", "-W2", "192.168.7.1"]);
        });
    }
}

#[test]
fn super_packets_come_whole_with_offload_and_single_without() {
    for (offload, largest) in [(true, 5_000..65_536), (false, 1_000..1_501)] {
        let card = Card::new(0);
        card.inside(|| {
            let mut host = LinuxHost::new().unwrap();
            let mut queues = host.open(&device(offload)).unwrap();
            let capabilities = queues[0].capabilities();
            assert_eq!((capabilities.checksum, capabilities.tso), (offload, offload));
            let wanted = wanted(&mut host, UK);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            let seen = bulk(&mut queues[0]);
            assert!(largest.contains(&seen.0), "offload {offload}: {seen:?}");
            assert_eq!(seen.1, offload);
        });
    }
}

#[test]
fn each_offload_of_the_queue_can_be_left_out_alone() {
    for set in [
        OffloadSet::ALL,
        OffloadSet { tso: false, ..OffloadSet::ALL },
        OffloadSet { uso: false, ..OffloadSet::ALL },
        OffloadSet { checksum: false, ..OffloadSet::ALL },
    ] {
        let card = Card::new(0);
        card.inside(|| {
            let mut host = LinuxHost::new().unwrap();
            let mut queues = host.open(&device_with(set)).unwrap();
            let wanted = wanted(&mut host, UK);
            apply(&mut host, &diff(&none(), &wanted)).unwrap();
            let granted = queues[0].capabilities();
            assert_eq!(granted, QueueCapabilities { uso: granted.uso, ..QueueCapabilities::of(set) });
            assert!(set.uso || !granted.uso);
            assert_eq!(bulk(&mut queues[0]).1, set.tso && set.checksum, "{set:?}");
        });
    }
}

#[test]
fn ipv6_addresses_of_tunnels_serve_only_who_binds_to_them() {
    let card = Card::new(0);
    let before = HostSnapshot::take(&card.netns);
    for scope in ["all", "default"] {
        card.netns.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1");
    }
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        let mut queues = host.open(&device(true)).unwrap();
        let mut book = AddressBook::new(Pools::choose(None, 0, &[], &[], None).unwrap(), 2);
        let six = |address: &str| Some(Ipv6Assignment { address: address.parse().unwrap(), gateway: None });
        let facts = host.facts().unwrap();
        book.assign(UK, &Assignment { ipv6: six("2001:db8:64::2/64"), ..assignment("10.100.0.2/16") }, &facts);
        let wanted = planned_by(&book, &facts, &[], &[], FR);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        let shown = card.netns.run("ip", &["-6", "-o", "addr", "show", "dev", "mrvpn0"]);
        for (address, deprecated) in [
            ("2001:2:0:1::1/128", false),
            ("2001:db8:64::2/128", true),
            ("2001:2:0:1::1:1/128", true),
            ("2001:2:0:1::1:2/128", true),
        ] {
            let line = shown.lines().find(|line| line.contains(&format!("{address} "))).unwrap_or_default();
            assert_eq!(
                (line.contains("deprecated"), line.contains("preferred_lft 0sec")),
                (deprecated, deprecated),
                "{shown}"
            );
            assert!(line.contains("nodad") && line.contains("noprefixroute") && !line.contains("tentative"), "{shown}");
        }
        assert_eq!(shown.lines().count(), 4, "{shown}");
        // An unbound socket never learns of a smaller path, so its packets fit from the beginning.
        assert!(card.route_get("2001:db8::1").contains("mtu 1428"));
        // The bits in common with the destination do not matter: who does not bind gets the anchor.
        assert!(card.route_get("2001:db8:64::1").contains("src 2001:2:0:1::1 "));
        for from in ["::", "2001:db8:64::2", "2001:2:0:1::1:2"] {
            let socket = UdpSocket::bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
            socket.send_to(b"hello", "[2001:db8::1]:7").unwrap();
            let source = if from == "::" { "2001:2:0:1::1" } else { from };
            assert_eq!(next_v6(&mut queues[0]), source.parse::<Ipv6Addr>().unwrap());
        }
        apply(&mut host, &diff(&wanted, &none())).unwrap();
    });
    for scope in ["all", "default"] {
        card.netns.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "0");
    }
    assert_eq!(before.difference(&HostSnapshot::take(&card.netns)), "");
}

#[test]
fn a_device_that_is_not_ours_is_named_and_left_alone() {
    let card = Card::new(0);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        card.netns.ip("tuntap add mrvpn0 mode tun");
        let error = host.open(&device(true)).unwrap_err();
        assert!(matches!(&error, HostError::Taken { what } if what.contains("mrvpn0")), "{error:?}");
        card.netns.ip("link show mrvpn0\nlink del mrvpn0");
        let ours = host.open(&device(true)).unwrap();
        assert!(matches!(LinuxHost::new().unwrap().open(&device(true)), Err(HostError::Taken { .. })));
        drop(ours);
        assert_eq!(host.open(&DeviceSpec { queues: 3, ..device(true) }).unwrap().len(), 3);
    });
}

#[test]
fn a_deleted_device_ends_its_queue() {
    let card = Card::new(0);
    card.inside(|| {
        let mut host = LinuxHost::new().unwrap();
        let mut queues = host.open(&device(true)).unwrap();
        card.netns.ip("link del mrvpn0");
        let mut buffer = vec![0; 65_536];
        assert!(matches!(queues[0].read(&mut buffer), Err(mrvpn_netplan::QueueError::Gone)));
        let error = queues[0].write(Offload::NONE, &[&[0x45; 20]]);
        assert!(matches!(error, Err(mrvpn_netplan::QueueError::Gone)), "{error:?}");
    });
}

#[test]
fn the_facts_name_networks_routes_and_addresses_of_the_host_and_not_our_own() {
    let card = Card::new(0);
    card.netns.ip("route add 10.55.0.0/16 via 192.168.7.1\nroute add 10.66.0.0/16 via 192.168.7.1 table 99");
    card.netns.ip("addr add fd00:7::2/64 dev eth0");
    card.inside(|| {
        let mut host = engine();
        let _queues = host.open(&device(true)).unwrap();
        let wanted = wanted(&mut host, UK);
        apply(&mut host, &diff(&none(), &wanted)).unwrap();
        let facts = host.facts().unwrap();
        assert!(facts.may_change);
        let on_link: Vec<String> = facts.on_link.iter().map(|on| format!("{} {}", on.net, on.device)).collect();
        for net in ["192.168.7.0/24 eth0", "192.168.9.0/24 docker0", "fd00:7::/64 eth0"] {
            assert!(on_link.contains(&String::from(net)), "{on_link:?}");
        }
        assert!(!on_link.iter().any(|net| net.contains("mrvpn0")), "{on_link:?}");
        assert_eq!(facts.routed, ["10.55.0.0/16".parse().unwrap()]);
        assert!(facts.addresses.contains(&IpAddr::V4(Ipv4Addr::new(192, 168, 7, 2))));
        assert!(!facts.addresses.contains(&IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1))));
    });
}

#[test]
fn a_default_that_moves_to_another_set_of_claims_touches_only_what_changed() {
    let card = Card::new(0);
    card.inside(|| {
        let mut host = engine();
        let _queues = host.open(&device(true)).unwrap();
        let first = wanted(&mut host, UK);
        apply(&mut host, &diff(&none(), &first)).unwrap();
        let second = planned(&host.facts().unwrap(), &[(UK, "10.100.0.9/16"), (FR, "10.101.0.2/16")], &[], UK);
        apply(&mut host, &diff(&first, &second)).unwrap();
        assert_eq!(host.ours().unwrap(), (second.routes.clone(), second.rules.clone()));
        card.shows_addresses(&["198.18.0.1", "10.101.0.2", "198.18.1.1", "198.18.1.2", "198.18.1.3", "10.100.0.9"]);
        let answer = card.route_get("203.0.113.10");
        assert!(answer.contains("dev mrvpn0") && answer.contains("src 198.18.0.1"), "{answer}");
    });
}

/// What is asked of a card.
trait Shown {
    fn shows_addresses(&self, expected: &[&str]);
    fn shows_lines(&self);
    fn verdict(&self, probe: &Probe) -> Verdict;
}

impl Shown for Card {
    #[track_caller]
    fn shows_addresses(&self, expected: &[&str]) {
        let shown: Value =
            serde_json::from_str(&self.netns.run("ip", &["-j", "addr", "show", "dev", "mrvpn0"])).unwrap();
        assert_eq!((&shown[0]["mtu"], &shown[0]["txqlen"]), (&1500.into(), &1000.into()));
        let addresses = shown[0]["addr_info"].as_array().unwrap();
        let locals: Vec<&str> = addresses.iter().map(|address| address["local"].as_str().unwrap()).collect();
        assert_eq!(locals, expected);
        assert!(addresses.iter().all(|address| address["prefixlen"] == 32));
    }

    #[track_caller]
    fn shows_lines(&self) {
        for family in ["-4", "-6"] {
            let rules = self.netns.run("ip", &[family, "rule"]);
            for line in [
                "5300:\tfrom all fwmark 0x4d000000/0xff000000 goto 5399",
                "5330:\tfrom all iif lo lookup 19713",
                "5399:\tfrom all nop",
            ] {
                assert!(rules.contains(line), "{line} is not in\n{rules}");
            }
            let routes = self.netns.run("ip", &[family, "route", "show", "table", "19713"]);
            for line in ["default dev mrvpn0", "unreachable default"] {
                assert!(routes.contains(line), "{line} is not in\n{routes}");
            }
        }
        let rules: Value = serde_json::from_str(&self.netns.run("ip", &["-j", "rule"])).unwrap();
        let from: Vec<&Value> = rules.as_array().unwrap().iter().filter(|rule| rule["priority"] == 5305).collect();
        for source in ["10.100.0.2", "10.101.0.2", "10.102.0.2"] {
            assert!(from.iter().any(|rule| rule["src"] == source), "{source}: {from:?}");
        }
    }

    fn verdict(&self, probe: &Probe) -> Verdict {
        let mut question = vec![String::from("route"), String::from("get"), probe.to.to_string()];
        for (word, value) in [
            ("ipproto", Some(u32::from(probe.proto))),
            ("dport", probe.port.map(u32::from)),
            ("mark", Some(probe.mark)),
        ] {
            question.extend(value.into_iter().flat_map(|value| [String::from(word), value.to_string()]));
        }
        let words: Vec<&str> = question.iter().map(String::as_str).collect();
        match self.netns.try_run("ip", &words) {
            Ok(answer) if answer.contains("dev mrvpn0") => Verdict::Device(String::from("mrvpn0")),
            Ok(answer) if answer.contains("unreachable") => Verdict::Unreachable,
            Ok(_) => Verdict::Clear,
            Err(error) if error.contains("No route to host") => Verdict::Unreachable,
            Err(_) => Verdict::Clear,
        }
    }
}

/// Packets that this host sends, to places of every kind.
fn probes() -> Vec<Probe> {
    let v4 = [
        "203.0.113.10",
        "203.0.113.20",
        "203.0.113.30",
        "10.100.7.7",
        "10.102.0.9",
        "10.102.9.9",
        "192.168.7.9",
        "192.168.9.9",
        "192.168.44.4",
        "198.18.0.254",
        "198.19.1.1",
        "8.8.8.8",
    ];
    let v6 = ["2001:db8::1", "2001:2::9", "fd00:7::1"];
    v4.iter().flat_map(|to| to_place(to, 1)).chain(v6.iter().flat_map(|to| to_place(to, 58))).collect()
}

fn to_place(to: &str, icmp: u8) -> [Probe; 5] {
    let to = to.parse().unwrap();
    [(6, Some(443), 0), (6, Some(80), 0), (17, Some(53), 0), (icmp, None, 0), (17, Some(53), MARK.0 | 7)]
        .map(|(proto, port, mark)| Probe { from: None, to, proto, port, mark, local: true })
}

/// Sends a datagram from a bound address and returns the packet that comes out of the device.
fn sent(queue: &mut LinuxQueue, from: &str, to: &str) -> Vec<u8> {
    let socket = UdpSocket::bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.send_to(b"hello", to).unwrap();
    let to: SocketAddr = to.parse().unwrap();
    let mut buffer = vec![0; 65_536];
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        match queue.read(&mut buffer).unwrap() {
            Some((length, _)) if IpAddr::V4(address(&buffer, 16)) == to.ip() => return buffer[..length].to_vec(),
            Some(_) => {}
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
    panic!("nothing came out of the device");
}

/// The source of the next UDP packet over IPv6 that comes out of the device.
fn next_v6(queue: &mut LinuxQueue) -> Ipv6Addr {
    let mut buffer = vec![0; 65_536];
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        match queue.read(&mut buffer).unwrap() {
            Some(_) if buffer[0] >> 4 == 6 && buffer[6] == 17 => {
                return <[u8; 16]>::try_from(&buffer[8..24]).unwrap().into();
            }
            Some(_) => {}
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
    panic!("nothing came out of the device");
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
}

/// Opens a TCP connection through the device, answers its SYN by hand and lets it send: the length of the largest packet
/// that comes out, and whether one was a super-packet.
fn bulk(queue: &mut LinuxQueue) -> (usize, bool) {
    let server: SocketAddr = "203.0.113.10:9".parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&server.into());
    let mut buffer = vec![0; 65_536];
    let (mut largest, mut segmented) = (0, false);
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        let Some((length, offload)) = queue.read(&mut buffer).unwrap() else {
            let _ = (&socket).write(&[7; 100_000]);
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        if buffer[9] != 6 || IpAddr::V4(address(&buffer, 16)) != server.ip() {
            continue;
        }
        if buffer[20 + 13] & 2 != 0 {
            let answer = syn_ack(&buffer[..length]);
            assert!(queue.write(Offload::NONE, &[&answer[..20], &answer[20..]]).unwrap());
        }
        (largest, segmented) = (largest.max(length), segmented || offload.segmentation.is_some());
    }
    (largest, segmented)
}

/// The answer to a SYN over IPv4 without options: MSS 1460, window 65535.
fn syn_ack(syn: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 44];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6]);
    packet[12..16].copy_from_slice(&syn[16..20]);
    packet[16..20].copy_from_slice(&syn[12..16]);
    packet[20..22].copy_from_slice(&syn[22..24]);
    packet[22..24].copy_from_slice(&syn[20..22]);
    let sequence = u32::from_be_bytes(syn[24..28].try_into().unwrap());
    packet[28..32].copy_from_slice(&(sequence + 1).to_be_bytes());
    packet[32..36].copy_from_slice(&[0x60, 0x12, 0xff, 0xff]);
    packet[40..44].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    let header = sum(&packet[..20]);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    let pseudo = [&packet[12..20], &[0, 6, 0, 24], &packet[20..]].concat();
    let transport = sum(&pseudo);
    packet[36..38].copy_from_slice(&transport.to_be_bytes());
    packet
}

/// The internet checksum.
fn sum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
