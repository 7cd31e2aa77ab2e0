//! The `.ovpn` that a region's provider would hand out, with all files inline.

use std::fmt::Write as _;

use mrvpn_profile::Cipher;

use crate::error::RegionError;
use crate::spec::{RegionSpec, Transport, Wrapping};

impl RegionSpec {
    /// A profile for `user`: a certificate of this name, the wrapping, and the password where the region asks for one and
    /// knows the user. Each call makes a new certificate.
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn profile(&self, user: &str) -> Result<String, RegionError> {
        let leaf = self.authority.client(user)?;
        let mut text = String::from("client\ndev tun\nnobind\nverb 3\n");
        for listen in &self.listen {
            let (address, proto) = (listen.address, proto(listen.transport, listen.address.is_ipv4()));
            // Writing to a string does not fail.
            let _ = writeln!(text, "remote {} {} {proto}", address.ip(), address.port());
        }
        if self.listen.iter().all(|listen| listen.transport == Transport::Udp) {
            text += "explicit-exit-notify 1\n";
        }
        let ciphers: Vec<&str> = self.ciphers.iter().copied().map(Cipher::name).collect();
        let _ = writeln!(text, "data-ciphers {}\nremote-cert-tls server", ciphers.join(":"));
        text += &block("ca", self.authority.ca());
        text += &block("cert", &leaf.certificate);
        text += &block("key", &leaf.key);
        text += &self.wrapping_text(user)?;
        if let Some(password) = self.users.as_ref().and_then(|users| users.get(user)) {
            text += &block("auth-user-pass", &format!("{user}\n{}", password.expose()));
        } else if self.users.is_some() {
            text += "auth-user-pass\n";
        }
        Ok(text)
    }

    fn wrapping_text(&self, user: &str) -> Result<String, RegionError> {
        Ok(match self.wrapping {
            Wrapping::None => String::new(),
            Wrapping::TlsAuth => {
                format!("auth SHA256\nkey-direction 1\n{}", block("tls-auth", &self.authority.static_key_text()))
            }
            Wrapping::TlsCrypt => block("tls-crypt", &self.authority.static_key_text()),
            Wrapping::TlsCryptV2 => block("tls-crypt-v2", &self.authority.v2_client_key_text(user)?),
        })
    }
}

const fn proto(transport: Transport, four: bool) -> &'static str {
    match (transport, four) {
        (Transport::Udp, true) => "udp",
        (Transport::Udp, false) => "udp6",
        (Transport::Tcp, true) => "tcp",
        (Transport::Tcp, false) => "tcp6",
    }
}

fn block(name: &str, content: &str) -> String {
    format!("<{name}>\n{}\n</{name}>\n", content.trim_end())
}
