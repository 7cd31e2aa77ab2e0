//! A lane on a thread of its own: the real [`LaneIo`] and the loop that drives [`Lane::turn`] with it. It waits in one
//! epoll for the TUN queue, the tunnels' sockets and messages, and decides nothing about a packet.

mod outer_socket; // one tunnel's UDP socket with its offloads
mod poller; // one epoll for all
#[cfg(test)]
mod tests;

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_netplan::{Queue, QueueCapabilities};
use mrvpn_router::TunnelId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::set_current_timer_slack;
use tokio::sync::mpsc;

use super::clock;
use crate::lane::{Lane, LaneCommand, LaneIo, LaneReport, ReceiveBatch, Train, Turn};
use outer_socket::OuterSocket;
use poller::Poller;

/// Messages that wait for the lane. It never sleeps on one side while there is a message, so a full queue is short.
const MESSAGES: usize = 1_024;
/// 150 µs: how long the thread lets datagrams gather once several came in one turn. A server that sends each datagram by
/// itself else wakes it for every few of them: measured against a stock server, the pause takes more than half of the
/// CPU time a gigabyte away and lets throughput rise (docs/benchmarks.md). A lone datagram, as of a ping or of someone
/// who types, is never delayed.
const GATHER: Duration = Duration::from_micros(150);
/// Datagrams in one turn that are few enough for waiting to pay, and more than a lone one.
const GATHER_FOR: std::ops::RangeInclusive<usize> = 2..=64;
/// 1 µs: how late the pause may end, instead of the usual 50 µs.
const TIMER_SLACK: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(999);
/// Turns in a row that found nothing although something was said to be ready, before the thread pauses: an error that
/// does not go away must not cost a core.
const FRUITLESS: u32 = 64;
/// How long it pauses then, and how soon it tries again to hand out reports that did not fit their channel.
const PAUSE: Duration = Duration::from_millis(10);

/// A command, and the socket that goes with it.
#[derive(Debug)]
pub(super) struct LaneMessage {
    /// What the lane is told.
    pub(super) command: LaneCommand,
    /// The connected socket of a tunnel that is adopted.
    pub(super) socket: Option<(TunnelId, UdpSocket)>,
}

enum Message {
    Lane(Box<LaneMessage>),
    Stop,
}

/// A lane, its queue and its sockets, as they live on their thread.
pub(super) struct LaneThread<Q> {
    lane: Lane,
    io: SystemIo<Q>,
    messages: Receiver<Message>,
    reports: mpsc::Sender<LaneReport>,
    fruitless: u32,
}

/// The control side's end of a lane. Dropping it stops the lane.
pub(super) struct LaneHandle {
    messages: SyncSender<Message>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl<Q: Queue + AsFd + Send + 'static> LaneThread<Q> {
    /// Starts the thread. UDP offloads are used where the queue has offloads, so that one switch turns off all.
    ///
    /// A full `reports` makes reports wait in the lane, where control datagrams are bounded and counted.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub(super) fn spawn(lane: Lane, queue: Q, reports: mpsc::Sender<LaneReport>) -> io::Result<LaneHandle> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let poller = Poller::new(Arc::clone(&wake), queue.as_fd())?;
        let offload = queue.capabilities() != QueueCapabilities::default();
        let io = SystemIo { queue, sockets: Vec::new(), poller, offload };
        let (sender, messages) = sync_channel(MESSAGES);
        let mut this = Self { lane, io, messages, reports, fruitless: 0 };
        let thread = thread::Builder::new().name("lane".to_owned()).spawn(move || this.run())?;
        Ok(LaneHandle { messages: sender, wake, thread: Some(thread) })
    }

    fn run(&mut self) {
        // Without it pauses are longer than wanted, nothing else.
        let _ = set_current_timer_slack(Some(TIMER_SLACK));
        loop {
            if self.io.poller.has_message() && !self.take_messages() {
                return;
            }
            let expected = self.io.poller.has_ready();
            let turn = self.lane.turn(&mut self.io, clock::now());
            let waiting = self.hand_out_reports();
            self.rest(expected, &turn);
            gather(&turn);
            let timeout = self.timeout(&turn, waiting);
            self.io.poller.wait(timeout);
        }
    }

    /// Takes all messages; `false` when the lane is to end.
    fn take_messages(&mut self) -> bool {
        loop {
            match self.messages.try_recv() {
                Ok(Message::Lane(message)) => self.obey(*message),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn obey(&mut self, message: LaneMessage) {
        if let Some((tunnel, socket)) = message.socket {
            self.io.adopt(tunnel, socket);
        }
        let released = match &message.command {
            LaneCommand::Release { tunnel } => Some(*tunnel),
            LaneCommand::Policy(_)
            | LaneCommand::Adopt { .. }
            | LaneCommand::Install { .. }
            | LaneCommand::Retire { .. }
            | LaneCommand::Control { .. }
            | LaneCommand::ExitNotify { .. } => None,
        };
        if released.is_some() {
            // What was said before, such as a farewell, leaves before the socket goes.
            self.lane.turn(&mut self.io, clock::now());
        }
        self.lane.handle(message.command, clock::now());
        if let Some(tunnel) = released {
            self.io.release(tunnel);
        }
    }

    /// Hands out reports; `true` when some must wait for room.
    fn hand_out_reports(&mut self) -> bool {
        loop {
            let place = match self.reports.try_reserve() {
                Ok(place) => place,
                Err(mpsc::error::TrySendError::Full(())) => return true,
                // Nobody listens any more: the lane is about to be stopped.
                Err(mpsc::error::TrySendError::Closed(())) => return false,
            };
            let Some(report) = self.lane.poll_report() else { return false };
            if report == LaneReport::QueueGone {
                self.io.poller.forget(self.io.queue.as_fd());
            }
            place.send(report);
        }
    }

    /// Pauses when something is said to be ready again and again and nothing ever comes of it.
    fn rest(&mut self, expected: bool, turn: &Turn) {
        let fruitless = expected && turn.read == 0 && turn.received == 0;
        self.fruitless = if fruitless { self.fruitless.saturating_add(1) } else { 0 };
        if self.fruitless > FRUITLESS {
            thread::sleep(PAUSE);
        }
    }

    /// How long to wait at most; `None` for ever.
    fn timeout(&self, turn: &Turn, reports_wait: bool) -> Option<Duration> {
        if turn.busy {
            return Some(Duration::ZERO);
        }
        let due = self.lane.poll_timeout().map(|due: Moment| due.since(clock::now()));
        due.into_iter().chain(reports_wait.then_some(PAUSE)).min()
    }
}

/// Lets datagrams gather for a moment where they come thick but in small batches.
fn gather(turn: &Turn) {
    if !turn.busy && GATHER_FOR.contains(&turn.received) {
        thread::sleep(GATHER);
    }
}

impl LaneHandle {
    /// Hands a message to the lane. Where its queue is full, a session's datagram is dropped, as the network may drop
    /// it, and anything else waits: the lane takes its messages every turn, so that is never long.
    pub(super) fn send(&self, message: LaneMessage) {
        let droppable = matches!(message.command, LaneCommand::Control { .. });
        let message = Message::Lane(Box::new(message));
        let sent =
            if droppable { self.messages.try_send(message).is_ok() } else { self.messages.send(message).is_ok() };
        if sent {
            self.wake();
        }
    }

    /// Ends the lane and closes its queue and sockets; returns when that is done.
    pub(super) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let _ = self.messages.send(Message::Stop);
        self.wake();
        if thread.join().is_err() {
            tracing::error!("the lane's thread has panicked");
        }
    }

    fn wake(&self) {
        // A full counter is a wake-up that is still to be seen.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for LaneHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// The queue and the sockets of one lane.
struct SystemIo<Q> {
    queue: Q,
    sockets: Vec<Option<OuterSocket>>,
    poller: Poller,
    offload: bool,
}

impl<Q> SystemIo<Q> {
    fn adopt(&mut self, tunnel: TunnelId, socket: UdpSocket) {
        self.release(tunnel);
        let adopted = OuterSocket::new(socket, self.offload).and_then(|socket| {
            self.poller.watch(tunnel, socket.as_fd())?;
            Ok(socket)
        });
        match adopted {
            Ok(socket) => self.place(tunnel, socket),
            Err(error) => tracing::error!(%tunnel, %error, "the tunnel's socket cannot be used"),
        }
    }

    fn place(&mut self, tunnel: TunnelId, socket: OuterSocket) {
        if self.sockets.len() <= tunnel.index() {
            self.sockets.resize_with(tunnel.index() + 1, || None);
        }
        self.sockets[tunnel.index()] = Some(socket);
    }

    fn release(&mut self, tunnel: TunnelId) {
        if let Some(socket) = self.sockets.get_mut(tunnel.index()).and_then(Option::take) {
            self.poller.forget(socket.as_fd());
        }
    }

    fn socket(&mut self, tunnel: TunnelId) -> io::Result<&mut OuterSocket> {
        let socket = self.sockets.get_mut(tunnel.index()).and_then(Option::as_mut);
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<Q: Queue> LaneIo for SystemIo<Q> {
    type Queue = Q;

    fn queue(&mut self) -> &mut Q {
        &mut self.queue
    }

    fn ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool {
        self.poller.take_ready(tunnels)
    }

    fn receive(&mut self, tunnel: TunnelId, into: &mut ReceiveBatch) -> io::Result<usize> {
        self.socket(tunnel)?.receive(into)
    }

    fn send(&mut self, tunnel: TunnelId, train: &Train<'_>) -> io::Result<()> {
        self.socket(tunnel)?.send(train)
    }
}
