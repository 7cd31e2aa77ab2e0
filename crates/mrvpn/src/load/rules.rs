//! Rules as written into rules as decided: places of tunnels become their numbers. More of them than this host can capture
//! are refused here, where the file is known.

use ipnet::IpNet;
use mrvpn_netplan::can_be_captured;
use mrvpn_profile::config::{self, Config, Via};
use mrvpn_router::{PortRange, Rule, Target, TunnelId};

/// Why the rules of a file cannot be captured, and what to do.
#[derive(Debug)]
pub(crate) struct TooMany {
    pub(crate) why: String,
    pub(crate) hint: String,
}

/// Every rule of the file, in its order. Names were resolved when the file was parsed.
pub(crate) fn decide(config: &Config) -> Result<Vec<Rule>, TooMany> {
    let rules: Vec<Rule> = config.rules.iter().map(decide_one).collect();
    let bypass: Vec<IpNet> = config.tunnels.iter().flat_map(|tunnel| tunnel.bypass.iter().copied()).collect();
    match can_be_captured(&rules, &bypass) {
        Ok(()) => Ok(rules),
        Err(error) => {
            let text = error.to_string();
            let (why, hint) = text.split_once("; ").unwrap_or((&text, ""));
            Err(TooMany { why: why.to_owned(), hint: hint.to_owned() })
        }
    }
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
