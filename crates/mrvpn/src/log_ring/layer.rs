//! Events of `tracing` into lines of the ring. What is foreign in them is escaped here once more, whoever wrote it.

use std::fmt::{Debug, Write};

use mrvpn_profile::escape;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::LogRing;

/// Crates whose events are kept.
const OURS: &str = "mrvpn";

/// Writes into a ring.
pub(super) struct RingLayer {
    ring: LogRing,
}

impl RingLayer {
    pub(super) const fn new(ring: LogRing) -> Self {
        Self { ring }
    }
}

impl<S: Subscriber> Layer<S> for RingLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with(OURS) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let text = format!("{}{}", fields.message, fields.others);
            self.ring.take(&stamp(), name(*event.metadata().level()), fields.tunnel, &escape(text.as_bytes()));
        }
    }
}

/// Now, in UTC, to the millisecond.
pub(super) fn stamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn name(level: Level) -> &'static str {
    // Not an enum: levels are compared.
    if level == Level::ERROR {
        "ERROR"
    } else if level == Level::WARN {
        "WARN"
    } else {
        "INFO"
    }
}

/// The fields of one event.
#[derive(Default)]
struct Fields {
    message: String,
    tunnel: Option<String>,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "tunnel" => self.tunnel = Some(escape(value.as_bytes())),
            other => self.other(other, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "tunnel" => self.tunnel = Some(escape(format!("{value:?}").as_bytes())),
            other => self.other(other, value),
        }
    }
}

impl Fields {
    fn other(&mut self, name: &str, value: &dyn Debug) {
        // Writing into a String does not fail.
        let _ = write!(self.others, " {name}={value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrvpn_profile::Secret;

    fn lines(say: impl FnOnce()) -> Vec<String> {
        let ring = LogRing::new();
        ring.during(say);
        ring.read(0, usize::MAX).lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_line_has_time_level_tunnel_and_text() {
        let lines = lines(|| {
            tracing::info!(tunnel = %"uk", code = "no-answer", "it is {}", 7);
            tracing::warn!("no tunnel");
            tracing::debug!("not kept");
        });
        let (stamp, rest) = lines[0].split_once(' ').unwrap();
        assert!(stamp.len() == 24 && stamp.ends_with('Z') && stamp.contains('T'), "{stamp}");
        assert_eq!(rest, "INFO  uk: it is 7 code=\"no-answer\"");
        assert!(lines[1].ends_with(" WARN  engine: no tunnel"), "{}", lines[1]);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn what_others_say_is_escaped_and_secrets_do_not_print() {
        let lines = lines(|| {
            tracing::info!(tunnel = %"a\nb", key = ?Secret::new(String::from("canary")), "two\nlines \x1b[2J");
            tracing::info!("{}", "x".repeat(10_000));
            tracing::info!(target: "rustls", "not ours");
        });
        assert!(lines[0].ends_with(r"a\x0ab: two\x0alines \x1b[2J key=***"), "{}", lines[0]);
        assert!(lines[1].len() < 400);
        assert_eq!(lines.len(), 2);
    }
}
