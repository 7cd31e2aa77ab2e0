//! Why a flow goes where it goes, and not elsewhere: what decided, and each other candidate with the reason that it did not.
//! It decides nothing: that is `pick.rs`'s, which is asked here. Flows that exist are listed in `live.rs`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    Attachment, By, DefaultChoice, Fallback, Field, FlowTuple, Pick, Policy, Rule, TunnelId, Via, limits, pick,
};

/// What decides for a flow, and what does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What [`pick()`](crate::pick()) says.
    pub pick: Pick,
    /// Others that could be meant, in the order in which they are asked, 16 at most.
    pub not: Vec<Rejected>,
}

/// What did not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Where the flow would have gone.
    pub via: Via,
    /// By what.
    pub by: By,
    /// Why it does not.
    pub why: WhyNot,
}

/// Why something did not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyNot {
    /// This rule matches and stands before it.
    EarlierRule(usize),
    /// This field of the rule does not match; all others do.
    FieldDiffers(Field),
    /// It is asked only when no rule matches.
    RuleDecides,
    /// It is asked only when the flow comes from no tunnel's own device or namespace.
    AttachmentDecides,
    /// It is asked only when the source names no tunnel.
    SourceDecides,
    /// This claim is longer.
    LongerClaim(IpNet),
    /// This tunnel has the same prefix and stands before it in the file.
    FirstInFile(TunnelId),
    /// It is asked only when nothing claims the destination.
    ClaimDecides,
    /// It is asked only when there is no default.
    DefaultDecides,
}

/// Tells why `flow`, which came from `attachment`, goes where it goes.
#[must_use]
pub fn explain(policy: &Policy, attachment: Attachment, flow: &FlowTuple) -> Explanation {
    let pick = pick(policy, attachment, flow);
    let mut not = rules(policy, pick.by, flow);
    let decided = decided(pick.by);
    if let Some(tunnel) = attachment.tunnel().filter(|_| pick.by != By::Attachment) {
        not.push(Rejected { via: Via::Tunnel(tunnel), by: By::Attachment, why: decided });
    }
    match attachment {
        Attachment::Rules | Attachment::Prefer(_) => not.extend(by_address(policy, pick.by, decided, flow)),
        Attachment::Only(_) => {}
    }
    Explanation { pick, not }
}

/// The address by which the server sees a flow that goes by `pick`; `None` if it goes through no tunnel, or the tunnel has no
/// address of this family now.
#[must_use]
pub fn source_sent(policy: &Policy, pick: &Pick, flow: &FlowTuple) -> Option<IpAddr> {
    match pick.via {
        Via::Tunnel(tunnel) => policy.tunnel(tunnel)?.inner(flow.destination),
        Via::Direct | Via::Block | Via::Undecided | Via::Nobody => None,
    }
}

/// Why everything that is asked later does not decide.
const fn decided(by: By) -> WhyNot {
    match by {
        By::Rule(_) => WhyNot::RuleDecides,
        By::Attachment => WhyNot::AttachmentDecides,
        By::Source => WhyNot::SourceDecides,
        By::Claim(_) => WhyNot::ClaimDecides,
        By::Default | By::Fallback => WhyNot::DefaultDecides,
    }
}

/// Rules that match and do not decide, then those that match but for one field, as many as are told; in the order of the
/// file.
fn rules(policy: &Policy, by: By, flow: &FlowTuple) -> Vec<Rejected> {
    let first = policy.rules().iter().position(|rule| rule.matches(flow));
    let why = |place: usize, rule: &Rule| match (near(rule, flow)?, first) {
        (Near::But(field), _) => Some(WhyNot::FieldDiffers(field)),
        (Near::Matches, Some(first)) if first != place => Some(WhyNot::EarlierRule(first)),
        (Near::Matches, _) => (by != By::Rule(place)).then_some(WhyNot::AttachmentDecides),
    };
    let mut found: Vec<_> = policy
        .rules()
        .iter()
        .enumerate()
        .filter_map(|(place, rule)| {
            Some((place, Rejected { via: rule.via.into(), by: By::Rule(place), why: why(place, rule)? }))
        })
        .collect();
    found.sort_by_key(|(_, rejected)| rank(rejected.why));
    found.truncate(limits::EXPLAINED_RULES);
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, rejected)| rejected).collect()
}

/// What is left out last when there are too many rules.
const fn rank(why: WhyNot) -> u8 {
    match why {
        WhyNot::FieldDiffers(Field::To) => 2,
        WhyNot::FieldDiffers(Field::From | Field::Proto | Field::Port) => 1,
        WhyNot::EarlierRule(_)
        | WhyNot::RuleDecides
        | WhyNot::AttachmentDecides
        | WhyNot::SourceDecides
        | WhyNot::LongerClaim(_)
        | WhyNot::FirstInFile(_)
        | WhyNot::ClaimDecides
        | WhyNot::DefaultDecides => 0,
    }
}

/// How nearly a rule matches.
enum Near {
    Matches,
    But(Field),
}

/// A rule that matches, or all but one of whose fields do. One that only names another destination is not near: most rules
/// of most files are such.
fn near(rule: &Rule, flow: &FlowTuple) -> Option<Near> {
    let mut differing = Field::ALL.into_iter().filter(|field| !rule.matches_in(*field, flow));
    let near = match (differing.next(), differing.next()) {
        (None, _) => Near::Matches,
        (Some(Field::To), None) if rule.from.is_empty() && rule.proto.is_empty() && rule.port.is_empty() => {
            return None;
        }
        (Some(field), None) => Near::But(field),
        (Some(_), Some(_)) => return None,
    };
    Some(near)
}

/// Source, claims, default and fallback, those that do not decide.
fn by_address(policy: &Policy, by: By, decided: WhyNot, flow: &FlowTuple) -> Vec<Rejected> {
    let mut not = Vec::new();
    if let Some(tunnel) = policy.tunnel_of_source(flow.source).filter(|_| by != By::Source) {
        not.push(Rejected { via: Via::Tunnel(tunnel), by: By::Source, why: decided });
    }
    not.extend(claims(policy, by, decided, flow.destination));
    let default = match policy.default_for(flow.destination) {
        DefaultChoice::Tunnel(tunnel) => Some(Via::Tunnel(tunnel)),
        DefaultChoice::Undecided => Some(Via::Undecided),
        DefaultChoice::NotOffered => None,
    };
    let default = default.filter(|_| by != By::Default);
    not.extend(default.map(|via| Rejected { via, by: By::Default, why: decided }));
    let fallback = match policy.fallback() {
        Fallback::Auto => Via::Nobody,
    };
    if by != By::Fallback {
        not.push(Rejected { via: fallback, by: By::Fallback, why: decided });
    }
    not
}

/// Claims that hold `destination` and do not decide, the longest of each tunnel, longest first.
fn claims(policy: &Policy, by: By, decided: WhyNot, destination: IpAddr) -> Vec<Rejected> {
    let Some((longest, holder)) = policy.claim_of(destination) else { return Vec::new() };
    let mut holding: Vec<_> = policy.claims().iter().filter(|claim| claim.prefix.contains(&destination)).collect();
    // Stable, so that equal prefixes stay in the order of the file.
    holding.sort_by_key(|claim| u8::MAX - claim.prefix.prefix_len());
    let mut seen = Vec::new();
    let mut not = Vec::new();
    for claim in holding {
        let prefix = claim.prefix.trunc();
        if not.len() == limits::EXPLAINED_CLAIMS {
            break;
        }
        if seen.contains(&claim.tunnel) || (claim.tunnel == holder && by == By::Claim(longest)) {
            continue;
        }
        seen.push(claim.tunnel);
        let why = match (claim.tunnel == holder, prefix == longest) {
            (true, _) => decided,
            (false, true) => WhyNot::FirstInFile(holder),
            (false, false) => WhyNot::LongerClaim(longest),
        };
        not.push(Rejected { via: Via::Tunnel(claim.tunnel), by: By::Claim(prefix), why });
    }
    not
}
