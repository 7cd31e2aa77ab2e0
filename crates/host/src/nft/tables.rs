//! A [`Firewall`] as nftables messages. As `nft list` shows it, with the usual mark:
//!
//! ```text
//! table inet mrvpn_NAME {
//!     chain prerouting {
//!         type filter hook prerouting priority mangle; policy accept;
//!         iifname "mrvpn0" fib daddr type != local drop        # for an address that has just left: never forwarded
//!         iifname "lo" return                                  # and the devices of engines
//!         ip daddr @ours4 fib saddr type != local drop         # who asks for our addresses from outside
//!         ip6 daddr @ours6 fib saddr type != local drop
//!         ip daddr . tcp dport . ip saddr . tcp sport @inbound4 meta mark set MARKED return
//!         ip6 daddr . tcp dport . ip6 saddr . tcp sport @inbound6 meta mark set MARKED return
//!         ct mark 0x4d000000/8 meta mark set MARKED return     # goes on as it came
//!     }
//!     chain arrivals {
//!         type filter hook prerouting priority dstnat + 10; policy accept;
//!         iifname "lo" return
//!         ip daddr . udp dport . ip saddr . udp sport @asked4 return
//!         ip6 daddr . udp dport . ip6 saddr . udp sport @asked6 return
//!         ct direction original fib daddr type local tcp flags syn / syn,ack ct mark set MARKED meta mark set MARKED
//!         ct direction original fib daddr type local meta l4proto != tcp ct mark set MARKED meta mark set MARKED
//!         fib daddr type broadcast meta mark set MARKED        # for the reverse path filter alone
//!         fib daddr type multicast meta mark set MARKED
//!     }
//!     chain output {
//!         type route hook output priority mangle; policy accept;
//!         meta mark 0x4d000000/8 ct mark set MARKED return     # the engine's own sockets
//!         ip saddr . tcp sport . ip daddr . tcp dport @inbound4 meta mark set MARKED
//!         ip6 saddr . tcp sport . ip6 daddr . tcp dport @inbound6 meta mark set MARKED
//!         ct direction reply ct mark 0x4d000000/8 meta mark set MARKED
//!     }
//!     chain refuse { … }                                       # see `leaving.rs`
//!     chain leaving { … }
//! }
//! table arp mrvpn_NAME {
//!     chain input {
//!         type filter hook input priority filter; policy accept;
//!         iifname != "mrvpn0" arp daddr ip @ours drop
//!         iifname != "mrvpn0" meta mark set MARKED             # whoever asks is looked up the way back, too
//!     }
//! }
//! ```
//!
//! What arrives is judged behind destination NAT: a port that is published for a container is no connection of this host.
//! A TCP connection has come in if its first packet did: conntrack, which a namespace may have only since these tables are
//! there, takes the first packet that it sees for the beginning, and that may be the answer to an older question. UDP has
//! no such first packet; flows that this host is known to have begun are left out.
//!
//! How messages get to the kernel is [`super`]'s.

use std::net::{IpAddr, SocketAddr};

use mrvpn_netplan::{Firewall, FourTuple};

use super::expression::{
    Connection, Header, Meta, Part, Side, differs, drop_packet, equals, is_in_set, leave_chain, load_address_type,
    load_connection, load_meta, load_part, load_parts, masked, masked_byte, set_connection_mark, set_mark,
};
use super::leaving;
use super::message::{ARP, INET, Kind, Table, message};
use super::ranges::{self, Range};
use crate::raw::{Attributes, Message};

/// Elements of one message: far below the 64 KiB that a list may have.
const ELEMENTS: usize = 512;

/// IP protocol numbers.
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// Families as `meta nfproto` has them.
pub(super) const IPV4: u8 = 2;
pub(super) const IPV6: u8 = 10;
/// Types of addresses (linux/rtnetlink.h).
const LOCAL: u32 = 2;
pub(super) const BROADCAST: u32 = 3;
pub(super) const MULTICAST: u32 = 5;
/// Directions of a connection.
const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;
/// NFT_SET_INTERVAL.
const INTERVALS: u32 = 4;
/// Length of a device's name with what fills it up.
const NAME: usize = 16;

/// Types of set keys as `nft` numbers them, for its listing alone: ipv4_addr, ipv6_addr, inet_service.
pub(super) const ADDRESS4: u32 = 7;
pub(super) const ADDRESS6: u32 = 8;
const SERVICE: u32 = 13;

/// Hooks (linux/netfilter.h, linux/netfilter_arp.h) with priorities (linux/netfilter_ipv4.h).
const PREROUTING: Hook = Hook { number: 0, priority: MANGLE, kind: "filter" };
const ARRIVALS: Hook = Hook { number: 0, priority: -90, kind: "filter" };
const OUTPUT: Hook = Hook { number: 3, priority: MANGLE, kind: "route" };
const ARP_INPUT: Hook = Hook { number: 0, priority: 0, kind: "filter" };
const MANGLE: i32 = -150;

pub(super) struct Hook {
    pub(super) number: u32,
    pub(super) priority: i32,
    pub(super) kind: &'static str,
}

/// The messages that make both tables, in order. `asked` are UDP flows that this host began.
pub(crate) fn messages(firewall: &Firewall, asked: &[FourTuple]) -> Vec<Message> {
    let mut tables = Builder { table: Table { family: INET, name: &firewall.table }, messages: Vec::new(), sets: 0 };
    tables.table();
    for of_v6 in [false, true] {
        let family = if of_v6 { "6" } else { "4" };
        let ours = firewall.addresses.iter().filter(|address| address.is_ipv6() == of_v6).map(octets).collect();
        tables.set(&format!("ours{family}"), &[if of_v6 { ADDRESS6 } else { ADDRESS4 }], ours);
        let address = if of_v6 { ADDRESS6 } else { ADDRESS4 };
        for (name, tuples) in [("inbound", firewall.inbound.as_slice()), ("asked", asked)] {
            let keys = tuples.iter().filter(|tuple| tuple.local.is_ipv6() == of_v6).filter_map(key).collect();
            tables.set(&format!("{name}{family}"), &[address, SERVICE, address, SERVICE], keys);
        }
    }
    prerouting(&mut tables, firewall);
    arrivals(&mut tables, firewall);
    output(&mut tables, firewall);
    leaving::chains(&mut tables, firewall);
    tables.table = Table { family: ARP, name: &firewall.table };
    arp(&mut tables, firewall);
    tables.messages
}

fn prerouting(tables: &mut Builder<'_>, firewall: &Firewall) {
    tables.chain("prerouting", &PREROUTING);
    let mut past_this_host = vec![load_meta(Meta::InputName), equals(&device_name(&firewall.device))];
    past_this_host.extend([load_address_type(Side::Destination), differs(&LOCAL.to_ne_bytes()), drop_packet()]);
    tables.rule("prerouting", &past_this_host);
    leave_inside(tables, "prerouting", firewall);
    for (family, set, part) in [(IPV4, "ours4", DESTINATION4), (IPV6, "ours6", DESTINATION6)] {
        let mut rule = vec![load_meta(Meta::Family), equals(&[family]), load_part(part), is_in_set(set)];
        rule.extend([load_address_type(Side::Source), differs(&LOCAL.to_ne_bytes()), drop_packet()]);
        tables.rule("prerouting", &rule);
    }
    for (family, set, parts) in [(IPV4, "inbound4", BACK4), (IPV6, "inbound6", BACK6)] {
        let mut stood = of_set(family, TCP, set, &parts);
        stood.extend(mark_packet(firewall.mark));
        stood.push(leave_chain());
        tables.rule("prerouting", &stood);
    }
    let mut known = connection_is_marked(firewall.mark);
    known.extend(mark_packet(firewall.mark));
    known.push(leave_chain());
    tables.rule("prerouting", &known);
}

fn arrivals(tables: &mut Builder<'_>, firewall: &Firewall) {
    tables.chain("arrivals", &ARRIVALS);
    leave_inside(tables, "arrivals", firewall);
    for (family, set, parts) in [(IPV4, "asked4", BACK4), (IPV6, "asked6", BACK6)] {
        let mut asked = of_set(family, UDP, set, &parts);
        asked.push(leave_chain());
        tables.rule("arrivals", &asked);
    }
    let to = |kind: u32| [load_address_type(Side::Destination), equals(&kind.to_ne_bytes())];
    let begins =
        vec![load_meta(Meta::Protocol), equals(&[TCP]), load_part(FLAGS), masked_byte(SYN | ACK), equals(&[SYN])];
    for kind in [begins, vec![load_meta(Meta::Protocol), differs(&[TCP])]] {
        let mut new = vec![load_connection(Connection::Direction), equals(&[ORIGINAL])];
        new.extend(to(LOCAL).into_iter().chain(kind));
        new.extend(mark_connection(firewall.mark));
        new.extend(mark_packet(firewall.mark));
        tables.rule("arrivals", &new);
    }
    for kind in [BROADCAST, MULTICAST] {
        let to_many: Vec<_> = to(kind).into_iter().chain(mark_packet(firewall.mark)).collect();
        tables.rule("arrivals", &to_many);
    }
}

fn output(tables: &mut Builder<'_>, firewall: &Firewall) {
    tables.chain("output", &OUTPUT);
    let mut own = is_marked(firewall.mark).to_vec();
    own.extend(mark_connection(firewall.mark));
    own.push(leave_chain());
    tables.rule("output", &own);
    for (family, set, parts) in [(IPV4, "inbound4", TUPLE4), (IPV6, "inbound6", TUPLE6)] {
        let mut stood = of_set(family, TCP, set, &parts);
        stood.extend(mark_packet(firewall.mark));
        tables.rule("output", &stood);
    }
    let mut reply = vec![load_connection(Connection::Direction), equals(&[REPLY])];
    reply.extend(connection_is_marked(firewall.mark));
    reply.extend(mark_packet(firewall.mark));
    tables.rule("output", &reply);
}

fn arp(tables: &mut Builder<'_>, firewall: &Firewall) {
    tables.table();
    let ours = firewall.addresses.iter().filter(|address| address.is_ipv4()).map(octets).collect();
    tables.set("ours", &[ADDRESS4], ours);
    tables.chain("input", &ARP_INPUT);
    let from_card = || vec![load_meta(Meta::InputName), differs(&device_name(&firewall.device))];
    let mut rule = from_card();
    rule.extend([load_part(ARP_TARGET), is_in_set("ours"), drop_packet()]);
    tables.rule("input", &rule);
    let mut rule = from_card();
    rule.extend(mark_packet(firewall.mark));
    tables.rule("input", &rule);
}

/// What comes in by loopback or an engine's device came in by no card.
fn leave_inside(tables: &mut Builder<'_>, chain: &str, firewall: &Firewall) {
    let devices = ["lo", &firewall.device].into_iter().chain(firewall.others.iter().map(String::as_str));
    for device in devices {
        tables.rule(chain, &[load_meta(Meta::InputName), equals(&device_name(device)), leave_chain()]);
    }
}

/// A protocol over a family with ends that are in a set. Ports are at the same place in TCP and UDP.
fn of_set(family: u8, protocol: u8, set: &str, ends: &[Part]) -> Vec<Attributes> {
    let mut rule = vec![load_meta(Meta::Family), equals(&[family]), load_meta(Meta::Protocol), equals(&[protocol])];
    rule.extend(load_parts(ends));
    rule.push(is_in_set(set));
    rule
}

/// The packet carries our mark.
pub(super) fn is_marked(mark: (u32, u32)) -> [Attributes; 3] {
    [load_meta(Meta::Mark), masked(mark.1, 0), equals(&bits(mark).to_ne_bytes())]
}

fn connection_is_marked(mark: (u32, u32)) -> Vec<Attributes> {
    vec![load_connection(Connection::Mark), masked(mark.1, 0), equals(&bits(mark).to_ne_bytes())]
}

fn mark_packet(mark: (u32, u32)) -> [Attributes; 3] {
    [load_meta(Meta::Mark), masked(!mark.1, bits(mark)), set_mark()]
}

fn mark_connection(mark: (u32, u32)) -> [Attributes; 3] {
    [load_connection(Connection::Mark), masked(!mark.1, bits(mark)), set_connection_mark()]
}

/// The bits of the mark that are ours.
const fn bits((mark, mask): (u32, u32)) -> u32 {
    mark & mask
}

pub(super) const DESTINATION4: Part = Part { header: Header::Network, offset: 16, length: 4 };
pub(super) const DESTINATION6: Part = Part { header: Header::Network, offset: 24, length: 16 };
/// The address that an ARP question is about, in its Ethernet form.
const ARP_TARGET: Part = Part { header: Header::Network, offset: 24, length: 4 };
const SOURCE_PORT: Part = Part { header: Header::Transport, offset: 0, length: 2 };
pub(super) const DESTINATION_PORT: Part = Part { header: Header::Transport, offset: 2, length: 2 };
/// Flags of TCP.
pub(super) const FLAGS: Part = Part { header: Header::Transport, offset: 13, length: 1 };
pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;
pub(super) const SOURCE4: Part = Part { header: Header::Network, offset: 12, length: 4 };
pub(super) const SOURCE6: Part = Part { header: Header::Network, offset: 8, length: 16 };
/// Both ends of a packet of ours, and of one that comes back.
const TUPLE4: [Part; 4] = [SOURCE4, SOURCE_PORT, DESTINATION4, DESTINATION_PORT];
const TUPLE6: [Part; 4] = [SOURCE6, SOURCE_PORT, DESTINATION6, DESTINATION_PORT];
const BACK4: [Part; 4] = [DESTINATION4, DESTINATION_PORT, SOURCE4, SOURCE_PORT];
const BACK6: [Part; 4] = [DESTINATION6, DESTINATION_PORT, SOURCE6, SOURCE_PORT];

/// Collects messages of one table after another.
pub(super) struct Builder<'a> {
    table: Table<'a>,
    messages: Vec<Message>,
    sets: u32,
}

impl Builder<'_> {
    fn table(&mut self) {
        self.messages.push(self.table.new_message());
    }

    /// A chain in which packets begin.
    pub(super) fn chain(&mut self, name: &str, hook: &Hook) {
        let place = Attributes::default().number(1, hook.number).number(2, hook.priority.cast_unsigned());
        let chain = Attributes::default().name(1, self.table.name).name(3, name).nest(4, &place).name(7, hook.kind);
        self.messages.push(message(Kind::NewChain, self.table.family, &chain));
    }

    /// A chain to which others send packets.
    pub(super) fn inner_chain(&mut self, name: &str) {
        let chain = Attributes::default().name(1, self.table.name).name(3, name);
        self.messages.push(message(Kind::NewChain, self.table.family, &chain));
    }

    /// A rule at the end of a chain.
    pub(super) fn rule(&mut self, chain: &str, expressions: &[Attributes]) {
        let element = |list: Attributes, expression: &Attributes| list.nest(1, expression);
        let list = expressions.iter().fold(Attributes::default(), element);
        let rule = Attributes::default().name(1, self.table.name).name(2, chain).nest(4, &list);
        self.messages.push(message(Kind::NewRule, self.table.family, &rule));
    }

    /// A set of address ranges.
    pub(super) fn ranges(&mut self, name: &str, kind: u32, ranges: &[Range]) {
        self.new_set(name, &[kind], INTERVALS);
        self.messages.extend(ranges::messages(Kind::NewElements, self.table, name, ranges));
    }

    fn new_set(&mut self, name: &str, types: &[u32], flags: u32) {
        self.sets += 1;
        let kind = types.iter().fold(0, |kind, part| kind << 6 | part);
        let length: u32 = types.iter().map(|part| if *part == ADDRESS6 { 16 } else { 4 }).sum();
        let set = Attributes::default().name(1, self.table.name).name(2, name).number(3, flags).number(4, kind);
        let set = set.number(5, length).number(10, self.sets);
        self.messages.push(message(Kind::NewSet, self.table.family, &set));
    }

    /// A set with its elements; `types` are those of the key's parts.
    fn set(&mut self, name: &str, types: &[u32], elements: Vec<Vec<u8>>) {
        self.new_set(name, types, 0);
        for part in elements.chunks(ELEMENTS) {
            let list = part.iter().fold(Attributes::default(), |list, key| list.nest(1, &element(key)));
            let elements = Attributes::default().name(1, self.table.name).name(2, name).nest(3, &list);
            self.messages.push(message(Kind::NewElements, self.table.family, &elements));
        }
    }
}

fn element(key: &[u8]) -> Attributes {
    Attributes::default().nest(1, &Attributes::default().with(1, key))
}

pub(super) fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A connection as the sets have it; `None` where its ends are of two families.
fn key(tuple: &FourTuple) -> Option<Vec<u8>> {
    let end = |end: &SocketAddr| [octets(&end.ip()), end.port().to_be_bytes().to_vec(), vec![0, 0]].concat();
    (tuple.local.is_ipv4() == tuple.remote.is_ipv4()).then(|| [end(&tuple.local), end(&tuple.remote)].concat())
}

/// A name as the kernel compares it, cut where it could not be a device's.
pub(super) fn device_name(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(NAME - 1)) {
        *to = from;
    }
    bytes
}
