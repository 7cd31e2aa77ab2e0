//! The firewall from one plan to another. What others hang on, such as who may use an address, stands before it is needed
//! and until it is not; the fence refuses at each moment only what is captured. Where nothing shall stand in the end it goes
//! with its tables, last: then nothing has to be made so that something can be taken down. When the lines change is
//! [`mod@crate::diff`]'s.

use crate::fence::Fence;
use crate::firewall::Firewall;
use crate::plan::{Plan, Step};

/// Steps before all lines change, and after.
pub(super) struct FirewallSteps {
    pub(super) first: Vec<Step>,
    pub(super) last: Vec<Step>,
}

impl FirewallSteps {
    pub(super) fn between(from: &Plan, to: &Plan) -> Self {
        let between = between(from, to);
        Self { first: set(from.firewall.as_ref(), between.as_ref()), last: set(between.as_ref(), to.firewall.as_ref()) }
    }
}

/// What stands while the lines change.
fn between(from: &Plan, to: &Plan) -> Option<Firewall> {
    if from.rules == to.rules && from.routes == to.routes {
        return to.firewall.clone();
    }
    match (&from.firewall, &to.firewall) {
        (Some(old), Some(new)) => Some(new.with_fence(old.fence.both(&new.fence))),
        (None, Some(new)) => Some(new.with_fence(Fence::default())),
        (old, None) => old.clone(),
    }
}

fn set(from: Option<&Firewall>, to: Option<&Firewall>) -> Vec<Step> {
    let boxed = |firewall: Option<&Firewall>| firewall.cloned().map(Box::new);
    let step = || Step::SetFirewall { from: boxed(from), to: boxed(to) };
    (from != to).then(step).into_iter().collect()
}
