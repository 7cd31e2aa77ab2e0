//! What `up` prints when it is ready and `status` prints for people. Texts only; everything in them comes from the
//! status document, and rates from two of them.

mod columns; // lines below one another
#[cfg(test)]
pub(super) mod samples; // documents for tests

use std::collections::BTreeMap;

use mrvpn_engine::status::ErrorStatus;
use mrvpn_engine::{Status, TunnelStatus};

use super::status::Rate;
use columns::aligned;

/// 8 routes of a tunnel are shown; `--json` has them all.
const ROUTES_SHOWN: usize = 8;

/// What `up` prints when it is ready: who is up, what goes where, what does not hold yet, what to do next.
pub(super) fn ready(status: &Status) -> String {
    // Only root knows who typed sudo, and only such a reader has to type it again.
    let typed = std::env::var("SUDO_UID").ok().filter(|_| rustix::process::geteuid().is_root());
    let sudo = typed.is_some_and(|uid| uid != "0");
    ready_for(status, if sudo { "sudo " } else { "" })
}

/// What `up` prints where every tunnel was refused for good and all is taken down: what follows from tunnels that are up is
/// not said.
pub(super) fn refused(status: &Status) -> String {
    tunnels_and_errors(status).join("\n")
}

fn tunnels_and_errors(status: &Status) -> Vec<String> {
    let mut lines = aligned(status.tunnels.iter().map(tunnel_columns));
    for tunnel in &status.tunnels {
        lines.extend(tunnel.error.iter().flat_map(|error| error_lines(tunnel, error)));
    }
    lines
}

fn ready_for(status: &Status, sudo: &str) -> String {
    let mut lines = tunnels_and_errors(status);
    for tunnel in &status.tunnels {
        lines.extend(tunnel.warnings.iter().map(|warning| format!("{}: warning: {warning}", tunnel.name)));
    }
    lines.push(where_it_goes(status));
    lines.extend(conflict_lines(status));
    lines.extend(status.warnings.iter().cloned());
    lines.push(next_steps(status, sudo));
    lines.join("\n")
}

/// What `status` prints; `rates` where they are known.
pub(super) fn status(status: &Status, rates: &[Rate]) -> String {
    let mut lines = vec![heading(status)];
    if let Some(interface) = &status.interface {
        let addresses = interface.addresses.join(" ");
        lines.push(format!("{} ({}, MTU {}): {addresses}", interface.name, interface.strategy, interface.mtu));
    }
    let firsts = aligned(status.tunnels.iter().map(tunnel_columns));
    for (tunnel, first) in status.tunnels.iter().zip(firsts) {
        let rate = rates.iter().find(|rate| rate.tunnel == tunnel.name);
        lines.extend([String::new(), first]);
        lines.extend(details(tunnel, rate).into_iter().map(|detail| format!("    {detail}")));
    }
    lines.extend([String::new(), where_it_goes(status)]);
    lines.extend(conflict_lines(status));
    if !status.drops.is_empty() {
        lines.push(format!("Dropped, of no tunnel: {}", drops(&status.drops)));
    }
    lines.push(format!("Guard: {}", status.guard));
    lines.extend(status.warnings.iter().cloned());
    lines.join("\n")
}

fn heading(status: &Status) -> String {
    let config = status.config.as_ref().map(|config| format!(", {config}")).unwrap_or_default();
    format!("{}, since {}: mrvpn {}, process {}{config}", status.state, status.since, status.version, status.pid)
}

fn tunnel_columns(tunnel: &TunnelStatus) -> Vec<String> {
    let address = tunnel.assigned.iter().map(|assigned| without_length(assigned)).collect::<Vec<_>>().join(" ");
    let remote = tunnel.remote.as_ref().map(|remote| named_remote(tunnel, remote)).unwrap_or_default();
    let time = tunnel.connect_ms.map(|milliseconds| format!("{milliseconds} ms")).unwrap_or_default();
    let address = if address.is_empty() { String::from("-") } else { address };
    vec![tunnel.name.clone(), tunnel.state.clone(), address, remote, time]
}

/// The remote by its name where the profile has one, else by its address.
fn named_remote(tunnel: &TunnelStatus, remote: &str) -> String {
    let port = remote.rsplit(':').next().unwrap_or(remote);
    tunnel.remote_name.as_ref().map_or_else(|| remote.to_owned(), |name| format!("{name}:{port}"))
}

fn details(tunnel: &TunnelStatus, rate: Option<&Rate>) -> Vec<String> {
    let mut facts = vec![format!("since {}", tunnel.since)];
    facts.extend(tunnel.cipher.clone());
    facts.extend(tunnel.mtu.map(|mtu| format!("MTU {mtu}")));
    facts.extend(listed("bind", &tunnel.bind));
    facts.extend(listed("gateway", &tunnel.gateway));
    facts.extend(listed("DNS", &tunnel.dns));
    let mut lines = vec![facts.join(", ")];
    let differs = |(assigned, shown): (&String, &String)| without_length(assigned) != without_length(shown);
    if tunnel.assigned.iter().zip(&tunnel.presented).any(differs) {
        lines.push(format!("on the interface as {}", tunnel.presented.join(" ")));
    }
    lines.extend(routes(&tunnel.routes));
    lines.push(traffic(tunnel, rate));
    if !tunnel.drops.is_empty() {
        lines.push(format!("dropped {}", drops(&tunnel.drops)));
    }
    lines.extend(tunnel.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(tunnel.error.iter().flat_map(|error| error_lines(tunnel, error)));
    lines
}

fn listed(what: &str, values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| format!("{what} {}", values.join(" ")))
}

fn routes(routes: &[String]) -> Option<String> {
    let shown = routes.iter().take(ROUTES_SHOWN).cloned().collect::<Vec<_>>().join(" ");
    match routes.len() {
        0 => None,
        count if count > ROUTES_SHOWN => {
            Some(format!("routes {shown} and {} more (--json shows all)", count - ROUTES_SHOWN))
        }
        _ => Some(format!("routes {shown}")),
    }
}

fn traffic(tunnel: &TunnelStatus, rate: Option<&Rate>) -> String {
    let mut text = format!("received {}, sent {}", bytes(tunnel.rx_bytes), bytes(tunnel.tx_bytes));
    if let Some(rate) = rate {
        text.push_str(&format!("; now {}/s in, {}/s out", bytes(rate.rx), bytes(rate.tx)));
    }
    text
}

/// A number of bytes with three digits or so.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut tenths = u128::from(count) * 10;
    let mut name = "bytes";
    for unit in UNITS {
        if tenths < 10_000 {
            break;
        }
        (tenths, name) = (tenths / 1000, unit);
    }
    if name == "bytes" || tenths >= 1000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

fn error_lines(tunnel: &TunnelStatus, error: &ErrorStatus) -> Vec<String> {
    let file = error.file.as_deref().unwrap_or(&tunnel.name);
    let place = error.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    let mut lines = vec![format!("{place}: error: {} ({}): {}", error.code, error.stage, error.message)];
    lines.push(format!("  hint: {}", error.hint));
    lines.extend(match (&error.retry_at, tunnel.state.as_str()) {
        (Some(retry), _) => Some(format!("  it goes on trying; next at {retry}")),
        (None, "failed" | "stopped" | "up") => None,
        (None, _) => Some(String::from("  it is trying again now")),
    });
    lines
}

fn where_it_goes(status: &Status) -> String {
    let Some(default) = &status.default else {
        return String::from("Traffic that no rule and no tunnel claims goes as if mrvpn did not run.");
    };
    let mut text = format!("Traffic that no rule names goes through {} ({}).", default.via, default.why);
    if !status.lan.is_empty() {
        text.push_str(&format!(" The LAN {} stays reachable.", status.lan.join(", ")));
    }
    for name in &default.waiting {
        text.push_str(&format!(" {name} offers it too and takes over at `mrvpn reload`."));
    }
    text
}

fn conflict_lines(status: &Status) -> impl Iterator<Item = String> {
    status.conflicts.iter().map(|conflict| {
        let between =
            if conflict.tunnels.is_empty() { String::new() } else { format!(" ({})", conflict.tunnels.join(", ")) };
        format!("Conflict of {} {}{between}: {}", conflict.kind, conflict.what, conflict.resolution)
    })
}

/// Commands that exist, and that fit what runs.
fn next_steps(status: &Status, sudo: &str) -> String {
    let mut commands = vec![String::from("mrvpn status"), String::from("mrvpn explain example.org")];
    let failed = status.tunnels.iter().find(|tunnel| tunnel.error.is_some());
    commands.extend(failed.map(|tunnel| format!("mrvpn logs {}", tunnel.name)));
    if status.config.is_none() {
        commands.push(String::from("mrvpn init > mrvpn.toml"));
    }
    commands.push(format!("{sudo}mrvpn down"));
    format!("Next: {}", commands.join("     "))
}

fn without_length(address: &str) -> &str {
    address.split('/').next().unwrap_or(address)
}

fn drops(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
