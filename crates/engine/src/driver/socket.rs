//! The engine's own sockets: marked, so that they never enter the TUN, close-on-exec, connected to one remote and bound
//! to a fresh local port for each attempt (openvpn-protocol.md section 3.5).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpSocket;

/// A non-blocking UDP socket that reaches only `remote`, past our own policy rules.
///
/// # Errors
/// No permission for the mark, or no way to `remote`.
pub fn open(remote: SocketAddr, mark: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_mark(mark)?;
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    socket.bind(&any.into())?;
    socket.connect(&remote.into())?;
    Ok(socket.into())
}

/// A TCP socket that is to be connected to `remote`, past our own policy rules, and sends at once what it is given.
///
/// # Errors
/// No permission for the mark.
pub fn stream(remote: SocketAddr, mark: u32) -> io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_mark(mark)?;
    socket.set_tcp_nodelay(true)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}
