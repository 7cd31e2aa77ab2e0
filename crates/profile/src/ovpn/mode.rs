//! `client` and its parts, and the kind of device: this program is a client with a tun device, and a file must mean
//! just that.

use super::judgement::{Fate, Judgement};
use crate::escape::escape;

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Mode {
    pulls: bool,
    tls_client: bool,
    device: Option<String>,
    device_type: Option<String>,
}

impl Mode {
    pub(super) fn take(&mut self, name: &str, parameters: &[&str]) -> Option<Fate> {
        Some(match (name, parameters) {
            ("client", _) => {
                self.pulls = true;
                self.tls_client = true;
                Fate::Used
            }
            ("pull", _) => {
                self.pulls = true;
                Fate::Used
            }
            ("tls-client", _) => {
                self.tls_client = true;
                Fate::Used
            }
            ("mode", ["p2p"]) => Fate::Used,
            ("mode", _) => Fate::refused("mrvpn is a client", "remove the line, and write `client`"),
            ("dev", [device, ..]) => {
                self.device = Some((*device).to_owned());
                device_fate(device, self.device_type.as_deref())
            }
            ("dev-type", [kind, ..]) => {
                self.device_type = Some((*kind).to_owned());
                device_fate("", Some(kind))
            }
            ("dev" | "dev-type", []) => Fate::wrong("it needs a value", "write `dev tun`"),
            ("dev-node", [node, ..]) if node.starts_with("unix:") => {
                Fate::refused("it would start a program that makes the device", "remove the line, and write `dev tun`")
            }
            ("dev-node", _) => Fate::ignored("the interface's name is `interface` in mrvpn.toml"),
            _ => return None,
        })
    }

    pub(super) fn finish(&self, judgement: &mut Judgement) {
        if !(self.pulls && self.tls_client) {
            judgement.warn(0, "", "the profile does not say `client`; it is read as if it did", "");
        }
        let Some(device) = &self.device else { return };
        if self.device_type.is_none() && !device.starts_with("tun") && !device.starts_with("tap") && device != "null" {
            let why = format!("device `{}` may be tun or tap", escape(device.as_bytes()));
            judgement.refuse(0, "dev", &why, "write `dev tun`, or add `dev-type tun`");
        }
    }
}

fn device_fate(device: &str, kind: Option<&str>) -> Fate {
    match kind {
        Some("tun") => Fate::Used,
        Some(_) => tap(),
        None if device.starts_with("tap") => tap(),
        None if device == "null" => Fate::refused("a tunnel without a device carries nothing", "write `dev tun`"),
        None => Fate::Used,
    }
}

fn tap() -> Fate {
    let hint = "ask the operator for a tun server; write `dev tun` only if the server has it too";
    Fate::refused("Ethernet tunnels (tap) are not in this version", hint)
}
