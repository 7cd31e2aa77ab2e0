//! `mrvpn events`: what happens from now on, one a line, numbered by the engine: as JSON, or as a plain line for people.

use mrvpn_engine::{Event, EventKind};

use super::print_line;
use crate::control::client::{Connection, Next, unexpected};
use crate::control::{Request, Response};
use crate::failure::{FAILED, Failure};
use crate::instance::Instance;

pub(super) fn run(json: bool, named: Option<&str>) -> Result<u8, Failure> {
    let instance = Instance::to_reach(named)?;
    let Some(connection) = Connection::open(&instance.socket())? else { return Err(super::no_engine()) };
    let mut answers = connection.follow(&Request::Events)?;
    loop {
        let response = match answers.next(None)? {
            Next::Answer(response) => *response,
            Next::Quiet => continue,
            Next::End => return Ok(0),
        };
        let Response::Event { event } = response else { return Err(unexpected()) };
        let text = if json { serde_json::to_string(&event).map_err(|_| unexpected())? } else { line(&event) };
        if !print_line(&text) {
            return Ok(FAILED);
        }
    }
}

/// One event for people.
fn line(event: &Event) -> String {
    format!("{} {} {}", event.n, event.at, sentence(&event.what))
}

fn sentence(what: &EventKind) -> String {
    match what {
        EventKind::TunnelState { tunnel, state, error: None } => format!("{tunnel} is {state}"),
        EventKind::TunnelState { tunnel, state, error: Some(error) } => {
            format!("{tunnel} is {state}: {} ({}): {}", error.code, error.stage, error.message)
        }
        EventKind::AddressAssigned { tunnel, address, presented } => {
            format!("{tunnel} has address {address}{}", shown_as(address, presented))
        }
        EventKind::AddressChanged { tunnel, before, address, presented } => {
            format!("{tunnel} has address {address} instead of {before}{}", shown_as(address, presented))
        }
        EventKind::AddressRemoved { tunnel, address } => format!("{tunnel} no longer has address {address}"),
        EventKind::InterfaceEstablished { name, generation: _, addresses } => {
            format!("interface {name} is there with {}", addresses.join(" "))
        }
        EventKind::Conflict { kind, tunnels, what, resolution } => {
            format!("conflict of {kind} {what} ({}): {resolution}", tunnels.join(", "))
        }
        EventKind::DropBurst { tunnel, reason, count } => {
            format!("{}: {count} packets dropped in a second: {reason}", tunnel.as_deref().unwrap_or("no tunnel"))
        }
    }
}

/// How the address stands on the interface, where that is another.
fn shown_as(address: &str, presented: &str) -> String {
    let without_length = |text: &str| text.split('/').next().map(str::to_owned);
    if without_length(address) == without_length(presented) {
        String::new()
    } else {
        format!(", presented as {presented}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrvpn_engine::status::ErrorStatus;

    fn check(what: EventKind, expected: &str) {
        let event = Event { n: 17, at: String::from("2026-11-22T10:00:00Z"), what };
        assert_eq!(line(&event), format!("17 2026-11-22T10:00:00Z {expected}"));
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn each_event_is_one_plain_line() {
        let tunnel = || text("uk");
        check(EventKind::TunnelState { tunnel: tunnel(), state: text("up"), error: None }, "uk is up");
        let error = ErrorStatus {
            code: text("no-answer"),
            stage: text("no-answer"),
            message: text("no answer from 192.0.2.1:1194 for 10 s"),
            hint: text("check"),
            file: None,
            line: None,
            at: text("2026-11-22T10:00:00Z"),
            retry_at: None,
        };
        check(
            EventKind::TunnelState { tunnel: tunnel(), state: text("connecting"), error: Some(error) },
            "uk is connecting: no-answer (no-answer): no answer from 192.0.2.1:1194 for 10 s",
        );
        let (address, presented) = (text("10.8.0.2/24"), text("198.18.1.2/32"));
        check(
            EventKind::AddressAssigned { tunnel: tunnel(), address: address.clone(), presented: text("10.8.0.2/32") },
            "uk has address 10.8.0.2/24",
        );
        check(
            EventKind::AddressChanged {
                tunnel: tunnel(),
                before: text("10.8.0.9/24"),
                address: address.clone(),
                presented,
            },
            "uk has address 10.8.0.2/24 instead of 10.8.0.9/24, presented as 198.18.1.2/32",
        );
        check(EventKind::AddressRemoved { tunnel: tunnel(), address }, "uk no longer has address 10.8.0.2/24");
        check(
            EventKind::InterfaceEstablished {
                name: text("mrvpn0"),
                generation: 1,
                addresses: vec![text("198.18.0.1/32")],
            },
            "interface mrvpn0 is there with 198.18.0.1/32",
        );
        let conflict = EventKind::Conflict {
            kind: text("address"),
            tunnels: vec![text("uk"), text("fr")],
            what: text("10.8.0.2"),
            resolution: text("fr presented as 198.18.1.2"),
        };
        check(conflict, "conflict of address 10.8.0.2 (uk, fr): fr presented as 198.18.1.2");
        check(
            EventKind::DropBurst { tunnel: None, reason: text("no-flow"), count: 120 },
            "no tunnel: 120 packets dropped in a second: no-flow",
        );
    }
}
