//! Building the workers of a region, and the control side's end of each.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use mrvpn_clock::Moment;
use mrvpn_engine::driver::lane_thread::Poller;
use mrvpn_engine::lane::{Coalescer, ReceiveBatch, Trains};
use mrvpn_host::LinuxQueue;
use rustix::event::{EventfdFlags, eventfd};

use super::sources::Sources;
use super::{Order, Peer, READ_BYTES, Upcall, Worker};
use crate::directory::Directory;
use crate::limits::{HANDED, ORDERS};
use crate::pool::Pool;
use crate::seen::Losses;
use crate::udp_port::UdpPort;

/// What the workers of a region are built of.
pub(crate) struct Built {
    /// One queue a worker.
    pub(crate) queues: Vec<LinuxQueue>,
    /// For each worker, a socket a listener; `None` where that listens for streams.
    pub(crate) ports: Vec<Vec<Option<UdpPort>>>,
    pub(crate) pool: Pool,
    pub(crate) between_clients: bool,
    pub(crate) directory: Arc<Directory>,
    pub(crate) upcalls: SyncSender<Upcall>,
    /// Wakes the control thread.
    pub(crate) control: Arc<OwnedFd>,
    pub(crate) losses: Arc<Losses>,
}

/// The control side's end of a worker.
pub(crate) struct WorkerHandle {
    orders: SyncSender<Order>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Tells it something.
    pub(crate) fn tell(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            wake(&self.wake);
        }
    }

    /// Ends it: afterwards its queue and its sockets are closed.
    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.tell(Order::Stop);
        if thread.join().is_err() {
            tracing::error!("a worker of the region has panicked");
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Builds all workers and starts their threads, in the network namespace of the caller's.
///
/// # Errors
/// The system gives no thread or no descriptor.
pub(crate) fn build(name: &str, built: Built) -> io::Result<Vec<WorkerHandle>> {
    let count = built.queues.len();
    let wakes = (0..count).map(|_| wake_up()).collect::<io::Result<Vec<_>>>()?;
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| sync_channel(HANDED)).unzip();
    let mut handles = Vec::new();
    let parts = built.queues.into_iter().zip(built.ports).zip(receivers).zip(0_u8..);
    for (((queue, ports), handed), index) in parts {
        let mine = Arc::clone(&wakes[usize::from(index)]);
        let poller = Poller::new(Arc::clone(&mine), queue.as_fd())?;
        let sources = Sources::new(ports);
        sources.watch(&poller)?;
        let (orders, receiver) = sync_channel(ORDERS);
        let peer = |(sender, wake): (&SyncSender<_>, &Arc<OwnedFd>)| Peer {
            sender: sender.clone(),
            wake: Arc::clone(wake),
            handed: false,
        };
        let worker = Worker {
            index,
            queue,
            poller,
            sources,
            pool: built.pool,
            between_clients: built.between_clients,
            directory: Arc::clone(&built.directory),
            clients: Vec::new(),
            trains: Trains::new(),
            coalescer: Coalescer::new(),
            read: vec![0; READ_BYTES].into_boxed_slice(),
            batch: ReceiveBatch::new(),
            from: Vec::new(),
            orders: receiver,
            handed,
            peers: senders.iter().zip(&wakes).map(peer).collect(),
            upcalls: built.upcalls.clone(),
            control: Arc::clone(&built.control),
            waiting: std::collections::VecDeque::new(),
            called: false,
            next_ping: Moment::default(),
            busy: false,
            read_packets: 0,
            read_bytes: 0,
            losses: Arc::clone(&built.losses),
        };
        let thread = thread::Builder::new().name(format!("{name}-{index}")).spawn(move || worker.run())?;
        handles.push(WorkerHandle { orders, wake: mine, thread: Some(thread) });
    }
    Ok(handles)
}

/// A descriptor by which one thread wakes another.
pub(crate) fn wake_up() -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

/// Wakes whoever waits for it. A full counter is a wake-up that is still to be seen.
pub(crate) fn wake(descriptor: &OwnedFd) {
    let _ = rustix::io::write(descriptor, &1_u64.to_ne_bytes());
}
