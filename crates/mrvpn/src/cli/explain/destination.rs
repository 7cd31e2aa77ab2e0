//! A destination as it is typed: `example.org:443`, `203.0.113.9`, `[2001:db8::1]:443`. Nothing is looked up here.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::{IpAddr, Ipv6Addr};

use mrvpn_profile::escape;

use crate::failure::Failure;

/// 253: the longest name of the DNS.
const LONGEST_NAME: usize = 253;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

/// The part before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

impl Destination {
    /// The name, where it is one.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Address(_) => None,
            Host::Name(name) => Some(name),
        }
    }
}

/// Reads what was typed.
pub(super) fn parse(text: &str) -> Result<Destination, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Destination { host: Host::Address(address), port: None });
    }
    if let Some(rest) = text.strip_prefix('[') {
        return bracketed(rest).ok_or_else(|| wrong(text, "an IPv6 address with a port is written [2001:db8::1]:443"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => {
            return Err(wrong(text, "an IPv6 address with a port is written [2001:db8::1]:443"));
        }
        Some((host, digits)) => {
            (host, Some(port(digits).ok_or_else(|| wrong(text, "a port is a number from 1 to 65535"))?))
        }
        None => (text, None),
    };
    let host = match host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) if is_name(host) => Host::Name(host.to_owned()),
        Err(_) => return Err(wrong(text, "write a name or an address, as in example.org:443 or 203.0.113.9")),
    };
    Ok(Destination { host, port })
}

fn bracketed(rest: &str) -> Option<Destination> {
    let (address, behind) = rest.split_once(']')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let port = if behind.is_empty() { None } else { Some(port(behind.strip_prefix(':')?)?) };
    Some(Destination { host: Host::Address(IpAddr::V6(address)), port })
}

fn port(digits: &str) -> Option<u16> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| all_digits && *port > 0)
}

/// What a resolver may be asked: no blanks, no signs of a web address, and not digits and dots alone, which would be a
/// mistyped address.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(fits) && text.chars().any(char::is_alphabetic)
}

fn wrong(text: &str, hint: &str) -> Failure {
    let hint = if text.contains("://") {
        "leave out what is before and behind the name: example.org:443"
    } else if text.contains('/') {
        "a single address is explained, not a network"
    } else {
        hint
    };
    Failure::usage(format!("`{}` is no destination", escape(text.as_bytes()))).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, port: Option<u16>) {
        let parsed = parse(text).unwrap();
        let shown = match &parsed.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => format!("name {name}"),
        };
        assert_eq!((shown.as_str(), parsed.port), (host, port), "{text}");
    }

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        check("example.org", "name example.org", None);
        check("example.org:443", "name example.org", Some(443));
        check("203.0.113.9", "203.0.113.9", None);
        check("203.0.113.9:65535", "203.0.113.9", Some(65535));
        check("2001:db8::1", "2001:db8::1", None);
        check("[2001:db8::1]", "2001:db8::1", None);
        check("[2001:db8::1]:443", "2001:db8::1", Some(443));
        check("::1:443", "::1:443", None);
        check("localhost:1", "name localhost", Some(1));
    }

    #[test]
    fn what_is_none_is_refused_with_the_way_to_write_it() {
        let cases = [
            ("", "write a name"),
            ("example.org:0", "1 to 65535"),
            ("example.org:65536", "1 to 65535"),
            ("example.org:+80", "1 to 65535"),
            ("example.org:", "1 to 65535"),
            ("[2001:db8::1]443", "[2001:db8::1]:443"),
            ("[192.0.2.1]:443", "[2001:db8::1]:443"),
            ("2001:db8::zz", "[2001:db8::1]:443"),
            ("1.2.3", "write a name"),
            ("a b", "write a name"),
            ("https://example.org/x", "leave out"),
            ("10.0.0.0/8", "not a network"),
        ];
        for (text, hint) in cases {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.code(), 2);
            assert!(failure.to_string().contains(hint), "{text}: {failure}");
        }
        assert!(parse(&"a".repeat(253)).is_ok() && parse(&"a".repeat(254)).is_err());
        assert!(!parse("\x1b[2J").unwrap_err().to_string().contains('\x1b'));
    }
}
