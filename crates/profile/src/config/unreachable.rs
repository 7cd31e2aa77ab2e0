//! Rules that no flow can reach, for an earlier rule takes all that they match. Said only when it is certain: a rule that
//! several earlier ones cover together is not found unless one of them covers each of its fields. Which rule a flow takes
//! is the router's `pick`; here are the same fields as written.

use ipnet::IpNet;

use super::{Ports, Rule};

/// A rule that no flow can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Its place among the rules, from 0.
    pub rule: usize,
    /// The place of the earlier rule that takes all that it matches.
    pub taken_by: usize,
}

/// The rules of `rules` that no flow can reach, in their order, each with the first rule that takes its flows.
#[must_use]
pub fn unreachable(rules: &[Rule]) -> Vec<Unreachable> {
    let fields: Vec<Fields> = rules.iter().map(Fields::of).collect();
    let places = fields.iter().enumerate();
    let taken = places.filter_map(|(place, rule)| {
        let earlier = fields.get(..place)?;
        let taken_by = earlier.iter().position(|first| first.cover(rule))?;
        Some(Unreachable { rule: place, taken_by })
    });
    taken.collect()
}

/// What a rule matches, with neighbours joined and what is left out written out.
struct Fields {
    to: Vec<IpNet>,
    from: Vec<IpNet>,
    /// `None`: any protocol.
    proto: Option<Vec<u8>>,
    /// `None`: any port, and none.
    ports: Option<Vec<Ports>>,
}

impl Fields {
    fn of(rule: &Rule) -> Self {
        let ports = joined(&rule.port);
        // With ports, a rule that names no protocol is for those that have ports.
        let proto = if rule.proto.is_empty() && ports.is_some() { WITH_PORTS.to_vec() } else { rule.proto.clone() };
        Self { to: nets(&rule.to), from: nets(&rule.from), proto: Some(proto).filter(|list| !list.is_empty()), ports }
    }

    /// Whether all that `other` matches is matched here.
    fn cover(&self, other: &Self) -> bool {
        let proto = match (&self.proto, &other.proto) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs.iter().all(|proto| mine.contains(proto)),
        };
        let ports = match (&self.ports, &other.ports) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs.iter().all(|ports| mine.iter().any(|range| inside(*ports, *range))),
        };
        proto && ports && contain(&self.to, &other.to) && contain(&self.from, &other.from)
    }
}

/// Everything where nothing is named; neighbours joined.
fn nets(named: &[IpNet]) -> Vec<IpNet> {
    if named.is_empty() {
        return EVERYTHING.iter().filter_map(|net| net.parse().ok()).collect();
    }
    IpNet::aggregate(&named.to_vec())
}

fn contain(mine: &[IpNet], theirs: &[IpNet]) -> bool {
    theirs.iter().all(|net| mine.iter().any(|range| range.contains(net)))
}

/// The ranges in order, those that touch joined.
fn joined(ports: &[Ports]) -> Option<Vec<Ports>> {
    let mut sorted = ports.to_vec();
    sorted.sort_by_key(|range| range.first);
    let mut joined: Vec<Ports> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => before.last = before.last.max(range.last),
            Some(_) | None => joined.push(range),
        }
    }
    Some(joined).filter(|list| !list.is_empty())
}

const fn inside(ports: Ports, range: Ports) -> bool {
    range.first <= ports.first && ports.last <= range.last
}

const EVERYTHING: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// TCP, UDP, DCCP and SCTP: with ports, a rule matches these alone.
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of the rules that no flow can reach, and of those that take their flows.
    fn found(rules: &[&str]) -> Vec<(usize, usize)> {
        let tunnel = "[[tunnel]]\nname = \"uk\"\nprofile = \"uk.ovpn\"\n";
        let rules = rules.iter().map(|rule| format!("[[rule]]\nvia = \"uk\"\n{rule}\n"));
        let text = format!("{tunnel}{}", rules.collect::<String>());
        let config = crate::config::parse(&text).unwrap();
        unreachable(&config.rules).into_iter().map(|found| (found.rule, found.taken_by)).collect()
    }

    #[test]
    fn a_rule_behind_a_wider_one_is_found_with_the_rule_that_takes_its_flows() {
        assert_eq!(found(&["to = \"10.0.0.0/8\"", "to = \"10.1.0.0/16\""]), [(1, 0)]);
        assert_eq!(found(&["to = \"10.1.0.0/16\"", "to = \"10.0.0.0/8\""]), []);
        assert_eq!(found(&["", "to = \"10.1.0.0/16\"", "proto = \"udp\""]), [(1, 0), (2, 0)]);
        assert_eq!(found(&["to = [\"10.0.0.0/9\", \"10.128.0.0/9\"]", "to = \"10.0.0.0/8\""]), [(1, 0)]);
        assert_eq!(found(&["to = [\"0.0.0.0/0\", \"::/0\"]", "from = \"10.0.0.1\""]), [(1, 0)]);
        assert_eq!(found(&["to = \"0.0.0.0/0\"", ""]), [], "IPv6 still reaches it");
        assert_eq!(found(&["from = \"10.0.0.1\"", "to = \"10.1.0.0/16\""]), []);
        assert_eq!(found(&["to = \"10.0.0.0/8\"", "to = [\"10.1.0.0/16\", \"192.0.2.0/24\"]"]), []);
    }

    #[test]
    fn protocols_and_ports_must_be_covered_too() {
        assert_eq!(found(&["proto = \"tcp\"", "proto = \"tcp\"\nport = 443"]), [(1, 0)]);
        assert_eq!(found(&["proto = \"tcp\"\nport = 443", "proto = \"tcp\""]), []);
        assert_eq!(found(&["port = [\"1-100\", \"101-200\"]", "port = \"50-150\"\nproto = \"udp\""]), [(1, 0)]);
        assert_eq!(found(&["port = 443", "proto = \"icmp\""]), [], "what has no port is not matched by ports");
        assert_eq!(found(&["port = \"1-65535\"", ""]), []);
        assert_eq!(found(&["proto = [\"tcp\", \"udp\"]", "port = 443"]), [], "SCTP has ports as well");
        assert_eq!(found(&["proto = [\"tcp\", \"udp\", 33, 132]", "port = 443"]), [(1, 0)]);
        assert_eq!(found(&["proto = \"icmp\"", "proto = 58"]), [(1, 0)]);
    }
}
