//! `setenv` and what a file says about directives that may be unknown. No environment is set anywhere: a few names
//! have a meaning of their own (openvpn-protocol.md section 11.6), the rest is for programs that are never run.

use std::collections::BTreeSet;

use super::judgement::Fate;

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Environment {
    may_be_unknown: BTreeSet<String>,
    forward_compatible: bool,
    push_peer_info: bool,
}

/// What OpenVPN Connect shows or offers to its user (openvpn-protocol.md section 11.6).
const FOR_WINDOWS_OF_OTHERS: [&str; 4] = ["USERNAME", "FRIENDLY_NAME", "ALLOW_PASSWORD_SAVE", "IV_GUI_VER"];

impl Environment {
    pub(super) fn take(&mut self, name: &str, parameters: &[&str]) -> Option<Fate> {
        Some(match (name, parameters) {
            ("setenv", ["FORWARD_COMPATIBLE", value, ..]) => {
                self.forward_compatible = *value != "0";
                Fate::Used
            }
            ("setenv", ["PUSH_PEER_INFO", ..]) | ("push-peer-info", _) => {
                self.push_peer_info = true;
                Fate::Used
            }
            ("setenv", ["GENERIC_CONFIG", ..]) => {
                let hint = "get the profile of one user from the provider, with key or password";
                Fate::refused("this file is a template and no profile", hint)
            }
            ("setenv", ["CLIENT_CERT", "0", ..]) => Fate::Used,
            ("setenv", [name, ..]) if name.starts_with("UV_") => {
                Fate::ignored("values of the user's own for the server are not in this version")
            }
            ("setenv", ["REMOTE_RANDOM_HOSTNAME", ..]) => Fate::ignored("the server's name is looked up as it stands"),
            ("setenv", [name, ..]) if FOR_WINDOWS_OF_OTHERS.contains(name) => {
                Fate::ignored("it is for the windows of another program; a tunnel's name is `name` in mrvpn.toml")
            }
            ("setenv" | "setenv-safe", _) => Fate::ignored("it is for programs, and none is ever run"),
            ("ignore-unknown-option", names) => {
                self.may_be_unknown.extend(names.iter().map(|name| (*name).to_owned()));
                Fate::Used
            }
            _ => return None,
        })
    }

    /// Whether the file says that a directive of this name may be left out where it is unknown.
    pub(super) fn may_be_unknown(&self, name: &str) -> bool {
        self.forward_compatible || self.may_be_unknown.contains(name)
    }

    pub(super) const fn push_peer_info(&self) -> bool {
        self.push_peer_info
    }
}
