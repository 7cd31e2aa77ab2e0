//! A name server for `A` questions: the given names have their address, every other does not exist. Each question is printed,
//! so that a test can count them.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use crate::arguments::Arguments;

/// Length of a DNS header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// Serves `--listen` with the `--record NAME=ADDRESS`es until killed; says `ready` when it does.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let listen: SocketAddr = arguments.need("listen")?;
    let mut records = BTreeMap::new();
    for record in arguments.all("record") {
        let (name, address) = record.split_once('=').ok_or_else(|| format!("--record: cannot read {record:?}"))?;
        let address: Ipv4Addr = address.parse().map_err(|_| format!("--record: cannot read {record:?}"))?;
        records.insert(String::from(name), address);
    }
    let socket = UdpSocket::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
    let mut out = std::io::stdout();
    let mut buffer = [0; 1500];
    writeln!(out, "ready").map_err(|error| error.to_string())?;
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let Some((name, kind, end)) = question(&buffer[..length]) else { continue };
        let _ = writeln!(out, "{name} type {kind} from {peer}");
        let _ = socket.send_to(&answer(&buffer[..end], records.get(&name).copied(), kind), peer);
    }
}

/// The name and type asked for, and where the question ends.
fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    (message.len() >= at + 4).then(|| (labels.join("."), kind, at + 4))
}

/// The question with its answer: the address for type A, nothing for other types, NXDOMAIN for other names.
fn answer(question: &[u8], address: Option<Ipv4Addr>, kind: u16) -> Vec<u8> {
    let mut message = question.to_vec();
    let found = address.filter(|_| kind == 1);
    let code = if address.is_some() { 0 } else { 3 };
    // Response, recursion desired and available; one question, no additional records (an EDNS one was cut off).
    message[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    message[4..HEADER].copy_from_slice(&[0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    if let Some(address) = found {
        // A pointer to the name, type A, class IN, 1 s, four bytes.
        message.extend_from_slice(&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        message.extend_from_slice(&address.octets());
    }
    message
}
