//! `mrvpn down`: ends the engine and waits until the host is as it was; cleans up where the engine was killed.

use std::time::Duration;

use mrvpn_host::Cleaned;
use mrvpn_netplan::HostError;

use super::answer;
use super::up::place::failed;
use crate::control::client::{Connection, unexpected};
use crate::control::{Request, Response};
use crate::failure::Failure;
use crate::instance::Instance;

/// 15 s: an engine that has not ended by then does not end.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn run(named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_take_down(named)?;
    let Some(mut connection) = Connection::open(&instance.socket())? else { return clean(&instance) };
    let process = connection.process().map(|process| process.to_string()).unwrap_or_default();
    let Response::Ending = connection.ask(&Request::Down)? else { return Err(unexpected()) };
    if connection.wait_for_end(PATIENCE) {
        answer("down: the host is as before");
        return Ok(0);
    }
    Err(Failure::failed(format!("the engine, process {process}, has not ended within 15 s"))
        .hint(format!("`kill -9 {process}`, then `mrvpn down` cleans up")))
}

/// Nobody listens. What a killed engine left is removed; where nothing is left this is fine too.
fn clean(instance: &Instance) -> Result<u8, Failure> {
    if instance.is_running() {
        return Err(Failure::failed(format!("instance {} is starting or ending; try again", instance.name())));
    }
    let lock = instance.lock_if_there()?;
    let places = instance.places();
    let left = mrvpn_host::leftover(&places).map_err(failed)?;
    let cleaned = left.map(|left| mrvpn_host::clean(&places, &left)).transpose().map_err(failed)?;
    let swept = match mrvpn_host::sweep(&places.shared) {
        // Who may not change the network has left nothing in it, and cannot see all of what others have.
        Err(HostError::NotPermitted { .. }) if cleaned.is_none() => {
            answer("no engine of this user is up");
            return Ok(0);
        }
        swept => swept.map_err(failed)?,
    };
    drop(lock);
    answer(&removed(&cleaned.unwrap_or_default(), swept));
    Ok(0)
}

/// What was removed, in words.
fn removed(cleaned: &Cleaned, swept: usize) -> String {
    let counted = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let parts: Vec<String> = [
        cleaned.device.then(|| String::from("its interface")),
        cleaned.firewall.then(|| String::from("its nftables tables")),
        counted(cleaned.rules, "policy rule", "policy rules"),
        counted(cleaned.routes, "route", "routes"),
        counted(cleaned.settings, "kernel setting given back", "kernel settings given back"),
        counted(swept, "route or rule without a journal", "routes and rules without a journal"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        return String::from("nothing is up");
    }
    format!("removed what a killed engine had left: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_said_in_words() {
        assert_eq!(removed(&Cleaned::default(), 0), "nothing is up");
        let cleaned = Cleaned { rules: 1, routes: 12, settings: 0, firewall: true, device: true };
        assert_eq!(
            removed(&cleaned, 0),
            "removed what a killed engine had left: its interface, its nftables tables, 1 policy rule, 12 routes"
        );
    }
}
