//! A name server for `A` and `AAAA` questions: the given names have their addresses, every other does not exist. Each question is printed,
//! so that a test can count them.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use crate::arguments::Arguments;

/// Length of a DNS header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// Serves `--listen` with the `--record NAME=ADDRESS`es until killed; says `ready` when it does.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let listen: SocketAddr = arguments.need("listen")?;
    let mut records: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for record in arguments.all("record") {
        let (name, address) = record.split_once('=').ok_or_else(|| format!("--record: cannot read {record:?}"))?;
        let address = address.parse().map_err(|_| format!("--record: cannot read {record:?}"))?;
        records.entry(String::from(name)).or_default().push(address);
    }
    let socket = UdpSocket::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
    let mut out = std::io::stdout();
    let mut buffer = [0; 1500];
    writeln!(out, "ready").map_err(|error| error.to_string())?;
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let Some((name, kind, end)) = question(&buffer[..length]) else { continue };
        let _ = writeln!(out, "{name} type {kind} from {peer}");
        let _ = socket.send_to(&answer(&buffer[..end], records.get(&name).map(Vec::as_slice), kind), peer);
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

/// The question with its answer: the addresses for type A or AAAA, nothing for other types, NXDOMAIN for other names.
fn answer(question: &[u8], addresses: Option<&[IpAddr]>, kind: u16) -> Vec<u8> {
    let mut message = question.to_vec();
    let fits = |address: &&IpAddr| kind == if address.is_ipv4() { 1 } else { 28 };
    let found: Vec<&IpAddr> = addresses.unwrap_or_default().iter().filter(fits).collect();
    let code = if addresses.is_some() { 0 } else { 3 };
    // Response, recursion desired and available; one question, no additional records (an EDNS one was cut off).
    message[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    let count = u8::try_from(found.len()).unwrap_or(u8::MAX);
    message[4..HEADER].copy_from_slice(&[0, 1, 0, count, 0, 0, 0, 0]);
    for address in found {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // A pointer to the name, its type, class IN, 1 s, the length.
        let [high, low] = kind.to_be_bytes();
        let length = if octets.len() == 4 { 4 } else { 16 };
        message.extend_from_slice(&[0xc0, 0x0c, high, low, 0, 1, 0, 0, 0, 1, 0, length]);
        message.extend_from_slice(&octets);
    }
    message
}
