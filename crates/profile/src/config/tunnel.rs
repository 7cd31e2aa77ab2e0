//! `[[tunnel]]`: one file each, names unique.

use ipnet::IpNet;
use toml::de::DeValue;

use super::rule::{TCP, UDP, each, network, range};
use super::table::{Key, Table, error, text_of};
use super::{Accept, ConfigError, Located, Tunnel};
use crate::escape::escape;
use crate::limits;
use crate::name::TunnelName;

/// All tunnels in the order of the file.
pub(super) fn tunnels(tables: &[Table<'_, '_>]) -> Result<Vec<Tunnel>, ConfigError> {
    let mut tunnels: Vec<Tunnel> = Vec::new();
    for table in tables {
        let tunnel = tunnel(table)?;
        if let Some(other) = tunnels.iter().find(|other| other.name == tunnel.name) {
            let message = format!("a second tunnel is called `{}`; the first is in line {}", tunnel.name, other.line);
            return Err(error(table.line, message, "give each tunnel a name of its own"));
        }
        tunnels.push(tunnel);
    }
    if tunnels.is_empty() {
        let message = String::from("the file names no tunnel");
        return Err(ConfigError {
            line: None,
            message,
            hint: String::from("add a [[tunnel]] with `name` and `profile`"),
        });
    }
    Ok(tunnels)
}

fn tunnel(table: &Table<'_, '_>) -> Result<Tunnel, ConfigError> {
    table.check_keys(KEYS)?;
    let name = table.text("name")?.ok_or_else(|| error(table.line, "a tunnel without a name", "add name = \"uk\""))?;
    let profile = table
        .text("profile")?
        .ok_or_else(|| error(table.line, "a tunnel without a profile", "add profile = \"uk.ovpn\""))?;
    Ok(Tunnel {
        name: TunnelName::parse(name.value)
            .map_err(|why| error(name.line, why.to_string(), "use 1 to 32 of a-z, 0-9 and -, and no reserved word"))?,
        profile: path(profile)?,
        credentials: table.text("credentials")?.map(path).transpose()?,
        default: table.truth("default")?.is_some_and(|flag| flag.value),
        strict_server: table.truth("strict_server")?.is_some_and(|flag| flag.value),
        accept: each(table, "accept", accept)?,
        bypass: bypass(table)?,
        line: table.line,
    })
}

/// A protocol and ports, as in `tcp/51413` or `udp/1000-2000`.
fn accept(item: &Located<&DeValue<'_>>) -> Result<Accept, ConfigError> {
    let parts = text_of(item.value).and_then(|text| text.split_once('/'));
    let read = parts.and_then(|(proto, ports)| {
        let proto = match proto {
            "tcp" => TCP,
            "udp" => UDP,
            _ => return None,
        };
        Some(Accept { proto, ports: range(ports)? })
    });
    read.ok_or_else(|| {
        error(item.line, "`accept` names no protocol and port", "write for example [\"tcp/51413\", \"udp/1000-2000\"]")
    })
}

/// Where a wrapper on this host connects to. All of a family would be no bypass but the end of the tunnel.
fn bypass(table: &Table<'_, '_>) -> Result<Vec<IpNet>, ConfigError> {
    let items = table.list("bypass")?;
    if let Some(first_too_many) = items.get(limits::BYPASSES) {
        let message = format!("`bypass` names more than {} addresses", limits::BYPASSES);
        return Err(error(first_too_many.line, message, "name the network of the addresses instead"));
    }
    items.iter().map(outer_network).collect()
}

fn outer_network(item: &Located<&DeValue<'_>>) -> Result<IpNet, ConfigError> {
    let net = network(item)?;
    if net.prefix_len() == 0 {
        let message = format!("`bypass` names all of a family ({net}), so that nothing would be left for the tunnel");
        return Err(error(item.line, message, "name the address that the wrapper connects to"));
    }
    Ok(net)
}

/// A path of the user's own file, as written; it is opened with the rights of whoever asked.
pub(super) fn path(text: Located<&str>) -> Result<Located<String>, ConfigError> {
    if text.value.is_empty() || text.value.contains('\0') {
        let message = format!("`{}` is no path", escape(text.value.as_bytes()));
        return Err(error(text.line, message, "name a file, relative to this one or from /"));
    }
    Ok(Located { value: text.value.to_owned(), line: text.line })
}

const KEYS: &[(&str, Key)] = &[
    ("name", Key::Built),
    ("profile", Key::Built),
    ("credentials", Key::Built),
    ("default", Key::Built),
    ("strict_server", Key::Built),
    ("accept", Key::Built),
    ("bypass", Key::Built),
    ("allow_insecure", Key::NotYet("compression, 64-bit ciphers and SHA1 certificates are refused")),
];
