//! The engine's end of the control socket. Limits: 64 clients, 5 s for a whole request, 64 KiB a message
//! (contract.md section 1, "Who may").

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_engine::Command;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::{REQUEST_LIMIT, Request, Response};

/// Clients at once; one more waits.
const CLIENTS: usize = 64;
/// Time for a whole request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the socket; any caller may connect, and is then judged.
pub(crate) fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves callers until the engine ends.
pub(crate) async fn serve(listener: UnixListener, commands: mpsc::Sender<Command>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let commands = commands.clone();
                tokio::spawn(async move {
                    serve_one(stream, commands).await;
                    drop(place);
                });
            }
            // Out of descriptors, perhaps: rest, so that this is no busy loop.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve_one(mut stream: UnixStream, commands: mpsc::Sender<Command>) {
    let caller = stream.peer_cred().map(|cred| Caller::judge(cred.uid())).unwrap_or(Caller::Stranger);
    let request = match timeout(PATIENCE, read(&mut stream)).await {
        Ok(Ok(request)) => request,
        Ok(Err(why)) => return answer(&mut stream, &Response::Refused { why }).await,
        Err(_) => return,
    };
    let ending = request == Request::Down && caller == Caller::Owner;
    let response = match (request, caller) {
        (Request::Status, Caller::Owner | Caller::Starter) => status(&commands).await,
        (Request::Down, Caller::Owner) => match commands.send(Command::Shutdown).await {
            Ok(()) => Response::Ending,
            Err(_) => Response::Refused { why: "the engine is ending already".to_owned() },
        },
        (Request::Down, Caller::Starter) => refused("only root and the engine's user may end it; use sudo"),
        (Request::Status | Request::Down, Caller::Stranger) => refused("this engine belongs to another user; use sudo"),
    };
    answer(&mut stream, &response).await;
    if ending {
        // The connection ends with the process: that is how `down` knows.
        std::future::pending::<()>().await;
    }
}

fn refused(why: &str) -> Response {
    Response::Refused { why: why.to_owned() }
}

async fn status(commands: &mpsc::Sender<Command>) -> Response {
    let (sender, receiver) = oneshot::channel();
    if commands.send(Command::Status(sender)).await.is_err() {
        return refused("the engine is ending");
    }
    match receiver.await {
        Ok(status) => Response::Status { status: Box::new(status) },
        Err(_) => refused("the engine is ending"),
    }
}

async fn read(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = String::new();
    let limit = u64::try_from(REQUEST_LIMIT).unwrap_or(u64::MAX);
    let mut reader = BufReader::new(stream.take(limit));
    reader.read_line(&mut line).await.map_err(|_| "the request is not text".to_owned())?;
    if !line.ends_with('\n') {
        return Err(format!("a request is one line of at most {REQUEST_LIMIT} bytes"));
    }
    serde_json::from_str(&line).map_err(|_| "unknown request: are both programs of the same version?".to_owned())
}

async fn answer(stream: &mut UnixStream, response: &Response) {
    let Ok(mut line) = serde_json::to_string(response) else { return };
    line.push('\n');
    let _ = timeout(PATIENCE, stream.write_all(line.as_bytes())).await;
}

/// Who calls, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// Root or the engine's own user: may do all.
    Owner,
    /// Who started it by sudo: may read.
    Starter,
    /// Anyone else.
    Stranger,
}

impl Caller {
    fn judge(uid: u32) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let starter = std::env::var("SUDO_UID").ok().and_then(|text| text.parse::<u32>().ok());
        if uid == 0 || uid == own {
            Self::Owner
        } else if starter == Some(uid) {
            Self::Starter
        } else {
            Self::Stranger
        }
    }
}
