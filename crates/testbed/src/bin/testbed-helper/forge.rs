//! ICMP errors that a stranger on the way sends about a connection that is fine: unreachable host, port and network, in
//! turn.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::arguments::Arguments;

/// The server's port.
const SERVER_PORT: u16 = 1194;

/// Codes of "destination unreachable" (RFC 792): network, host, protocol, port.
const CODES: [u8; 4] = [0, 1, 2, 3];

/// Sends `--count` of them, a thousand a second, to `--to` about its packets from `--from-port` to `--server` by `--proto`.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let (to, server): (Ipv4Addr, Ipv4Addr) = (arguments.need("to")?, arguments.need("server")?);
    let (port, count): (u16, u32) = (arguments.need("from-port")?, arguments.need("count")?);
    let protocol = if arguments.need::<String>("proto")? == "tcp" { 6 } else { 17 };
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).map_err(|error| error.to_string())?;
    let mut sent = 0;
    for number in 0..count {
        let code = CODES[number as usize % CODES.len()];
        let message = unreachable(code, (to, port), (server, SERVER_PORT), protocol);
        let address = SocketAddr::from(SocketAddrV4::new(to, 0));
        sent += u32::from(socket.send_to(&message, &address.into()).is_ok());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(json!({"sent": sent}))
}

/// "Destination unreachable" with the header of the packet that it blames and the first eight bytes after that.
fn unreachable(code: u8, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), protocol: u8) -> Vec<u8> {
    let mut message = vec![3, code, 0, 0, 0, 0, 0, 0];
    let mut header = [0x45, 0, 0, 100, 0, 1, 0x40, 0, 60, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&from.0.octets());
    header[16..20].copy_from_slice(&to.0.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    message.extend_from_slice(&header);
    message.extend_from_slice(&from.1.to_be_bytes());
    message.extend_from_slice(&to.1.to_be_bytes());
    message.extend_from_slice(&[0, 80, 0, 0]);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}
