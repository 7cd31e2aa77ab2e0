//! What the demo does, in its order: build, ask, connect, prove, stop one server, leave. Each part that is over is handed
//! to whoever tells it; how it is told is [`super::text`]'s.

use std::time::{Duration, Instant};

use mrvpn_engine::Status;

use super::findings::{Findings, tunnels};
use super::outage::{self, Outage};
use super::progress::Progress;
use super::proof::{self, Proof};
use super::tunnels::Tunnels;
use super::world::World;
use crate::failure::Failure;

/// 60 s: how long three handshakes may take where other programs leave little time.
const CONNECTING: Duration = Duration::from_secs(60);

/// Told each part as it is over.
pub(super) trait Listener {
    /// Tunnels are up.
    fn connected(&mut self, status: &Status);
    /// Every way was asked.
    fn proved(&mut self, before: &Proof, proofs: &[Proof]);
    /// The server is back.
    fn restarted(&mut self, outage: &Outage);
    /// All is over.
    fn ended(&mut self, findings: &Findings);
}

/// Tells it from beginning to end.
pub(super) fn tell(listener: &mut impl Listener, progress: &Progress) -> Result<Findings, Failure> {
    let begun = Instant::now();
    progress.show("starting three OpenVPN servers in network namespaces ...");
    let mut world = World::build()?;
    let before = proof::in_clear("without a tunnel");
    progress.show("connecting three tunnels ...");
    let mut engine = Tunnels::start(&world.profiles()?)?;
    let status = connected(&mut engine)?;
    progress.clear();
    listener.connected(&status);
    progress.show("asking the same address in eight ways ...");
    let given = world.given();
    let proof = proof::all(&status, &given);
    progress.clear();
    listener.proved(&before, &proof);
    progress.show("stopping one server while the others carry traffic ...");
    let restart = outage::watch(&mut world, &mut engine, &status)?;
    progress.clear();
    listener.restarted(&restart);
    progress.show("taking everything down ...");
    engine.end()?;
    let after = proof::in_clear("after the tunnels were taken down");
    drop(world);
    progress.clear();
    let tunnels = tunnels(&status, &given);
    let proved = [&before, &after].into_iter().chain(&proof).all(|proof| proof.ok);
    let ok = proved && restart.ok && tunnels.iter().all(|tunnel| tunnel.ok);
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let findings = Findings { tunnels, interface: status.interface, before, proof, restart, after, took_ms, ok };
    listener.ended(&findings);
    Ok(findings)
}

/// Waits until each tunnel is up and on the interface.
fn connected(engine: &mut Tunnels) -> Result<Status, Failure> {
    let presented = |status: &Status| {
        let interface = status.interface.as_ref().map(|interface| &interface.addresses);
        let shown = status.tunnels.iter().flat_map(|tunnel| &tunnel.presented);
        interface.is_some_and(|addresses| shown.into_iter().all(|address| addresses.contains(address)))
    };
    let up = |status: &Status| status.tunnels.iter().all(|tunnel| tunnel.state == "up") && status.default.is_some();
    let refused = |status: &Status| status.tunnels.iter().any(|tunnel| tunnel.state == "failed");
    let over = |status: &Status| (up(status) && presented(status)) || refused(status);
    let status = engine.wait(CONNECTING, over)?.unwrap_or_else(|status| status);
    if up(&status) && presented(&status) { Ok(status) } else { Err(not_connected(&status)) }
}

fn not_connected(status: &Status) -> Failure {
    let Some(tunnel) = status.tunnels.iter().find(|tunnel| tunnel.state != "up") else {
        return Failure::failed("the tunnels are up, and their addresses are not on the interface");
    };
    let failure = |why: &str| Failure::failed(format!("{} is {}: {why}", tunnel.name, tunnel.state));
    match &tunnel.error {
        Some(error) => failure(&error.message).hint(error.hint.clone()),
        None => failure("it is not up in time"),
    }
}
