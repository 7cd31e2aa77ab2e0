//! What the demo's world looks like: names, addresses and ports, and nothing that does something. The addresses are of the
//! ranges for documentation (RFC 5737), and reach nobody.
//!
//! ```text
//!  client ─┬─ internet          192.168.1.1   the way without a tunnel
//!          ├─ uk  192.0.2.2     gives its clients addresses of 10.100.0.0/16
//!          ├─ fr  192.0.2.6     10.101.0.0/16
//!          └─ us  192.0.2.10    10.102.0.0/24
//! ```

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use mrvpn_region::Transport;

/// The address that every place has, `internet` too: who answers there says which way a question took.
pub(super) const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The port that no rule names.
pub(super) const NO_RULE: u16 = 8000;
/// Where an OpenVPN server listens (IANA).
pub(super) const OPENVPN_PORT: u16 = 1194;

/// The place without a tunnel.
pub(super) const INTERNET: &str = "internet";
/// The client's address on its own network, by which `internet` sees it.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
/// Its router, which is `internet`.
pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// Length of the network of both.
pub(super) const LAN_LENGTH: u8 = 24;

/// One region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Name of the place and of its tunnel.
    pub(super) name: &'static str,
    /// Its server's clients have addresses of this network; the server has the first.
    pub(super) network: (Ipv4Addr, u8),
    /// Where its server listens.
    pub(super) server: Ipv4Addr,
    /// The client's end of the cable to it, of a /30.
    pub(super) client: Ipv4Addr,
    /// How its server is reached.
    pub(super) transport: Transport,
    /// A rule sends this port of [`PUBLIC`] there.
    pub(super) port: u16,
}

/// The regions, in the order of the file.
pub(super) const SPOTS: [Spot; 3] = [
    Spot {
        name: "uk",
        network: (Ipv4Addr::new(10, 100, 0, 0), 16),
        server: Ipv4Addr::new(192, 0, 2, 2),
        client: Ipv4Addr::new(192, 0, 2, 1),
        transport: Transport::Udp,
        port: 8001,
    },
    Spot {
        name: "fr",
        network: (Ipv4Addr::new(10, 101, 0, 0), 16),
        server: Ipv4Addr::new(192, 0, 2, 6),
        client: Ipv4Addr::new(192, 0, 2, 5),
        transport: Transport::Udp,
        port: 8002,
    },
    Spot {
        name: "us",
        network: (Ipv4Addr::new(10, 102, 0, 0), 24),
        server: Ipv4Addr::new(192, 0, 2, 10),
        client: Ipv4Addr::new(192, 0, 2, 9),
        transport: Transport::Tcp,
        port: 8003,
    },
];

/// The one whose server is stopped.
pub(super) const STOPPED: usize = 1;

/// Length of the network of a cable.
pub(super) const CABLE_LENGTH: u8 = 30;

/// Ports at which each place answers.
pub(super) fn ports() -> Vec<u16> {
    [NO_RULE].into_iter().chain(SPOTS.iter().map(|spot| spot.port)).collect()
}

/// An address with the length of its network.
pub(super) fn within(address: Ipv4Addr, length: u8) -> Ipv4Net {
    // All lengths are those above.
    Ipv4Net::new(address, length).unwrap_or_else(|_| Ipv4Net::from(address))
}

/// The mrvpn.toml of the demo: uk's server offers to be the default, as do the others.
pub(super) fn config() -> String {
    let tunnels = SPOTS.iter().map(|spot| format!("[[tunnel]]\nname = \"{0}\"\nprofile = \"{0}.ovpn\"\n", spot.name));
    let rule = |spot: &Spot| format!("[[rule]]\nto = [\"{PUBLIC}\"]\nport = {}\nvia = \"{}\"\n", spot.port, spot.name);
    tunnels.chain(SPOTS.iter().map(rule)).collect()
}
