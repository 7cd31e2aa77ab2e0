//! Who may do what (contract.md section 1, "Who may"): one table of rights, one judgement of callers. The engine believes
//! the kernel's word about who calls ([`super::peer`]), and nothing that a caller says.

use std::io::Read;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::{Request, Response};

/// The group whose members may do all.
const GROUP: &str = "mrvpn";
/// 1 s: so long a look into /etc/group counts.
const LOOK: Duration = Duration::from_secs(1);
/// 1 MiB of /etc/group are read.
const GROUP_FILE: u64 = 1024 * 1024;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Root, the engine's own user or a member of the group: may do all.
    Owner,
    /// Who started the engine by sudo: may look.
    Starter,
    /// Anyone else: nothing.
    Stranger,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// It looks.
    Look,
    /// It changes what runs, or tells by what it was made.
    Change,
}

impl Request {
    /// What it needs.
    pub(super) const fn right(&self) -> Right {
        match self {
            Self::Status | Self::Watch | Self::Explain { .. } | Self::Events | Self::Logs { .. } => Right::Look,
            Self::Source
            | Self::Reload { .. }
            | Self::TunnelAdd { .. }
            | Self::TunnelRemove { .. }
            | Self::TunnelStart { .. }
            | Self::TunnelStop { .. }
            | Self::TunnelRestart { .. }
            | Self::Down => Right::Change,
        }
    }

    /// The command that asks it, as it is typed.
    pub(super) const fn verb(&self) -> &'static str {
        match self {
            Self::Status | Self::Watch => "status",
            Self::Explain { .. } => "explain",
            Self::Events => "events",
            Self::Logs { .. } => "logs",
            Self::Source | Self::Reload { .. } => "reload",
            Self::TunnelAdd { .. } => "tunnel add",
            Self::TunnelRemove { .. } => "tunnel remove",
            Self::TunnelStart { .. } => "tunnel start",
            Self::TunnelStop { .. } => "tunnel stop",
            Self::TunnelRestart { .. } => "tunnel restart",
            Self::Down => "down",
        }
    }
}

impl Caller {
    /// Whether this caller may.
    pub(super) const fn may(self, right: Right) -> bool {
        match (self, right) {
            (Self::Owner, Right::Look | Right::Change) | (Self::Starter, Right::Look) => true,
            (Self::Starter, Right::Change) | (Self::Stranger, Right::Look | Right::Change) => false,
        }
    }
}

/// Judges callers of one engine.
#[derive(Debug)]
pub(super) struct Judge {
    own: u32,
    starter: Option<u32>,
    group: Mutex<Option<(Instant, Option<u32>)>>,
}

impl Judge {
    /// For this process: its user, and who typed `sudo`.
    pub(super) fn here() -> Self {
        let own = rustix::process::geteuid();
        // Only sudo, which runs as root, is believed about who typed it.
        let typed = std::env::var("SUDO_UID").ok().filter(|_| own.is_root());
        Self::new(own.as_raw(), typed.and_then(|text| text.parse().ok()))
    }

    pub(super) const fn new(own: u32, starter: Option<u32>) -> Self {
        Self { own, starter, group: Mutex::new(None) }
    }

    /// Who this is.
    pub(super) fn judge(&self, peer: &Peer) -> Caller {
        let group = if peer.uid == 0 || peer.uid == self.own { None } else { self.group() };
        judge(peer, self.own, self.starter, group)
    }

    /// What a caller is told who may not.
    pub(super) fn refusal(&self, caller: Caller, request: Option<&Request>) -> Response {
        let own = if self.own == 0 { String::new() } else { format!(", user {}", self.own) };
        let who = format!("root{own} and members of the group {GROUP}");
        let why = match (caller, request) {
            (Caller::Starter, Some(request)) => format!(
                "`mrvpn {}` is for {who}; who typed sudo may look: status, explain, events, logs",
                request.verb()
            ),
            (Caller::Owner | Caller::Starter | Caller::Stranger, _) => format!("this engine is for {who}"),
        };
        Response::Refused { why, hint: Some(join_the_group(self.group().is_some())) }
    }

    /// The number of the group, looked up at most once a second.
    fn group(&self) -> Option<u32> {
        let Ok(mut known) = self.group.lock() else { return None };
        match *known {
            Some((at, number)) if at.elapsed() < LOOK => number,
            Some(_) | None => {
                let number = read_group_file().and_then(|text| group_number(&text, GROUP));
                *known = Some((Instant::now(), number));
                number
            }
        }
    }
}

fn judge(peer: &Peer, own: u32, starter: Option<u32>, group: Option<u32>) -> Caller {
    if peer.uid == 0 || peer.uid == own || group.is_some_and(|group| peer.groups.contains(&group)) {
        Caller::Owner
    } else if starter == Some(peer.uid) {
        Caller::Starter
    } else {
        Caller::Stranger
    }
}

fn join_the_group(exists: bool) -> String {
    let make = if exists { "" } else { "sudo groupadd --system mrvpn && " };
    format!("type it with sudo; or join the group: `{make}sudo usermod -aG mrvpn $USER`, then log in anew")
}

/// The file itself: a name service would load foreign code into a process that may do everything to the network.
fn read_group_file() -> Option<String> {
    let mut text = String::new();
    std::fs::File::open("/etc/group").ok()?.take(GROUP_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `NAME:password:NUMBER:members`; the first line of that name counts.
fn group_number(text: &str, name: &str) -> Option<u32> {
    let mut named = text.lines().map(|line| line.split(':')).filter_map(|mut fields| {
        (fields.next()? == name).then_some(())?;
        fields.nth(1)
    });
    named.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrvpn_engine::FlowQuery;

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer { uid, groups: groups.to_vec() }
    }

    // proves: T-60
    #[test]
    fn root_the_engines_user_and_the_group_may_do_all_who_typed_sudo_may_look_others_nothing() {
        let cases = [
            (peer(0, &[0]), Caller::Owner),
            (peer(500, &[500]), Caller::Owner),
            (peer(1000, &[1000, 4, 27]), Caller::Starter),
            (peer(1000, &[1000, 4, 977]), Caller::Owner),
            (peer(1001, &[977]), Caller::Owner),
            (peer(1001, &[1001, 0]), Caller::Stranger),
            (peer(65_534, &[]), Caller::Stranger),
        ];
        for (peer, expected) in cases {
            assert_eq!(judge(&peer, 500, Some(1000), Some(977)), expected, "{peer:?}");
        }
        assert_eq!(judge(&peer(1001, &[977]), 0, None, None), Caller::Stranger);
    }

    // proves: T-60
    #[test]
    fn looking_and_changing_are_apart() {
        let query = FlowQuery { to: [192, 0, 2, 1].into(), port: None, proto: 1, from: None };
        let name = || String::from("uk");
        let looks = [
            Request::Status,
            Request::Watch,
            Request::Explain { query },
            Request::Events,
            Request::Logs { tunnel: None, follow: true },
        ];
        let changes = [
            Request::Source,
            Request::Reload { bundle: 1, dry_run: true },
            Request::TunnelAdd { bundle: 1 },
            Request::TunnelRemove { name: name() },
            Request::TunnelStart { name: name() },
            Request::TunnelStop { name: name() },
            Request::TunnelRestart { name: name() },
            Request::Down,
        ];
        for (requests, starter) in [(&looks[..], true), (&changes[..], false)] {
            for request in requests {
                let may = [Caller::Owner, Caller::Starter, Caller::Stranger].map(|caller| caller.may(request.right()));
                assert_eq!(may, [true, starter, false], "{request:?}");
            }
        }
    }

    #[test]
    fn a_group_is_found_by_its_own_line() {
        let file = "root:x:0:\nnot-mrvpn:x:5:mrvpn\nmrvpn:x:977:ann,ben\nmrvpn:x:1:\n";
        assert_eq!(group_number(file, "mrvpn"), Some(977));
        assert_eq!(group_number("mrvpn:x\nmrvpn:x:-1:\n", "mrvpn"), None);
        assert_eq!(group_number("", "mrvpn"), None);
    }

    #[test]
    fn a_refusal_names_the_group_and_the_line_to_type() {
        let judge = Judge::new(0, Some(1000));
        let Response::Refused { why, hint } = judge.refusal(Caller::Starter, Some(&Request::Down)) else { panic!() };
        assert!(why.starts_with("`mrvpn down` is for root and members of the group mrvpn;"), "{why}");
        assert!(hint.unwrap().contains("sudo usermod -aG mrvpn $USER"));
        let Response::Refused { why, .. } = judge.refusal(Caller::Stranger, None) else { panic!() };
        assert_eq!(why, "this engine is for root and members of the group mrvpn");
    }
}
