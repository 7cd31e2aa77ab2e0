//! One server is stopped and started again, while requests go through all tunnels: what the others lose (nothing), where the
//! requests of the stopped one go (nowhere), and how long after its server that tunnel is back.

use std::thread;
use std::time::{Duration, Instant};

use mrvpn_engine::Status;
use serde::Serialize;

use super::flows::{Count, Flow};
use super::map::{SPOTS, STOPPED};
use super::tunnels::Tunnels;
use super::world::World;
use crate::failure::Failure;

/// 2 ms between two requests of a flow that must not notice anything.
const OTHERS: Duration = Duration::from_millis(2);
/// 10 ms between two requests of the flow whose server is stopped.
const OWN: Duration = Duration::from_millis(10);
/// 250 requests of each undisturbed flow are on their way before the server is stopped.
const BEFORE: u64 = 250;
/// 1,000: no flow is counted over fewer.
const ENOUGH: u64 = 1000;
/// 500 ms: how long the server is away after it has said so.
const AWAY: Duration = Duration::from_millis(500);
/// 30 s: how long anything here may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outage {
    /// The tunnel whose server was stopped.
    pub(super) tunnel: String,
    /// How long its server was away, in milliseconds.
    pub(super) down_ms: u64,
    /// From the server's start to the first answer through the tunnel, in milliseconds; `None` where none came.
    pub(super) back_ms: Option<u64>,
    /// Whether it has the same address as before.
    pub(super) same_address: bool,
    /// Its requests that were refused at once.
    pub(super) refused: u64,
    /// Its requests that another place answered.
    pub(super) elsewhere: u64,
    /// Requests of any tunnel that left without a tunnel meanwhile.
    pub(super) in_clear: u64,
    /// The other tunnels.
    pub(super) others: Vec<Undisturbed>,
    /// All is as it has to be.
    pub(super) ok: bool,
}

/// A tunnel that goes on meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Undisturbed {
    /// Its name.
    pub(super) tunnel: String,
    /// Requests sent.
    pub(super) requests: u64,
    /// Requests without an answer from the right place.
    pub(super) lost: u64,
    /// Requests that another place answered.
    pub(super) elsewhere: u64,
    /// The longest time until an answer, in milliseconds.
    pub(super) slowest_ms: u64,
    /// None was lost, none went elsewhere.
    pub(super) ok: bool,
}

/// Flows through all tunnels.
struct Flows {
    others: Vec<(&'static str, Flow)>,
    own: Flow,
}

/// Stops the server, starts it again, and counts.
pub(super) fn watch(world: &mut World, tunnels: &mut Tunnels, before: &Status) -> Result<Outage, Failure> {
    let (clear, stopped) = (world.in_clear(), SPOTS.map(|spot| spot.name)[STOPPED]);
    let flows = Flows::start()?;
    flows.wait(BEFORE);
    world.stop_server();
    let away = Instant::now();
    tunnels.wait(LIMIT, |status| state(status, stopped) != "up")?.map_err(|_| unnoticed(stopped))?;
    thread::sleep(AWAY.saturating_sub(away.elapsed()));
    let earlier = flows.own.answered();
    world.start_server()?;
    let (down, started) = (away.elapsed(), Instant::now());
    while flows.own.answered() == earlier && started.elapsed() < LIMIT {
        thread::sleep(LOOK);
    }
    let back = (flows.own.answered() > earlier).then(|| started.elapsed());
    flows.wait(ENOUGH);
    let (others, own) = flows.finish();
    let after = tunnels.status()?;
    let same_address = assigned(before, stopped) == assigned(&after, stopped);
    Ok(judged(Outage {
        tunnel: stopped.to_owned(),
        down_ms: milliseconds(down),
        back_ms: back.map(milliseconds),
        same_address,
        refused: own.refused,
        elsewhere: own.elsewhere,
        in_clear: world.in_clear() - clear,
        others,
        ok: false,
    }))
}

fn judged(outage: Outage) -> Outage {
    let undisturbed = outage.others.iter().all(|other| other.ok);
    let nowhere_else = outage.elsewhere == 0 && outage.in_clear == 0;
    Outage { ok: undisturbed && nowhere_else && outage.same_address && outage.back_ms.is_some(), ..outage }
}

impl Flows {
    fn start() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("starting requests: {error}"));
        let mut others = Vec::new();
        for (_, spot) in SPOTS.iter().enumerate().filter(|(place, _)| *place != STOPPED) {
            others.push((spot.name, Flow::start(spot.name, spot.port, OTHERS).map_err(failed)?));
        }
        let own = SPOTS[STOPPED];
        Ok(Self { others, own: Flow::start(own.name, own.port, OWN).map_err(failed)? })
    }

    /// Waits until each of the others has sent so many requests.
    fn wait(&self, requests: u64) {
        let begun = Instant::now();
        while self.others.iter().any(|(_, flow)| flow.sent() < requests) && begun.elapsed() < LIMIT {
            thread::sleep(LOOK);
        }
    }

    fn finish(self) -> (Vec<Undisturbed>, Count) {
        let others = self.others.into_iter().map(|(name, flow)| undisturbed(name, &flow.finish()));
        (others.collect(), self.own.cut())
    }
}

fn undisturbed(name: &str, count: &Count) -> Undisturbed {
    let lost = count.sent - count.answered;
    Undisturbed {
        tunnel: name.to_owned(),
        requests: count.sent,
        lost,
        elsewhere: count.elsewhere,
        slowest_ms: milliseconds(count.slowest),
        ok: lost == 0 && count.elsewhere == 0,
    }
}

fn unnoticed(name: &str) -> Failure {
    Failure::failed(format!("{name} did not notice that its server has stopped"))
}

fn state<'a>(status: &'a Status, name: &str) -> &'a str {
    status.tunnels.iter().find(|tunnel| tunnel.name == name).map_or("", |tunnel| tunnel.state.as_str())
}

fn assigned<'a>(status: &'a Status, name: &str) -> &'a [String] {
    status.tunnels.iter().find(|tunnel| tunnel.name == name).map_or(&[], |tunnel| tunnel.assigned.as_slice())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it has to be.
    fn outage() -> Outage {
        let count = Count { sent: 1000, answered: 1000, ..Count::default() };
        Outage {
            tunnel: String::from("fr"),
            down_ms: 500,
            back_ms: Some(400),
            same_address: true,
            refused: 6,
            elsewhere: 0,
            in_clear: 0,
            others: vec![undisturbed("uk", &count), undisturbed("us", &count)],
            ok: false,
        }
    }

    #[test]
    fn it_is_well_only_if_the_others_lost_nothing_and_nothing_went_elsewhere() {
        assert!(judged(outage()).ok);
        let lost = undisturbed("us", &Count { sent: 1000, answered: 999, ..Count::default() });
        let astray = undisturbed("us", &Count { sent: 1000, answered: 1000, elsewhere: 1, ..Count::default() });
        let cases = [
            Outage { back_ms: None, ..outage() },
            Outage { same_address: false, ..outage() },
            Outage { elsewhere: 1, ..outage() },
            Outage { in_clear: 1, ..outage() },
            Outage { others: vec![lost], ..outage() },
            Outage { others: vec![astray], ..outage() },
        ];
        for case in cases {
            assert!(!judged(case.clone()).ok, "{case:?}");
        }
    }
}
