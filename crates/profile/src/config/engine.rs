//! `[engine]` and `[dns]`. Defaults are not chosen here.

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::table::{Key, Table, error};
use super::{ConfigError, Dns, DnsMode, Engine, Located, Strategy};
use crate::address;
use crate::escape::escape;
use crate::nearest::nearest;

pub(super) fn engine(table: &Table<'_, '_>) -> Result<Engine, ConfigError> {
    table.check_keys(ENGINE_KEYS)?;
    anchor(table)?;
    only(table, "fallback", "auto", &["direct", "block", "first-available"])?;
    only(table, "lan", "allow", &["block"])?;
    Ok(Engine {
        interface: table.text("interface")?.map(interface).transpose()?,
        strategy: table.text("strategy")?.map(strategy).transpose()?,
        establish_limit: table.number("establish_limit_ms")?.map(establish_limit).transpose()?,
        credentials: table.text("credentials")?.map(super::tunnel::path).transpose()?,
        mark: table.text("mark")?.map(mark).transpose()?,
        rule_priority: table.number("rule_priority")?.map(rule_priority).transpose()?,
        alias_pool: table.text("alias_pool")?.map(alias_pool).transpose()?,
    })
}

pub(super) fn dns(table: &Table<'_, '_>) -> Result<Dns, ConfigError> {
    table.check_keys(&[("mode", Key::Built)])?;
    let mode = match table.text("mode")? {
        None => None,
        Some(Located { value: "auto", .. }) => Some(DnsMode::Auto),
        Some(Located { value: "off", .. }) => Some(DnsMode::Off),
        Some(Located { value, line }) => return Err(unknown_value("mode", value, line, &["auto", "off"])),
    };
    Ok(Dns { mode })
}

fn anchor(table: &Table<'_, '_>) -> Result<(), ConfigError> {
    match table.truth("anchor")? {
        Some(Located { value: false, line }) => {
            Err(error(line, "`anchor = false` is not in this version", "remove it: the anchor is always there"))
        }
        Some(Located { value: true, .. }) | None => Ok(()),
    }
}

/// A key that has one value in this version.
fn only(table: &Table<'_, '_>, key: &str, built: &str, known: &[&str]) -> Result<(), ConfigError> {
    match table.text(key)? {
        None => Ok(()),
        Some(Located { value, .. }) if value == built => Ok(()),
        Some(Located { value, line }) if known.contains(&value) => Err(not_yet(key, value, line, built)),
        Some(Located { value, line }) => Err(unknown_value(key, value, line, &[built])),
    }
}

fn strategy(text: Located<&str>) -> Result<Strategy, ConfigError> {
    match text.value {
        "auto" => Ok(Strategy::Auto),
        "alias" => Ok(Strategy::Alias),
        other if LATER_STRATEGIES.contains(&other) => Err(not_yet("strategy", other, text.line, "auto")),
        other => Err(unknown_value("strategy", other, text.line, &["auto", "alias"])),
    }
}

/// What a device may be called on Linux (15 bytes), and no more than needs no quoting anywhere.
fn interface(text: Located<&str>) -> Result<String, ConfigError> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let fits = (1..=15).contains(&text.value.len()) && text.value.bytes().all(harmless);
    if fits && !matches!(text.value, "." | ".." | "lo" | "all" | "default") {
        return Ok(text.value.to_owned());
    }
    let message = format!("`{}` cannot be the name of an interface", escape(text.value.as_bytes()));
    Err(error(text.line, message, "use 1 to 15 letters, digits, `_`, `.` or `-`, as in \"mrvpn0\""))
}

fn establish_limit(number: Located<u64>) -> Result<Duration, ConfigError> {
    if number.value > 600_000 {
        return Err(error(number.line, "`establish_limit_ms` is more than 10 minutes", "use a number up to 600000"));
    }
    Ok(Duration::from_millis(number.value))
}

/// `"0xMARK/0xMASK"`.
fn mark(text: Located<&str>) -> Result<(u32, u32), ConfigError> {
    let hex = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let parts = text.value.split_once('/').and_then(|(mark, mask)| Some((hex(mark)?, hex(mask)?)));
    let fits = |(mark, mask): &(u32, u32)| *mark != 0 && mark & mask == *mark;
    parts.filter(fits).ok_or_else(|| {
        let message = format!("`{}` is no mark with its mask", escape(text.value.as_bytes()));
        error(text.line, message, "write it as \"0x4d000000/0xff000000\": the mark not zero and inside the mask")
    })
}

fn rule_priority(number: Located<u64>) -> Result<u32, ConfigError> {
    let fitting = u32::try_from(number.value).ok().filter(|first| (1..=32_666).contains(first));
    fitting.ok_or_else(|| {
        error(number.line, "`rule_priority` leaves no room for a hundred rules before `main`", "use 1 to 32666")
    })
}

fn alias_pool(text: Located<&str>) -> Result<Ipv4Net, ConfigError> {
    let wrong = |why: &str| {
        let message = format!("`{}` is no address pool: {why}", escape(text.value.as_bytes()));
        error(
            text.line,
            message,
            "write an IPv4 network of /16 or shorter that nothing else uses, as in \"10.253.0.0/16\"",
        )
    };
    match address::prefix(text.value) {
        Some(IpNet::V4(net)) if net.prefix_len() > 16 => Err(wrong("it is too small")),
        Some(IpNet::V4(net)) if net.trunc() != net => Err(wrong("host bits are set")),
        Some(net) if net.prefix_len() < 8 || address::unroutable(&net).is_some() => Err(wrong("it cannot be used")),
        Some(IpNet::V4(net)) => Ok(net),
        Some(IpNet::V6(_)) => Err(wrong("IPv6 pools are not in this version")),
        None => Err(wrong("it is no network")),
    }
}

fn not_yet(key: &str, value: &str, line: u32, instead: &str) -> ConfigError {
    error(
        line,
        format!("`{key} = \"{value}\"` is not in this version"),
        format!("use \"{instead}\", or remove the key"),
    )
}

fn unknown_value(key: &str, value: &str, line: u32, known: &[&str]) -> ConfigError {
    let near = nearest(value, known.iter().copied());
    let hint =
        near.map_or_else(|| format!("use one of: {}", known.join(", ")), |near| format!("did you mean \"{near}\"?"));
    error(line, format!("`{key}` has no value \"{}\"", escape(value.as_bytes())), hint)
}

const LATER_STRATEGIES: [&str; 6] = ["shared", "stable", "per-tunnel", "namespace", "instances", "userspace"];

const ENGINE_KEYS: &[(&str, Key)] = &[
    ("interface", Key::Built),
    ("strategy", Key::Built),
    ("anchor", Key::Built),
    ("fallback", Key::Built),
    ("establish_limit_ms", Key::Built),
    ("lan", Key::Built),
    ("credentials", Key::Built),
    ("mark", Key::Built),
    ("rule_priority", Key::Built),
    ("alias_pool", Key::Built),
    ("establish", Key::NotYet("the interface is there as soon as the engine runs")),
    ("settle_ms", Key::NotYet("addresses come and go at once")),
    ("max_wait_ms", Key::NotYet("addresses come and go at once")),
    ("removal_ms", Key::NotYet("addresses come and go at once")),
    ("guard", Key::NotYet("while mrvpn runs or has crashed, claimed traffic is refused when its tunnel is down")),
    ("virtual_pool", Key::NotYet("there are no virtual addresses")),
];
