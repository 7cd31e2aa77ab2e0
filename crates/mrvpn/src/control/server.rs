//! The engine's end of the control socket: takes connections, judges who calls, and has the request carried out. Places,
//! rights and lengths are decided beside it ([`super::places`], [`super::caller`], [`super::message`]); what a change
//! comes to is [`Running`]'s.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mrvpn_engine::{Command, Event, FlowQuery, Progress, Refused, TunnelVerb};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::caller::{Caller, Judge};
use super::limits::{BACKLOG, CLIENTS, PATIENCE};
use super::message::{self, Line, Received};
use super::peer::Peer;
use super::places::{Admission, Places, Stage};
use super::streams::{self, Followed, Streams};
use super::{Request, Response};
use crate::log_ring::{LogRing, log_events};
use crate::running::{NotDone, Running};

/// What requests are answered from.
pub(crate) struct Serving {
    /// To the engine.
    pub(crate) commands: mpsc::Sender<Command>,
    /// How far the engine is; `status --watch` looks again at each change.
    pub(crate) progress: watch::Receiver<Progress>,
    /// The same sender that the engine got: `events` subscribes to it.
    pub(crate) events: broadcast::Sender<Event>,
    /// The log of this process.
    pub(crate) log: LogRing,
    /// What runs, for those who change it.
    pub(crate) running: Arc<Running>,
}

/// Opens the socket; any caller may connect, and is then judged.
///
/// # Errors
/// The socket cannot be made there.
pub(crate) fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let socket = bound(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))
}

/// A listening socket with a short queue: who floods it waits in the kernel.
fn bound(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Serves callers until the engine ends, and logs what happens meanwhile.
pub(crate) async fn serve(listener: UnixListener, serving: Serving) {
    let logging = log_events(serving.events.subscribe());
    tokio::join!(serve_judged(listener, serving, Judge::here(), PATIENCE), logging);
}

async fn serve_judged(listener: UnixListener, serving: Serving, judge: Judge, patience: Duration) {
    let server = Arc::new(Server {
        serving,
        judge,
        patience,
        places: Mutex::new(Places::new(CLIENTS)),
        free: Notify::new(),
        streams: Streams::new(),
        one_bundle: Semaphore::new(1),
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => server.welcome(stream).await,
            // Out of descriptors, perhaps: rest, so that this is no busy loop.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        // Who was let in is heard before the next may push it out.
        tokio::task::yield_now().await;
    }
}

struct Server {
    serving: Serving,
    judge: Judge,
    /// For a whole request, and for a whole answer to be taken.
    patience: Duration,
    places: Mutex<Places>,
    free: Notify,
    streams: Streams,
    one_bundle: Semaphore,
}

/// A client's place; free again when dropped.
struct Place {
    server: Arc<Server>,
    number: u64,
}

impl Place {
    fn advance(&self, stage: Stage) {
        self.server.places().advance(self.number, stage, Instant::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.places().leave(self.number);
        self.server.free.notify_one();
    }
}

/// A connection whose caller was judged.
struct Client {
    stream: UnixStream,
    caller: Caller,
}

impl Server {
    /// Judges who calls. Who may do nothing takes no place and is answered at once.
    async fn welcome(self: &Arc<Self>, stream: UnixStream) {
        let Ok(peer) = Peer::of(&stream) else { return };
        let caller = self.judge.judge(&peer);
        if caller == Caller::Stranger {
            return message::send_at_once(&stream, &self.judge.refusal(caller, None));
        }
        let (place, closed) = self.place(peer.uid).await;
        tokio::spawn(converse(Client { stream, caller }, place, closed));
    }

    async fn place(self: &Arc<Self>, uid: u32) -> (Place, oneshot::Receiver<()>) {
        loop {
            let admission = self.places().admit(uid, Instant::now());
            match admission {
                Admission::In(number, closed) => return (Place { server: Arc::clone(self), number }, closed),
                Admission::Full(until) => tokio::select! {
                    () = self.free.notified() => {}
                    () = tokio::time::sleep_until(until.into()) => {}
                },
            }
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing that is done under this lock is left half done by a panic.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request that has one.
    async fn answer(&self, received: Received) -> Response {
        let Received { request, bundle } = received;
        let running = &self.serving.running;
        match request {
            Request::Status => match streams::ask_status(&self.serving.commands).await {
                Some(status) => Response::Status { status: Box::new(status) },
                None => ending(),
            },
            Request::Explain { query } => self.explain(query).await,
            Request::Source => Response::Source { source: running.source().await },
            Request::Reload { dry_run, .. } => match running.reload(bundle, dry_run).await {
                Ok(reloaded) => Response::Reloaded { reloaded },
                Err(not) => not_done(not),
            },
            Request::TunnelAdd { .. } => running.add(bundle).await.map_or_else(not_done, done),
            Request::TunnelRemove { name } => running.remove(&name).await.map_or_else(not_done, done),
            Request::TunnelStart { name } => self.tunnel(name, TunnelVerb::Start).await,
            Request::TunnelStop { name } => self.tunnel(name, TunnelVerb::Stop).await,
            Request::TunnelRestart { name } => self.tunnel(name, TunnelVerb::Restart).await,
            Request::Down => match self.serving.commands.send(Command::Shutdown).await {
                Ok(()) => Response::Ending,
                Err(_) => ending(),
            },
            Request::Watch | Request::Events | Request::Logs { .. } => Response::End,
        }
    }

    async fn explain(&self, query: FlowQuery) -> Response {
        let (answer, answered) = oneshot::channel();
        if self.serving.commands.send(Command::Explain { query, answer }).await.is_err() {
            return ending();
        }
        match answered.await {
            Ok(explained) => Response::Explained { explained: Box::new(explained) },
            Err(_) => ending(),
        }
    }

    async fn tunnel(&self, name: String, verb: TunnelVerb) -> Response {
        let (answer, answered) = oneshot::channel();
        if self.serving.commands.send(Command::Tunnel { name, verb, answer }).await.is_err() {
            return ending();
        }
        match answered.await {
            Ok(Ok(message)) => done(message),
            Ok(Err(Refused { message, hint })) => refused(message, Some(hint).filter(|hint| !hint.is_empty())),
            Err(_) => ending(),
        }
    }
}

/// One connection, until it ends or has to make room.
async fn converse(mut client: Client, place: Place, closed: oneshot::Receiver<()>) {
    let must_leave = tokio::select! {
        () = client.serve(place) => false,
        Ok(()) = closed => true,
    };
    if must_leave {
        let why = format!("{CLIENTS} clients ask at once, and others wait for this place");
        message::send_at_once(&client.stream, &refused(why, Some(String::from("try it again"))));
    }
}

impl Client {
    async fn serve(&mut self, place: Place) {
        let server = Arc::clone(&place.server);
        let received = match timeout(server.patience, self.receive(&server)).await {
            Ok(Ok(received)) => received,
            Ok(Err(None)) => return,
            Ok(Err(Some(response))) => return self.answer(&response, &place).await,
            Err(_) => {
                let why = format!("no whole request came within {} s", server.patience.as_secs());
                return message::send_at_once(&self.stream, &refused(why, None));
            }
        };
        place.advance(Stage::Served);
        if let Some(followed) = followed(&received.request) {
            return self.follow(followed, place).await;
        }
        let response = server.answer(received).await;
        self.answer(&response, &place).await;
        if matches!(response, Response::Ending) {
            // The connection ends with the process: that is how `down` knows.
            place.advance(Stage::Served);
            std::future::pending::<()>().await;
        }
    }

    /// The whole request of one who may.
    async fn receive(&mut self, server: &Server) -> Result<Received, Option<Response>> {
        let sentence = |why: Option<String>| why.map(|why| refused(why, None));
        let line: Line = message::line(&mut self.stream).await.map_err(sentence)?;
        let request = line.request().map_err(|why| sentence(Some(why)))?;
        if !self.caller.may(request.right()) {
            return Err(Some(server.judge.refusal(self.caller, Some(&request))));
        }
        let bundle = match request.bundle() {
            Some(length) => {
                message::bundle(&mut self.stream, &line, length, &server.one_bundle).await.map_err(sentence)?
            }
            None => Zeroizing::default(),
        };
        Ok(Received { request, bundle })
    }

    async fn answer(&mut self, response: &Response, place: &Place) {
        place.advance(Stage::Answered { owner: self.caller == Caller::Owner });
        // Whoever does not take its answer in time goes without.
        let _ = timeout(place.server.patience, message::send(&mut self.stream, response)).await;
    }

    async fn follow(&mut self, what: Followed, place: Place) {
        let server = Arc::clone(&place.server);
        let Some(_taken) = server.streams.take(self.caller) else {
            let why = String::from("too many clients follow this engine already");
            return self.answer(&refused(why, Some(String::from("end one of them"))), &place).await;
        };
        drop(place);
        streams::follow(&mut self.stream, what, &server.serving, server.patience).await;
    }
}

/// What a request follows, if it does.
fn followed(request: &Request) -> Option<Followed> {
    match request {
        Request::Watch => Some(Followed::Status),
        Request::Events => Some(Followed::Events),
        Request::Logs { tunnel, follow } => Some(Followed::Log { tunnel: tunnel.clone(), follow: *follow }),
        Request::Status
        | Request::Explain { .. }
        | Request::Source
        | Request::Reload { .. }
        | Request::TunnelAdd { .. }
        | Request::TunnelRemove { .. }
        | Request::TunnelStart { .. }
        | Request::TunnelStop { .. }
        | Request::TunnelRestart { .. }
        | Request::Down => None,
    }
}

fn done(message: String) -> Response {
    Response::Done { message }
}

fn not_done(not: NotDone) -> Response {
    refused(not.why, not.hint)
}

fn ending() -> Response {
    refused(String::from("the engine is ending"), None)
}

const fn refused(why: String, hint: Option<String>) -> Response {
    Response::Refused { why, hint }
}

#[cfg(test)]
mod tests;
