//! Notices that the network has changed: devices, addresses or routes came or went. It says that, not what; whoever
//! wants to know reads the facts again and compares. Changes of our own making are noticed too.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use mrvpn_netplan::{HostError, Watch};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use crate::linux::failed;

/// Multicast groups of the routing socket: links, addresses and routes of both families (linux/rtnetlink.h).
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// Room for one datagram; what does not fit is cut off, and only that it came is of interest.
const DATAGRAM: usize = 4096;

/// A socket that becomes readable when the network of its namespace changes. Level-triggered and non-blocking.
pub struct NetworkWatch {
    socket: Socket,
}

impl NetworkWatch {
    /// Watches this thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no routing socket for this process.
    pub fn new() -> Result<Self, HostError> {
        let opened = Socket::new(NETLINK_ROUTE).and_then(|mut socket| {
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            GROUPS.iter().try_for_each(|group| socket.add_membership(*group))?;
            Ok(socket)
        });
        let socket = opened.map_err(|error| failed(String::from("watching the network for changes"), error))?;
        Ok(Self { socket })
    }

}

impl Watch for NetworkWatch {
    fn drain(&mut self) -> io::Result<bool> {
        let mut changed = false;
        loop {
            let mut datagram = Vec::with_capacity(DATAGRAM);
            match self.socket.recv(&mut datagram, 0) {
                Ok(_) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // More came than the socket holds: there was a change.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for NetworkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for NetworkWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
