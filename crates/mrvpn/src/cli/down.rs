//! `mrvpn down`: ends the engine and waits until the host is as it was; cleans up where the engine was killed.

use std::time::Duration;

use super::answer;
use crate::control::client::Connection;
use crate::control::{Request, Response};
use crate::failure::Failure;
use crate::instance::Instance;

/// 15 s: an engine that has not ended by then does not end.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn run(named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_reach(named)?;
    let Some(mut connection) = Connection::open(&instance.socket())? else { return clean(&instance) };
    match connection.ask(Request::Down)? {
        Response::Ending | Response::Status { .. } | Response::Refused { .. } => {}
    }
    if connection.wait_for_end(PATIENCE) {
        answer("down: the host is as before");
        return Ok(0);
    }
    Err(Failure::failed("the engine has not ended within 15 s").hint("end its process, then `mrvpn down` cleans up"))
}

/// Nobody listens. What a killed engine left is removed; where nothing is left this is fine too.
fn clean(instance: &Instance) -> Result<u8, Failure> {
    if instance.is_running() {
        return Err(Failure::failed(format!("instance {} is starting or ending; try again", instance.name())));
    }
    let left = mrvpn_host::sweep(&crate::instance::base()).map_err(|error| Failure::failed(error.to_string()))?;
    answer(if left == 0 { "nothing is up" } else { "removed what a killed engine had left" });
    Ok(0)
}
