//! A local wrapper as stunnel or obfsproxy is one: what comes to a loopback port by UDP goes on to a server, and its answers
//! back. It only forwards; its own way out is the host's to choose.

use std::{
    io::Write,
    net::{SocketAddr, UdpSocket},
    thread,
};

use crate::arguments::Arguments;

/// Forwards `--listen` to `--to` for one client after another, until killed; says `ready` when it does.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let (listen, to): (SocketAddr, SocketAddr) = (arguments.need("listen")?, arguments.need("to")?);
    let near = UdpSocket::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
    writeln!(std::io::stdout(), "ready").map_err(|error| error.to_string())?;
    let (mut client, mut far) = (None, None);
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = near.recv_from(&mut buffer) else { continue };
        if client != Some(from) {
            client = Some(from);
            far = Some(outward(&near, from, to)?);
        }
        if let Some(far) = &far {
            // What does not get out is lost, as anywhere.
            let _ = far.send(&buffer[..length]);
        }
    }
}

/// A socket of a client's own towards the server, whose answers go back to the client.
fn outward(near: &UdpSocket, client: SocketAddr, to: SocketAddr) -> Result<UdpSocket, String> {
    let open = || {
        let far = UdpSocket::bind(("0.0.0.0", 0))?;
        far.connect(to)?;
        Ok((far.try_clone()?, far, near.try_clone()?))
    };
    let (far, back, near) = open().map_err(|error: std::io::Error| error.to_string())?;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            // A refusal of what was sent is not the end of the wrapper.
            if let Ok(length) = back.recv(&mut buffer) {
                let _ = near.send_to(&buffer[..length], client);
            }
        }
    });
    Ok(far)
}
