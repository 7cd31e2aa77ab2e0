//! What would become of a flow's first packet now, in the order in which a lane looks at it (`mrvpn_router`, `admit.rs`).
//! Told, and nothing done.

use mrvpn_clock::Moment;
use mrvpn_router::{Attachment, FlowTuple, Pick, TunnelId, TunnelState, Via, source_sent};

use super::super::Fleet;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Up,
    Held,
    /// With a sentence that says why, where it is not the rule's own word.
    Refused(Option<String>),
}

impl Fate {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Held => "held",
            Self::Refused(_) => "refused",
        }
    }

    pub(super) fn why(self) -> Option<String> {
        match self {
            Self::Up | Self::Held => None,
            Self::Refused(why) => why,
        }
    }

    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(Some(why.into()))
    }

    fn until(limit: Option<Moment>, now: Moment, why: impl Into<String>) -> Self {
        if limit.is_some_and(|limit| limit > now) { Self::Held } else { Self::refused(why) }
    }
}

impl Fleet {
    /// The fate of a flow that the engine gets.
    pub(super) fn fate(&self, pick: &Pick, flow: &FlowTuple, now: Moment) -> Fate {
        let policy = &self.policy;
        if pick.via == Via::Block {
            return Fate::Refused(None);
        }
        if policy.is_broadcast(flow.destination) {
            return Fate::refused("broadcast and multicast go through no tunnel");
        }
        if !policy.is_ours(Attachment::Rules, flow.source) {
            return Fate::refused(format!("{} is no address of mrvpn's interface", flow.source));
        }
        match pick.via {
            Via::Tunnel(_) | Via::Nobody if policy.is_own_destination(flow.destination) => {
                Fate::refused("it is an address of mrvpn's own, where nobody answers")
            }
            Via::Tunnel(id) => self.fate_of(id, pick, flow, now),
            Via::Nobody => Fate::refused("it is in the address pool of mrvpn, and of nobody"),
            Via::Direct => Fate::refused("with an address of mrvpn's interface it cannot go direct"),
            Via::Undecided => Fate::until(policy.undecided_until(), now, "the default tunnel is not known yet"),
            Via::Block => Fate::Refused(None),
        }
    }

    fn fate_of(&self, id: TunnelId, pick: &Pick, flow: &FlowTuple, now: Moment) -> Fate {
        let Some(view) = self.policy.tunnel(id) else { return Fate::refused("it is no tunnel any more") };
        let has_any = view.inner_v4.is_some() || view.inner_v6.is_some();
        if has_any && source_sent(&self.policy, pick, flow).is_none() {
            let family = if flow.destination.is_ipv4() { "IPv4" } else { "IPv6" };
            return Fate::refused(format!("{} has no {family} address", self.name_of(id)));
        }
        let stopped = self.roster.member(id).is_some_and(|member| member.stopped);
        let not_up = || match (self.name_of(id), stopped) {
            (name, true) => format!("{name} is stopped (`mrvpn tunnel start {name}`)"),
            (name, false) => format!("{name} is not up"),
        };
        match view.state {
            TunnelState::Up if has_any => Fate::Up,
            TunnelState::Up | TunnelState::Down => Fate::refused(not_up()),
            TunnelState::Hold(until) => Fate::until(Some(until), now, not_up()),
        }
    }
}
