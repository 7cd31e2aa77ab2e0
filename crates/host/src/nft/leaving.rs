//! The fence as nftables messages: what may leave by no card. As `nft list` shows it, for an engine with a default, a rule
//! `direct` and one for a port:
//!
//! ```text
//! chain refuse {
//!     meta l4proto tcp tcp flags syn / syn,ack reject with tcp reset
//!     meta l4proto tcp drop                                    # of a connection that stands: sent again, and carried then
//!     reject with icmpx admin-prohibited
//! }
//! chain leaving {
//!     type filter hook output priority filter + 10; policy accept;
//!     meta mark 0x4d000000/8 return                            # the engine's own sockets, answers to who came in
//!     oifname "lo" return
//!     oifname "mrvpn*" return                                  # and the devices of engines by name
//!     ct status dnat return                                    # its destination, and so its way, was another
//!     ip saddr @sources4 goto refuse
//!     ip6 saddr @sources6 goto refuse
//!     fib daddr type broadcast return                          # what no router sends on
//!     fib daddr type multicast return
//!     ip6 daddr fe80::/10 return
//!     icmpv6 type 133-137 return
//!     udp sport 68 udp dport 67 return                         # a card keeps its address
//!     udp sport 546 udp dport 547 return
//!     meta mark 0x80000/0xff0000 return                        # policy rules of others that come before ours
//!     oifname "tailscale0" ip daddr @to1 return
//!     ip daddr @to2 goto refuse                                # the engine's own lines in their order: its pools,
//!     ip daddr 203.0.113.20 meta l4proto tcp tcp dport 443 return
//!     meta l4proto tcp tcp dport 22 goto refuse
//!     ip daddr @held4 goto refuse                              # claims and default, without the LAN
//!     ip6 daddr @held6 goto refuse
//! }
//! ```
//!
//! A packet is looked at with the device that routing gave it at first: where a mark or another destination of others'
//! making has changed its way since, it is let go. What is captured is [`mrvpn_netplan::Fence`]'s.

use mrvpn_netplan::plan::Family;
use mrvpn_netplan::{Fence, FenceLine, Firewall, Spans, firewall};

use super::expression::{
    Connection, Header, Meta, Part, Side, at_least, at_most, differs, drop_packet, equals, go_to, is_in_set,
    leave_chain, load_address_type, load_connection, load_meta, load_part, masked, masked_byte, prohibit, reset,
};
use super::ranges::{Range, of_family};
use super::tables::{
    ACK, ADDRESS4, ADDRESS6, BROADCAST, Builder, DESTINATION_PORT, DESTINATION4, DESTINATION6, FLAGS, Hook, IPV4, IPV6,
    MULTICAST, SOURCE4, SOURCE6, SYN, TCP, UDP, device_name, is_marked, octets,
};
use crate::raw::Attributes;

/// Sets of the destinations that are refused, by family: they change with each claim.
pub(super) const HELD: [&str; 2] = ["held4", "held6"];

/// Behind what others filter.
const HOOK: Hook = Hook { number: 3, priority: 10, kind: "filter" };
const LEAVING: &str = "leaving";
const REFUSE: &str = "refuse";

/// IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h).
const OTHER_DESTINATION: u32 = 1 << 5;
/// IP protocol number of ICMPv6.
const ICMPV6: u8 = 58;
/// Types of neighbour discovery (RFC 4861): from router solicitations to redirects.
const DISCOVERY: (u8, u8) = (133, 137);
/// Ports of DHCP clients and servers, IPv4 and IPv6.
const DHCP: [[u16; 2]; 2] = [[68, 67], [546, 547]];
/// The first byte of a transport header, and both ports.
const TYPE: Part = Part { header: Header::Transport, offset: 0, length: 1 };
const PORTS: Part = Part { header: Header::Transport, offset: 0, length: 4 };

/// The chains with their sets.
pub(super) fn chains(tables: &mut Builder<'_>, firewall: &Firewall) {
    refuse(tables);
    tables.chain(LEAVING, &HOOK);
    never_asked(tables, firewall);
    sources(tables, &firewall.fence);
    link(tables);
    for (place, line) in firewall.fence.lines.iter().enumerate() {
        self::line(tables, place, line);
    }
    held(tables, &firewall.fence);
}

fn refuse(tables: &mut Builder<'_>) {
    tables.inner_chain(REFUSE);
    let is_tcp = || [load_meta(Meta::Protocol), equals(&[TCP])];
    let begins = [load_part(FLAGS), masked_byte(SYN | ACK), equals(&[SYN]), reset()];
    tables.rule(REFUSE, &is_tcp().into_iter().chain(begins).collect::<Vec<_>>());
    tables.rule(REFUSE, &is_tcp().into_iter().chain([drop_packet()]).collect::<Vec<_>>());
    tables.rule(REFUSE, &[prohibit()]);
}

fn never_asked(tables: &mut Builder<'_>, firewall: &Firewall) {
    let return_where = |tables: &mut Builder<'_>, mut rule: Vec<Attributes>| {
        rule.push(leave_chain());
        tables.rule(LEAVING, &rule);
    };
    return_where(tables, is_marked(firewall.mark).to_vec());
    return_where(tables, by_device("lo"));
    let named = [&firewall.device].into_iter().chain(&firewall.others);
    return_where(tables, vec![load_meta(Meta::OutputName), equals(firewall::DEVICES.as_bytes())]);
    for device in named.filter(|device| !device.starts_with(firewall::DEVICES)) {
        return_where(tables, by_device(device));
    }
    let translated = [load_connection(Connection::Status), masked(OTHER_DESTINATION, 0), differs(&0u32.to_ne_bytes())];
    return_where(tables, translated.to_vec());
}

fn by_device(device: &str) -> Vec<Attributes> {
    vec![load_meta(Meta::OutputName), equals(&device_name(device))]
}

fn sources(tables: &mut Builder<'_>, fence: &Fence) {
    for (name, family, part) in [("sources4", Family::V4, SOURCE4), ("sources6", Family::V6, SOURCE6)] {
        in_set(tables, name, family, part, &fence.sources);
    }
}

fn held(tables: &mut Builder<'_>, fence: &Fence) {
    for (name, family, part) in [(HELD[0], Family::V4, DESTINATION4), (HELD[1], Family::V6, DESTINATION6)] {
        in_set(tables, name, family, part, &fence.held);
    }
}

/// What has an address in the set is refused. The set is there even where it is empty, to be filled.
fn in_set(tables: &mut Builder<'_>, name: &str, family: Family, part: Part, spans: &Spans) {
    let (kind, v6) = kind(family);
    tables.ranges(name, kind, &of_family(spans, v6));
    tables.rule(LEAVING, &[is_family(family).as_slice(), &[load_part(part), is_in_set(name), go_to(REFUSE)]].concat());
}

/// What no router sends on, and what a card needs to keep its address.
fn link(tables: &mut Builder<'_>) {
    for kind in [BROADCAST, MULTICAST] {
        let to = [load_address_type(Side::Destination), equals(&kind.to_ne_bytes()), leave_chain()];
        tables.rule(LEAVING, &to);
    }
    let first_bits = [load_part(Part { length: 2, ..DESTINATION6 })];
    let link_local = [at_least(&[0xfe, 0x80]), at_most(&[0xfe, 0xbf]), leave_chain()];
    tables.rule(LEAVING, &[is_family(Family::V6).as_slice(), &first_bits, &link_local].concat());
    let (first, last) = DISCOVERY;
    let discovery =
        [load_meta(Meta::Protocol), equals(&[ICMPV6]), load_part(TYPE), at_least(&[first]), at_most(&[last])];
    tables.rule(LEAVING, &[is_family(Family::V6).as_slice(), &discovery, &[leave_chain()]].concat());
    for ([client, server], family) in DHCP.into_iter().zip([Family::V4, Family::V6]) {
        let ports = [client.to_be_bytes(), server.to_be_bytes()].concat();
        let dhcp = [load_meta(Meta::Protocol), equals(&[UDP]), load_part(PORTS), equals(&ports), leave_chain()];
        tables.rule(LEAVING, &[is_family(family).as_slice(), &dhcp].concat());
    }
}

fn line(tables: &mut Builder<'_>, place: usize, line: &FenceLine) {
    let mut rule = is_family(line.family).to_vec();
    if let Some((mark, mask)) = line.mark {
        rule.extend([load_meta(Meta::Mark), masked(mask, 0), equals(&(mark & mask).to_ne_bytes())]);
    }
    rule.extend(line.device.as_ref().map(|device| by_device(device)).unwrap_or_default());
    let v6 = line.family == Family::V6;
    let sides = [("from", &line.from, [SOURCE4, SOURCE6]), ("to", &line.to, [DESTINATION4, DESTINATION6])];
    for (name, spans, parts) in sides {
        if let Some(spans) = spans {
            rule.extend(address(tables, &format!("{name}{place}"), line.family, parts[usize::from(v6)], spans));
        }
    }
    if let Some(proto) = line.proto {
        rule.extend([load_meta(Meta::Protocol), equals(&[proto])]);
    }
    if let Some(port) = line.port {
        rule.push(load_part(DESTINATION_PORT));
        rule.extend(between(&port.first.to_be_bytes(), &port.last.to_be_bytes()));
    }
    rule.push(if line.refuses { go_to(REFUSE) } else { leave_chain() });
    tables.rule(LEAVING, &rule);
}

/// One range is compared, several are looked up.
fn address(tables: &mut Builder<'_>, name: &str, family: Family, part: Part, spans: &Spans) -> Vec<Attributes> {
    let (kind, v6) = kind(family);
    let ranges: Vec<Range> = of_family(spans, v6);
    let mut rule = vec![load_part(part)];
    match ranges.as_slice() {
        [(first, last)] => rule.extend(between(&octets(first), &octets(last))),
        _ => {
            tables.ranges(name, kind, &ranges);
            rule.push(is_in_set(name));
        }
    }
    rule
}

fn between(first: &[u8], last: &[u8]) -> Vec<Attributes> {
    if first == last { vec![equals(first)] } else { vec![at_least(first), at_most(last)] }
}

fn is_family(family: Family) -> [Attributes; 2] {
    [load_meta(Meta::Family), equals(&[if family == Family::V6 { IPV6 } else { IPV4 }])]
}

const fn kind(family: Family) -> (u32, bool) {
    match family {
        Family::V4 => (ADDRESS4, false),
        Family::V6 => (ADDRESS6, true),
    }
}
