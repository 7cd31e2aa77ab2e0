//! Talk on a LAN that no connection stands behind: multicast and broadcast, heard by a socket that joined and sent from a
//! chosen card. Unicast questions are [`mod@crate::ask`]'s.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{arguments::Arguments, ask};

/// How long the answer to a datagram may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hears what is sent to `--group` (an address with its port; joined on `--card` when it is multicast) until killed. It
/// says `ready`, then `heard FROM TEXT` for each datagram, and sends `answer` back to where each came from.
pub(crate) fn hear(arguments: &Arguments) -> Result<(), String> {
    let group: SocketAddr = arguments.need("group")?;
    let socket = ear(group, &arguments.need::<String>("card")?).map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "ready").map_err(|error| error.to_string())?;
    let mut buffer = [0; 256];
    loop {
        // An ICMP error of an earlier answer shows here; it concerns nobody else.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let (text, from_ip) = (String::from_utf8_lossy(&buffer[..length]), from.ip().to_canonical());
        let _ = writeln!(io::stdout(), "heard {from_ip} {text}");
        let _ = socket.send_to(b"answer", from);
    }
}

/// Sends `--text` from `--card` to `--group`, `--count` times (1), and says who answered the last one within a second.
pub(crate) fn tell(arguments: &Arguments) -> Result<Value, String> {
    let group: SocketAddr = arguments.need("group")?;
    let (card, text): (String, String) = (arguments.need("card")?, arguments.need("text")?);
    let count: u32 = arguments.get("count")?.unwrap_or(1);
    let from = arguments.get("from")?.unwrap_or_else(|| any(group));
    let sent = mouth(group, &card, from).and_then(|(socket, group)| {
        for _ in 0..count {
            socket.send_to(text.as_bytes(), group)?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok(socket)
    });
    Ok(match sent {
        Ok(socket) => json!({"error": null, "answered": answer(&socket)}),
        Err(error) => json!({"error": ask::name(&error), "answered": null}),
    })
}

fn answer(socket: &UdpSocket) -> Option<String> {
    let mut buffer = [0; 256];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    (&buffer[..length] == b"answer").then(|| from.ip().to_canonical().to_string())
}

fn ear(group: SocketAddr, card: &str) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    match group.ip() {
        IpAddr::V4(address) => {
            socket.bind(&SocketAddr::new(any(group), group.port()).into())?;
            if address.is_multicast() {
                socket.join_multicast_v4(&address, &card_address(card)?)?;
            }
        }
        IpAddr::V6(address) => {
            socket.set_only_v6(true)?;
            socket.bind(&SocketAddr::new(any(group), group.port()).into())?;
            socket.join_multicast_v6(&address, card_number(card)?)?;
        }
    }
    Ok(socket.into())
}

/// A socket that sends from the card, and the group with the card's number where it needs one.
fn mouth(group: SocketAddr, card: &str, from: IpAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, None)?;
    socket.set_broadcast(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    match group {
        SocketAddr::V4(_) => {
            socket.set_multicast_if_v4(&card_address(card)?)?;
            Ok((socket.into(), group))
        }
        SocketAddr::V6(six) => {
            let group = SocketAddrV6::new(*six.ip(), six.port(), 0, card_number(card)?);
            Ok((socket.into(), group.into()))
        }
    }
}

fn any(group: SocketAddr) -> IpAddr {
    if group.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() }
}

/// A card of IPv4 is named by its address.
fn card_address(card: &str) -> io::Result<Ipv4Addr> {
    card.parse().map_err(|_| io::Error::other(format!("--card: {card:?} is no address")))
}

/// A card of IPv6 is named by its name.
fn card_number(card: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{card}/ifindex"))?;
    text.trim().parse().map_err(|_| io::Error::other(format!("--card: {card:?} has no number")))
}
