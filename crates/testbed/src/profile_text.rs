//! The `.ovpn` text that a provider would hand out for a region, with everything inline; and the wrong ones that tests need.

use crate::{
    openvpn_server::{ACCOUNT, OPENVPN_PORT, Seat},
    pki::Pki,
    region::Region,
    server_options::{Outside, ServerOptions, Transport, Wrapping},
};

/// A profile under construction.
#[derive(Clone, Debug)]
pub struct ProfileText {
    remotes: Vec<(String, u16)>,
    transport: Transport,
    wrapping: Wrapping,
    ca: String,
    static_key: String,
    client_key: String,
    client: (String, String),
    account: Option<(String, String)>,
    server_usage: bool,
    lines: Vec<String>,
}

impl ProfileText {
    /// The right profile for a region's server with this wrapping, without an account.
    #[must_use]
    pub fn new(region: Region, wrapping: Wrapping, pki: &Pki) -> Self {
        Self {
            remotes: vec![(String::from(region.outer), OPENVPN_PORT)],
            transport: Transport::Udp,
            wrapping,
            ca: pki.ca.clone(),
            static_key: pki.static_key.clone(),
            client_key: pki.v2_client_key.clone(),
            client: (pki.client.certificate.clone(), pki.client.key.clone()),
            account: None,
            server_usage: true,
            lines: Vec::new(),
        }
    }

    /// The right profile for a server with these options at this seat.
    #[must_use]
    pub fn for_server(seat: &Seat, options: &ServerOptions, pki: &Pki) -> Self {
        let mut this = Self::new(crate::region::UK, options.wrapping, pki).transport(options.transport);
        this.remotes = vec![(seat.outer.clone(), seat.port)];
        this.lines.clone_from(&options.profile_lines);
        this.account = options.password.then(|| (String::from(ACCOUNT.0), String::from(ACCOUNT.1)));
        this
    }

    /// Names another remote: a host name, an address where nobody is.
    #[must_use]
    pub fn remote(mut self, remote: &str) -> Self {
        self.remotes = vec![(String::from(remote), OPENVPN_PORT)];
        self
    }

    /// Names these remotes, in this order.
    #[must_use]
    pub fn remotes(mut self, remotes: &[(&str, u16)]) -> Self {
        self.remotes = remotes.iter().map(|(host, port)| (String::from(*host), *port)).collect();
        self
    }

    /// The remote of a region in one family.
    #[must_use]
    pub fn outside(self, region: Region, outside: Outside) -> Self {
        let seat = Seat::of(region, outside);
        self.remotes(&[(&seat.outer, seat.port)])
    }

    /// Wraps as a server with another wrapping than the usual one wants it.
    #[must_use]
    pub fn wrapping(mut self, wrapping: Wrapping) -> Self {
        self.wrapping = wrapping;
        self
    }

    /// Dials by another transport.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Trusts another CA.
    #[must_use]
    pub fn ca(mut self, ca: &str) -> Self {
        self.ca = String::from(ca);
        self
    }

    /// Wraps with another key.
    #[must_use]
    pub fn static_key(mut self, key: &str) -> Self {
        self.static_key = String::from(key);
        self
    }

    /// Logs in with an account, inline.
    #[must_use]
    pub fn account(mut self, (user, password): (&str, &str)) -> Self {
        self.account = Some((String::from(user), String::from(password)));
        self
    }

    /// Asks for no server usage in the server's certificate, as many profiles do not.
    #[must_use]
    pub fn without_server_usage(mut self) -> Self {
        self.server_usage = false;
        self
    }

    /// Has one line more.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(String::from(line));
        self
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from("client\ndev tun\nnobind\nverb 3\n");
        text += &format!("proto {}\n", self.transport.word());
        for (host, port) in &self.remotes {
            text += &format!("remote {host} {port}\n");
        }
        if self.server_usage {
            text += "remote-cert-tls server\n";
        }
        text += &block("ca", &self.ca);
        text += &block("cert", &self.client.0);
        text += &block("key", &self.client.1);
        match self.wrapping {
            Wrapping::None => {}
            Wrapping::TlsAuth => {
                text += "auth SHA256\nkey-direction 1\n";
                text += &block("tls-auth", &self.static_key);
            }
            Wrapping::TlsCrypt => text += &block("tls-crypt", &self.static_key),
            Wrapping::TlsCryptV2 => text += &block("tls-crypt-v2", &self.client_key),
        }
        if let Some((user, password)) = &self.account {
            text += &block("auth-user-pass", &format!("{user}\n{password}\n"));
        }
        for line in &self.lines {
            text += &format!("{line}\n");
        }
        text
    }
}

fn block(name: &str, content: &str) -> String {
    format!("<{name}>\n{}\n</{name}>\n", content.trim_end())
}
