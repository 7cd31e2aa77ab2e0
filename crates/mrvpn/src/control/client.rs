//! A command's end of the control socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Request, Response};
use crate::failure::Failure;

/// 10 s: an engine that does not answer by then does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// 4 MiB: the longest answer that is read.
const ANSWER_LIMIT: u64 = 4 * 1024 * 1024;

/// An open connection to an engine.
pub(crate) struct Connection {
    stream: UnixStream,
}

impl Connection {
    /// Connects; `None` where no engine listens.
    pub(crate) fn open(socket: &Path) -> Result<Option<Self>, Failure> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(None),
            Err(error) if error.kind() == PermissionDenied => {
                Err(Failure::failed(format!("{}: {error}", socket.display())).hint("run it with sudo"))
            }
            Err(error) => Err(Failure::failed(format!("{}: {error}", socket.display()))),
        }
    }

    /// Asks and reads the answer.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Response, Failure> {
        let gone = |_| Failure::failed("the engine does not answer").hint("`mrvpn down` cleans up after a killed one");
        self.stream.set_read_timeout(Some(PATIENCE)).map_err(gone)?;
        let mut line = serde_json::to_string(&request).unwrap_or_default();
        line.push('\n');
        self.stream.write_all(line.as_bytes()).map_err(gone)?;
        let mut answer = String::new();
        BufReader::new((&self.stream).take(ANSWER_LIMIT)).read_line(&mut answer).map_err(gone)?;
        match serde_json::from_str(&answer) {
            Ok(Response::Refused { why }) => Err(Failure::failed(why)),
            Ok(response) => Ok(response),
            Err(_) => Err(Failure::failed("the engine answers in another language")
                .hint("program and engine must be of the same version")),
        }
    }

    /// Waits until the engine is gone; `false` where it is still there after `limit`.
    pub(crate) fn wait_for_end(mut self, limit: Duration) -> bool {
        let _ = self.stream.set_read_timeout(Some(limit));
        let mut rest = [0; 64];
        matches!(self.stream.read(&mut rest), Ok(0))
    }
}
