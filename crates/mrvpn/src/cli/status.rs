//! `mrvpn status`: what stands, as JSON or for people; once, or again at each change. What it looks like for people is
//! `summary.rs`.

mod rates; // bytes a second from two readings
mod watch; // again at each change

pub(super) use rates::Rate;

use super::{answer, summary};
use crate::control::client::{Connection, unexpected};
use crate::control::{Request, Response};
use crate::failure::{Failure, NOT_RUNNING};
use crate::instance::Instance;

/// What is printed where no engine runs (contract.md section 1).
const NOTHING: &str = r#"{"state":"down","tunnels":[]}"#;
/// The same where one was killed and has left its capture standing.
const LEFT: &str = r#"{"state":"down","tunnels":[],"left":true}"#;

pub(super) fn run(json: bool, watch: bool, named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_reach(named)?;
    if watch {
        return watch::run(json, &instance, named);
    }
    let Some(status) = read(&instance)? else { return Ok(nothing(json, named)) };
    answer(&if json { written(&status)? } else { summary::status(&status, &[]) });
    Ok(0)
}

/// The document, where an engine runs.
fn read(instance: &Instance) -> Result<Option<mrvpn_engine::Status>, Failure> {
    let Some(mut connection) = Connection::open(&instance.socket())? else { return Ok(None) };
    let Response::Status { status } = connection.ask(&Request::Status)? else { return Err(unexpected()) };
    Ok(Some(*status))
}

fn written(status: &mrvpn_engine::Status) -> Result<String, Failure> {
    serde_json::to_string(status).map_err(|error| Failure::failed(error.to_string()))
}

/// Says that no engine runs, and what one that was killed still holds.
fn nothing(json: bool, named: Option<&str>) -> u8 {
    let left = Instance::left_behind(named);
    match (json, left.is_empty()) {
        (true, true) => answer(NOTHING),
        (true, false) => answer(LEFT),
        (false, true) => answer("down: no engine runs (`mrvpn up PROFILE...` starts one)"),
        (false, false) => left.iter().for_each(|instance| answer(&left_standing(instance.as_typed()))),
    }
    NOT_RUNNING
}

/// What a killed engine has left is fail-closed on purpose: it stays until the user says what becomes of it.
fn left_standing((sudo, named): (&str, String)) -> String {
    format!(
        "down: the engine was killed, and what it held is refused until it runs again. `{sudo}mrvpn up{named} ...`, as before, \
         takes it over; `{sudo}mrvpn down{named}` leaves this machine as if mrvpn had never run."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_what_a_killed_engine_left_is_told_what_to_type() {
        let said = left_standing(("sudo ", String::from(" --instance work")));
        assert!(
            said.contains("`sudo mrvpn up --instance work ...`") && said.contains("`sudo mrvpn down --instance work`")
        );
        assert!(left_standing(("", String::new())).contains("`mrvpn down` leaves"));
    }
}
