//! Netlink attributes: a length, a type and a value, nested to any depth (linux/netlink.h, `struct nlattr`). Numbers in
//! them are of either byte order, as each family likes; nftables has them big-endian.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic))]

/// Bytes before the value.
const HEADER: usize = 4;
/// Attributes begin at multiples of this (NLA_ALIGNTO).
const ALIGN: usize = 4;
/// The value is a list of attributes.
const NESTED: u16 = 0x8000;
/// The bits of the type that are the type.
const TYPE: u16 = 0x3fff;

/// A list of attributes under construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// An attribute with these bytes.
    #[must_use]
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = HEADER.saturating_add(value.len());
        let length = u16::try_from(length).expect("lists of elements are cut below 64 KiB, all else is short");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        self
    }

    /// A name, closed by a zero.
    #[must_use]
    pub(crate) fn name(self, kind: u16, name: &str) -> Self {
        self.with(kind, &[name.as_bytes(), &[0]].concat())
    }

    /// A number of 32 bits, big-endian.
    #[must_use]
    pub(crate) fn number(self, kind: u16, number: u32) -> Self {
        self.with(kind, &number.to_be_bytes())
    }

    /// A list of attributes.
    #[must_use]
    pub(crate) fn nest(self, kind: u16, list: &Self) -> Self {
        self.with(kind | NESTED, &list.0)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads attributes one after another: type and value.
pub(crate) fn read(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *rest.first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & TYPE, value))
    })
}

/// The value of the first attribute of a type.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    read(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Whether an attribute is this name.
pub(crate) fn is_name(bytes: &[u8], kind: u16, name: &str) -> bool {
    find(bytes, kind).and_then(|value| value.strip_suffix(&[0])) == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let inner = Attributes::default().number(7, 0x0102_0304);
        let list = Attributes::default().name(1, "mrvpn_x").nest(2, &inner).with(3, &[9]);
        let read: Vec<_> = read(list.bytes()).collect();
        assert_eq!(read, [(1, b"mrvpn_x\0".as_slice()), (2, inner.bytes()), (3, &[9])]);
        assert!(is_name(list.bytes(), 1, "mrvpn_x") && !is_name(list.bytes(), 1, "mrvpn_") && !is_name(&[], 1, ""));
        assert_eq!(find(inner.bytes(), 7), Some([1, 2, 3, 4].as_slice()));
    }

    #[test]
    fn no_cut_or_flipped_list_stops_the_reader() {
        let list = Attributes::default().name(1, "mrvpn_x").with(2, &[1, 2, 3]);
        for end in 0..list.bytes().len() {
            let _ = read(&list.bytes()[..end]).count();
        }
        for at in 0..list.bytes().len() {
            let mut bytes = list.bytes().to_vec();
            bytes[at] ^= 0xff;
            let _ = read(&bytes).count();
        }
    }
}
