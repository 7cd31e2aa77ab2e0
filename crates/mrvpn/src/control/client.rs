//! A command's end of the control socket. It asks and reads; who may is the engine's to judge.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Request, Response};
use crate::failure::Failure;

/// 10 s: an engine that does not answer by then does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// 60 s: the same where files come along, and a host is changed.
const PATIENCE_WITH_FILES: Duration = Duration::from_secs(60);
/// 64 MiB: the longest answer that is read.
const ANSWER_LIMIT: u64 = 64 * 1024 * 1024;

/// An open connection to an engine. It asks once.
pub(crate) struct Connection {
    stream: UnixStream,
}

/// What follows a request that has many answers.
pub(crate) struct Answers {
    reader: BufReader<UnixStream>,
    /// What has come of a line that is not whole.
    begun: Vec<u8>,
}

/// One step of [`Answers`].
pub(crate) enum Next {
    /// It came.
    Answer(Box<Response>),
    /// Nothing came for as long as one would wait.
    Quiet,
    /// There is no more, or the engine is gone.
    End,
}

impl Connection {
    /// Connects; `None` where no engine listens.
    pub(crate) fn open(socket: &Path) -> Result<Option<Self>, Failure> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Failure::failed(format!("{}: {error}", socket.display())).hint("type it with sudo"))
            }
            Err(error) => Err(Failure::failed(format!("{}: {error}", socket.display()))),
        }
    }

    /// The engine's process, as the kernel knows it.
    pub(crate) fn process(&self) -> Option<u32> {
        let engine = rustix::net::sockopt::socket_peercred(&self.stream).ok()?;
        u32::try_from(engine.pid.as_raw_pid()).ok()
    }

    /// Asks and reads the answer. What the engine refuses is an error, in its words.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Response, Failure> {
        self.ask_with(request, &[])
    }

    /// As [`Self::ask`]; the bundle's bytes follow the request, which says how many they are.
    pub(crate) fn ask_with(&mut self, request: &Request, bundle: &[u8]) -> Result<Response, Failure> {
        let patience = if request.bundle().is_some() { PATIENCE_WITH_FILES } else { PATIENCE };
        self.send(request, bundle, patience)?;
        let mut answer = Vec::new();
        let mut reader = BufReader::new((&self.stream).take(ANSWER_LIMIT));
        reader.read_until(b'\n', &mut answer).map_err(|_| silent())?;
        understood(&answer)
    }

    /// Asks for what has many answers.
    pub(crate) fn follow(self, request: &Request) -> Result<Answers, Failure> {
        self.send(request, &[], PATIENCE)?;
        Ok(Answers { reader: BufReader::new(self.stream), begun: Vec::new() })
    }

    fn send(&self, request: &Request, bundle: &[u8], patience: Duration) -> Result<(), Failure> {
        self.stream.set_read_timeout(Some(patience)).map_err(|_| silent())?;
        self.stream.set_write_timeout(Some(patience)).map_err(|_| silent())?;
        let mut line = serde_json::to_vec(request).unwrap_or_default();
        line.push(b'\n');
        match (&self.stream).write_all(&line).and_then(|()| (&self.stream).write_all(bundle)) {
            // Who may do nothing is answered before it asks, and the connection closed: the answer can still be read.
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Err(silent()),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// Waits until the engine is gone; `false` where it is still there after `limit`.
    pub(crate) fn wait_for_end(mut self, limit: Duration) -> bool {
        let _ = self.stream.set_read_timeout(Some(limit));
        let mut rest = [0; 64];
        match self.stream.read(&mut rest) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

impl Answers {
    /// The next answer, waited for as long as `limit`, or for ever.
    pub(crate) fn next(&mut self, limit: Option<Duration>) -> Result<Next, Failure> {
        self.reader.get_ref().set_read_timeout(limit).map_err(|_| silent())?;
        let room = ANSWER_LIMIT.saturating_sub(u64::try_from(self.begun.len()).unwrap_or(ANSWER_LIMIT));
        match (&mut self.reader).take(room).read_until(b'\n', &mut self.begun) {
            Ok(0) => Ok(Next::End),
            Ok(_) => {
                let response = understood(&std::mem::take(&mut self.begun))?;
                Ok(if matches!(response, Response::End) { Next::End } else { Next::Answer(Box::new(response)) })
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(Next::Quiet),
            Err(_) => Ok(Next::End),
        }
    }
}

fn understood(answer: &[u8]) -> Result<Response, Failure> {
    if answer.is_empty() {
        return Err(silent());
    }
    match serde_json::from_slice(answer) {
        Ok(Response::Refused { why, hint }) => Err(Failure::failed(why).hint(hint.unwrap_or_default())),
        Ok(response) => Ok(response),
        Err(_) => Err(unexpected()),
    }
}

fn silent() -> Failure {
    Failure::failed("the engine does not answer").hint("try again; `mrvpn down` cleans up after a killed one")
}

/// An answer that does not belong to the question.
pub(crate) fn unexpected() -> Failure {
    Failure::failed("the engine answers in another language").hint("program and engine must be of the same version")
}
