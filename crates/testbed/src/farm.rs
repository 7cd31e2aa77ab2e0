//! Many OpenVPN servers in one more namespace of a world, told apart by port, device and network: for tests of every
//! combination of options at once. The three regions are another thing: they are told apart by who answers.

use std::time::Duration;

use crate::{
    netns::Netns,
    openvpn_server::{OpenvpnServer, Seat},
    probe::{Background, helper},
    process::Process,
    profile_text::ProfileText,
    region::SERVICE_PORT,
    scratch::unique_name,
    server_options::{Outside, ServerOptions},
    world::World,
};

/// The farm's outer addresses and those of "internet" on the link to it.
const OUTER: (&str, &str) = ("192.0.2.18", "192.0.2.17");
const OUTER6: (&str, &str) = ("2001:db8:2:9::2", "2001:db8:2:9::1");

/// The port of the first server.
const FIRST_PORT: u16 = 2000;

/// The servers and what answers behind them. Fields are dropped in this order: programs, then the namespace.
#[derive(Debug)]
pub struct Farm {
    service: Process,
    fields: Vec<Field>,
    netns: Netns,
}

/// One server of a farm with the profile for it.
#[derive(Debug)]
pub struct Field {
    /// The tunnel's name: `t1`, `t2`, ...
    pub name: String,
    /// The server's inner address.
    pub inner: String,
    /// The address that the client is given.
    pub client: String,
    /// Its configuration.
    pub options: ServerOptions,
    /// The server.
    pub server: OpenvpnServer,
    argument: String,
}

impl Farm {
    /// Starts a server for each of these options, at most 200.
    ///
    /// # Panics
    /// When one does not come up.
    #[must_use]
    #[track_caller]
    pub fn new(world: &World, all: Vec<ServerOptions>) -> Self {
        let netns = Netns::new(&format!("{}-farm", unique_name()));
        join(world, &netns);
        let mut fields: Vec<Field> = (1_u8..).zip(all).map(|(number, options)| field(world, number, options)).collect();
        let service = serve(world, &netns, &fields);
        for field in &mut fields {
            field.server.start(&netns);
        }
        Self { service, fields, netns }
    }

    /// The servers in the order of their options.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// `NAME=PROFILE` for each, as `mrvpn up` takes them.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.argument.clone()).collect()
    }

    /// Kills one server without a goodbye and starts it again.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn restart(&mut self, place: usize) {
        let field = &mut self.fields[place];
        field.server.kill();
        field.server.start(&self.netns);
    }

    /// Everything that the service said; it says nothing after `ready` unless something is wrong.
    #[must_use]
    pub fn log(&self) -> String {
        self.service.log()
    }
}

impl Field {
    /// Questions to this server's inner address, as [`Background::probe`].
    #[must_use]
    #[track_caller]
    pub fn probe(&self, world: &World, rate: u32, time: Duration) -> Background {
        Background::probe(&world.client, &self.inner, None, rate, time, &world.scratch)
    }
}

#[track_caller]
fn join(world: &World, netns: &Netns) {
    netns.link("out", &world.internet, "to-farm");
    netns.ip(&format!(
        "addr add {}/30 dev out
         route add default via {}
         addr add {}/64 dev out
         -6 route add default via {}",
        OUTER.0, OUTER.1, OUTER6.0, OUTER6.1
    ));
    world.internet.ip(&format!("addr add {}/30 dev to-farm\naddr add {}/64 dev to-farm", OUTER.1, OUTER6.1));
    netns.sysctl("net.ipv4.ip_nonlocal_bind", "1");
}

#[track_caller]
fn field(world: &World, number: u8, options: ServerOptions) -> Field {
    let outer = match options.outside {
        Outside::Four => OUTER.0,
        Outside::Six => OUTER6.0,
    };
    let seat = Seat {
        name: format!("t{number}"),
        outer: String::from(outer),
        port: FIRST_PORT + u16::from(number),
        device: format!("tun{number}"),
        network: (format!("10.110.{number}.0"), String::from("255.255.255.0")),
    };
    let profile = world.write_profile(&seat.name, &ProfileText::for_server(&seat, &options, &world.pki));
    Field {
        name: seat.name.clone(),
        inner: format!("10.110.{number}.1"),
        client: format!("10.110.{number}.2"),
        argument: format!("{}={}", seat.name, profile.display()),
        options: options.clone(),
        server: OpenvpnServer::new(seat, options, &world.pki, world.scratch.path()),
    }
}

#[track_caller]
fn serve(world: &World, netns: &Netns, fields: &[Field]) -> Process {
    let mut command = netns.command(helper());
    command.args(["serve", "--name", "farm", "--port", &SERVICE_PORT.to_string()]);
    for field in fields {
        command.args(["--udp", &field.inner]);
    }
    let mut process = Process::start("service-farm", command, world.scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}
