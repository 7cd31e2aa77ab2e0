//! Which place of the network namespace an engine takes: that of a killed engine of its instance, else the lowest that is
//! free. Engines choose one after another, and the choice is written down before the next one chooses. What a place is,
//! and what is in the way, is `netplan`'s; what a killed engine has left, `host`'s.

use mrvpn_engine::EngineConfig;
use mrvpn_host::LinuxHost;
use mrvpn_netplan::slot::{self, SlotInput};
use mrvpn_netplan::{Host, HostError, HostFacts, Scope, SlotChoice};
use rustix::thread::{CapabilitySet, capabilities};

use crate::failure::Failure;
use crate::instance::Instance;
use crate::load;

/// A place that is taken.
pub(in crate::cli) struct Place {
    /// The host, with the journal of this engine.
    pub(in crate::cli) host: LinuxHost,
    /// Names and numbers of the place.
    pub(in crate::cli) scope: Scope,
    /// What the user should know.
    pub(in crate::cli) warnings: Vec<String>,
}

/// Takes a place. Only for who holds the instance's lock.
pub(in crate::cli) fn take(instance: &Instance, config: &EngineConfig) -> Result<Place, Failure> {
    let places = instance.places();
    let choosing = mrvpn_host::lock_namespace(&places.shared).map_err(failed)?;
    let chosen = choose(instance, config)?;
    let host = LinuxHost::new().and_then(|host| host.with_journal(&chosen.scope, &places)).map_err(failed)?;
    drop(choosing);
    Ok(Place { host, scope: chosen.scope, warnings: chosen.passed_over })
}

/// The place of what a killed engine left; else, what has no journal being swept away, the lowest free one.
fn choose(instance: &Instance, config: &EngineConfig) -> Result<SlotChoice, Failure> {
    if let Some(left) = mrvpn_host::leftover(&instance.places()).map_err(failed)? {
        return Ok(taken_over(left.scope, instance, config));
    }
    mrvpn_host::sweep(&instance.places().shared).map_err(failed)?;
    look(instance, config).map(|(chosen, _)| chosen)
}

/// The same place again, whatever the file says now: what stands there is taken over without a gap.
pub(super) fn taken_over(scope: Scope, instance: &Instance, config: &EngineConfig) -> SlotChoice {
    let wanted = load::scope_at(scope.slot, instance.name(), config);
    let other = (wanted != scope).then(|| {
        format!(
            "a killed engine of this instance is taken over with its interface {} and priorities from {}; what the file \
             says takes effect with `mrvpn down` and `mrvpn up`",
            scope.device, scope.rule_priority
        )
    });
    SlotChoice { scope, passed_over: other.into_iter().collect() }
}

/// The lowest free place, and what the host looks like; nothing is changed.
pub(super) fn look(instance: &Instance, config: &EngineConfig) -> Result<(SlotChoice, HostFacts), Failure> {
    let mut host = LinuxHost::new().map_err(failed)?;
    let facts = host.facts().map_err(failed)?;
    let devices = host.device_names().map_err(failed)?;
    let chosen = slot::choose(&SlotInput {
        instance: instance.name(),
        rule_priority: config.scope.rule_priority,
        device: config.interface.as_deref(),
        mark: config.mark,
        held: &mrvpn_host::held_slots(&instance.places()),
        facts: &facts,
        devices: &devices,
    });
    Ok((chosen.map_err(|error| Failure::failed(error.to_string()))?, facts))
}

/// Refuses before anything is asked of the user where nothing could be done anyway.
pub(super) fn must_be_permitted() -> Result<(), Failure> {
    if capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN)) {
        return Ok(());
    }
    Err(Failure::failed("needs CAP_NET_ADMIN").hint("run `sudo mrvpn up`"))
}

pub(in crate::cli) fn failed(error: HostError) -> Failure {
    Failure::failed(error.to_string())
}
