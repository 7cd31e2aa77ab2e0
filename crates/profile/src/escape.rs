//! Foreign text made harmless for logs, errors and terminals. Not quoting for any shell or file: nothing here is ever
//! handed to one.

use std::fmt::Write as _;

use crate::limits;

/// The text with everything but printable ASCII written as `\xNN`, at most 256 bytes long; a cut ends in `...`.
#[must_use]
pub fn escape(text: &[u8]) -> String {
    let mut shown = String::new();
    for &byte in text {
        match byte {
            0x20..=0x7e => shown.push(char::from(byte)),
            _ => write!(shown, "\\x{byte:02x}").unwrap_or_default(),
        }
        if shown.len() > limits::FOREIGN_TEXT {
            return cut(&shown);
        }
    }
    shown
}

/// `shown` is ASCII, so every index is a character border.
fn cut(shown: &str) -> String {
    let kept = shown.get(..limits::FOREIGN_TEXT.saturating_sub(CUT.len())).unwrap_or_default();
    format!("{kept}{CUT}")
}

const CUT: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_codes_become_visible() {
        assert_eq!(escape(b"\x1b[2Jhi\n\xff"), "\\x1b[2Jhi\\x0a\\xff");
    }

    #[test]
    fn text_is_cut_at_256_bytes() {
        assert_eq!(escape(&[b'a'; 255]).len(), 255);
        assert_eq!(escape(&[b'a'; 256]), "a".repeat(256));
        assert_eq!(escape(&[b'a'; 257]), format!("{}...", "a".repeat(253)));
        assert_eq!(escape(&[0; 100_000]).len(), 256);
    }
}
