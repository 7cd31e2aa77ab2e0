//! Steps of the host in a few words, for the log. Values alone; what they do is `host`'s.

use mrvpn_netplan::Step;

/// Steps that are named; the others are counted.
const NAMED: usize = 3;

/// Names the first steps and counts the rest.
pub(super) fn steps(steps: &[Step]) -> String {
    let mut named: Vec<String> = steps.iter().take(NAMED).map(step).collect();
    let rest = steps.len().saturating_sub(NAMED);
    if rest > 0 {
        named.push(format!("{rest} more"));
    }
    named.join(", ")
}

fn step(step: &Step) -> String {
    match step {
        Step::AddAddress { device, address, .. } => format!("address {address} on {device}"),
        Step::RemoveAddress { device, address, .. } => format!("no address {address} on {device}"),
        Step::AddRoute(route) => format!("route {} in table {}", route.prefix, route.table),
        Step::RemoveRoute(route) => format!("no route {} in table {}", route.prefix, route.table),
        Step::AddRule(rule) => format!("policy rule {}", rule.priority),
        Step::RemoveRule(rule) => format!("no such policy rule {}", rule.priority),
        Step::SetFirewall { to: Some(firewall), .. } => format!("nftables table {}", firewall.table),
        Step::SetFirewall { to: None, .. } => "no nftables table".to_owned(),
        Step::HoldSetting(_) => "src_valid_mark".to_owned(),
        Step::ReleaseSetting(_) => "src_valid_mark as it was".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_are_named_and_the_others_counted() {
        let add = |last: u8| Step::AddAddress {
            device: "mrvpn0".to_owned(),
            address: std::net::IpAddr::from([10, 0, 0, last]).into(),
            deprecated: false,
        };
        let all: Vec<Step> = (1..=5).map(add).collect();
        assert_eq!(steps(&all[..1]), "address 10.0.0.1/32 on mrvpn0");
        assert_eq!(steps(&all[..3]).matches("address").count(), 3);
        assert!(steps(&all[..4]).ends_with(", 1 more"));
        assert!(steps(&all).ends_with(", 2 more"));
    }
}
