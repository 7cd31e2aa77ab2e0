//! The world of the tests: one client, three regions, and "internet" between them, each a network namespace.
//!
//! ```text
//!  box ── client ── internet ─┬─ uk   10.100.0.0/16   192.0.2.2
//!      .50.0/24   .1.0/24     ├─ fr   10.101.0.0/16   192.0.2.6
//!                             └─ us   10.102.0.0/24   192.0.2.10
//! ```
//!
//! Each region *and* "internet" answer at the public addresses and at the regions' inner ones: the name in an answer proves
//! the way that the question took, and a question that leaves in clear is answered too, by the wrong one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use crate::{
    counters::{self, Counters},
    netns::Netns,
    openvpn_server::{OpenvpnServer, Seat},
    pki::Pki,
    probe::helper,
    process::Process,
    profile_text::ProfileText,
    region::{PUBLIC, PUBLIC6, REGIONS, Region, SERVICE_PORT, UNCLAIMED},
    scratch::{Scratch, unique_name},
    server_options::{ServerOptions, Wrapping},
};

/// The client's address on its LAN.
pub const CLIENT: &str = "192.168.1.2";

/// The address of "internet" on the client's LAN: its router and its name server.
pub const ROUTER: &str = "192.168.1.1";

/// An address that no route leads to a server at: packets to it vanish.
pub const NOBODY: &str = "192.0.2.14";

/// The whole arrangement. Fields are dropped in this order: programs, then namespaces, then files.
#[derive(Debug)]
pub struct World {
    servers: BTreeMap<&'static str, OpenvpnServer>,
    services: Vec<Process>,
    /// The machine that runs the program under test. It forwards for `guest`, as a router would.
    pub client: Netns,
    /// Between all; its counters see what leaves the client in clear.
    pub internet: Netns,
    /// A container's stand-in behind the client, 192.168.50.2.
    pub guest: Netns,
    regions: BTreeMap<&'static str, Netns>,
    /// The regions as this world has them, in the order of the file.
    pub places: [Region; 3],
    /// Certificates and keys.
    pub pki: Pki,
    /// Files of this world.
    pub scratch: Scratch,
}

impl World {
    /// Builds the world; the client's `rp_filter` is 0, 1 or 2. No OpenVPN server runs yet.
    ///
    /// # Panics
    /// When it cannot be built, with the reason.
    #[must_use]
    #[track_caller]
    pub fn new(rp_filter: u8) -> Self {
        Self::of(rp_filter, REGIONS)
    }

    /// As [`Self::new`], with other inner addresses: regions may share them.
    ///
    /// # Panics
    /// When it cannot be built, with the reason.
    #[must_use]
    #[track_caller]
    pub fn of(rp_filter: u8, places: [Region; 3]) -> Self {
        let name = unique_name();
        let scratch = Scratch::new(&name);
        let netns = |role: &str| Netns::new(&format!("{name}-{role}"));
        let mut this = Self {
            servers: BTreeMap::new(),
            services: Vec::new(),
            client: netns("client"),
            internet: netns("internet"),
            guest: netns("guest"),
            regions: places.iter().map(|region| (region.name, netns(region.name))).collect(),
            places,
            pki: Pki::new(scratch.path()),
            scratch,
        };
        this.join_client(rp_filter);
        this.join_guest();
        for forwarding in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            this.internet.sysctl(forwarding, "1");
        }
        for region in places {
            this.join_region(region);
        }
        this.answer_everywhere();
        counters::watch_internet(&this.internet, &this.scratch);
        counters::watch_client(&this.client, &this.scratch);
        this
    }

    /// The namespace of a region.
    #[must_use]
    pub fn region(&self, region: Region) -> &Netns {
        &self.regions[region.name]
    }

    /// Starts a region's OpenVPN server.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_server(&mut self, region: Region, options: ServerOptions) {
        let seat = Seat::of(region, options.outside);
        let mut server = OpenvpnServer::new(seat, options, &self.pki, self.scratch.path());
        server.start(&self.regions[region.name]);
        self.servers.insert(region.name, server);
    }

    /// Starts all three: uk without wrapping, fr with tls-auth, us with tls-crypt; `extend` adds to each one's options.
    #[track_caller]
    pub fn start_servers(&mut self, extend: impl Fn(Region, ServerOptions) -> ServerOptions) {
        for region in self.places {
            self.start_server(region, extend(region, ServerOptions::new(usual_wrapping(region))));
        }
    }

    /// A region's server.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    #[track_caller]
    pub fn server(&self, region: Region) -> &OpenvpnServer {
        self.servers.get(region.name).unwrap_or_else(|| panic!("no server was started in {}", region.name))
    }

    /// Kills a region's server without a goodbye and starts another in its place.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn replace_server(&mut self, region: Region, options: ServerOptions) {
        self.kill_server(region);
        self.start_server(region, options);
    }

    /// Kills a region's server without a goodbye.
    pub fn kill_server(&mut self, region: Region) {
        if let Some(server) = self.servers.get_mut(region.name) {
            server.kill();
        }
    }

    /// Ends a region's server, if one runs; it tells its clients: see [`OpenvpnServer::dismiss`].
    #[track_caller]
    pub fn dismiss_server(&mut self, region: Region) {
        if let Some(server) = self.servers.get_mut(region.name).filter(|server| server.is_started()) {
            server.dismiss();
        }
    }

    /// Starts a killed server again.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn restart_server(&mut self, region: Region) {
        let netns = &self.regions[region.name];
        self.servers.get_mut(region.name).unwrap_or_else(|| panic!("no server in {}", region.name)).start(netns);
    }

    /// The right profile of a region whose server has the usual wrapping.
    #[must_use]
    pub fn profile(&self, region: Region) -> ProfileText {
        ProfileText::new(region, usual_wrapping(region), &self.pki)
    }

    /// Writes a profile as `NAME.ovpn`.
    #[must_use]
    #[track_caller]
    pub fn write_profile(&self, name: &str, profile: &ProfileText) -> PathBuf {
        self.scratch.write(&format!("{name}.ovpn"), &profile.text())
    }

    /// Writes the right profiles of all three regions; `NAME=PATH` for each, as `mrvpn up` takes them.
    #[must_use]
    #[track_caller]
    pub fn write_profiles(&self) -> Vec<String> {
        let argument = |region: Region| {
            format!("{}={}", region.name, self.write_profile(region.name, &self.profile(region)).display())
        };
        self.places.into_iter().map(argument).collect()
    }

    /// Writes a `mrvpn.toml` with all three tunnels, in the order of the file, and `more` lines; the words for `mrvpn up`.
    #[must_use]
    #[track_caller]
    pub fn write_config(&self, more: &str) -> Vec<String> {
        let _ = self.write_profiles();
        let tunnel = |region: Region| format!("[[tunnel]]\nname = \"{0}\"\nprofile = \"{0}.ovpn\"\n", region.name);
        let text: String = REGIONS.into_iter().map(tunnel).collect();
        let path = self.scratch.write("mrvpn.toml", &(text + more));
        vec![String::from("-c"), path.display().to_string()]
    }

    /// What a region's tunnel and port have seen.
    #[must_use]
    #[track_caller]
    pub fn region_counters(&self, region: Region) -> Counters {
        Counters::read(self.region(region))
    }

    /// What came from the client to "internet".
    #[must_use]
    #[track_caller]
    pub fn internet_counters(&self) -> Counters {
        Counters::read(&self.internet)
    }

    #[track_caller]
    fn join_client(&self, rp_filter: u8) {
        for scope in ["all", "default"] {
            self.client.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), &rp_filter.to_string());
        }
        self.client.sysctl("net.ipv4.ip_forward", "1");
        self.client.link("eth0", &self.internet, "lan");
        self.client.ip(&format!(
            "addr add {CLIENT}/24 dev eth0
             route add default via {ROUTER}
             addr add 2001:db8:1::2/64 dev eth0
             -6 route add default via 2001:db8:1::1"
        ));
        self.internet.ip(&format!(
            "addr add {ROUTER}/24 dev lan
             addr add 2001:db8:1::1/64 dev lan
             route add 192.168.50.0/24 via {CLIENT}
             route add blackhole {NOBODY}/32"
        ));
        self.client.etc("resolv.conf", &format!("nameserver {ROUTER}\noptions timeout:1 attempts:2\n"));
        self.client.etc("hosts", "127.0.0.1 localhost\n");
    }

    #[track_caller]
    fn join_guest(&self) {
        self.client.link("box0", &self.guest, "eth0");
        self.client.ip("addr add 192.168.50.1/24 dev box0");
        self.guest.ip("addr add 192.168.50.2/24 dev eth0\nroute add default via 192.168.50.1");
    }

    #[track_caller]
    fn join_region(&self, region: Region) {
        let (netns, link) = (self.region(region), format!("to-{}", region.name));
        let (outer6, gateway6) = region.outer6;
        netns.link("out", &self.internet, &link);
        netns.ip(&format!(
            "addr add {}/30 dev out
             route add default via {}
             addr add {outer6}/64 dev out
             -6 route add default via {gateway6}",
            region.outer, region.gateway
        ));
        self.internet.ip(&format!("addr add {}/30 dev {link}\naddr add {gateway6}/64 dev {link}", region.gateway));
        // Beyond its server a region is a router too: a packet whose time is over there is told so by the gateway.
        for setting in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            netns.sysctl(setting, "1");
        }
        counters::watch_region(netns, region, &self.scratch);
    }

    /// Puts the shared addresses onto `lo` of every place and starts a service there.
    #[track_caller]
    fn answer_everywhere(&mut self) {
        for region in self.places {
            let shared = [&PUBLIC[..], &PUBLIC6].concat();
            own(self.region(region), &shared);
            // The inner addresses stand on the tunnel alone, which comes and goes with the server.
            for setting in ["net.ipv4.ip_nonlocal_bind", "net.ipv6.ip_nonlocal_bind"] {
                self.region(region).sysctl(setting, "1");
            }
            let addresses = [shared.as_slice(), &[region.inner, region.six.1]].concat();
            self.services.push(serve(self.region(region), region.name, &addresses, &self.scratch));
        }
        let inner: BTreeSet<&str> = self.places.iter().flat_map(|region| [region.inner, region.six.1]).collect();
        let addresses = [&PUBLIC[..], &PUBLIC6, &[UNCLAIMED], &inner.into_iter().collect::<Vec<_>>()].concat();
        own(&self.internet, &addresses);
        let addresses = [addresses.as_slice(), &[ROUTER]].concat();
        self.services.push(serve(&self.internet, "internet", &addresses, &self.scratch));
        self.services.push(name_server(&self.internet, &self.scratch));
    }
}

/// Gives addresses of either family to `lo`.
#[track_caller]
fn own(netns: &Netns, addresses: &[&str]) {
    for address in addresses {
        // Without looking for a duplicate first: until that is done nothing can be bound to the address.
        let how = if address.contains(':') { "/128 dev lo nodad" } else { "/32 dev lo" };
        netns.ip(&format!("addr add {address}{how}"));
    }
}

/// The wrapping that [`World::start_servers`] gives to a region.
#[must_use]
pub fn usual_wrapping(region: Region) -> Wrapping {
    match region.name {
        "uk" => Wrapping::None,
        "fr" => Wrapping::TlsAuth,
        _ => Wrapping::TlsCrypt,
    }
}

#[track_caller]
fn serve(netns: &Netns, name: &str, udp: &[&str], scratch: &Scratch) -> Process {
    let mut command = netns.command(helper());
    command.args(["serve", "--name", name, "--port", &SERVICE_PORT.to_string()]);
    for address in udp {
        command.args(["--udp", address]);
    }
    let mut process = Process::start(&format!("service-{name}"), command, scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}

#[track_caller]
fn name_server(netns: &Netns, scratch: &Scratch) -> Process {
    let mut command = netns.command(helper());
    command.args(["dns", "--listen", &format!("{ROUTER}:53")]);
    for region in REGIONS {
        command.args(["--record", &format!("{}={}", region.host_name(), region.outer)]);
        for address in [region.outer, region.outer6.0] {
            command.args(["--record", &format!("{}={address}", region.dual_name())]);
        }
    }
    let mut process = Process::start("name-server", command, scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}
