//! Arrangements in which addresses clash: the regions of a world with servers of other networks and fixed addresses, and an
//! engine for those of them that a test names. The usual arrangement, in which nothing clashes, is [`crate::World`]'s own.

use std::fs;

use serde_json::Value;

use crate::{
    mrvpn::Mrvpn,
    region::Region,
    server_options::{ServerOptions, Wrapping},
    world::World,
};

/// A region with the server that it has for this test.
#[derive(Clone, Debug)]
pub struct Given {
    /// Where; its network, inner and client addresses are this test's.
    pub region: Region,
    /// What its server does; the wrapping is none, and it says goodbye.
    pub options: ServerOptions,
    /// The address that its server assigns to everyone, with its mask, where it is not the first of its network.
    pub fixed: Option<(&'static str, &'static str)>,
    /// Lines of the profile.
    pub profile: Vec<&'static str>,
}

impl Given {
    /// A region as it is.
    #[must_use]
    pub fn usual(region: Region) -> Self {
        let options = ServerOptions::new(Wrapping::None).line("explicit-exit-notify 1");
        Self { region, options, fixed: None, profile: Vec::new() }
    }

    /// A region numbered from another network: the server is `inner`, its first client `client`.
    #[must_use]
    pub fn numbered(
        region: Region,
        network: (&'static str, &'static str),
        inner: &'static str,
        client: &'static str,
    ) -> Self {
        Self::usual(Region { network, inner, client, ..region })
    }

    /// A region whose server assigns no IPv4 address.
    #[must_use]
    pub fn without_ipv4(region: Region) -> Self {
        Self::usual(Region { network: ("", ""), ..region })
    }

    /// Assigns this address to everyone.
    #[must_use]
    pub fn fixed(mut self, address: &'static str, mask: &'static str) -> Self {
        self.fixed = Some((address, mask));
        self.region.client = address;
        self
    }

    /// Assigns IPv6 addresses too.
    #[must_use]
    pub fn six(mut self) -> Self {
        self.options = self.options.line(&format!("server-ipv6 {}", self.region.six.0));
        self
    }

    /// Pushes one option more.
    #[must_use]
    pub fn push(mut self, option: &str) -> Self {
        self.options = self.options.push(option);
        self
    }

    /// Its configuration has one line more.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.options = self.options.line(line);
        self
    }

    /// The profile has one line more.
    #[must_use]
    pub fn profile(mut self, line: &'static str) -> Self {
        self.profile.push(line);
        self
    }
}

impl World {
    /// Starts the server of a region as given, in the place of the one that ran there.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn give(&mut self, given: &Given) {
        let mut options = given.options.clone();
        if let Some((address, mask)) = given.fixed {
            let directory = self.scratch.path().join(format!("ccd-{}", given.region.name));
            fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            let line = format!("ifconfig-push {address} {mask}\n");
            fs::write(directory.join("DEFAULT"), line).unwrap_or_else(|error| panic!("{error}"));
            options = options.line(&format!("client-config-dir {}", directory.display()));
        }
        self.dismiss_server(given.region);
        self.start_server(given.region, options);
    }

    /// Writes profiles and a `mrvpn.toml` for these regions, in this order, with `more` lines; the words for `mrvpn up`.
    #[must_use]
    #[track_caller]
    pub fn config_of(&self, all: &[Given], more: &str) -> Vec<String> {
        let mut text = String::new();
        for given in all {
            let name = given.region.name;
            let profile = given.profile.iter().fold(self.profile(given.region), |profile, line| profile.line(line));
            let _ = self.write_profile(name, &profile.wrapping(Wrapping::None));
            text += &format!("[[tunnel]]\nname = \"{name}\"\nprofile = \"{name}.ovpn\"\n");
        }
        let path = self.scratch.write("mrvpn.toml", &(text + more));
        vec![String::from("-c"), path.display().to_string()]
    }

    /// Starts these servers and no others, then an engine for them, and waits until all are up.
    ///
    /// # Panics
    /// When one does not come up.
    #[must_use]
    #[track_caller]
    pub fn up_with(&mut self, all: &[Given], more: &str) -> Mrvpn {
        for region in self.places {
            self.kill_server(region);
        }
        for given in all {
            self.give(given);
        }
        Mrvpn::up(self, &self.config_of(all, more))
    }

    /// Lets a region answer at one address more, by TCP.
    #[track_caller]
    pub fn also_answer(&self, region: Region, address: &str) {
        let length = if address.contains(':') { 128 } else { 32 };
        self.region(region).ip(&format!("addr replace {address}/{length} dev lo"));
    }
}

/// The conflict of a kind that names `what`, in a status.
///
/// # Panics
/// When there is none.
#[must_use]
#[track_caller]
pub fn conflict(status: &Value, kind: &str, what: &str) -> Value {
    conflicts(status, kind)
        .into_iter()
        .find(|conflict| conflict["what"].to_string().contains(what))
        .unwrap_or_else(|| panic!("no conflict of kind {kind} about {what}: {status:#}"))
}

/// All conflicts of a kind.
#[must_use]
pub fn conflicts(status: &Value, kind: &str) -> Vec<Value> {
    status["conflicts"].as_array().into_iter().flatten().filter(|conflict| conflict["kind"] == kind).cloned().collect()
}
