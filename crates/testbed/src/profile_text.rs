//! The `.ovpn` text that a provider would hand out for a region, with everything inline; and the wrong ones that tests need.

use crate::{
    openvpn_server::{OPENVPN_PORT, Wrapping},
    pki::Pki,
    region::Region,
};

/// A profile under construction.
#[derive(Clone, Debug)]
pub struct ProfileText {
    remote: String,
    wrapping: Wrapping,
    ca: String,
    static_key: String,
    client: (String, String),
    account: Option<(String, String)>,
    lines: Vec<String>,
}

impl ProfileText {
    /// The right profile for a region's server with this wrapping, without an account.
    #[must_use]
    pub fn new(region: Region, wrapping: Wrapping, pki: &Pki) -> Self {
        Self {
            remote: String::from(region.outer),
            wrapping,
            ca: pki.ca.clone(),
            static_key: pki.static_key.clone(),
            client: (pki.client.certificate.clone(), pki.client.key.clone()),
            account: None,
            lines: Vec::new(),
        }
    }

    /// Names another remote: a host name, an address where nobody is.
    #[must_use]
    pub fn remote(mut self, remote: &str) -> Self {
        self.remote = String::from(remote);
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

    /// Has one line more.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(String::from(line));
        self
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "client\ndev tun\nproto udp\nremote {} {OPENVPN_PORT}\nnobind\nremote-cert-tls server\nverb 3\n",
            self.remote
        );
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
