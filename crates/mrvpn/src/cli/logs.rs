//! `mrvpn logs`: the engine's own log, oldest line first. The engine keeps it; nothing here reads a file.

use super::print_line;
use crate::control::client::{Answers, Connection, Next, unexpected};
use crate::control::{Request, Response};
use crate::failure::{FAILED, Failure};
use crate::instance::Instance;

pub(super) fn run(tunnel: Option<&str>, follow: bool, named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_reach(named)?;
    if let Some(name) = tunnel {
        must_be_known(&instance, name)?;
    }
    let request = Request::Logs { tunnel: tunnel.map(str::to_owned), follow };
    let mut answers = open(&instance)?.follow(&request)?;
    while let Some(line) = next_line(&mut answers)? {
        if !print_line(&line) {
            return Ok(FAILED);
        }
    }
    Ok(0)
}

fn open(instance: &Instance) -> Result<Connection, Failure> {
    Connection::open(&instance.socket())?.ok_or_else(super::no_engine)
}

/// A mistyped name must not look as if there were nothing to say.
fn must_be_known(instance: &Instance, name: &str) -> Result<(), Failure> {
    let Response::Status { status } = open(instance)?.ask(&Request::Status)? else { return Err(unexpected()) };
    let names: Vec<&str> = status.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let asked = mrvpn_profile::escape(name.as_bytes());
    Err(Failure::usage(format!("no tunnel is called {asked}")).hint(format!("there are: {}", names.join(", "))))
}

fn next_line(answers: &mut Answers) -> Result<Option<String>, Failure> {
    loop {
        match answers.next(None)? {
            Next::Answer(response) => {
                let Response::Log { line } = *response else { return Err(unexpected()) };
                return Ok(Some(line));
            }
            Next::Quiet => {}
            Next::End => return Ok(None),
        }
    }
}
