//! What a region is to be, as its caller says it. Nothing is opened here, and what clients later say is not here: see
//! [`crate::Region`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use mrvpn_profile::{Cipher, Secret};

use crate::authority::Authority;
use crate::error::RegionError;

/// What carries packets between a client and the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// `proto udp`.
    Udp,
    /// `proto tcp`.
    Tcp,
}

/// Where a region listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// An address of the network namespace, and the port. With a wildcard address, answers leave from the address that
    /// the route chooses, which clients of a host with several addresses do not take.
    pub address: SocketAddr,
    /// How.
    pub transport: Transport,
}

/// How the control channel is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Not at all.
    None,
    /// `tls-auth` with SHA256, direction 1 at the client.
    TlsAuth,
    /// `tls-crypt`.
    TlsCrypt,
    /// `tls-crypt-v2`; over UDP with cookies, as `force-cookie`.
    TlsCryptV2,
}

/// What one region is to be.
#[derive(Clone, Debug)]
pub struct RegionSpec {
    /// Its name, for events and messages.
    pub name: String,
    /// Where it listens; at least one.
    pub listen: Vec<Listen>,
    /// The network of its clients: the server has the first address, clients those after it. At most /30.
    pub network: Ipv4Net,
    /// The same for IPv6; at most /112.
    pub network6: Option<Ipv6Net>,
    /// How the control channel is wrapped.
    pub wrapping: Wrapping,
    /// Data ciphers, the best first.
    pub ciphers: Vec<Cipher>,
    /// Users with their passwords; `None` asks for none.
    pub users: Option<BTreeMap<String, Secret<String>>>,
    /// Options that are pushed besides address, gateway and ping, such as `route 198.51.100.0 255.255.255.0`; none may
    /// hold a comma.
    pub push: Vec<String>,
    /// Both sides send a ping after so much silence (`keepalive`, first number); whole seconds, at least 1.
    pub ping: Duration,
    /// A client tries anew after so much silence, the region forgets it after twice as much (`keepalive`, second number).
    pub ping_restart: Duration,
    /// New keys after so much time (`reneg-sec`); `None` leaves it to the clients.
    pub renewal: Option<Duration>,
    /// Clients at once; no more than the network has room for.
    pub clients: u16,
    /// Whether clients may send packets to each other (`client-to-client`).
    pub between_clients: bool,
    /// Whether several clients may have the same certificate (`duplicate-cn`); otherwise the newer login ends the older.
    pub shared_certificates: bool,
    /// Threads of the data path; `None` is one a core, at most 8.
    pub workers: Option<NonZeroUsize>,
    /// Name of the TUN device, 15 bytes at most.
    pub device: String,
    /// Certificates and keys.
    pub authority: Authority,
}

impl RegionSpec {
    /// A region that listens on `address` by UDP, wraps by tls-crypt, asks for no password, and pushes nothing but what a
    /// client needs for `network`.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr, network: Ipv4Net, authority: Authority) -> Self {
        Self {
            name: String::from(name),
            listen: vec![Listen { address, transport: Transport::Udp }],
            network,
            network6: None,
            wrapping: Wrapping::TlsCrypt,
            ciphers: Cipher::DEFAULT.to_vec(),
            users: None,
            push: Vec::new(),
            ping: Duration::from_secs(10),
            ping_restart: Duration::from_secs(60),
            renewal: Some(Duration::from_secs(3_600)),
            clients: 1_024,
            between_clients: false,
            shared_certificates: false,
            workers: None,
            device: String::from("tun0"),
            authority,
        }
    }

    /// The server's address within the tunnels.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.pool().gateway().into()
    }

    pub(crate) fn pool(&self) -> crate::pool::Pool {
        crate::pool::Pool::new(self.network, self.network6)
    }

    /// Judges what can be judged without opening anything.
    pub(crate) fn check(&self) -> Result<(), RegionError> {
        let wrong = if self.listen.is_empty() {
            "it listens nowhere: give it an address"
        } else if self.network.prefix_len() > 30 {
            "its network has no room for a client: take a /30 or a larger one"
        } else if self.network6.is_some_and(|net| net.prefix_len() > 112) {
            "its IPv6 network is too small: take a /112 or a larger one"
        } else if self.clients == 0 || u32::from(self.clients) > self.pool().room() {
            "its network has no room for so many clients"
        } else if self.ciphers.is_empty() {
            "it has no data cipher"
        } else if self.push.iter().any(|option| option.contains(',')) {
            "a pushed option may not hold a comma"
        } else {
            return Ok(());
        };
        Err(RegionError::Spec { region: self.name.clone(), what: String::from(wrong) })
    }

    /// Threads of the data path.
    pub(crate) fn worker_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.workers.map_or(cores, NonZeroUsize::get).clamp(1, crate::limits::WORKERS)
    }
}
