//! Where each packet of an app must go, said once more and by other means than the product: from the configuration, what
//! servers pushed and what the user did, by the words of design.md section 4. It knows neither `pick.rs` nor `capture.rs`, has
//! no index and no cache, and is short enough to be checked by reading. What comes of its answers is `oracle.rs`'s.

mod default; // who is the default

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

pub(crate) use default::DefaultModel;

/// Names a tunnel, and its server, in the whole run: the place in the list of all that there may be.
pub(crate) type Place = usize;

/// Where a packet must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Through this tunnel, or nowhere.
    Tunnel(Place),
    /// Left to the host.
    Clear,
    /// Nowhere: blocked, of nobody, or not yet decided.
    Nowhere,
}

/// What is asked of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// `None`: the program has not bound and the host has chosen nothing yet.
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
}

/// One `[[rule]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleModel {
    pub(crate) to: Vec<IpNet>,
    pub(crate) from: Vec<IpNet>,
    pub(crate) protocol: Option<u8>,
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) via: Via,
}

/// Where a rule sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Tunnel(Place),
    Direct,
    Block,
}

/// What is known of one tunnel of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TunnelModel {
    pub(crate) place: Place,
    /// Routes of its profile.
    pub(crate) profile: Vec<IpNet>,
    /// `default = true`.
    pub(crate) default: bool,
    /// Whether its far side may open what `accept` names.
    pub(crate) accepts: bool,
    /// Its server's last push: what it claims, networks of the addresses included. `None`: not known.
    pub(crate) pushed: Option<PushModel>,
    /// The user stopped it.
    pub(crate) stopped: bool,
    /// It has connected or failed once in this run.
    pub(crate) settled: bool,
    /// What stands for it while it has an address.
    pub(crate) lease: Option<LeaseModel>,
    /// Its bind addresses.
    pub(crate) binds: Vec<IpAddr>,
}

/// What counts of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushModel {
    pub(crate) claims: Vec<IpNet>,
    pub(crate) offers: bool,
}

/// A time with the same inner addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseModel {
    /// Another in each lease of the run.
    pub(crate) number: u32,
    pub(crate) inner: Vec<IpAddr>,
    /// By which the interface shows it, of each of these.
    pub(crate) presented: Vec<IpAddr>,
    /// All by which it was ever shown: what was accepted goes on to where it went first.
    pub(crate) shown: Vec<IpAddr>,
}

/// The whole, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// In the order of the file.
    pub(crate) tunnels: Vec<TunnelModel>,
    pub(crate) rules: Vec<RuleModel>,
    pub(crate) default: DefaultModel,
    /// Networks that the host is on; here they are all private.
    pub(crate) lan: Vec<IpNet>,
    /// The host's own addresses.
    pub(crate) own: Vec<IpAddr>,
    pub(crate) anchors: Vec<IpAddr>,
    /// Where addresses of ours lie.
    pub(crate) pools: Vec<IpNet>,
    pub(crate) leases: u32,
}

impl Reference {
    /// Where a packet must go that a program hands to the host.
    pub(crate) fn answer(&self, question: &Question) -> Answer {
        if !self.is_captured(question) {
            return Answer::Clear;
        }
        let source = question.source.or_else(|| self.anchor_for(question.destination));
        self.inside(&Question { source, ..*question })
    }

    /// Whether the interface takes it. Rules come first, then addresses of ours, then the longest of claims and the host's
    /// own networks, then the default.
    fn is_captured(&self, question: &Question) -> bool {
        let to = question.destination;
        if self.pools.iter().any(|pool| pool.contains(&to))
            || question.source.is_some_and(|source| self.is_ours(source))
        {
            return true;
        }
        match self.rule(question) {
            // A rule that names no destination leaves the host its own networks, whatever stands behind it.
            Some(rule) if rule.is_for_everything() && self.lan_of(to).is_some() => return false,
            Some(rule) => return rule.via != Via::Direct,
            None => {}
        }
        match (self.claim(to), self.lan_of(to)) {
            (Some((claim, _)), lan) if lan.is_none_or(|lan| claim.prefix_len() >= lan.prefix_len()) => true,
            (_, Some(_)) => false,
            (None, None) | (Some(_), None) => self.default.captures(),
        }
    }

    /// Where a packet goes that is inside the interface.
    fn inside(&self, question: &Question) -> Answer {
        let (Some(source), to) = (question.source, question.destination) else { return Answer::Nowhere };
        // It began before a claim held it, or is for this host.
        if !self.is_ours(source) || self.pools.iter().any(|pool| pool.contains(&to)) || self.is_ours(to) {
            return Answer::Nowhere;
        }
        match self.rule(question).map(|rule| rule.via) {
            Some(Via::Tunnel(place)) => return Answer::Tunnel(place),
            // Bound to an address of ours it cannot go direct.
            Some(Via::Direct | Via::Block) => return Answer::Nowhere,
            None => {}
        }
        if let Some(place) = self.bound_to(source) {
            return Answer::Tunnel(place);
        }
        if let Some((_, place)) = self.claim(to) {
            return Answer::Tunnel(place);
        }
        self.default.tunnel().map_or(Answer::Nowhere, Answer::Tunnel)
    }

    /// The first rule of the file that matches.
    fn rule(&self, question: &Question) -> Option<&RuleModel> {
        self.rules.iter().find(|rule| rule.matches(question))
    }

    /// The longest claim of all tunnels, whatever their state; of equal ones that of the first in the file. What lies in a
    /// network of the host claims nothing, unless a rule names it for that tunnel.
    fn claim(&self, to: IpAddr) -> Option<(IpNet, Place)> {
        let mut best: Option<(IpNet, Place)> = None;
        for tunnel in &self.tunnels {
            for claim in tunnel.claims().filter(|claim| claim.contains(&to) && !self.lies_in_lan(claim, tunnel.place)) {
                if best.is_none_or(|(held, _)| claim.prefix_len() > held.prefix_len()) {
                    best = Some((claim, tunnel.place));
                }
            }
        }
        best
    }

    fn lies_in_lan(&self, claim: &IpNet, place: Place) -> bool {
        let named = |rule: &RuleModel| rule.via == Via::Tunnel(place) && rule.to.iter().any(|net| net.contains(claim));
        self.lan.iter().any(|lan| lan.contains(claim)) && !self.rules.iter().any(named)
    }

    fn lan_of(&self, to: IpAddr) -> Option<IpNet> {
        let of = self.lan.iter().filter(|lan| lan.contains(&to));
        of.max_by_key(|lan| lan.prefix_len()).copied()
    }

    /// Whose presented or bind address it is.
    pub(crate) fn bound_to(&self, source: IpAddr) -> Option<Place> {
        let names = |tunnel: &&TunnelModel| tunnel.addresses().any(|address| address == source);
        self.tunnels.iter().find(names).map(|tunnel| tunnel.place)
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.anchors.contains(&address) || self.bound_to(address).is_some()
    }

    pub(crate) fn anchor_for(&self, like: IpAddr) -> Option<IpAddr> {
        self.anchors.iter().find(|anchor| anchor.is_ipv4() == like.is_ipv4()).copied()
    }

    pub(crate) fn tunnel(&self, place: Place) -> Option<&TunnelModel> {
        self.tunnels.iter().find(|tunnel| tunnel.place == place)
    }

    pub(crate) fn tunnel_mut(&mut self, place: Place) -> Option<&mut TunnelModel> {
        self.tunnels.iter_mut().find(|tunnel| tunnel.place == place)
    }
}

/// What changes it.
impl Reference {
    /// A server assigned addresses and pushed claims, or did it again.
    pub(crate) fn established(&mut self, place: Place, inner: &[IpAddr], pushed: PushModel) {
        let held = self.tunnel(place).and_then(|tunnel| tunnel.lease.clone()).filter(|lease| lease.inner == inner);
        let lease = held.unwrap_or_else(|| self.new_lease(place, inner));
        if let Some(tunnel) = self.tunnel_mut(place) {
            (tunnel.pushed, tunnel.lease, tunnel.settled) = (Some(pushed), Some(lease), true);
        }
    }

    fn new_lease(&mut self, place: Place, inner: &[IpAddr]) -> LeaseModel {
        self.leases += 1;
        let presented: Vec<IpAddr> = inner.iter().map(|address| self.presented(place, *address)).collect();
        LeaseModel { number: self.leases, inner: inner.to_vec(), shown: presented.clone(), presented }
    }

    /// The address itself, unless the pool, another tunnel or the host has it: then the bind address.
    fn presented(&self, place: Place, address: IpAddr) -> IpAddr {
        let others = self.tunnels.iter().filter(|tunnel| tunnel.place != place);
        let taken = others.filter_map(|tunnel| tunnel.lease.as_ref()).any(|lease| lease.presented.contains(&address));
        let pool = self.pools.iter().any(|pool| pool.contains(&address));
        if taken || pool || self.is_of_host(address) { self.bind(place, address) } else { address }
    }

    fn bind(&self, place: Place, like: IpAddr) -> IpAddr {
        let binds = self.tunnel(place).map(|tunnel| tunnel.binds.as_slice()).unwrap_or_default();
        binds.iter().find(|bind| bind.is_ipv4() == like.is_ipv4()).copied().unwrap_or(like)
    }

    fn is_of_host(&self, address: IpAddr) -> bool {
        self.own.contains(&address) || self.lan.iter().any(|lan| lan.contains(&address))
    }

    /// The host is on other networks: who is presented by an address of theirs is presented by its bind address from now on.
    pub(crate) fn moved(&mut self, lan: Vec<IpNet>, own: Vec<IpAddr>) {
        (self.lan, self.own) = (lan, own);
        let yielding: BTreeMap<Place, Vec<IpAddr>> = self
            .tunnels
            .iter()
            .filter_map(|tunnel| {
                let lease = tunnel.lease.as_ref()?;
                let place = tunnel.place;
                let to =
                    |address: &IpAddr| if self.is_of_host(*address) { self.bind(place, *address) } else { *address };
                Some((place, lease.presented.iter().map(to).collect()))
            })
            .collect();
        for (place, presented) in yielding {
            if let Some(lease) = self.tunnel_mut(place).and_then(|tunnel| tunnel.lease.as_mut()) {
                lease.shown.extend(&presented);
                lease.presented = presented;
            }
        }
    }

    /// The tunnel has no address any more: it was stopped, or failed for good.
    pub(crate) fn released(&mut self, place: Place) {
        if let Some(tunnel) = self.tunnel_mut(place) {
            tunnel.lease = None;
        }
    }

    /// The user stops a tunnel: what its server claimed and its profile says is let go.
    pub(crate) fn stopped(&mut self, place: Place) {
        if let Some(tunnel) = self.tunnel_mut(place) {
            (tunnel.stopped, tunnel.pushed, tunnel.lease) = (true, None, None);
        }
        self.default.let_go(place, &self.tunnels);
    }

    /// Time passes, or anything has changed: the default may be decided.
    pub(crate) fn decide(&mut self, waited: bool) {
        self.default.decide(&self.tunnels, waited);
    }
}

impl TunnelModel {
    /// What it claims; one that the user stopped claims nothing.
    fn claims(&self) -> impl Iterator<Item = IpNet> {
        let pushed = self.pushed.iter().flat_map(|pushed| &pushed.claims);
        self.profile.iter().chain(pushed).copied().filter(|_| !self.stopped)
    }

    /// What may be bound to.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let presented = self.lease.iter().flat_map(|lease| &lease.presented);
        presented.chain(&self.binds).copied()
    }
}

impl RuleModel {
    /// Whether all that it says fits. Before the host has chosen a source, IPv4 asks with 0.0.0.0.
    fn matches(&self, question: &Question) -> bool {
        let any = |nets: &[IpNet], address: IpAddr| nets.is_empty() || nets.iter().any(|net| net.contains(&address));
        let source = question.source.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let ports = matches!(question.protocol, 6 | 17);
        any(&self.to, question.destination)
            && any(&self.from, source)
            && self.protocol.is_none_or(|protocol| protocol == question.protocol)
            && self.ports.is_none_or(|(first, last)| ports && (first..=last).contains(&question.port))
    }

    fn is_for_everything(&self) -> bool {
        self.to.is_empty() && self.from.is_empty() && self.protocol.is_none() && self.ports.is_none()
    }
}

#[cfg(test)]
mod tests;
