//! The server that a lab's clients connect to: Debian's, or a region server of ours in a process of its own.

use std::{env, path::PathBuf, time::Duration};

use mrvpn_testbed::{
    Netns, OPENVPN_PORT, OpenvpnServer, Outside, Pki, Process, ProfileText, Scratch, Seat, ServerOptions, Transport, UK,
};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Debian's.
    Stock,
    /// Ours.
    Region,
}

/// A running server, and the profiles for it.
pub(crate) enum FarEnd {
    /// Debian's; its profile serves all.
    Stock(Box<OpenvpnServer>),
    /// Ours.
    Region(Process),
}

/// What a server of either kind is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// For Debian's.
    pub(crate) options: ServerOptions,
    /// Data cipher, where it is not the usual one.
    pub(crate) cipher: Option<&'static str>,
    /// How many profiles there should be.
    pub(crate) profiles: usize,
}

impl FarEnd {
    /// Starts it in `netns`; with the texts of the profiles for it.
    ///
    /// # Panics
    /// When it does not take clients within 10 s.
    pub(crate) fn start(kind: Kind, wanted: &Wanted, netns: &Netns, scratch: &Scratch) -> (Self, Vec<String>) {
        match kind {
            Kind::Stock => Self::stock(wanted, netns, scratch),
            Kind::Region => Self::region(wanted, netns, scratch),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Stock(server) => server.pid(),
            Self::Region(process) => process.pid(),
        }
    }

    /// How many clients it has let in so far, by what it says.
    pub(crate) fn sessions(&self) -> usize {
        match self {
            Self::Stock(server) => server.log().matches("Peer Connection Initiated").count(),
            Self::Region(process) => process.stdout().lines().filter(|line| line.starts_with("Up(")).count(),
        }
    }

    fn stock(wanted: &Wanted, netns: &Netns, scratch: &Scratch) -> (Self, Vec<String>) {
        let pki = Pki::new(scratch.path());
        let seat = Seat::of(UK, Outside::Four);
        let profile = ProfileText::for_server(&seat, &wanted.options, &pki).text();
        let mut server = OpenvpnServer::new(seat, wanted.options.clone(), &pki, scratch.path());
        server.start(netns);
        (Self::Stock(Box::new(server)), vec![profile; wanted.profiles])
    }

    fn region(wanted: &Wanted, netns: &Netns, scratch: &Scratch) -> (Self, Vec<String>) {
        let path = |number: usize| scratch.path().join(format!("region-{number}.ovpn"));
        let transport = match wanted.options.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        let mut command = netns.command(beside_this_program("testbed-helper"));
        command.args(["region", "--name", "uk", "--network", "10.100.0.0/16", "--wrapping", "none"]);
        command.args([
            "--listen",
            &format!("{transport}:{}:{OPENVPN_PORT}", UK.outer),
            "--ping",
            "1",
            "--ping-restart",
            "4",
        ]);
        if let Some(cipher) = wanted.cipher {
            command.args(["--cipher", cipher]);
        }
        for number in 0..wanted.profiles {
            command.args(["--profile", &format!("user{number}={}", path(number).display())]);
        }
        let mut process = Process::start("region-uk", command, scratch.path());
        process.wait_for("ready", Duration::from_secs(10));
        let read = |number| std::fs::read_to_string(path(number)).unwrap_or_default();
        (Self::Region(process), (0..wanted.profiles).map(read).collect())
    }
}

/// A program that was built together with this one.
fn beside_this_program(name: &str) -> PathBuf {
    env::current_exe().map(|path| path.with_file_name(name)).unwrap_or_else(|_| PathBuf::from(name))
}
