//! A lane on a thread of its own: the real [`crate::lane::LaneIo`] and the loop that drives [`Lane::turn`] with it. It waits in one
//! epoll for the TUN queue, the tunnels' sockets and messages, and decides nothing about a packet.

mod outer_socket; // one tunnel's UDP socket with its offloads
mod outer_stream; // one tunnel's TCP stream
mod poller; // one epoll for all
mod system_io; // queue and sockets of one lane
#[cfg(test)]
mod tests;

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_netplan::{OffloadSet, Queue, QueueCapabilities};
use mrvpn_router::TunnelId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::set_current_timer_slack;
use tokio::sync::mpsc;

use super::clock;
use crate::lane::{Lane, LaneCommand, LaneReport, SocketError, Turn};
use outer_socket::OuterSocket;
use system_io::SystemIo;

pub use outer_stream::{HandedStream, OuterStream};
pub use poller::Poller;

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
    pub(super) socket: Option<(TunnelId, HandedSocket)>,
}

/// A connected socket on its way to the lane.
#[derive(Debug)]
pub(super) enum HandedSocket {
    /// UDP.
    Datagrams(UdpSocket),
    /// TCP, with what is on its way in it.
    Stream(HandedStream),
}

impl HandedSocket {
    /// Whether the other end is on this host.
    pub(super) fn is_local(&self) -> bool {
        let peer = match self {
            Self::Datagrams(socket) => socket.peer_addr(),
            Self::Stream(handed) => handed.stream.peer_addr(),
        };
        peer.is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
    }
}

enum Message<Q> {
    Lane(Box<LaneMessage>),
    /// Another queue, in place of one that is gone.
    Queue(Box<Q>),
    /// To be answered when all that was said before has been obeyed and felt.
    Told(SyncSender<()>),
    /// As [`Message::Told`], and the lane ends with it: the answer is that the queue is closed.
    Last(SyncSender<()>),
    Stop,
}

/// A lane, its queue and its sockets, as they live on their thread.
pub(super) struct LaneThread<Q> {
    lane: Lane,
    io: SystemIo<Q>,
    messages: Receiver<Message<Q>>,
    reports: mpsc::Sender<LaneReport>,
    told: Vec<SyncSender<()>>,
    /// It ends as soon as everyone is told. Behind the queue: whoever waits for this end of the channel waits for that.
    last: Option<SyncSender<()>>,
    fruitless: u32,
}

/// The control side's end of a lane. Dropping it stops the lane.
pub(super) struct LaneHandle<Q> {
    messages: SyncSender<Message<Q>>,
    wake: Arc<OwnedFd>,
    /// The offloads that began.
    granted: OffloadSet,
    /// A network card has refused a train.
    trains_refused: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<Q: Queue + AsFd + Send + 'static> LaneThread<Q> {
    /// Starts the thread. Of the offloads of UDP sockets those in `wanted` are used; those of the queue are its own.
    ///
    /// A full `reports` makes reports wait in the lane, where control datagrams are bounded and counted.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub(super) fn spawn(
        lane: Lane,
        queue: Q,
        wanted: OffloadSet,
        reports: mpsc::Sender<LaneReport>,
    ) -> io::Result<LaneHandle<Q>> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let poller = Poller::new(Arc::clone(&wake), queue.as_fd())?;
        let QueueCapabilities { checksum, tso, uso } = queue.capabilities();
        let granted = OffloadSet { checksum, tso, uso, ..OuterSocket::granted(wanted)? };
        let trains_refused = Arc::new(AtomicBool::new(false));
        let refused = Arc::clone(&trains_refused);
        let io = SystemIo::new(queue, poller, wanted, refused);
        let (sender, messages) = sync_channel(MESSAGES);
        let mut this = Self { lane, io, messages, reports, told: Vec::new(), last: None, fruitless: 0 };
        let thread = thread::Builder::new().name("lane".to_owned()).spawn(move || this.run())?;
        Ok(LaneHandle { messages: sender, wake, granted, trains_refused, thread: Some(thread) })
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
            if self.lane.has_told() {
                for answer in self.told.drain(..) {
                    // Whoever asked may be gone.
                    let _ = answer.try_send(());
                }
                if self.last.is_some() {
                    return;
                }
            }
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
                Ok(Message::Queue(queue)) => self.take_up(*queue),
                Ok(Message::Told(answer)) => self.told.push(answer),
                Ok(Message::Last(answer)) => self.last = Some(answer),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn obey(&mut self, message: LaneMessage) {
        let unusable = message.socket.and_then(|(tunnel, socket)| Some((tunnel, self.io.adopt(tunnel, socket).err()?)));
        let released = match &message.command {
            LaneCommand::Release { tunnel } => Some(*tunnel),
            LaneCommand::Policy(_)
            | LaneCommand::Adopt { .. }
            | LaneCommand::Install { .. }
            | LaneCommand::Retire { .. }
            | LaneCommand::Control { .. }
            | LaneCommand::ExitNotify { .. }
            | LaneCommand::WatchLoop { .. }
            | LaneCommand::Forget { .. }
            | LaneCommand::FindFlows { .. } => None,
        };
        if released.is_some() {
            // What was said before, such as a farewell, leaves before the socket goes.
            self.lane.turn(&mut self.io, clock::now());
        }
        self.lane.handle(message.command, clock::now());
        if let Some(tunnel) = released {
            self.io.release(tunnel);
        }
        if let Some((tunnel, error)) = unusable {
            // Without a socket the session is over: its tunnel says so under its name and connects anew.
            self.lane.socket_failed(tunnel, SocketError::Ended(error.kind()), clock::now());
        }
    }

    fn take_up(&mut self, queue: Q) {
        match self.io.replace_queue(queue) {
            Ok(()) => self.lane.take_up_queue(),
            Err(error) => tracing::error!(%error, "the interface's new queue cannot be used"),
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
                self.io.forget_queue();
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

impl<Q: Queue> LaneHandle<Q> {
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

    /// The offloads in use.
    pub(super) fn offloads(&self) -> OffloadSet {
        let refused = self.trains_refused.load(Ordering::Relaxed);
        OffloadSet { gso: self.granted.gso && !refused, ..self.granted }
    }

    /// Gives word when the lane has obeyed all that was sent before, and programs whose connections ended by it know.
    pub(super) fn told(&self) -> Receiver<()> {
        self.ask(Message::Told)
    }

    /// The same, and then the lane ends: when the other end of the channel is gone, its queue is closed. From then on
    /// nothing comes out of the interface, such as a refusal for an address that is being taken away.
    pub(super) fn told_and_ended(&self) -> Receiver<()> {
        self.ask(Message::Last)
    }

    fn ask(&self, question: impl FnOnce(SyncSender<()>) -> Message<Q>) -> Receiver<()> {
        let (answer, told) = sync_channel(1);
        if self.messages.send(question(answer)).is_ok() {
            self.wake();
        }
        told
    }

    /// Ends the lane and closes its queue and sockets; returns when that is done.
    pub(super) fn stop(mut self) {
        self.end();
    }

    /// Gives the lane another queue of the same device, in place of one that is gone.
    pub(super) fn replace_queue(&mut self, queue: Q) {
        let QueueCapabilities { checksum, tso, uso } = queue.capabilities();
        self.granted = OffloadSet { checksum, tso, uso, ..self.granted };
        if self.messages.send(Message::Queue(Box::new(queue))).is_ok() {
            self.wake();
        }
    }
}

impl<Q> LaneHandle<Q> {
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

impl<Q> Drop for LaneHandle<Q> {
    fn drop(&mut self) {
        self.end();
    }
}
