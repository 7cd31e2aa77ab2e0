//! What the user takes back from one policy to the next: by other rules, by stopping a tunnel, by a shorter `accept`. It says
//! which flows that concerns; that they end, and how they are told, is `ending.rs`'s. What servers change is never here.

use crate::flow::Flow;
use crate::{By, DefaultChoice, Policy, TunnelId, TunnelState, Via, pick};

/// Two policies between which the user has taken something back.
pub(crate) struct Withdrawal<'a> {
    before: &'a Policy,
    after: &'a Policy,
    rules: bool,
    accept: bool,
    /// Tunnels that let go all that their servers claimed.
    released: Vec<TunnelId>,
}

impl<'a> Withdrawal<'a> {
    /// What is taken back; `None` if that is nothing.
    pub(crate) fn between(before: &'a Policy, after: &'a Policy) -> Option<Self> {
        let rules = before.rules() != after.rules();
        let accept = before.accept() != after.accept();
        let released = released(before, after);
        let any = rules || accept || !released.is_empty();
        any.then_some(Self { before, after, rules, accept, released })
    }

    /// Whether it takes this flow.
    pub(crate) fn takes(&self, flow: &Flow) -> bool {
        if flow.progress.is_from_outside() {
            return self.accept && !self.after.accepts(flow.tunnel, flow.protocol.number(), flow.inside.port);
        }
        let released = self.released.contains(&flow.tunnel);
        if !self.rules && !released {
            return false;
        }
        let tuple = flow.tuple();
        let now = pick(self.after, flow.attachment, &tuple);
        let elsewhere = now.via != Via::Tunnel(flow.tunnel);
        elsewhere && (released || is_rule(now.by) || is_rule(pick(self.before, flow.attachment, &tuple).by))
    }
}

const fn is_rule(by: By) -> bool {
    match by {
        By::Rule(_) => true,
        By::Source | By::Claim(_) | By::Default | By::Fallback | By::Attachment => false,
    }
}

/// Tunnels that are down and have nothing of what they had claimed. A tunnel that fails or reconnects keeps its claims, so
/// this is the user's doing.
fn released(before: &Policy, after: &Policy) -> Vec<TunnelId> {
    let is_down = |tunnel: &TunnelId| after.tunnel(*tunnel).is_none_or(|view| view.state == TunnelState::Down);
    let mut released: Vec<_> = holders(before).filter(is_down).collect();
    released.sort_unstable();
    released.dedup();
    if !released.is_empty() {
        let mut holders: Vec<_> = holders(after).collect();
        holders.sort_unstable();
        released.retain(|tunnel| holders.binary_search(tunnel).is_err());
    }
    released
}

/// Who has a claim or is the default; some more than once.
fn holders(policy: &Policy) -> impl Iterator<Item = TunnelId> {
    let defaults = policy.defaults();
    let default = |choice: DefaultChoice| match choice {
        DefaultChoice::Tunnel(tunnel) => Some(tunnel),
        DefaultChoice::NotOffered | DefaultChoice::Undecided => None,
    };
    let defaults = [defaults.v4, defaults.v6].into_iter().filter_map(default);
    policy.claims().iter().map(|claim| claim.tunnel).chain(defaults)
}
