//! Clients of a control socket that never finish what they say: many at once, each opened again when it is closed.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::arguments::Arguments;

/// Pause between two rounds over all of them.
const PAUSE: Duration = Duration::from_millis(5);

/// So many are opened in a round: others of this machine must get their turn.
const ROUND: usize = 25;

/// Keeps `--count` connections to `--socket` half open until the file `--stop` is there.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let (socket, stop): (PathBuf, PathBuf) = (arguments.need("socket")?, arguments.need("stop")?);
    let count: usize = arguments.need("count")?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|error| format!("so many files: {error}"))?;
    let mut clients: Vec<UnixStream> = Vec::new();
    let (mut opened, mut closed, mut refused, mut most) = (0_u64, 0_u64, 0_u64, 0);
    while !stop.exists() {
        let before = clients.len();
        clients.retain_mut(is_open);
        closed += (before - clients.len()) as u64;
        for _ in 0..ROUND.min(count - clients.len()) {
            match half_open(&socket) {
                Ok(client) => {
                    opened += 1;
                    clients.push(client);
                }
                Err(_) => refused += 1,
            }
        }
        most = most.max(clients.len());
        thread::sleep(PAUSE);
    }
    Ok(json!({"opened": opened, "closed": closed, "refused": refused, "most": most}))
}

fn half_open(socket: &PathBuf) -> std::io::Result<UnixStream> {
    let mut client = UnixStream::connect(socket)?;
    client.set_nonblocking(true)?;
    client.write_all(b"{\"sta")?;
    Ok(client)
}

fn is_open(client: &mut UnixStream) -> bool {
    match client.read(&mut [0; 512]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
