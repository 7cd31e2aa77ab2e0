//! `[[rule]]`: values typed, `via` resolved. Which rule a packet takes is decided elsewhere.

use ipnet::IpNet;
use toml::de::DeValue;

use super::table::{Key, Table, error, number_of, text_of};
use super::{ConfigError, Located, Ports, Rule, Tunnel, Via};
use crate::address;
use crate::escape::escape;
use crate::nearest::nearest;

/// All rules in the order of the file.
pub(super) fn rules(tables: &[Table<'_, '_>], tunnels: &[Tunnel]) -> Result<Vec<Rule>, ConfigError> {
    let mut rules: Vec<Rule> = Vec::new();
    for table in tables {
        let rule = rule(table, tunnels)?;
        let same = |other: &&Rule| rule.name.is_some() && other.name == rule.name;
        if let Some(other) = rules.iter().find(same) {
            let message = format!("a second rule has this name; the first is in line {}", other.line);
            return Err(error(table.line, message, "give each rule a name of its own, or none"));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(table: &Table<'_, '_>, tunnels: &[Tunnel]) -> Result<Rule, ConfigError> {
    table.check_keys(KEYS)?;
    let via = table.text("via")?;
    let via =
        via.ok_or_else(|| error(table.line, "a rule without `via`", "add via = with a tunnel, direct or block"))?;
    let proto = each(table, "proto", protocol)?.concat();
    let port = each(table, "port", ports)?;
    if !port.is_empty() && proto.iter().any(|proto| !WITH_PORTS.contains(proto)) {
        let hint = "remove `port`, or name only tcp, udp, 132 (SCTP) or 33 (DCCP) in `proto`";
        return Err(error(table.line, "a rule with `port` names a protocol that has no ports", hint));
    }
    Ok(Rule {
        name: table.text("name")?.map(name).transpose()?,
        to: each(table, "to", network)?,
        from: each(table, "from", network)?,
        proto,
        port,
        via: target(via, tunnels)?,
        line: table.line,
    })
}

pub(super) fn each<T>(
    table: &Table<'_, '_>,
    key: &str,
    read: impl Fn(&Located<&DeValue<'_>>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    table.list(key)?.iter().map(read).collect()
}

fn name(text: Located<&str>) -> Result<String, ConfigError> {
    if (1..=64).contains(&text.value.len()) && text.value.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return Ok(text.value.to_owned());
    }
    let message = format!("`{}` cannot be the name of a rule", escape(text.value.as_bytes()));
    Err(error(text.line, message, "use 1 to 64 letters, digits, blanks and signs of ASCII"))
}

pub(super) fn network(item: &Located<&DeValue<'_>>) -> Result<IpNet, ConfigError> {
    let hint = "write an address or a prefix in double quotes, as in \"10.101.0.0/16\"";
    let Some(text) = text_of(item.value) else { return Err(error(item.line, "this is no address or prefix", hint)) };
    let shown = escape(text.as_bytes());
    let net =
        address::prefix(text).ok_or_else(|| error(item.line, format!("`{shown}` is no address or prefix"), hint))?;
    if net.trunc() != net {
        return Err(error(item.line, format!("`{shown}` has host bits set"), format!("write \"{}\"", net.trunc())));
    }
    Ok(net)
}

/// `icmp` is two protocols, one a family.
fn protocol(item: &Located<&DeValue<'_>>) -> Result<Vec<u8>, ConfigError> {
    let numbers = match text_of(item.value) {
        Some("tcp") => Some(vec![TCP]),
        Some("udp") => Some(vec![UDP]),
        Some("icmp") => Some(vec![1, 58]),
        Some(_) => None,
        None => number_of(item.value).and_then(|number| u8::try_from(number).ok()).map(|number| vec![number]),
    };
    numbers.ok_or_else(|| {
        error(item.line, "`proto` names no protocol", "use \"tcp\", \"udp\", \"icmp\" or a number to 255")
    })
}

fn ports(item: &Located<&DeValue<'_>>) -> Result<Ports, ConfigError> {
    let ports = match text_of(item.value) {
        Some(text) => range(text),
        None => number_of(item.value).and_then(|port| range(&port.to_string())),
    };
    ports.ok_or_else(|| {
        error(item.line, "`port` names no port from 1 to 65535", "use a number, or a range as \"8000-8999\"")
    })
}

/// `443` or `8000-8999`.
pub(super) fn range(text: &str) -> Option<Ports> {
    let port = |text: &str| address::number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = port(first).zip(port(last))?;
    (first <= last).then_some(Ports { first, last })
}

fn target(text: Located<&str>, tunnels: &[Tunnel]) -> Result<Via, ConfigError> {
    match text.value {
        "direct" => return Ok(Via::Direct),
        "block" => return Ok(Via::Block),
        _ => {}
    }
    if let Some(place) = tunnels.iter().position(|tunnel| tunnel.name.as_str() == text.value) {
        return Ok(Via::Tunnel(place));
    }
    let names = || tunnels.iter().map(|tunnel| tunnel.name.as_str());
    let hint = nearest(text.value, names().chain(["direct", "block"])).map_or_else(
        || format!("use direct, block or one of: {}", names().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean \"{near}\"?"),
    );
    Err(error(text.line, format!("no tunnel is called `{}`", escape(text.value.as_bytes())), hint))
}

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// TCP, UDP, SCTP and DCCP.
const WITH_PORTS: [u8; 4] = [TCP, UDP, 132, 33];

const KEYS: &[(&str, Key)] = &[
    ("name", Key::Built),
    ("to", Key::Built),
    ("from", Key::Built),
    ("proto", Key::Built),
    ("port", Key::Built),
    ("via", Key::Built),
    ("uid", Key::NotYet("use `from` with an address that the program binds to")),
    ("app", Key::NotYet("use `from` with an address that the program binds to")),
    ("cgroup", Key::NotYet("use `from` with an address that the program binds to")),
    ("domain", Key::NotYet("use `to` with the addresses of the name")),
    ("in", Key::NotYet("forwarded traffic is never touched")),
];
