//! Rules as written into rules as decided: places of tunnels become their numbers.

use mrvpn_profile::config::{self, Config, Via};
use mrvpn_router::{PortRange, Rule, Target, TunnelId};

/// Every rule of the file, in its order. Names were resolved when the file was parsed.
pub(super) fn decide(config: &Config) -> Vec<Rule> {
    config.rules.iter().map(decide_one).collect()
}

fn decide_one(rule: &config::Rule) -> Rule {
    Rule {
        name: rule.name.clone(),
        to: rule.to.clone(),
        from: rule.from.clone(),
        proto: rule.proto.clone(),
        port: rule.port.iter().map(|port| PortRange { first: port.first, last: port.last }).collect(),
        via: target(&rule.via),
    }
}

/// The configuration has 1,000 tunnels at most, so that a place always is a number.
fn target(via: &Via) -> Target {
    match via {
        Via::Tunnel(place) => u16::try_from(*place).map_or(Target::Block, |place| Target::Tunnel(TunnelId::new(place))),
        Via::Direct => Target::Direct,
        Via::Block => Target::Block,
    }
}
