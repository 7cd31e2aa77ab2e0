//! The strings that a server sends inside TLS after the key exchange (openvpn-protocol.md sections 9.1 to 9.3; OpenVPN
//! `forward.c`, `push.c`): cut out of records, and told apart. What follows from them is the session's affair; the
//! options of a PUSH_REPLY are read by `mrvpn_profile::push`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::time::Duration;

use mrvpn_profile::escape::escape;

/// What a string says. Text in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlText {
    /// `AUTH_FAILED…`.
    AuthFailed(AuthRefusal),
    /// `AUTH_PENDING[,timeout N]`: a second factor is waited for, this long if it is said.
    AuthPending(Option<Duration>),
    /// `PUSH_REPLY…`, as it stands.
    PushReply(Vec<u8>),
    /// `RESTART[,[flags]text]`.
    Restart(Farewell),
    /// `HALT[,[flags]text]`.
    Halt(Farewell),
    /// `EXIT`: the server leaves.
    Exit,
    /// `INFO…` or `INFO_PRE…`: something to show.
    Info(String),
    /// Anything else: ignored.
    Unknown(String),
}

/// What RESTART and HALT say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Farewell {
    /// Flag `N`: try the next server.
    pub next_server: bool,
    /// Flag `P`: keep the credentials.
    pub keep_credentials: bool,
    /// The text, escaped.
    pub text: String,
}

/// What AUTH_FAILED says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRefusal {
    /// Of which kind it is.
    pub kind: AuthFailure,
    /// The reason that the server gives, escaped.
    pub reason: Option<String>,
}

/// Kinds of AUTH_FAILED.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// User, password or certificate were refused.
    Refused,
    /// `SESSION:`: a token has expired; the password will do.
    SessionExpired,
    /// `TEMP`: try again later.
    Temporary {
        /// `backoff N`: not sooner than this.
        backoff: Option<Duration>,
        /// `advance no|addr|remote`.
        advance: Option<Advance>,
    },
    /// `CRV1:`: a one-time code is asked for.
    Challenge,
    /// No data cipher in common (`ssl_ncp.c`): not about user or password at all.
    NoSharedCipher,
}

/// Where to try next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// The same address.
    No,
    /// The next address of the same name.
    Address,
    /// The next remote.
    Remote,
}

/// Cuts one record of application data into strings. Parts without a final NUL, with control characters or
/// with bad UTF-8 are left out whole.
pub fn strings(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let complete = record.iter().rposition(|byte| *byte == 0).and_then(|end| record.get(..end)).unwrap_or(&[]);
    let any = record.contains(&0);
    complete.split(|byte| *byte == 0).filter(move |_| any).map(without_line_end).filter(|text| is_printable(text))
}

impl ControlText {
    /// Tells a string's kind by its prefix.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        if let Some(rest) = text.strip_prefix(b"AUTH_FAILED") {
            return Self::AuthFailed(AuthRefusal::parse(rest));
        }
        if let Some(rest) = text.strip_prefix(b"AUTH_PENDING") {
            return Self::AuthPending(pending_timeout(rest));
        }
        if word(text, b"PUSH_REPLY").is_some() {
            return Self::PushReply(text.to_vec());
        }
        if let Some(rest) = word(text, b"RESTART") {
            return Self::Restart(Farewell::parse(rest));
        }
        if let Some(rest) = word(text, b"HALT") {
            return Self::Halt(Farewell::parse(rest));
        }
        match text {
            b"EXIT" => Self::Exit,
            _ => Self::parse_info(text),
        }
    }

    fn parse_info(text: &[u8]) -> Self {
        match word(text, b"INFO").or_else(|| word(text, b"INFO_PRE")) {
            Some(rest) => Self::Info(escape(rest)),
            None => Self::Unknown(escape(text)),
        }
    }
}

impl Farewell {
    fn parse(rest: &[u8]) -> Self {
        let (flags, text) = match rest.strip_prefix(b"[").and_then(|rest| split_once(rest, b']')) {
            Some((flags, text)) => (flags, text.strip_prefix(b":").unwrap_or(text)),
            None => (&[][..], rest),
        };
        Self { next_server: flags.contains(&b'N'), keep_credentials: flags.contains(&b'P'), text: escape(text) }
    }
}

impl AuthRefusal {
    /// `rest` is what follows AUTH_FAILED.
    fn parse(rest: &[u8]) -> Self {
        let Some(rest) = rest.strip_prefix(b",") else { return Self { kind: AuthFailure::Refused, reason: None } };
        if let Some(rest) = rest.strip_prefix(b"TEMP") {
            return Self::parse_temporary(rest);
        }
        let (kind, reason) = if let Some(reason) = rest.strip_prefix(b"SESSION:") {
            (AuthFailure::SessionExpired, reason)
        } else if let Some(challenge) = rest.strip_prefix(b"CRV1:") {
            // flags, state and user stand before the text, which may hold colons itself.
            (AuthFailure::Challenge, challenge.splitn(4, |byte| *byte == b':').nth(3).unwrap_or(&[]))
        } else if rest.starts_with(b"Data channel cipher negotiation failed") {
            (AuthFailure::NoSharedCipher, rest)
        } else {
            (AuthFailure::Refused, rest)
        };
        Self { kind, reason: shown(reason) }
    }

    /// `rest` is what follows TEMP: flags in brackets, then a colon and the text, either of them absent.
    fn parse_temporary(rest: &[u8]) -> Self {
        let (flags, text) = match rest.strip_prefix(b"[").and_then(|rest| split_once(rest, b']')) {
            Some(parts) => parts,
            None => (&[][..], rest),
        };
        let (mut backoff, mut advance) = (None, None);
        for flag in flags.split(|byte| *byte == b',') {
            backoff = number_after(flag, b"backoff ").map(Duration::from_secs).or(backoff);
            advance = Advance::parse(flag).or(advance);
        }
        let reason = shown(text.strip_prefix(b":").unwrap_or(text));
        Self { kind: AuthFailure::Temporary { backoff, advance }, reason }
    }
}

impl Advance {
    fn parse(flag: &[u8]) -> Option<Self> {
        match flag.trim_ascii().strip_prefix(b"advance ")? {
            b"no" => Some(Self::No),
            b"addr" => Some(Self::Address),
            b"remote" => Some(Self::Remote),
            _ => None,
        }
    }
}

/// What follows `name` and a comma; an empty rest where the text is the name alone.
fn word<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = text.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b",") }
}

fn pending_timeout(rest: &[u8]) -> Option<Duration> {
    let mut words = rest.strip_prefix(b",")?.split(|byte| *byte == b',');
    words.find_map(|word| number_after(word, b"timeout ")).map(Duration::from_secs)
}

fn number_after(text: &[u8], name: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii().strip_prefix(name)?.trim_ascii();
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(u64::from(number))
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == at)?;
    let (before, rest) = text.split_at_checked(place)?;
    Some((before, rest.split_first()?.1))
}

fn shown(reason: &[u8]) -> Option<String> {
    (!reason.is_empty()).then(|| escape(reason))
}

fn without_line_end(mut text: &[u8]) -> &[u8] {
    while let Some(shorter) = text.strip_suffix(b"\n").or_else(|| text.strip_suffix(b"\r")) {
        text = shorter;
    }
    text
}

fn is_printable(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(record: &[u8]) -> Vec<&[u8]> {
        strings(record).collect()
    }

    // proves: T-30
    #[test]
    fn a_record_is_cut_at_nul_and_bad_parts_are_left_out() {
        let record = b"valid control message\r\n\0\0Invalid\r\none\0valid one again\0rest without NUL";
        assert_eq!(cut(record), [&b"valid control message"[..], b"", b"valid one again"]);
        assert_eq!(cut(b"no NUL"), Vec::<&[u8]>::new());
        assert_eq!(cut(b""), Vec::<&[u8]>::new());
        assert_eq!(cut(b"\x1b[2Jclear\0caf\xe9\0\xc2\x85\0good\0"), [b"good"]);
    }

    #[test]
    fn messages_are_told_apart_by_their_prefix() {
        let refused = |reason: Option<&str>| {
            ControlText::AuthFailed(AuthRefusal { kind: AuthFailure::Refused, reason: reason.map(String::from) })
        };
        assert_eq!(ControlText::parse(b"AUTH_FAILED"), refused(None));
        assert_eq!(ControlText::parse(b"AUTH_FAILED,no such user"), refused(Some("no such user")));
        assert_eq!(ControlText::parse(b"EXIT"), ControlText::Exit);
        assert_eq!(ControlText::parse(b"INFO,hello"), ControlText::Info(String::from("hello")));
        assert_eq!(ControlText::parse(b"INFO_PRE,OPEN_URL:x"), ControlText::Info(String::from("OPEN_URL:x")));
        assert_eq!(ControlText::parse(b"PUSH_REPLY"), ControlText::PushReply(b"PUSH_REPLY".to_vec()));
        assert_eq!(ControlText::parse(b"PUSH_REPLYX"), ControlText::Unknown(String::from("PUSH_REPLYX")));
        assert_eq!(ControlText::parse(b"AUTH_PENDING"), ControlText::AuthPending(None));
        assert_eq!(
            ControlText::parse(b"AUTH_PENDING,timeout 40"),
            ControlText::AuthPending(Some(Duration::from_secs(40)))
        );
    }

    #[test]
    fn a_farewell_has_flags_and_text() {
        let farewell = |next_server, keep_credentials, text: &str| Farewell {
            next_server,
            keep_credentials,
            text: String::from(text),
        };
        assert_eq!(ControlText::parse(b"RESTART"), ControlText::Restart(farewell(false, false, "")));
        assert_eq!(ControlText::parse(b"RESTART,[N]"), ControlText::Restart(farewell(true, false, "")));
        assert_eq!(ControlText::parse(b"RESTART,[P]:soon"), ControlText::Restart(farewell(false, true, "soon")));
        assert_eq!(ControlText::parse(b"HALT,by admin"), ControlText::Halt(farewell(false, false, "by admin")));
    }

    #[test]
    fn a_challenge_shows_its_text_only() {
        let refusal = AuthRefusal { kind: AuthFailure::Challenge, reason: Some(String::from("Code: now")) };
        let message = b"AUTH_FAILED,CRV1:R,E:state:dXNlcg==:Code: now";
        assert_eq!(ControlText::parse(message), ControlText::AuthFailed(refusal));
    }
}
