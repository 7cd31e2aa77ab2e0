//! What a test may ask of a server beyond the common configuration: transport, wrapping, password, pushes, lines. Not the
//! server itself: see [`crate::OpenvpnServer`].

use std::fmt;

/// How the control channel is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Not at all.
    None,
    /// `tls-auth` with SHA256, directions 0 and 1.
    TlsAuth,
    /// `tls-crypt`.
    TlsCrypt,
    /// `tls-crypt-v2`; by UDP the server keeps nothing for a client that has not shown its cookie.
    TlsCryptV2,
}

impl Wrapping {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::TlsAuth, Self::TlsCrypt, Self::TlsCryptV2];
}

impl fmt::Display for Wrapping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "none",
            Self::TlsAuth => "tls-auth",
            Self::TlsCrypt => "tls-crypt",
            Self::TlsCryptV2 => "tls-crypt-v2",
        })
    }
}

/// What carries the packets between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `proto udp`.
    Udp,
    /// `proto tcp-server` and `tcp-client`.
    Tcp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// As `status` and `remote` lines write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The family of the outer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

/// What a server does beyond the common configuration.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Wrapping of its control channel.
    pub wrapping: Wrapping,
    /// What carries its packets.
    pub transport: Transport,
    /// The family of its outer address.
    pub outside: Outside,
    /// Whose certificate it shows: `server`, or one that [`crate::Pki`] made for this purpose.
    pub identity: String,
    /// Whether it asks for a user and a password, and counts each login.
    pub password: bool,
    /// Options that it pushes, without the word `push`.
    pub pushes: Vec<String>,
    /// Other lines of its configuration.
    pub lines: Vec<String>,
    /// Lines of the profile for it.
    pub profile_lines: Vec<String>,
}

impl ServerOptions {
    /// A server by UDP over IPv4 with this wrapping that pushes nothing but its address and `ping 1`, `ping-restart 4`.
    #[must_use]
    pub fn new(wrapping: Wrapping) -> Self {
        Self {
            wrapping,
            transport: Transport::Udp,
            outside: Outside::Four,
            identity: String::from("server"),
            password: false,
            pushes: Vec::new(),
            lines: Vec::new(),
            profile_lines: Vec::new(),
        }
    }

    /// Carried by another transport.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// At its outer address of another family.
    #[must_use]
    pub fn outside(mut self, outside: Outside) -> Self {
        self.outside = outside;
        self
    }

    /// Shows another certificate.
    #[must_use]
    pub fn identity(mut self, name: &str) -> Self {
        self.identity = String::from(name);
        self
    }

    /// Asks for user and password.
    #[must_use]
    pub fn with_password(mut self) -> Self {
        self.password = true;
        self
    }

    /// Pushes one option more.
    #[must_use]
    pub fn push(mut self, option: &str) -> Self {
        self.pushes.push(String::from(option));
        self
    }

    /// The profile for it has one line more.
    #[must_use]
    pub fn profile_line(mut self, line: &str) -> Self {
        self.profile_lines.push(String::from(line));
        self
    }

    /// Has one line more.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(String::from(line));
        self
    }
}
