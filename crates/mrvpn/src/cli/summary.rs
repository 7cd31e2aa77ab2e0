//! What `up` prints when it is ready and `status` prints for people. Texts only; everything in them comes from the
//! status document.

use mrvpn_engine::{Status, TunnelStatus};

/// What `up` prints when it is ready: who is up, what goes where, what does not hold yet, what to do next.
pub(super) fn ready(status: &Status) -> String {
    let mut lines: Vec<String> = status.tunnels.iter().map(tunnel_line).collect();
    lines.extend(status.tunnels.iter().flat_map(error_lines));
    lines.extend(status.tunnels.iter().flat_map(warning_lines));
    lines.push(where_it_goes(status));
    lines.extend(status.warnings.iter().cloned());
    lines.push("Next: mrvpn status     mrvpn down".to_owned());
    lines.join("\n")
}

/// What `status` prints.
pub(super) fn status(status: &Status) -> String {
    let mut lines = vec![format!("{} since {}", status.state, status.since)];
    lines.extend(status.tunnels.iter().map(tunnel_line));
    lines.extend(status.tunnels.iter().flat_map(error_lines));
    lines.extend(status.tunnels.iter().flat_map(warning_lines));
    if let Some(interface) = &status.interface {
        lines.push(format!("{}: {}", interface.name, interface.addresses.join(" ")));
    }
    lines.push(where_it_goes(status));
    for conflict in &status.conflicts {
        lines.push(format!("conflict: {}: {}", conflict.what, conflict.resolution));
    }
    for tunnel in status.tunnels.iter().filter(|tunnel| !tunnel.drops.is_empty()) {
        lines.push(format!("{} dropped {}", tunnel.name, drops(&tunnel.drops)));
    }
    if !status.drops.is_empty() {
        lines.push(format!("dropped {}", drops(&status.drops)));
    }
    lines.extend(status.warnings.iter().cloned());
    lines.join("\n")
}

fn tunnel_line(tunnel: &TunnelStatus) -> String {
    let address = tunnel.assigned.first().map_or("-", |assigned| assigned.split('/').next().unwrap_or(assigned));
    let mut line = format!("{:<10} {:<14} {:<15} ", tunnel.name, tunnel.state, address);
    if let Some(remote) = &tunnel.remote {
        line.push_str(&named_remote(tunnel, remote));
    }
    if let Some(milliseconds) = tunnel.connect_ms {
        line.push_str(&format!("   {milliseconds} ms"));
    }
    line.push_str(&format!("   bind {}", tunnel.bind.join(" ")));
    line.trim_end().to_owned()
}

/// The remote by its name where the profile has one, else by its address.
fn named_remote(tunnel: &TunnelStatus, remote: &str) -> String {
    let port = remote.rsplit(':').next().unwrap_or(remote);
    tunnel.remote_name.as_ref().map_or_else(|| remote.to_owned(), |name| format!("{name}:{port}"))
}

fn error_lines(tunnel: &TunnelStatus) -> Vec<String> {
    let Some(error) = &tunnel.error else { return Vec::new() };
    let file = error.file.as_deref().unwrap_or(&tunnel.name);
    let place = error.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    let mut lines = vec![format!("{}: {} ({}): {}", place, error.code, error.stage, error.message)];
    lines.push(format!("  hint: {}", error.hint));
    if let Some(retry) = &error.retry_at {
        lines.push(format!("  it goes on trying; next at {retry}"));
    }
    lines
}

fn warning_lines(tunnel: &TunnelStatus) -> Vec<String> {
    tunnel.warnings.iter().map(|warning| format!("{}: warning: {warning}", tunnel.name)).collect()
}

fn where_it_goes(status: &Status) -> String {
    match &status.default {
        Some(default) => {
            let mut text = format!("Traffic that no rule names goes through {} ({}).", default.via, default.why);
            if !status.lan.is_empty() {
                text.push_str(&format!(" The LAN {} stays reachable.", status.lan.join(", ")));
            }
            for name in &default.waiting {
                text.push_str(&format!(" {name} offers it too and takes over at the next `mrvpn up`."));
            }
            text
        }
        None => "Traffic that no rule and no tunnel claims goes as if mrvpn did not run.".to_owned(),
    }
}

fn drops(counts: &std::collections::BTreeMap<String, u64>) -> String {
    counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}
