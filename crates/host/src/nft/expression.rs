//! Expressions of nftables rules as attributes (linux/netfilter/nf_tables.h): each loads, compares or changes a register,
//! and a comparison that fails ends its rule. Only those that the engine's tables need. Which rules they make up is
//! [`super::tables`]'s.

use crate::raw::Attributes;

/// Register 1 of 16 bytes: what an expression loads and the next one looks at.
const REGISTER: u32 = 1;
/// The first register of 4 bytes; the same place as [`REGISTER`].
const FIRST_WORD: u32 = 8;
/// The verdict's register.
const VERDICT: u32 = 0;

/// NFTA_EXPR_NAME, NFTA_EXPR_DATA.
const NAME: u16 = 1;
const DATA: u16 = 2;
/// NFTA_DATA_VALUE, NFTA_DATA_VERDICT.
const VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN.
const CODE: u16 = 1;
const CHAIN: u16 = 2;
/// NF_DROP, NFT_GOTO, NFT_RETURN.
const DROP: u32 = 0;
const GOTO: i32 = -4;
const RETURN: i32 = -5;
/// NFT_REJECT_TCP_RST, NFT_REJECT_ICMPX_UNREACH; NFT_REJECT_ICMPX_ADMIN_PROHIBITED.
const TCP_RESET: u32 = 1;
const ICMP_OF_FAMILY: u32 = 2;
const ADMIN_PROHIBITED: u8 = 3;

/// What `meta` knows of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meta {
    /// The packet's mark, in the machine's byte order.
    Mark,
    /// Name of the device that it came in by, filled up with zeros to 16 bytes.
    InputName,
    /// The same of the device that it leaves by.
    OutputName,
    /// Its family, one byte.
    Family,
    /// Its IP protocol, one byte.
    Protocol,
}

impl Meta {
    const fn key(self) -> u32 {
        match self {
            Self::Mark => 3,
            Self::InputName => 6,
            Self::OutputName => 7,
            Self::Family => 15,
            Self::Protocol => 16,
        }
    }
}

/// What `ct` knows of a packet's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Connection {
    /// Which way the packet goes, one byte: 0 as the first one did, 1 back.
    Direction,
    /// What it is (IPS_...), in the machine's byte order.
    Status,
    /// The connection's mark, in the machine's byte order.
    Mark,
}

impl Connection {
    const fn key(self) -> u32 {
        match self {
            Self::Direction => 1,
            Self::Status => 2,
            Self::Mark => 3,
        }
    }
}

/// Which address `fib` asks routing about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The source.
    Source,
    /// The destination.
    Destination,
}

/// Which header `payload` reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Header {
    /// That of IP or ARP.
    Network,
    /// That of TCP.
    Transport,
}

/// A part of a packet, in bytes from the beginning of a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) header: Header,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// Loads what `meta` knows.
pub(crate) fn load_meta(meta: Meta) -> Attributes {
    expression("meta", &Attributes::default().number(2, meta.key()).number(1, REGISTER))
}

/// Gives the packet the mark that is in the register.
pub(crate) fn set_mark() -> Attributes {
    expression("meta", &Attributes::default().number(2, Meta::Mark.key()).number(3, REGISTER))
}

/// Loads what `ct` knows. A packet without a connection ends the rule.
pub(crate) fn load_connection(connection: Connection) -> Attributes {
    expression("ct", &Attributes::default().number(2, connection.key()).number(1, REGISTER))
}

/// Gives the connection the mark that is in the register.
pub(crate) fn set_connection_mark() -> Attributes {
    expression("ct", &Attributes::default().number(2, Connection::Mark.key()).number(4, REGISTER))
}

/// Loads the type of an address as routing has it (RTN_...), in the machine's byte order.
pub(crate) fn load_address_type(side: Side) -> Attributes {
    const ADDRESS_TYPE: u32 = 3;
    let flag = match side {
        Side::Source => 1,
        Side::Destination => 2,
    };
    expression("fib", &Attributes::default().number(1, REGISTER).number(2, ADDRESS_TYPE).number(3, flag))
}

/// Loads a part of the packet.
pub(crate) fn load_part(part: Part) -> Attributes {
    load_part_to(part, REGISTER)
}

/// Loads parts of the packet side by side, each at the next place of 4 bytes.
pub(crate) fn load_parts(parts: &[Part]) -> Vec<Attributes> {
    let mut register = FIRST_WORD;
    let mut next = |part: &Part| {
        let here = register;
        register += part.length.div_ceil(4);
        load_part_to(*part, here)
    };
    parts.iter().map(&mut next).collect()
}

fn load_part_to(part: Part, register: u32) -> Attributes {
    let base = match part.header {
        Header::Network => 1,
        Header::Transport => 2,
    };
    let list = Attributes::default().number(1, register).number(2, base);
    expression("payload", &list.number(3, part.offset).number(4, part.length))
}

/// Goes on where the register is this.
pub(crate) fn equals(value: &[u8]) -> Attributes {
    compare(0, value)
}

/// Goes on where the register is something else.
pub(crate) fn differs(value: &[u8]) -> Attributes {
    compare(1, value)
}

/// Goes on where the register is not above this, bytes compared from the first on.
pub(crate) fn at_most(value: &[u8]) -> Attributes {
    compare(3, value)
}

/// Goes on where the register is not below this.
pub(crate) fn at_least(value: &[u8]) -> Attributes {
    compare(5, value)
}

fn compare(operation: u32, value: &[u8]) -> Attributes {
    let data = Attributes::default().with(VALUE, value);
    expression("cmp", &Attributes::default().number(1, REGISTER).number(2, operation).nest(3, &data))
}

/// The register, 32 bits of it: `(register & mask) ^ xor`.
pub(crate) fn masked(mask: u32, xor: u32) -> Attributes {
    bitwise(&mask.to_ne_bytes(), &xor.to_ne_bytes())
}

/// The register, a byte of it: `register & mask`.
pub(crate) fn masked_byte(mask: u8) -> Attributes {
    bitwise(&[mask], &[0])
}

fn bitwise(mask: &[u8], xor: &[u8]) -> Attributes {
    let value = |value| Attributes::default().with(VALUE, value);
    let length = if mask.len() == 1 { 1 } else { 4 };
    let list = Attributes::default().number(1, REGISTER).number(2, REGISTER).number(3, length);
    expression("bitwise", &list.nest(4, &value(mask)).nest(5, &value(xor)))
}

/// Goes on where the register is an element of a set of the same table.
pub(crate) fn is_in_set(set: &str) -> Attributes {
    expression("lookup", &Attributes::default().name(1, set).number(2, REGISTER))
}

/// The packet is dropped, without a word.
pub(crate) fn drop_packet() -> Attributes {
    verdict(DROP)
}

/// The chain ends here for this packet.
pub(crate) fn leave_chain() -> Attributes {
    verdict(RETURN.cast_unsigned())
}

/// The packet goes on in another chain of the same table, and does not come back.
pub(crate) fn go_to(chain: &str) -> Attributes {
    conclude(&Attributes::default().number(CODE, GOTO.cast_unsigned()).name(CHAIN, chain))
}

/// The connection is reset as by its other end; the packet is dropped.
pub(crate) fn reset() -> Attributes {
    expression("reject", &Attributes::default().number(1, TCP_RESET))
}

/// Its sender is told that it is not allowed (ICMP 3/13, ICMPv6 1/1); the packet is dropped.
pub(crate) fn prohibit() -> Attributes {
    expression("reject", &Attributes::default().number(1, ICMP_OF_FAMILY).with(2, &[ADMIN_PROHIBITED]))
}

fn verdict(code: u32) -> Attributes {
    conclude(&Attributes::default().number(CODE, code))
}

fn conclude(verdict: &Attributes) -> Attributes {
    let data = Attributes::default().nest(DATA_VERDICT, verdict);
    expression("immediate", &Attributes::default().number(1, VERDICT).nest(2, &data))
}

fn expression(name: &str, data: &Attributes) -> Attributes {
    Attributes::default().name(NAME, name).nest(DATA, data)
}
