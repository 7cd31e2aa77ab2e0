//! A container of another program on the client's machine, as Docker makes one: a bridge with a network of its own, a pair
//! of cards, an nftables table that hides the container behind the machine and forwards a port of the machine to it.

use std::time::Duration;

use crate::{
    netns::Netns,
    probe::{PROTOS, ask, helper, run},
    process::{Process, wait_until},
    region::SERVICE_PORT,
    scratch::unique_name,
    world::{CLIENT, ROUTER, World},
};

/// The bridge's address on the client.
const BRIDGE: &str = "172.17.0.1";

/// The container's own.
const CONTAINER: &str = "172.17.0.2";

/// The port of the machine that leads to the container's service.
const PUBLISHED: u16 = 8080;

/// The table that the container's program makes.
const TABLE: &str = "table ip container {
    chain out { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != \"bridge0\" masquerade; }
    chain in { type nat hook prerouting priority dstnat; fib daddr type local tcp dport 8080 dnat to 172.17.0.2:7000; }
    chain own { type nat hook output priority -100; ip daddr != 127.0.0.0/8 fib daddr type local tcp dport 8080 dnat to 172.17.0.2:7000; }
}
";

/// One container with the answering service in it, beside a world's client.
#[derive(Debug)]
pub struct Container {
    service: Process,
    netns: Netns,
}

impl Container {
    /// Makes the bridge and the container and starts its service.
    ///
    /// # Panics
    /// When one of them cannot be made.
    #[must_use]
    #[track_caller]
    pub fn beside(world: &World) -> Self {
        let netns = Netns::new(&format!("{}-container", unique_name()));
        world
            .client
            .ip(&format!("link add bridge0 type bridge\naddr add {BRIDGE}/16 dev bridge0\nlink set bridge0 up"));
        world.client.link("veth0", &netns, "eth0");
        world.client.ip("link set veth0 master bridge0");
        netns.ip(&format!("addr add {CONTAINER}/16 dev eth0\nroute add default via {BRIDGE}"));
        world.client.nft(&world.scratch.write("container.nft", TABLE));
        wait_until("the bridge to be up", Duration::from_secs(2), || {
            world.client.run("ip", &["link", "show", "bridge0"]).contains("state UP").then_some(())
        });
        let mut command = netns.command(helper());
        command.args(["serve", "--name", "container", "--port", &SERVICE_PORT.to_string(), "--udp", CONTAINER]);
        let mut service = Process::start("service-container", command, world.scratch.path());
        service.wait_for("ready", Duration::from_secs(5));
        Self { service, netns }
    }

    /// Asks every way that the container's program is for: out, in through the published port, and to and from the machine.
    ///
    /// # Panics
    /// When one does not answer as without the program under test.
    #[track_caller]
    pub fn check(&self, world: &World, when: &str) {
        let published = format!("{CLIENT}:{PUBLISHED}");
        for proto in PROTOS {
            let out = ask(&self.netns, proto, "203.0.113.10", None);
            assert!(out.is("internet", CLIENT), "{when}, out, {proto:?}: {out:?}\n{}", self.service.log());
            let lan = ask(&self.netns, proto, ROUTER, None);
            assert!(lan.is("internet", CLIENT), "{when}, to the LAN, {proto:?}: {lan:?}");
            let from_machine = ask(&world.client, proto, CONTAINER, None);
            assert!(from_machine.is("container", BRIDGE), "{when}, from the machine, {proto:?}: {from_machine:?}");
        }
        for from in [ROUTER, "203.0.113.77"] {
            let inward = run(&world.internet, "ask", &["--proto", "tcp", "--to", &published, "--from", from]);
            assert_eq!(inward["region"], "container", "{when}, published port from {from}: {inward}");
            assert!(inward["peer"].as_str().is_some_and(|peer| peer.starts_with(from)), "{when}: {inward}");
        }
        let own = run(&world.client, "ask", &["--proto", "tcp", "--to", &published]);
        assert_eq!(own["region"], "container", "{when}, published port from the machine itself: {own}");
    }
}
