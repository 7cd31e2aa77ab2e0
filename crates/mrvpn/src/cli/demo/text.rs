//! The demo as people read it, each part as soon as it is over. Texts only: what is right was judged before.

use std::io::Write;

use mrvpn_engine::{Status, TunnelStatus};

use super::findings::Findings;
use super::map::PUBLIC;
use super::outage::{Outage, Undisturbed};
use super::paint::Paint;
use super::possible::program;
use super::proof::Proof;
use super::story::Listener;

/// Columns of what was asked, and of the place that answered.
const ASKED: usize = 50;
const PLACE: usize = 10;
/// Columns of an address.
const ADDRESS: usize = 13;
/// Columns of a sentence about a tunnel.
const SENTENCE: usize = 68;

/// Prints to stdout.
pub(super) struct Teller {
    paint: Paint,
}

impl Teller {
    /// Begins with what this is.
    pub(super) fn new() -> Self {
        let teller = Self { paint: Paint::of_stdout() };
        print(&opening(teller.paint));
        teller
    }
}

impl Listener for Teller {
    fn connected(&mut self, status: &Status) {
        print(&connected(self.paint, status));
    }

    fn proved(&mut self, before: &Proof, proofs: &[Proof]) {
        print(&proved(self.paint, before, proofs));
    }

    fn restarted(&mut self, outage: &Outage) {
        print(&restarted(self.paint, outage));
    }

    fn ended(&mut self, findings: &Findings) {
        print(&ended(self.paint, findings));
    }
}

/// Whoever does not read it to its end does not want it.
fn print(lines: &[String]) {
    let mut stdout = std::io::stdout().lock();
    for line in lines {
        let _ = writeln!(stdout, "{line}");
    }
    let _ = stdout.flush();
}

fn opening(paint: Paint) -> Vec<String> {
    vec![
        paint.heading("mrvpn demo: three OpenVPN servers, three tunnels at once, one interface"),
        paint.aside("All of it in network namespaces of its own: nothing of this machine is touched."),
        String::new(),
    ]
}

fn connected(paint: Paint, status: &Status) -> Vec<String> {
    let mut lines = vec![paint.heading("Each server has assigned an address of its own network:")];
    lines.extend(status.tunnels.iter().map(|tunnel| tunnel_line(paint, tunnel)));
    if let Some(interface) = &status.interface {
        let addresses: Vec<&str> = interface.addresses.iter().filter_map(|address| address.split('/').next()).collect();
        let name = &interface.name;
        lines.push(format!("One interface, {name}, has them all, and a fixed one for each tunnel:"));
        lines.push(format!("    {}", addresses.join(" ")));
    }
    lines.push(String::new());
    lines
}

fn tunnel_line(paint: Paint, tunnel: &TunnelStatus) -> String {
    let assigned = format!("{:<16}", tunnel.assigned.join(" "));
    let remote = format!("{:<20}", tunnel.remote.as_deref().unwrap_or("-"));
    let time = tunnel.connect_ms.map_or_else(String::new, |milliseconds| format!("connected in {milliseconds} ms"));
    let name = paint.place(&tunnel.name, &format!("{:<5}", tunnel.name));
    let address = paint.place(&tunnel.name, &assigned);
    format!("    {name}{address}  by {remote}  {}", paint.aside(&time))
}

fn proved(paint: Paint, before: &Proof, proofs: &[Proof]) -> Vec<String> {
    let heading = format!("{PUBLIC} is in every region. Asked by TCP and UDP: who saw which client?");
    let mut lines = vec![paint.heading(&heading)];
    lines.extend([before].into_iter().chain(proofs).map(|proof| proof_line(paint, proof)));
    lines.push(String::new());
    lines
}

fn proof_line(paint: Paint, proof: &Proof) -> String {
    let place = proof.region_seen.as_deref().unwrap_or("nobody");
    let client = proof.client_seen.as_deref().unwrap_or("-");
    let (asked, verdict) = (&proof.words, paint.verdict(proof.ok));
    let seen = paint.place(place, &format!("{place:<PLACE$}{client:<ADDRESS$}"));
    let why = if proof.ok { String::new() } else { wrong(proof) };
    format!("    {asked:<ASKED$}{seen}{verdict}{why}")
}

fn wrong(proof: &Proof) -> String {
    let error = proof.error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
    format!(": {} should have answered{error}", proof.via)
}

fn restarted(paint: Paint, outage: &Outage) -> Vec<String> {
    let name = &outage.tunnel;
    let heading = format!("{name}'s server was stopped and started again, with requests through all tunnels:");
    let mut lines = vec![paint.heading(&heading)];
    lines.extend(outage.others.iter().map(|other| other_line(paint, other)));
    lines.push(own_line(paint, outage));
    lines.push(String::new());
    lines
}

fn other_line(paint: Paint, other: &Undisturbed) -> String {
    let astray = match other.elsewhere {
        0 => String::new(),
        count => format!(", {} WENT ELSEWHERE", thousands(count)),
    };
    let sentence = format!("{} requests, {} lost{astray}", thousands(other.requests), thousands(other.lost));
    about(paint, &other.tunnel, &sentence, other.ok)
}

fn own_line(paint: Paint, outage: &Outage) -> String {
    let astray = outage.elsewhere + outage.in_clear;
    let meanwhile = match astray {
        0 => String::from("refused meanwhile, none went elsewhere"),
        count => format!("{} requests WENT ELSEWHERE", thousands(count)),
    };
    let address = if outage.same_address { "" } else { ", with ANOTHER ADDRESS" };
    let back = match outage.back_ms {
        Some(milliseconds) => format!("back {} after its server{address}", seconds(milliseconds)),
        None => String::from("NOT BACK"),
    };
    about(paint, &outage.tunnel, &format!("{meanwhile}; {back}"), outage.back_ms.is_some() && astray == 0)
}

fn about(paint: Paint, tunnel: &str, sentence: &str, ok: bool) -> String {
    let name = paint.place(tunnel, &format!("{tunnel:<5}"));
    format!("    {name}{sentence:<SENTENCE$}{}", paint.verdict(ok))
}

fn ended(paint: Paint, findings: &Findings) -> Vec<String> {
    let client = findings.after.client_seen.as_deref().unwrap_or("nobody");
    let down = format!("All down: {PUBLIC} sees {client} again, as if nothing had been.");
    let took = seconds(findings.took_ms);
    let all = if findings.ok {
        format!("Every proof holds. It took {took}.")
    } else {
        format!("NOT every proof holds: please report it with this output. It took {took}.")
    };
    let mut lines = vec![format!("{down:<77}{}", paint.verdict(findings.after.ok)), paint.heading(&all), String::new()];
    lines.extend(next_steps(paint));
    lines
}

/// What to do now; `mrvpn` is not everybody's to type yet.
fn next_steps(paint: Paint) -> Vec<String> {
    let program = program();
    let heading = paint.heading("Next, with profiles of your own:");
    let lines = [
        (format!("{program} check uk.ovpn"), "what is used, what not, and why; connects to nothing"),
        (format!("sudo {program} up uk.ovpn fr.ovpn"), "both tunnels, until Ctrl-C"),
        (format!("{program} init uk.ovpn fr.ovpn > mrvpn.toml"), "tunnels and rules in a file, every key explained"),
    ];
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let line = |(line, what): &(String, &str)| format!("    {line:<width$}   {}", paint.aside(what));
    [heading].into_iter().chain(lines.iter().map(line)).collect()
}

/// `1,234`.
fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 s`.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_commas_and_times_are_in_seconds() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (count, text) in cases {
            assert_eq!(thousands(count), text);
        }
        assert_eq!((seconds(40).as_str(), seconds(12_345).as_str()), ("0.0 s", "12.3 s"));
    }

    #[test]
    fn a_request_that_went_wrong_says_who_should_have_answered() {
        let proof = Proof {
            request: String::from("203.0.113.10:8001"),
            words: String::from("port 8001: a rule says via uk"),
            via: String::from("uk"),
            by: "rule",
            region_seen: Some(String::from("internet")),
            client_seen: Some(String::from("192.168.1.2")),
            ok: false,
            error: None,
        };
        let line = proof_line(Paint::plain(), &proof);
        assert!(line.contains("internet") && line.ends_with("FAILED: uk should have answered"), "{line}");
    }

    #[test]
    fn a_tunnel_that_is_not_back_or_leaked_says_so_loudly() {
        let outage = Outage {
            tunnel: String::from("fr"),
            down_ms: 500,
            back_ms: None,
            same_address: true,
            refused: 3,
            elsewhere: 0,
            in_clear: 2,
            others: vec![],
            ok: false,
        };
        let line = own_line(Paint::plain(), &outage);
        assert!(line.contains("2 requests WENT ELSEWHERE; NOT BACK") && line.ends_with("FAILED"), "{line}");
    }
}
