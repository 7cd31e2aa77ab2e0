//! A running region: started, asked, stopped. Its threads are [`crate::control`]'s and [`crate::worker`]'s; this is the
//! owner's end.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mrvpn_engine::driver::clock;
use mrvpn_profile::{Digest, KeyDirection};
use mrvpn_proto::server::{Farewell, RustlsAcceptor, Server, ServerConfig, ServerTransport, ServerWrap, TlsAcceptor};
use socket2::{Domain, Protocol, Socket, Type};

use crate::authority::random;
use crate::control::{Beginning, Control, Listener, Outside, Request, Shown};
use crate::device;
use crate::directory::Directory;
use crate::error::RegionError;
use crate::event::{Events, RegionEvent};
use crate::limits::{BUSY, BUSY_PAUSE, EVENTS, UPCALLS};
use crate::seen::{ClientSeen, Losses, Lost};
use crate::spec::{Listen, RegionSpec, Transport, Wrapping};
use crate::udp_port::UdpPort;
use crate::worker::{self, Built};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 256;
/// Numbers of clients that a server may give beyond those that are in: half-open ones, and those that are leaving.
const SPARE_CLIENTS: u32 = 512;

/// A running region. Dropping it stops it in silence, as a killed server ends.
#[derive(Debug)]
pub struct Region {
    spec: RegionSpec,
    requests: SyncSender<Request>,
    wake: Arc<OwnedFd>,
    events: Events,
    shown: Arc<Shown>,
    losses: Arc<Losses>,
    control: Option<JoinHandle<()>>,
}

impl Region {
    /// Starts it in the network namespace of the calling thread: when this returns, clients may come.
    ///
    /// # Errors
    /// The specification cannot be carried out; no TUN device, no port, no thread.
    pub fn start(spec: RegionSpec) -> Result<Self, RegionError> {
        spec.check()?;
        let system = |source| RegionError::System { region: spec.name.clone(), source };
        let workers = spec.worker_count();
        let (ports, sockets) = patiently(|| open_sockets(&spec, workers))?;
        let listeners = listeners(&spec, sockets)?;
        let queues = patiently(|| device::open(&spec, workers))?;
        let peers = u32::from(spec.clients) + SPARE_CLIENTS;
        let directory = Arc::new(Directory::new(spec.clients, spec.listen.len(), peers));
        let (losses, shown) = (Arc::<Losses>::default(), Arc::<Shown>::default());
        let wake = worker::wake_up().map_err(system)?;
        let (upcall_sender, upcalls) = sync_channel(UPCALLS);
        let (event_sender, events) = sync_channel(EVENTS);
        let (requests, request_receiver) = sync_channel(16);
        let built = Built {
            queues,
            ports,
            pool: spec.pool(),
            between_clients: spec.between_clients,
            directory: Arc::clone(&directory),
            upcalls: upcall_sender,
            control: Arc::clone(&wake),
            losses: Arc::clone(&losses),
        };
        let control = Control::new(Beginning {
            spec: spec.clone(),
            directory,
            listeners,
            workers: worker::build(&spec.name, built).map_err(system)?,
            upcalls,
            requests: request_receiver,
            wake: Arc::clone(&wake),
            events: event_sender,
            shown: Arc::clone(&shown),
        });
        let thread = thread::Builder::new().name(format!("{}-control", spec.name));
        let control = thread.spawn(move || control.run()).map_err(system)?;
        Ok(Self { requests, wake, events: Events::new(events), shown, losses, control: Some(control), spec })
    }

    /// What it was started as.
    #[must_use]
    pub const fn spec(&self) -> &RegionSpec {
        &self.spec
    }

    /// A profile for `user`: see [`RegionSpec::profile`].
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn profile(&self, user: &str) -> Result<String, RegionError> {
        self.spec.profile(user)
    }

    /// The clients that are in, by address.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientSeen> {
        self.shown.all()
    }

    /// Packets that were lost and belong to no client.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.losses.read()
    }

    /// What happened next; `None` after `limit` without anything, or when the region has ended. Of more than
    /// [`EVENTS`] that nobody takes the newest are lost.
    #[must_use]
    pub fn wait_event(&self, limit: Duration) -> Option<RegionEvent> {
        self.events.lock().recv_timeout(limit).ok()
    }

    /// What happened and was not taken yet.
    #[must_use]
    pub fn poll_event(&self) -> Option<RegionEvent> {
        self.events.lock().try_recv().ok()
    }

    /// What happens, for a thread of its own: each step waits, until the region has ended. Who else asks for events
    /// meanwhile waits as well.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Begins a renegotiation with each client.
    pub fn renegotiate(&self) {
        self.ask(Request::Renegotiate);
    }

    /// Stops it with a last word to its clients, which have half a second to take it; afterwards its device and its ports
    /// are gone. A region of the same specification may then be started: it has the same keys and certificates.
    pub fn stop(mut self, farewell: Farewell) {
        self.join(farewell);
    }

    fn join(&mut self, farewell: Farewell) {
        let Some(control) = self.control.take() else { return };
        self.ask(Request::Stop(farewell));
        if control.join().is_err() {
            tracing::error!("the region's control thread has panicked");
        }
    }

    fn ask(&self, request: Request) {
        if self.requests.send(request).is_ok() {
            worker::wake(&self.wake);
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.join(Farewell::Silent);
    }
}

/// Tries again for a moment where something is taken: what a region of this process had before is closed, but a child that
/// another thread is just starting may still have it, until it becomes its program.
fn patiently<T>(mut open: impl FnMut() -> Result<T, RegionError>) -> Result<T, RegionError> {
    let end = Instant::now() + BUSY;
    loop {
        match open() {
            Err(error) if error.is_taken() && Instant::now() < end => thread::sleep(BUSY_PAUSE),
            other => return other,
        }
    }
}

/// The sockets of workers, a list each by listener.
type Ports = Vec<Vec<Option<UdpPort>>>;

/// Opens all sockets: those of the workers, and those of the control thread.
fn open_sockets(spec: &RegionSpec, workers: usize) -> Result<(Ports, Vec<Outside>), RegionError> {
    let mut ports: Ports = (0..workers).map(|_| Vec::new()).collect();
    let mut outside = Vec::new();
    for listen in &spec.listen {
        let failed = |source| RegionError::Listen { region: spec.name.clone(), address: listen.address, source };
        match listen.transport {
            Transport::Udp => {
                free(listen.address).map_err(failed)?;
                for mine in &mut ports {
                    mine.push(Some(UdpPort::bind(listen.address).map_err(failed)?));
                }
                let twin = ports.first().and_then(|mine| mine.last()?.as_ref()).map(UdpPort::twin);
                outside.push(Outside::Datagrams(
                    twin.expect("there is a worker, and its port was bound").map_err(failed)?,
                ));
            }
            Transport::Tcp => {
                ports.iter_mut().for_each(|mine| mine.push(None));
                outside.push(Outside::Streams(listen_for_streams(listen.address).map_err(failed)?));
            }
        }
    }
    Ok((ports, outside))
}

/// Sockets that share their address would also share it with another region's: so one is bound alone first.
fn free(address: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&address.into())
}

fn listen_for_streams(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn listeners(spec: &RegionSpec, sockets: Vec<Outside>) -> Result<Vec<Listener>, RegionError> {
    let leaf = spec.authority.server();
    let chain = [leaf.certificate_der.clone()];
    let acceptor = RustlsAcceptor::new(&chain, &leaf.key_der)
        .and_then(|acceptor| acceptor.with_client_ca(&[spec.authority.ca_der().to_vec()]))
        .map_err(|error| RegionError::Certificate(error.to_string()))?;
    let acceptor: Arc<dyn TlsAcceptor> = Arc::new(acceptor);
    let mut listeners = Vec::new();
    for (listen, socket) in spec.listen.iter().zip(sockets) {
        let config = config(spec, *listen);
        let server = Server::new(config, Arc::clone(&acceptor), random()?, clock::now(), clock::wall());
        listeners.push(Listener { server, socket });
    }
    Ok(listeners)
}

fn config(spec: &RegionSpec, listen: Listen) -> ServerConfig {
    let authority = &spec.authority;
    let wrap = match spec.wrapping {
        Wrapping::None => ServerWrap::None,
        Wrapping::TlsAuth => ServerWrap::TlsAuth {
            key: authority.static_key(),
            direction: KeyDirection::Inverse,
            digest: Digest::Sha256,
        },
        Wrapping::TlsCrypt => ServerWrap::TlsCrypt { key: authority.static_key() },
        Wrapping::TlsCryptV2 => ServerWrap::TlsCryptV2 { server_key: authority.server_key() },
    };
    let transport = match listen.transport {
        Transport::Udp => ServerTransport::Datagram,
        Transport::Tcp => ServerTransport::Stream,
    };
    ServerConfig {
        ciphers: spec.ciphers.clone(),
        renewal: spec.renewal,
        ping_restart: Some(2 * spec.ping_restart),
        clients: u32::from(spec.clients) + SPARE_CLIENTS,
        // A tool for tests and benchmarks: hundreds of its clients may come at once.
        resets: None,
        ..ServerConfig::new(wrap, transport)
    }
}
