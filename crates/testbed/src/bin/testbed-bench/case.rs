//! What is measured, each by the name that `cargo xtask bench NAME` takes: its server, and the figures of one run.

use std::time::Instant;

use mrvpn_testbed::{ServerOptions, Transport, Wrapping};

use crate::far_end::{Kind, Wanted};
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
    /// As [`Self::Udp`], each client against a server of its own kind; so are all that follow.
    FastUdp,
    /// As [`Self::Tcp`].
    FastTcp,
    /// As [`Self::Chacha`].
    FastChacha,
    /// As [`Self::Packets`].
    FastPackets,
    /// As [`Self::Rtt`].
    FastRtt,
    /// As [`Self::Connect`], and connecting anew on command.
    FastConnect,
    /// From 1 idle tunnel to 200.
    FastIdle,
}

/// Tunnels of [`Case::FastIdle`].
const MANY: usize = 200;
/// The same as a divisor: those beyond the first.
const BEYOND_THE_FIRST: f64 = 199.0;

/// One figure of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What and in which unit.
    pub(crate) name: &'static str,
    /// How much.
    pub(crate) value: f64,
}

impl Case {
    const ALL: [Self; 13] = [
        Self::Udp,
        Self::Tcp,
        Self::Chacha,
        Self::Packets,
        Self::Rtt,
        Self::Connect,
        Self::FastUdp,
        Self::FastTcp,
        Self::FastChacha,
        Self::FastPackets,
        Self::FastRtt,
        Self::FastConnect,
        Self::FastIdle,
    ];

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
            Self::FastUdp => "fast-udp",
            Self::FastTcp => "fast-tcp",
            Self::FastChacha => "fast-chacha",
            Self::FastPackets => "fast-packets",
            Self::FastRtt => "fast-rtt",
            Self::FastConnect => "fast-connect",
            Self::FastIdle => "fast-idle",
        }
    }

    /// Whose server the client of this peer meets.
    pub(crate) const fn server_of(self, peer: Peer) -> Kind {
        match (self, peer) {
            (Self::Udp | Self::Tcp | Self::Chacha | Self::Packets | Self::Rtt | Self::Connect, _)
            | (_, Peer::Openvpn) => Kind::Stock,
            (
                Self::FastUdp
                | Self::FastTcp
                | Self::FastChacha
                | Self::FastPackets
                | Self::FastRtt
                | Self::FastConnect
                | Self::FastIdle,
                Peer::Mrvpn,
            ) => Kind::Region,
        }
    }

    /// What its server is to be.
    pub(crate) fn wanted(self) -> Wanted {
        let usual = Wanted { options: ServerOptions::new(Wrapping::None), cipher: None, profiles: 1 };
        match self {
            Self::Udp | Self::Packets | Self::Rtt | Self::Connect => usual,
            Self::FastUdp | Self::FastPackets | Self::FastRtt | Self::FastConnect => usual,
            Self::Tcp | Self::FastTcp => Wanted { options: usual.options.transport(Transport::Tcp), ..usual },
            Self::Chacha | Self::FastChacha => {
                let options = usual.options.line("data-ciphers CHACHA20-POLY1305");
                Wanted { options, cipher: Some("CHACHA20-POLY1305"), ..usual }
            }
            Self::FastIdle => Wanted { options: usual.options.line("duplicate-cn"), profiles: MANY, ..usual },
        }
    }

    /// The figures of one run of one peer.
    pub(crate) fn run(self, lab: &mut Lab, peer: Peer) -> Vec<Figure> {
        if self == Self::FastIdle {
            return idle(lab, peer);
        }
        let (client, seconds) = lab.connect(peer);
        let first = figure("until the first answer, ms", seconds * 1e3);
        let figures = match self {
            Self::Udp | Self::Tcp | Self::Chacha | Self::FastUdp | Self::FastTcp | Self::FastChacha => {
                throughput(lab, &client)
            }
            Self::Packets | Self::FastPackets => packets(lab, &client),
            Self::Rtt | Self::FastRtt => round_trips(lab),
            Self::Connect => vec![first],
            Self::FastConnect => vec![first, figure("anew on command, ms", lab.reconnect(&client) * 1e3)],
            Self::FastIdle => Vec::new(),
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
        figure("up, server CPU-s/GB", up.server_cpu_per_gb),
        figure("down, Gbit/s", down.gbits),
        figure("down, client CPU-s/GB", down.cpu_per_gb),
        figure("down, server CPU-s/GB", down.server_cpu_per_gb),
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
        figure("up, server CPU-µs/packet", up.server_cpu_per_packet * 1e6),
        figure("down, thousand packets/s", down.packets / 1e3),
        figure("down, client CPU-µs/packet", down.cpu_per_packet * 1e6),
        figure("down, server CPU-µs/packet", down.server_cpu_per_packet * 1e6),
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

/// What idle tunnels need, and until all are there.
fn idle(lab: &mut Lab, peer: Peer) -> Vec<Figure> {
    let one = lab.connect_many(peer, 1);
    let first = one.memory();
    one.end();
    let begin = Instant::now();
    let many = lab.connect_many(peer, MANY);
    let seconds = begin.elapsed().as_secs_f64();
    let (memory, cpu) = (many.memory(), many.cpu());
    many.end();
    vec![
        figure("memory of one tunnel, MB", first),
        figure("memory of each added one, kB", (memory - first) * 1e3 / BEYOND_THE_FIRST),
        figure("until all 200 are up, s", seconds),
        figure("client CPU-s for that", cpu),
    ]
}

const fn figure(name: &'static str, value: f64) -> Figure {
    Figure { name, value }
}
