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

pub(super) fn run(json: bool, watch: bool, named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_reach(named)?;
    if watch {
        return watch::run(json, &instance);
    }
    let Some(status) = read(&instance)? else { return Ok(nothing(json)) };
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

/// Says that no engine runs.
fn nothing(json: bool) -> u8 {
    answer(if json { NOTHING } else { "down: no engine runs (`mrvpn up PROFILE...` starts one)" });
    NOT_RUNNING
}
