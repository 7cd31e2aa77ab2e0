//! What is measured, each by the name that `cargo xtask bench NAME` takes: its server, and the figures of one run.

use mrvpn_testbed::{ServerOptions, Transport, Wrapping};

use crate::lab::{Client, Direction, Lab, Load, Peer};

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// TCP through a tunnel by UDP with AES-256-GCM.
    Udp,
    /// The same through a tunnel by TCP.
    Tcp,
    /// By UDP with CHACHA20-POLY1305.
    Chacha,
    /// Datagrams with 64 bytes of payload.
    Packets,
    /// Round trips, idle and beside a transfer.
    Rtt,
    /// From the start of the program to the first answer through the tunnel.
    Connect,
}

/// One figure of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What and in which unit.
    pub(crate) name: &'static str,
    /// How much.
    pub(crate) value: f64,
}

impl Case {
    const ALL: [Self; 6] = [Self::Udp, Self::Tcp, Self::Chacha, Self::Packets, Self::Rtt, Self::Connect];

    /// The cases of these names, all without a name.
    ///
    /// # Errors
    /// A name that is none, with those that are.
    pub(crate) fn chosen(names: &[String]) -> Result<Vec<Self>, String> {
        if names.is_empty() {
            return Ok(Self::ALL.into());
        }
        let known = Self::ALL.map(Self::name).join(", ");
        let find = |name: &String| {
            let found = Self::ALL.into_iter().find(|case| case.name() == name);
            found.ok_or_else(|| format!("no such benchmark: {name:?}; there are: {known}"))
        };
        names.iter().map(find).collect()
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Chacha => "chacha",
            Self::Packets => "packets",
            Self::Rtt => "rtt",
            Self::Connect => "connect",
        }
    }

    /// Its server.
    pub(crate) fn options(self) -> ServerOptions {
        let usual = ServerOptions::new(Wrapping::None);
        match self {
            Self::Udp | Self::Packets | Self::Rtt | Self::Connect => usual,
            Self::Tcp => usual.transport(Transport::Tcp),
            Self::Chacha => usual.line("data-ciphers CHACHA20-POLY1305"),
        }
    }

    /// The figures of one run of one peer.
    pub(crate) fn run(self, lab: &mut Lab, peer: Peer) -> Vec<Figure> {
        let (client, seconds) = lab.connect(peer);
        let figures = match self {
            Self::Udp | Self::Tcp | Self::Chacha => throughput(lab, &client),
            Self::Packets => packets(lab, &client),
            Self::Rtt => round_trips(lab),
            Self::Connect => vec![figure("until the first answer, ms", seconds * 1e3)],
        };
        client.end();
        figures
    }
}

fn throughput(lab: &Lab, client: &Client) -> Vec<Figure> {
    let up = lab.measure(client, Direction::Up, Load::Stream);
    let down = lab.measure(client, Direction::Down, Load::Stream);
    vec![
        figure("up, Gbit/s", up.gbits),
        figure("up, client CPU-s/GB", up.cpu_per_gb),
        figure("down, Gbit/s", down.gbits),
        figure("down, client CPU-s/GB", down.cpu_per_gb),
        figure("memory at most, MB", client.memory()),
        figure("other load, CPUs", up.foreign.max(down.foreign)),
    ]
}

fn packets(lab: &Lab, client: &Client) -> Vec<Figure> {
    let up = lab.measure(client, Direction::Up, Load::Datagrams);
    let down = lab.measure(client, Direction::Down, Load::Datagrams);
    vec![
        figure("up, thousand packets/s", up.packets / 1e3),
        figure("up, client CPU-µs/packet", up.cpu_per_packet * 1e6),
        figure("down, thousand packets/s", down.packets / 1e3),
        figure("down, client CPU-µs/packet", down.cpu_per_packet * 1e6),
    ]
}

fn round_trips(lab: &Lab) -> Vec<Figure> {
    let idle = lab.round_trips();
    let busy = lab.round_trips_beside_a_transfer();
    vec![
        figure("idle, median ms", idle.median),
        figure("idle, 99 % below, ms", idle.most),
        figure("beside a transfer, median ms", busy.median),
        figure("beside a transfer, 99 % below, ms", busy.most),
    ]
}

const fn figure(name: &'static str, value: f64) -> Figure {
    Figure { name, value }
}
