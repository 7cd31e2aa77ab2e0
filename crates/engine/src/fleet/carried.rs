//! Who carries now what a tunnel carried that was stopped: the sentences of `tunnel stop`. Asked of the policies before and
//! after it; nothing is decided here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_router::{Attachment, By, DefaultChoice, FlowTuple, Pick, Policy, TunnelId, Via, pick};

use super::limits::LISTED;

/// What became of the claims of `tunnel` from one policy to the other, and who is the default, where it was: as sentences
/// that follow "is stopped".
pub(super) fn handed_over(
    before: &Policy,
    after: &Policy,
    tunnel: TunnelId,
    name: impl Fn(TunnelId) -> String,
) -> String {
    let mut heirs: BTreeMap<Heir, Vec<IpNet>> = BTreeMap::new();
    let mut claims: Vec<IpNet> =
        before.claims().iter().filter(|claim| claim.tunnel == tunnel).map(|c| c.prefix).collect();
    claims.dedup();
    for prefix in claims {
        if let Some(heir) = heir(before, after, tunnel, prefix, &name) {
            heirs.entry(heir).or_default().push(prefix);
        }
    }
    let mut sentences: Vec<String> = heirs.into_iter().map(|(heir, nets)| heir.sentence(&nets)).collect();
    sentences.extend(default_sentence(before, after, tunnel, &name));
    if sentences.is_empty() { ".".to_owned() } else { format!(". {}.", sentences.join("; ")) }
}

/// Who has prefixes now that were a stopped tunnel's.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Heir {
    Tunnel(String),
    Host,
    Refused,
    Held,
}

impl Heir {
    fn sentence(&self, nets: &[IpNet]) -> String {
        let one = nets.len() == 1;
        let is = if one { "is" } else { "are" };
        let what = list(nets);
        match self {
            Self::Tunnel(name) => format!("{what} {} through {name}", if one { "goes" } else { "go" }),
            Self::Host => format!("{what} {is} left to this host"),
            Self::Refused => format!("{what} {is} refused"),
            Self::Held => format!("{what} {is} held until the default tunnel is known"),
        }
    }
}

/// Who has `prefix` now, if the claim decided about it before.
fn heir(
    before: &Policy,
    after: &Policy,
    tunnel: TunnelId,
    prefix: IpNet,
    name: impl Fn(TunnelId) -> String,
) -> Option<Heir> {
    let of = |policy: &Policy| pick(policy, Attachment::Rules, &unbound(policy, prefix.addr()));
    if of(before) != (Pick { via: Via::Tunnel(tunnel), by: By::Claim(prefix) }) {
        return None;
    }
    Some(match of(after).via {
        Via::Tunnel(heir) => Heir::Tunnel(name(heir)),
        Via::Direct | Via::Nobody => Heir::Host,
        Via::Block => Heir::Refused,
        Via::Undecided => Heir::Held,
    })
}

/// A flow to `destination` of a program that binds to nothing.
fn unbound(policy: &Policy, destination: IpAddr) -> FlowTuple {
    let own = policy.own();
    let source = if destination.is_ipv4() { IpAddr::V4(own.anchor_v4) } else { IpAddr::V6(own.anchor_v6) };
    FlowTuple { source, destination, protocol: 0, source_port: None, destination_port: None }
}

fn list(nets: &[IpNet]) -> String {
    let named: Vec<String> = nets.iter().take(LISTED).map(ToString::to_string).collect();
    match (&named[..], nets.len().saturating_sub(LISTED)) {
        ([first @ .., last], 0) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        (_, 0) => named.join(", "),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    }
}

fn default_sentence(
    before: &Policy,
    after: &Policy,
    tunnel: TunnelId,
    name: impl Fn(TunnelId) -> String,
) -> Option<String> {
    let (was, is) = (before.defaults(), after.defaults());
    let pair = [(was.v4, is.v4), (was.v6, is.v6)].into_iter().find(|(was, _)| *was == DefaultChoice::Tunnel(tunnel))?;
    Some(match pair.1 {
        DefaultChoice::Tunnel(heir) => format!("default: {}", name(heir)),
        DefaultChoice::NotOffered => "default: none, what nothing claims is left to this host".to_owned(),
        DefaultChoice::Undecided => "default: held until it is known".to_owned(),
    })
}
