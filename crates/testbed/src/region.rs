//! The three regions of the world and their addresses. What runs in them is an [`crate::OpenvpnServer`]; how they are
//! joined is [`crate::World`]'s.

/// Port of every region's answering service, by TCP and UDP.
pub const SERVICE_PORT: u16 = 7000;

/// Addresses at which each region answers, and "internet" too: who answers proves the way that was taken.
pub const PUBLIC: [&str; 3] = ["203.0.113.10", "198.51.100.10", "203.0.113.20"];

/// The same in IPv6: ten addresses, so that a claim or a default is asked at more than one.
pub const PUBLIC6: [&str; 10] = [
    "2001:db8:99::10",
    "2001:db8:99::11",
    "2001:db8:99::12",
    "2001:db8:99::13",
    "2001:db8:99::14",
    "2001:db8:99:1::15",
    "2001:db8:99:2::16",
    "2001:db8:99:3::17",
    "2001:db8:99:4::18",
    "2001:db8:99:5::19",
];

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
    /// The server's outer address in IPv6, and that of "internet" on the link (both in a /64).
    pub outer6: (&'static str, &'static str),
    /// Network and mask of `server` in OpenVPN's configuration.
    pub network: (&'static str, &'static str),
    /// The network with its prefix length.
    pub prefix: &'static str,
    /// The server's own inner address; it answers there.
    pub inner: &'static str,
    /// The address that the first client is given.
    pub client: &'static str,
    /// `server-ipv6` where the server has one: its network, its own address, its first client's (OpenVPN begins at ::1000).
    pub six: (&'static str, &'static str, &'static str),
}

/// uk, 10.100.0.0/16.
pub const UK: Region = Region {
    name: "uk",
    outer: "192.0.2.2",
    gateway: "192.0.2.1",
    outer6: ("2001:db8:2:0::2", "2001:db8:2:0::1"),
    network: ("10.100.0.0", "255.255.0.0"),
    prefix: "10.100.0.0/16",
    inner: "10.100.0.1",
    client: "10.100.0.2",
    six: ("2001:db8:100::/64", "2001:db8:100::1", "2001:db8:100::1000"),
};

/// fr, 10.101.0.0/16.
pub const FR: Region = Region {
    name: "fr",
    outer: "192.0.2.6",
    gateway: "192.0.2.5",
    outer6: ("2001:db8:2:1::2", "2001:db8:2:1::1"),
    network: ("10.101.0.0", "255.255.0.0"),
    prefix: "10.101.0.0/16",
    inner: "10.101.0.1",
    client: "10.101.0.2",
    six: ("2001:db8:101::/64", "2001:db8:101::1", "2001:db8:101::1000"),
};

/// us, 10.102.0.0/24.
pub const US: Region = Region {
    name: "us",
    outer: "192.0.2.10",
    gateway: "192.0.2.9",
    outer6: ("2001:db8:2:2::2", "2001:db8:2:2::1"),
    network: ("10.102.0.0", "255.255.255.0"),
    prefix: "10.102.0.0/24",
    inner: "10.102.0.1",
    client: "10.102.0.2",
    six: ("2001:db8:102::/64", "2001:db8:102::1", "2001:db8:102::1000"),
};

/// All three, in the order of the file.
pub const REGIONS: [Region; 3] = [UK, FR, US];

impl Region {
    /// The name of its server for the world's name server; it has an IPv4 address alone.
    #[must_use]
    pub fn host_name(&self) -> String {
        format!("{}.test", self.name)
    }

    /// A name with its addresses of both families.
    #[must_use]
    pub fn dual_name(&self) -> String {
        format!("{}-dual.test", self.name)
    }
}
