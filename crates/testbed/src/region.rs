//! The three regions of the world and their addresses. What runs in them is an [`crate::OpenvpnServer`]; how they are
//! joined is [`crate::World`]'s.

/// Port of every region's answering service, by TCP and UDP.
pub const SERVICE_PORT: u16 = 7000;

/// Addresses at which each region answers, and "internet" too: who answers proves the way that was taken.
pub const PUBLIC: [&str; 3] = ["203.0.113.10", "198.51.100.10", "203.0.113.20"];

/// An address that "internet" alone has and that nothing ever claims but a default.
pub const UNCLAIMED: &str = "203.0.113.77";

/// One region: addresses as in the world's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name; it stands at the beginning of each of its answers.
    pub name: &'static str,
    /// The server's outer address.
    pub outer: &'static str,
    /// The address of "internet" on the link to it (both in a /30).
    pub gateway: &'static str,
    /// Network and mask of `server` in OpenVPN's configuration.
    pub network: (&'static str, &'static str),
    /// The network with its prefix length.
    pub prefix: &'static str,
    /// The server's own inner address; it answers there.
    pub inner: &'static str,
    /// The address that the first client is given.
    pub client: &'static str,
}

/// uk, 10.100.0.0/16.
pub const UK: Region = Region {
    name: "uk",
    outer: "192.0.2.2",
    gateway: "192.0.2.1",
    network: ("10.100.0.0", "255.255.0.0"),
    prefix: "10.100.0.0/16",
    inner: "10.100.0.1",
    client: "10.100.0.2",
};

/// fr, 10.101.0.0/16.
pub const FR: Region = Region {
    name: "fr",
    outer: "192.0.2.6",
    gateway: "192.0.2.5",
    network: ("10.101.0.0", "255.255.0.0"),
    prefix: "10.101.0.0/16",
    inner: "10.101.0.1",
    client: "10.101.0.2",
};

/// us, 10.102.0.0/24.
pub const US: Region = Region {
    name: "us",
    outer: "192.0.2.10",
    gateway: "192.0.2.9",
    network: ("10.102.0.0", "255.255.255.0"),
    prefix: "10.102.0.0/24",
    inner: "10.102.0.1",
    client: "10.102.0.2",
};

/// All three, in the order of the file.
pub const REGIONS: [Region; 3] = [UK, FR, US];

impl Region {
    /// The name of its server for the world's name server.
    #[must_use]
    pub fn host_name(&self) -> String {
        format!("{}.test", self.name)
    }
}
