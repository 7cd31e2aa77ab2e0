//! Status documents as an engine sends them.

use std::collections::BTreeMap;

use mrvpn_engine::status::{ConflictStatus, DefaultStatus, ErrorStatus, InterfaceStatus};
use mrvpn_engine::{Status, TunnelStatus};

/// Two tunnels, both up.
pub(in crate::cli) fn up() -> Status {
    Status {
        schema: 1,
        version: text("0.1.0"),
        config: None,
        since: text("2026-11-22T10:00:00Z"),
        state: text("up"),
        interface: Some(InterfaceStatus {
            name: text("mrvpn0"),
            strategy: text("alias"),
            mtu: 1500,
            generation: 1,
            offloads: Vec::new(),
            addresses: vec![text("198.18.0.1/32"), text("10.100.0.2/32"), text("10.101.0.2/32")],
        }),
        default: Some(DefaultStatus {
            via: text("uk"),
            why: text("first in the file whose server offers it"),
            waiting: Vec::new(),
        }),
        lan: vec![text("192.168.1.0/24")],
        warnings: vec![text("Names are still asked of this machine's own resolver.")],
        tunnels: vec![tunnel("uk", "100", 41), tunnel("fr", "101", 52)],
        conflicts: Vec::new(),
        guard: text("off"),
        drops: BTreeMap::new(),
        pid: 4711,
    }
}

/// The second tunnel has failed, addresses clash, packets were dropped, and a file was read.
pub(in crate::cli) fn degraded() -> Status {
    let mut status = up();
    status.state = text("degraded");
    status.config = Some(text("/etc/mrvpn/mrvpn.toml"));
    status.drops = BTreeMap::from([(text("malformed"), 2)]);
    status.conflicts = vec![ConflictStatus {
        kind: text("address"),
        tunnels: vec![text("uk"), text("fr")],
        what: text("10.100.0.2"),
        resolution: text("uk presented as 198.18.1.100"),
    }];
    if let Some(default) = &mut status.default {
        default.waiting = vec![text("fr")];
    }
    if let [first, second] = status.tunnels.as_mut_slice() {
        first.presented = vec![text("198.18.1.100/32")];
        first.drops = BTreeMap::from([(text("no-flow"), 3)]);
        first.routes = (0..10).map(|n| format!("10.{n}.0.0/16")).collect();
        first.warnings = vec![text("any certificate of this CA can pose as the server; add `remote-cert-tls server`")];
        *second = failed(second);
    }
    status
}

fn failed(tunnel: &TunnelStatus) -> TunnelStatus {
    TunnelStatus {
        state: text("connecting"),
        assigned: Vec::new(),
        presented: Vec::new(),
        gateway: Vec::new(),
        dns: Vec::new(),
        cipher: None,
        mtu: None,
        connect_ms: None,
        error: Some(ErrorStatus {
            code: text("no-answer"),
            stage: text("no-answer"),
            message: text("no answer from 192.0.2.101:1194 for 10 s"),
            hint: text("the server is down or blocked"),
            file: Some(text("fr.ovpn")),
            line: None,
            at: text("2026-11-22T10:00:10Z"),
            retry_at: Some(text("2026-11-22T10:00:12Z")),
        }),
        ..tunnel.clone()
    }
}

fn tunnel(name: &str, part: &str, connect_ms: u64) -> TunnelStatus {
    TunnelStatus {
        name: text(name),
        state: text("up"),
        since: text("2026-11-22T10:00:01Z"),
        assigned: vec![format!("10.{part}.0.2/16")],
        presented: vec![format!("10.{part}.0.2/32")],
        bind: vec![format!("198.18.1.{part}")],
        gateway: vec![format!("10.{part}.0.1")],
        dns: vec![format!("10.{part}.0.1")],
        routes: vec![format!("10.{part}.0.0/16")],
        remote: Some(format!("192.0.2.{part}:1194/udp")),
        remote_name: Some(format!("{name}.example")),
        cipher: Some(text("AES-256-GCM")),
        mtu: Some(1448),
        connect_ms: Some(connect_ms),
        rx_bytes: 1_234_567,
        tx_bytes: 999,
        drops: BTreeMap::new(),
        warnings: Vec::new(),
        error: None,
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}
