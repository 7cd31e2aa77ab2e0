//! `mrvpn status`: what stands, as JSON or for people.

use super::{answer, summary};
use crate::control::client::Connection;
use crate::control::{Request, Response};
use crate::failure::{Failure, NOT_RUNNING};
use crate::instance::Instance;

/// What is printed where no engine runs (contract.md section 1).
const NOTHING: &str = r#"{"state":"down","tunnels":[]}"#;

pub(super) fn run(json: bool, named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_reach(named)?;
    let Some(mut connection) = Connection::open(&instance.socket())? else {
        answer(if json { NOTHING } else { "down: no engine runs (`mrvpn up PROFILE...` starts one)" });
        return Ok(NOT_RUNNING);
    };
    let Response::Status { status } = connection.ask(Request::Status)? else {
        return Err(Failure::failed("the engine did not answer with its status"));
    };
    if json {
        let text = serde_json::to_string(&status).map_err(|error| Failure::failed(error.to_string()))?;
        answer(&text);
    } else {
        answer(&summary::status(&status));
    }
    Ok(0)
}
