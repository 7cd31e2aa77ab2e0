//! Notices that the network has changed: devices, addresses, routes, policy rules or nftables tables came or went. It says
//! that, not what; whoever wants to know reads the facts again and compares. Changes of our own making are noticed too.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use mrvpn_netplan::{HostError, Watch};
use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use rustix::event::epoll;

use crate::linux::failed;

/// Multicast groups of the routing socket: links, addresses, routes and policy rules of both families
/// (linux/rtnetlink.h).
const ROUTE_GROUPS: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];
/// That of nftables (linux/netfilter/nfnetlink.h).
const NFTABLES_GROUP: u32 = 7;
/// Room for one datagram; what does not fit is cut off, and only that it came is of interest.
const DATAGRAM: usize = 4096;

/// One descriptor that is readable when the network of its namespace has changed. Level-triggered and non-blocking.
pub struct NetworkWatch {
    sockets: Vec<Socket>,
    /// Readable when one of them is.
    either: OwnedFd,
}

impl NetworkWatch {
    /// Watches this thread's network namespace. Where the kernel has no nftables, or does not let this process listen
    /// to it, the rest is watched.
    ///
    /// # Errors
    /// The kernel has no routing socket for this process.
    pub fn new() -> Result<Self, HostError> {
        Self::open().map_err(|error| failed(String::from("watching the network for changes"), error))
    }

    fn open() -> io::Result<Self> {
        let mut sockets = vec![listening(NETLINK_ROUTE, &ROUTE_GROUPS)?];
        match listening(NETLINK_NETFILTER, &[NFTABLES_GROUP]) {
            Ok(socket) => sockets.push(socket),
            Err(error) => tracing::debug!(%error, "nftables is not watched"),
        }
        let either = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for socket in &sockets {
            epoll::add(&either, socket.as_fd(), epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        Ok(Self { sockets, either })
    }
}

fn listening(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    groups.iter().try_for_each(|group| socket.add_membership(*group))?;
    Ok(socket)
}

impl Watch for NetworkWatch {
    fn drain(&mut self) -> io::Result<bool> {
        self.sockets.iter().try_fold(false, |changed, socket| Ok(drain(socket)? || changed))
    }
}

fn drain(socket: &Socket) -> io::Result<bool> {
    let mut changed = false;
    loop {
        let mut datagram = Vec::with_capacity(DATAGRAM);
        match socket.recv(&mut datagram, 0) {
            Ok(_) => changed = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // More came than the socket holds: there was a change.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
            Err(error) => return Err(error),
        }
    }
}

impl AsFd for NetworkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.as_fd()
    }
}

impl AsRawFd for NetworkWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.either.as_raw_fd()
    }
}
