//! An explanation for people: three to eight lines that answer "why did this go there?". The reasons are the engine's own
//! sentences; here they are put together.

use mrvpn_engine::Explained;
use mrvpn_engine::explained::{Because, LiveShown, NotShown, SourceShown};

/// 3 candidates that it did not take are told; `--json` has them all.
const NOT_SHOWN: usize = 3;
/// 2 flows that are there are told.
const LIVE_SHOWN: usize = 2;

/// The lines.
pub(super) fn text(explained: &Explained) -> String {
    let mut lines = vec![format!("{} {}.", flow(explained), fate(explained))];
    lines.push(format!("Why: {}.", because(explained)));
    // What is refused has no use for a source that it would not have.
    let source = explained.source.as_ref().filter(|source| source.sent.is_some() || explained.state != "refused");
    lines.extend(source.map(|source| sources(explained, source)));
    lines.extend(some(&explained.not, NOT_SHOWN, not));
    lines.extend(some(&explained.live, LIVE_SHOWN, live));
    lines.join("\n")
}

fn flow(explained: &Explained) -> String {
    let flow = &explained.flow;
    let port = flow.port.map(|port| format!(" port {port}")).unwrap_or_default();
    let from = flow.from.map(|from| format!(", bound to {from},")).unwrap_or_default();
    format!("{} to {}{port}{from}", flow.proto, flow.to)
}

fn fate(explained: &Explained) -> String {
    let held = "is held for a moment, and refused";
    let why = explained.refused.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match (explained.via.as_deref(), explained.state.as_str()) {
        (Some("direct") | None, "refused") => format!("is refused{why}"),
        (Some("direct"), _) => String::from("goes direct, outside of all tunnels"),
        (Some("block"), _) => String::from("is blocked: programs are refused at once"),
        (Some(tunnel), "up") => format!("goes through {tunnel}, which is up"),
        (Some(tunnel), "held") => format!("belongs to {tunnel}, which is not up: it {held} if that lasts"),
        (Some(tunnel), _) => format!("belongs to {tunnel} and is refused{why}; it goes no other way"),
        (None, "held") => format!("belongs to a default tunnel that is not known yet: it {held} if that lasts"),
        (None, _) => String::from("is left to this machine, as if mrvpn did not run"),
    }
}

fn because(explained: &Explained) -> String {
    let Because { kind, name, what } = &explained.by;
    let tunnel = explained.via.as_deref().unwrap_or("a tunnel");
    match (kind.as_str(), name) {
        ("rule", Some(name)) => format!("{what}, `{name}`, names it"),
        ("rule", None) => format!("{what} names it"),
        ("source", _) => format!("{what} is of {tunnel}"),
        ("claim", _) => format!("it is in {what}, which is claimed for {tunnel}"),
        ("default", _) if explained.via.is_some() => format!("{tunnel} is the default tunnel, {what}"),
        _ => String::from(what.strip_prefix("left to this host: ").unwrap_or(what)),
    }
}

fn sources(explained: &Explained, source: &SourceShown) -> String {
    let tunnel = explained.via.as_deref().unwrap_or("the tunnel");
    match source.sent {
        Some(sent) => format!("Source: {} for the program, {sent} for the server of {tunnel}.", source.seen),
        None => format!("Source: {} for the program; {tunnel} has no address for it yet.", source.seen),
    }
}

fn not(not: &NotShown) -> String {
    let by = match (not.by.kind.as_str(), &not.by.name) {
        ("rule", Some(name)) => format!("{}, `{name}`", not.by.what),
        ("rule", None) => not.by.what.clone(),
        ("claim", _) => format!("its claim of {}", not.by.what),
        ("default", _) => String::from("the default tunnel"),
        ("source", _) => String::from("by the source"),
        _ => String::from("what is left"),
    };
    match not.via.as_deref() {
        Some("direct") => format!("Not direct ({by}): {}.", not.why),
        Some("block") => format!("Not blocked ({by}): {}.", not.why),
        Some(tunnel) => format!("Not {tunnel} ({by}): {}.", not.why),
        None if not.by.kind == "default" => format!("Not the default tunnel: {}.", not.why),
        None => format!("Not left to this machine: {}.", not.why),
    }
}

fn live(live: &LiveShown) -> String {
    format!("There now: {} {} to {} through {}, as {}.", live.proto, live.seen, live.remote, live.via, live.sent)
}

/// A line for each of the first, and one for how many more there are.
fn some<T>(all: &[T], shown: usize, line: impl Fn(&T) -> String) -> Vec<String> {
    if all.len() <= shown {
        return all.iter().map(line).collect();
    }
    let kept = shown.saturating_sub(1);
    let mut lines: Vec<String> = all.iter().take(kept).map(line).collect();
    lines.push(format!("And {} more of these (--json shows all).", all.len() - kept));
    lines
}

#[cfg(test)]
mod tests;
