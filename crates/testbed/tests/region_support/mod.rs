//! A region server of ours in one namespace and clients in another, joined by a cable; for the tests of `crates/region`.
//! The region runs in this process, on threads that have entered its namespace.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mrvpn_region::{Authority, ClientSeen, Region, RegionError, RegionEvent, RegionSpec};
use mrvpn_testbed::{Netns, Scratch, unique_name, wait_until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The region's outer address and port.
pub(crate) const OUTER: &str = "192.0.2.2:1194";
/// Its inner address.
pub(crate) const GATEWAY: &str = "10.100.0.1";
/// The address of the first client.
pub(crate) const FIRST: &str = "10.100.0.2";

/// The two namespaces. Fields are dropped in this order.
pub(crate) struct Lab {
    pub(crate) client: Netns,
    pub(crate) far: Netns,
    pub(crate) scratch: Scratch,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let name = unique_name();
        let (client, far) = (Netns::new(&format!("{name}-client")), Netns::new(&format!("{name}-region")));
        client.link("eth0", &far, "out");
        client.ip("addr add 192.0.2.1/24 dev eth0\naddr add 192.0.2.7/24 dev eth0\naddr add 2001:db8::1/64 dev eth0");
        far.ip("addr add 192.0.2.2/24 dev out\naddr add 2001:db8::2/64 dev out");
        Self { client, far, scratch: Scratch::new(&name) }
    }

    /// The usual region of the tests, to be changed and started.
    pub(crate) fn spec(&self) -> RegionSpec {
        let address: SocketAddr = OUTER.parse().expect("it is one");
        let network = "10.100.0.0/16".parse().expect("it is one");
        let authority = Authority::new().expect("there is randomness");
        let mut spec = RegionSpec::new("uk", address, network, authority);
        spec.ping = Duration::from_secs(1);
        spec.ping_restart = Duration::from_secs(4);
        spec
    }

    pub(crate) fn try_start(&self, spec: &RegionSpec) -> Result<Region, RegionError> {
        within(&self.far, || Region::start(spec.clone()))
    }

    #[track_caller]
    pub(crate) fn start(&self, spec: &RegionSpec) -> Region {
        self.try_start(spec).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Pings through the tunnel from the client until it answers, for 10 s at most.
    #[track_caller]
    pub(crate) fn wait_ping(&self, to: &str) {
        wait_until("a ping through the tunnel", Duration::from_secs(10), || {
            self.client.try_run("ping", &["-n", "-c", "1", "-W", "0.2", to]).ok()
        });
    }
}

/// Does something on a thread that has entered the namespace.
pub(crate) fn within<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{}", netns.name())).expect("the namespace is there");
    let enter = move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("tests run as root");
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().expect("the work panics with its reason"))
}

/// Waits for an event of this kind; others are passed over.
#[track_caller]
pub(crate) fn wait_event(region: &Region, wanted: impl Fn(&RegionEvent) -> bool) -> RegionEvent {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(event) = region.wait_event(left) else { panic!("waited in vain; what came was {seen:#?}") };
        if wanted(&event) {
            return event;
        }
        seen.push(event);
    }
}

/// Waits until a client is up, and returns what is known of it.
#[track_caller]
pub(crate) fn wait_up(region: &Region) -> ClientSeen {
    let event = wait_event(region, |event| matches!(event, RegionEvent::Up(_)));
    let RegionEvent::Up(client) = event else { panic!("{event:?}") };
    client
}
