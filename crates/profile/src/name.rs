//! The name of a tunnel: `[a-z0-9-]{1,32}` and no reserved word. Names become part of device names, paths and
//! commands, so nothing else ever gets through. Where names are shown beside the file they came from, that file's name
//! is escaped (`escape.rs`).

use std::fmt;

/// A tunnel's name, checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelName(String);

impl TunnelName {
    /// The longest name in bytes.
    pub const MAX: usize = 32;

    /// Takes a name that a user wrote.
    ///
    /// # Errors
    ///
    /// Empty, longer than 32, another character than `a-z`, `0-9`, `-`, or a reserved word.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong);
        }
        if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
            return Err(NameError::Character(odd.escape_default().to_string()));
        }
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name for a profile that is given as a file: its base name in lower case, without `.ovpn` or `.conf`, each
    /// run of other characters as one `-`, at most 32 bytes; `-2`, `-3`, ... where `taken` or a reserved word has it.
    #[must_use]
    pub fn from_file_name(path: &str, taken: &[Self]) -> Self {
        let base = normalised(base_name(path));
        let free = |name: &str| !RESERVED.contains(&name) && !taken.iter().any(|other| other.0 == name);
        if free(&base) {
            return Self(base);
        }
        let numbered = (2_u64..).map(|n| with_suffix(&base, &format!("-{n}"))).find(|name| free(name));
        Self(numbered.unwrap_or(base))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TunnelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no name of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No text.
    #[error("a tunnel's name is empty")]
    Empty,
    /// Longer than 32 bytes.
    #[error("a tunnel's name has more than 32 characters")]
    TooLong,
    /// A character that a name may not have, escaped.
    #[error("a tunnel's name has `{0}` in it; only a-z, 0-9 and - are allowed")]
    Character(String),
    /// A word that means something else.
    #[error("`{0}` is a reserved word and no name of a tunnel")]
    Reserved(String),
}

/// Words that stand for something else where a tunnel could be named.
pub(crate) const RESERVED: [&str; 4] = ["direct", "block", "auto", "first-available"];

const fn allowed(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '-')
}

fn base_name(path: &str) -> &str {
    let base = path.rsplit('/').next().unwrap_or(path);
    match base.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() && ["ovpn", "conf"].iter().any(|e| ext.eq_ignore_ascii_case(e)) => stem,
        Some(_) | None => base,
    }
}

fn normalised(base: &str) -> String {
    let mut name = String::new();
    for c in base.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = shortened(name.trim_matches('-'), TunnelName::MAX);
    if name.is_empty() { String::from("tunnel") } else { name }
}

fn with_suffix(base: &str, suffix: &str) -> String {
    format!("{}{suffix}", shortened(base, TunnelName::MAX.saturating_sub(suffix.len())))
}

fn shortened(name: &str, max: usize) -> String {
    name.chars().take(max).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, taken: &[&str]) -> String {
        let taken: Vec<_> = taken.iter().map(|name| TunnelName((*name).to_owned())).collect();
        TunnelName::from_file_name(path, &taken).0
    }

    // proves: T-55
    #[test]
    fn a_file_name_becomes_a_harmless_name() {
        assert_eq!(named("/etc/openvpn/UK.ovpn", &[]), "uk");
        assert_eq!(named("../../x/New York (fast).OVPN", &[]), "new-york-fast");
        assert_eq!(named("us-lax.prod.nordvpn.com.udp.ovpn", &[]), "us-lax-prod-nordvpn-com-udp");
        assert_eq!(named("\u{1b}[31mred\u{7}.conf", &[]), "31mred");
        assert_eq!(named("..", &[]), "tunnel");
        assert_eq!(named("", &[]), "tunnel");
        assert_eq!(named(".ovpn", &[]), "ovpn");
        assert_eq!(named("日本.ovpn", &[]), "tunnel");
        assert_eq!(named(&"a".repeat(40), &[]), "a".repeat(32));
    }

    // proves: T-55
    #[test]
    fn a_clash_is_numbered_and_reserved_words_clash() {
        assert_eq!(named("uk.ovpn", &["uk"]), "uk-2");
        assert_eq!(named("uk.ovpn", &["uk", "uk-2"]), "uk-3");
        assert_eq!(named("direct.ovpn", &[]), "direct-2");
        let long = "a".repeat(32);
        assert_eq!(named(&long, &[&long]), format!("{}-2", "a".repeat(30)));
    }

    // proves: T-55
    #[test]
    fn a_written_name_is_checked_not_repaired() {
        assert!(TunnelName::parse("uk-2").is_ok());
        assert!(TunnelName::parse(&"a".repeat(31)).is_ok());
        assert!(TunnelName::parse(&"a".repeat(32)).is_ok());
        assert_eq!(TunnelName::parse(&"a".repeat(33)), Err(NameError::TooLong));
        assert_eq!(TunnelName::parse(""), Err(NameError::Empty));
        for bad in ["UK", "a/b", "..", "a b", "\u{1b}[0m", "ü"] {
            assert!(matches!(TunnelName::parse(bad), Err(NameError::Character(_))), "{bad:?}");
        }
        for word in RESERVED {
            assert!(matches!(TunnelName::parse(word), Err(NameError::Reserved(_))));
        }
    }
}
