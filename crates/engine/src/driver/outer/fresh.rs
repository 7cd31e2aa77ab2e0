//! Datagram sockets with a local port that none of ours had a moment ago. A stock server keeps a handshake that was broken off
//! for a minute (`--hand-window`), by the address it came from: packets of the next from the same port would go to that one,
//! and the new session waits in vain. Marks and binding are `driver/socket.rs`'s.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::socket;

/// Ports that are not used again: more than what 50 handshakes a second use in a minute, and a seventh of what Linux gives
/// out (`ip_local_port_range`).
const REMEMBERED: usize = 4_096;
/// How often the kernel is asked for another one: where most of its ports were used a moment ago, any is better than none.
const TRIES: usize = 16;

/// The ports that were used last.
#[derive(Debug, Default)]
pub(super) struct FreshPorts {
    used: VecDeque<u16>,
}

impl FreshPorts {
    /// A marked socket to `remote`, from a fresh port if there is one.
    ///
    /// # Errors
    /// Those of [`socket::open`].
    pub(super) fn open(&mut self, remote: SocketAddr, mark: u32) -> io::Result<UdpSocket> {
        self.open_by(|| socket::open(remote, mark))
    }

    fn open_by(&mut self, mut open: impl FnMut() -> io::Result<UdpSocket>) -> io::Result<UdpSocket> {
        // Stale ones stay open meanwhile, so that the kernel does not give the same port out again.
        let mut stale = Vec::new();
        loop {
            let socket = open()?;
            let port = socket.local_addr()?.port();
            if stale.len() + 1 < TRIES && self.used.contains(&port) {
                stale.push(socket);
                continue;
            }
            self.note(port);
            return Ok(socket);
        }
    }

    fn note(&mut self, port: u16) {
        if self.used.len() >= REMEMBERED {
            self.used.pop_front();
        }
        self.used.push_back(port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(socket: &UdpSocket) -> u16 {
        socket.local_addr().unwrap().port()
    }

    #[test]
    fn a_port_that_was_used_a_moment_ago_is_not_used_again() {
        let mut ports = FreshPorts::default();
        let first = ports.open_by(|| UdpSocket::bind("127.0.0.1:0")).unwrap();
        let port = port_of(&first);
        drop(first);
        let mut tries = 0;
        let second = ports.open_by(|| {
            tries += 1;
            if tries == 1 { UdpSocket::bind(("127.0.0.1", port)) } else { UdpSocket::bind("127.0.0.1:0") }
        });
        assert_eq!(tries, 2);
        assert_ne!(port_of(&second.unwrap()), port);
    }

    #[test]
    fn where_every_port_was_used_a_moment_ago_any_is_good() {
        let mut ports = FreshPorts::default();
        (0..=u16::MAX).for_each(|port| ports.note(port));
        assert_eq!(ports.used.len(), REMEMBERED);
        ports.used = (0..=u16::MAX).collect();
        let mut tries = 0;
        let opened = ports.open_by(|| {
            tries += 1;
            UdpSocket::bind("127.0.0.1:0")
        });
        assert!(opened.is_ok());
        assert_eq!(tries, TRIES);
    }
}
