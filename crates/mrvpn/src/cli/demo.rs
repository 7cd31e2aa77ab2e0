//! `mrvpn demo`: three OpenVPN servers, three tunnels of the real engine and one interface, in network namespaces that
//! vanish with this process, and a printed proof of which way each request took. Nothing of the host is touched and
//! nothing is written, so Ctrl-C at any moment leaves nothing.

mod asking; // who is there, and who am I?
mod findings; // `--json`
mod flows; // requests that never rest
mod map; // names and addresses
mod outage; // a server that goes and comes
mod paint; // colours
mod possible; // namespaces, or what is missing
mod progress; // what it is doing now
mod proof; // eight ways to ask
mod story; // all of it in its order
mod text; // for people
mod tunnels; // the client
mod world; // everything around it

use crate::failure::{FAILED, Failure};
use findings::Findings;
use progress::Progress;
use story::Listener;

pub(super) fn run(json: bool) -> Result<u8, Failure> {
    // Before anything else: a process of several threads gets no user namespace.
    possible::enter()?;
    let progress = Progress::new();
    let outcome = if json { as_json(&progress) } else { story::tell(&mut text::Teller::new(), &progress) };
    progress.clear();
    outcome.map(|findings| if findings.ok { 0 } else { FAILED })
}

fn as_json(progress: &Progress) -> Result<Findings, Failure> {
    let findings = story::tell(&mut Silent, progress)?;
    let text = serde_json::to_string(&findings).map_err(|error| Failure::failed(error.to_string()))?;
    super::answer(&text);
    Ok(findings)
}

/// Tells nothing: the document comes at the end.
struct Silent;

impl Listener for Silent {
    fn connected(&mut self, _: &mrvpn_engine::Status) {}
    fn proved(&mut self, _: &proof::Proof, _: &[proof::Proof]) {}
    fn restarted(&mut self, _: &outage::Outage) {}
    fn ended(&mut self, _: &Findings) {}
}
