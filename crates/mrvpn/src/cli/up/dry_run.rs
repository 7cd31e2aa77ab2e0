//! `mrvpn up --dry-run`: what would be done to this host before the first tunnel connects, one step a line, in order. It
//! asks the same values that the engine asks (the place, the fleet's first plan, the difference to what stands); nothing
//! is changed, and nothing needs a right that the caller has not.

use mrvpn_engine::driver::clock;
use mrvpn_engine::{EngineConfig, Fleet, Request};
use mrvpn_host::LinuxHost;
use mrvpn_netplan::{Host, Plan, diff};

use super::place;
use crate::cli::answer;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::state::StateDirectory;

pub(super) fn run(instance: &Instance, mut config: EngineConfig) -> Result<u8, Failure> {
    let left = mrvpn_host::leftover(&instance.places()).map_err(place::failed)?;
    let (free, facts) = place::look(instance, &config)?;
    let chosen = match left {
        Some(left) => place::taken_over(left.scope, instance, &config),
        None => free,
    };
    config.scope = chosen.scope.clone();
    let mut host = LinuxHost::new().map_err(place::failed)?.with_scope(&chosen.scope);
    let standing = host.standing(&chosen.scope).map_err(place::failed)?;
    let sessions = host.sessions().unwrap_or_default();
    let (memory, damaged) = StateDirectory::of(instance.name()).recall();
    let fleet = Fleet::new(config, memory, facts, sessions, [0; 32], clock::now());
    let plan = first_plan(fleet.map_err(|error| Failure::failed(error.to_string()))?);
    super::tell_notes(&chosen.passed_over);
    super::tell_notes(&damaged.into_iter().collect::<Vec<_>>());
    answer(&lines(&standing, plan.as_ref()).join("\n"));
    Ok(0)
}

/// What stands before the first datagram leaves.
fn first_plan(mut fleet: Fleet) -> Option<Plan> {
    let mut last = None;
    while let Some(request) = fleet.poll_request() {
        match request {
            Request::Plan(plan) => last = Some(plan),
            Request::Tunnel { .. } | Request::Policy(_) | Request::Remember(_) | Request::Event(_) => {}
        }
    }
    last
}

fn lines(standing: &Plan, plan: Option<&Plan>) -> Vec<String> {
    let Some(plan) = plan else { return vec![String::from("nothing would be changed")] };
    let device = format!("open interface {}", plan.scope.device);
    std::iter::once(device).chain(diff(standing, plan).iter().map(ToString::to_string)).collect()
}
