//! Addresses of the interface from one plan to another. The first IPv4 address is the source of programs that do not bind,
//! and the kernel keeps the order in which addresses were added: where the first one is missing or stands behind others,
//! these are taken away and added again behind it. When that happens is [`mod@crate::diff`]'s.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::plan::{Plan, PlannedAddress, Step};

/// Steps, first those that add, then those that remove.
pub(super) struct AddressSteps {
    pub(super) added: Vec<Step>,
    pub(super) removed: Vec<Step>,
}

impl AddressSteps {
    pub(super) fn between(from: &Plan, to: &Plan) -> Self {
        let standing: &[PlannedAddress] = if from.scope.device == to.scope.device { &from.addresses } else { &[] };
        let wanted: BTreeSet<&PlannedAddress> = to.addresses.iter().collect();
        let kept: Vec<&PlannedAddress> = standing.iter().filter(|planned| wanted.contains(planned)).collect();
        let changed = changed(standing, to, &wanted);
        let (first, late) = in_front(&kept, to);
        let stays: BTreeSet<&PlannedAddress> = kept.iter().copied().filter(|planned| !late.contains(planned)).collect();
        let missing = |planned: &&PlannedAddress| !stays.contains(planned) && Some(*planned) != first;
        let mut added: Vec<Step> = changed.iter().map(|planned| remove(from, planned)).collect();
        added.extend(first.map(|planned| add(to, planned)));
        added.extend(late.iter().rev().map(|planned| remove(to, planned)));
        added.extend(to.addresses.iter().filter(missing).map(|planned| add(to, planned)));
        let leaves =
            |planned: &&PlannedAddress| standing.is_empty() || !changed.contains(planned) && !wanted.contains(planned);
        let gone = from.addresses.iter().rev().filter(leaves);
        Self { added, removed: gone.map(|planned| remove(from, planned)).collect() }
    }
}

/// The first IPv4 address where it is missing, and those that stand where it has to.
fn in_front<'a>(
    kept: &[&'a PlannedAddress],
    to: &'a Plan,
) -> (Option<&'a PlannedAddress>, BTreeSet<&'a PlannedAddress>) {
    let is_v4 = |planned: &&PlannedAddress| planned.address.addr().is_ipv4();
    let Some(first) = to.addresses.iter().find(is_v4) else { return (None, BTreeSet::new()) };
    let before = kept.iter().copied().filter(is_v4).take_while(|planned| *planned != first).collect();
    ((!kept.contains(&first)).then_some(first), before)
}

/// Those that are wanted otherwise than they stand: the kernel has an address once.
fn changed<'a>(
    standing: &'a [PlannedAddress],
    to: &Plan,
    wanted: &BTreeSet<&PlannedAddress>,
) -> BTreeSet<&'a PlannedAddress> {
    let addresses: BTreeSet<IpAddr> = to.addresses.iter().map(|planned| planned.address.addr()).collect();
    let differs = |planned: &&PlannedAddress| addresses.contains(&planned.address.addr()) && !wanted.contains(planned);
    standing.iter().filter(differs).collect()
}

fn add(plan: &Plan, planned: &PlannedAddress) -> Step {
    Step::AddAddress { device: plan.scope.device.clone(), address: planned.address, deprecated: planned.deprecated }
}

fn remove(plan: &Plan, planned: &PlannedAddress) -> Step {
    add(plan, planned).undo()
}
