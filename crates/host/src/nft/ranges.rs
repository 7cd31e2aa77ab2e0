//! Elements of a set of address ranges: each range is its first address and the one behind its last, which is marked as an
//! end. Which ranges there are is `netplan`'s ([`Spans`]).

use std::net::IpAddr;

use mrvpn_netplan::Spans;

use super::message::{Kind, Table, message};
use crate::raw::{Attributes, Message};

/// Ranges of one message: far below the 64 KiB that a list may have.
const RANGES: usize = 256;
/// NFT_SET_ELEM_INTERVAL_END.
const END: u32 = 1;

/// First and last address, of one family.
pub(super) type Range = (IpAddr, IpAddr);

/// The ranges of one family.
pub(super) fn of_family(spans: &Spans, v6: bool) -> Vec<Range> {
    spans.iter().filter(|(first, _)| first.is_ipv6() == v6).collect()
}

/// Messages of this kind about ranges of a set, those of a range together.
pub(super) fn messages(kind: Kind, table: Table<'_>, set: &str, ranges: &[Range]) -> Vec<Message> {
    let of_part = |part: &[Range]| {
        let list = part.iter().flat_map(elements).fold(Attributes::default(), |list, element| list.nest(1, &element));
        message(kind, table.family, &Attributes::default().name(1, table.name).name(2, set).nest(3, &list))
    };
    ranges.chunks(RANGES).map(of_part).collect()
}

/// What ends with the last address of all has no end.
fn elements((first, last): &Range) -> impl Iterator<Item = Attributes> + use<> {
    let begin = element(&bytes(*first));
    let end = behind(*last).map(|behind| element(&bytes(behind)).number(3, END));
    std::iter::once(begin).chain(end)
}

fn element(key: &[u8]) -> Attributes {
    Attributes::default().nest(1, &Attributes::default().with(1, key))
}

fn behind(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    super::tables::octets(&address)
}
