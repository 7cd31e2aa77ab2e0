//! What happens is logged as well, so that `mrvpn logs` tells the story without anybody having followed `mrvpn events`.
//! Addresses stay out: they are in the events themselves and in `status`.

use mrvpn_engine::{Event, EventKind};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Logs events until the engine ends.
pub(crate) async fn log_events(mut events: Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(event) => log(&event.what),
            Err(RecvError::Lagged(count)) => tracing::warn!("{count} events came too fast to be logged"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn log(what: &EventKind) {
    match what {
        EventKind::TunnelState { tunnel, state, error: None } => tracing::info!(%tunnel, "is {state}"),
        EventKind::TunnelState { tunnel, state, error: Some(error) } => {
            tracing::info!(%tunnel, "is {state}: {} ({}); {}", error.code, error.stage, error.hint);
        }
        EventKind::AddressAssigned { tunnel, .. } => tracing::info!(%tunnel, "has an address"),
        EventKind::AddressChanged { tunnel, .. } => tracing::info!(%tunnel, "has another address"),
        EventKind::AddressRemoved { tunnel, .. } => tracing::info!(%tunnel, "has no address any longer"),
        EventKind::InterfaceEstablished { name, .. } => tracing::info!("interface {name} is there and carries routes"),
        EventKind::Conflict { kind, tunnels, .. } => {
            tracing::info!("conflict of {kind} ({}): `mrvpn status` says what was made of it", tunnels.join(", "));
        }
        EventKind::DropBurst { tunnel: Some(tunnel), reason, count } => {
            tracing::info!(%tunnel, "{count} packets dropped within a second: {reason}");
        }
        EventKind::DropBurst { tunnel: None, reason, count } => {
            tracing::info!("{count} packets of no tunnel dropped within a second: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LogRing;
    use super::super::layer::RingLayer;
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn events_are_in_the_log_of_their_tunnel_without_addresses() {
        let ring = LogRing::new();
        let uk = || String::from("uk");
        let address = String::from("10.8.0.2/24");
        let happened = [
            EventKind::TunnelState { tunnel: uk(), state: String::from("up"), error: None },
            EventKind::AddressAssigned { tunnel: uk(), address: address.clone(), presented: address.clone() },
            EventKind::AddressChanged {
                tunnel: uk(),
                before: address.clone(),
                address: address.clone(),
                presented: address,
            },
            EventKind::DropBurst { tunnel: None, reason: String::from("malformed"), count: 120 },
        ];
        tracing::subscriber::with_default(tracing_subscriber::registry().with(RingLayer::new(ring.clone())), || {
            happened.iter().for_each(log);
        });
        let lines = ring.read(0, 100).lines;
        assert_eq!(lines.iter().filter(|line| line.tunnel.as_deref() == Some("uk")).count(), 3);
        assert!(
            lines[0].text.ends_with(" INFO  uk: is up") && lines[3].text.contains("engine: 120 packets"),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| !line.text.contains("10.8.")), "{lines:?}");
    }
}
