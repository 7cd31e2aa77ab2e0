//! One epoll for a lane's TUN queue, its sockets and its wake-ups. It says what may be ready; whether it is, the calls
//! themselves tell (level-triggered, so that nothing is lost between two turns).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_router::TunnelId;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

/// Stands for the TUN queue; tunnels have their numbers.
const QUEUE: u64 = u64::MAX;
/// Stands for the wake-up of messages.
const WAKE: u64 = u64::MAX - 1;
/// Events of one wait; the rest comes at the next.
const EVENTS: usize = 64;

/// What may be ready.
pub struct Poller {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    queue: bool,
    message: bool,
    tunnels: Vec<TunnelId>,
    writable: Vec<TunnelId>,
}

impl Poller {
    /// Watches the wake-up and the queue.
    ///
    /// # Errors
    /// The system gives no descriptor.
    pub fn new(wake: Arc<OwnedFd>, queue: BorrowedFd<'_>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let this = Self { epoll, wake, queue: false, message: false, tunnels: Vec::new(), writable: Vec::new() };
        this.watch_queue(queue)?;
        Ok(this)
    }

    /// Watches the queue, or another in its place.
    ///
    /// # Errors
    /// The system's own: it is not watched.
    pub fn watch_queue(&self, queue: BorrowedFd<'_>) -> io::Result<()> {
        epoll::add(&self.epoll, queue, EventData::new_u64(QUEUE), EventFlags::IN)?;
        Ok(())
    }

    /// Watches a tunnel's socket.
    ///
    /// # Errors
    /// The system's own: it is not watched.
    pub fn watch(&self, tunnel: TunnelId, socket: BorrowedFd<'_>) -> io::Result<()> {
        epoll::add(&self.epoll, socket, EventData::new_u64(u64::from(tunnel.number())), EventFlags::IN)?;
        Ok(())
    }

    /// Watches a tunnel's stream, which is watched already, also for room to send, or no more so.
    ///
    /// # Errors
    /// The system's own: it is not watched.
    pub fn watch_room(&self, tunnel: TunnelId, socket: BorrowedFd<'_>, wanted: bool) -> io::Result<()> {
        let flags = if wanted { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(&self.epoll, socket, EventData::new_u64(u64::from(tunnel.number())), flags)?;
        Ok(())
    }

    /// Says that a tunnel has something, though its socket may not say so again.
    pub fn mark_ready(&mut self, tunnel: TunnelId) {
        self.tunnels.push(tunnel);
    }

    /// Watches a descriptor no more. Closing alone is not enough: a twin of it may still be open elsewhere.
    pub fn forget(&self, source: BorrowedFd<'_>) {
        // It may have been forgotten before; there is nothing else that could fail.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Waits until something is ready, or for `timeout`; `None` waits for ever.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        // A tunnel that was marked is ready already.
        let timeout = if self.tunnels.is_empty() { timeout } else { Some(Timespec { tv_sec: 0, tv_nsec: 0 }) };
        // A signal ends the wait early: the turn finds nothing, and the next wait follows.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) else { return };
        for event in events {
            match event.data.u64() {
                QUEUE => self.queue = true,
                WAKE => self.message = true,
                number => {
                    let tunnel = u16::try_from(number).ok().map(TunnelId::new);
                    let flags = event.flags;
                    self.writable.extend(tunnel.filter(|_| flags.contains(EventFlags::OUT)));
                    self.tunnels.extend(tunnel.filter(|_| flags != EventFlags::OUT));
                }
            }
        }
    }

    /// Whether there are messages; asking resets it, so the caller must then take them all.
    pub fn has_message(&mut self) -> bool {
        let message = std::mem::take(&mut self.message);
        if message {
            let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        }
        message
    }

    /// Whether the queue or a socket may be ready.
    #[must_use]
    pub const fn has_ready(&self) -> bool {
        self.queue || !self.tunnels.is_empty()
    }

    /// A tunnel whose stream has room again; forgets it.
    pub fn take_writable(&mut self) -> Option<TunnelId> {
        self.writable.pop()
    }

    /// Adds the tunnels that may be ready, and says whether the queue may be; forgets both.
    pub fn take_ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool {
        tunnels.append(&mut self.tunnels);
        std::mem::take(&mut self.queue)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    fn poller() -> (Poller, Arc<OwnedFd>, OwnedFd) {
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        let queue = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        (Poller::new(Arc::clone(&wake), queue.as_fd()).unwrap(), wake, queue)
    }

    #[test]
    fn a_message_wakes_once() {
        let (mut poller, wake, _queue) = poller();
        rustix::io::write(&wake, &1_u64.to_ne_bytes()).unwrap();
        poller.wait(None);
        assert!(poller.has_message());
        poller.wait(Some(Duration::ZERO));
        assert!(!poller.has_message());
    }

    #[test]
    fn a_forgotten_socket_is_not_ready_even_if_a_twin_is_open() {
        let (mut poller, _wake, _queue) = poller();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let twin = socket.try_clone().unwrap();
        poller.watch(TunnelId::new(3), socket.as_fd()).unwrap();
        twin.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        poller.wait(None);
        let mut tunnels = Vec::new();
        assert!(!poller.take_ready(&mut tunnels));
        assert_eq!(tunnels, [TunnelId::new(3)]);
        poller.forget(socket.as_fd());
        drop(socket);
        poller.wait(Some(Duration::ZERO));
        assert!(!poller.has_ready());
    }
}
