//! Several datagrams or strings in one input: two bytes of length before each, as in an outer TCP stream.

/// At most this many: an input is there to find faults, not to fill memory.
const MOST: usize = 64;

/// The pieces of an input; the last one is what is left.
pub(super) fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>()
        && found.len() < MOST
    {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        found.push(piece);
        bytes = rest;
    }
    found
}
