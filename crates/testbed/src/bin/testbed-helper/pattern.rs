//! A stream of bytes that depends on a seed and the place alone, so that both ends make it and compare: a missing, moved or
//! changed byte is found, whatever a checksum would have said.

/// Bytes made and compared at a time.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The stream, from its beginning.
pub(crate) struct Pattern(u64);

impl Pattern {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next bytes; all but the last call fill a multiple of eight.
    pub(crate) fn fill(&mut self, into: &mut [u8]) {
        for piece in into.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.copy_from_slice(&self.0.to_le_bytes()[..piece.len()]);
        }
    }
}
