//! Storms: very many tunnels that go down together, one tunnel whose server ends each session at once, one server that is
//! killed while its programs send, and one tunnel that is used to the full beside others. On the parts of the world, with
//! nothing else going wrong, and measured.

use std::net::SocketAddr;
use std::time::Duration;

use mrvpn_clock::Moment;

use super::setup::{File, Push, Setup, own_target};
use super::{BEGIN, World};
use crate::sim::Violation;
use crate::sim::apps::packet::UDP;
use crate::sim::apps::{App, Bind};
use crate::sim::dialogue::Dialogue;

const SECOND: Duration = Duration::from_secs(1);
/// 50 ms: how exactly it is seen when a tunnel is up.
const LOOK: Duration = Duration::from_millis(50);

/// What a storm of very many tunnels was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// From the return of the servers until all tunnels are up.
    pub all_up: Duration,
    /// Handshakes begun in each second since then.
    pub begun: Vec<u64>,
}

/// All servers of `tunnels` tunnels are killed together and are back after 500 ms.
///
/// # Errors
/// Something that must hold always does not.
pub fn flap(tunnels: usize) -> Result<Flapping, Violation> {
    let mut dialogue = Dialogue::off();
    let mut world = World::with(plain(tunnels, 5, 30), Vec::new(), None, &mut dialogue);
    world.pass_until(BEGIN + 60 * SECOND)?;
    world.all_must_be_up()?;
    for place in 0..tunnels {
        let push = world.sites[place].push.clone();
        world.restart(place, Duration::from_millis(500), Some(&push));
    }
    let back = world.now + Duration::from_millis(500);
    let mut flapping = Flapping { all_up: Duration::ZERO, begun: Vec::new() };
    let mut last = world.opened();
    world.pass_until(back)?;
    while flapping.begun.len() < 300 {
        for _ in 0..20 {
            world.pass_until(world.now + LOOK)?;
            if flapping.all_up.is_zero() && (0..tunnels).all(|place| world.is_up(place) && !world.broken[place]) {
                flapping.all_up = world.now.since(back);
            }
        }
        flapping.begun.push(world.opened() - last);
        last = world.opened();
        if !flapping.all_up.is_zero() {
            return Ok(flapping);
        }
    }
    Err(Violation::new("I-7", "not all tunnels have come back", world.now))
}

/// What a storm of sessions was like that the server ends at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endings {
    /// Sessions that were ended.
    pub sessions: u64,
    /// Handshakes begun in the first minute.
    pub first_minute: u64,
    /// Most handshakes begun in one second after it.
    pub most_per_second: u64,
}

/// A server ends so many sessions as soon as they are up, while a tunnel beside it is used.
///
/// # Errors
/// Something that must hold always does not: the other tunnel is disturbed, say.
pub fn endings(sessions: u64) -> Result<Endings, Violation> {
    let mut dialogue = Dialogue::off();
    let apps = vec![steady_app(1, 20 * SECOND, BEGIN + 3 * SECOND)];
    let mut world = World::with(plain(2, 10, 60), apps, None, &mut dialogue);
    let mut endings = Endings { sessions: 0, first_minute: 0, most_per_second: 0 };
    let (mut last, begun) = (world.opened(), world.now);
    while endings.sessions < sessions {
        let second = world.now + SECOND;
        while let Some(due) = world.due().filter(|due| *due < second) {
            world.pass_until(due)?;
            if world.is_up(0) && !world.broken[0] {
                endings.sessions += 1;
                world.say_to(0, "RESTART");
            }
        }
        world.pass_until(second)?;
        let opened = world.opened() - last;
        last = world.opened();
        if world.now.since(begun) <= 60 * SECOND {
            endings.first_minute += opened;
        } else {
            endings.most_per_second = endings.most_per_second.max(opened);
        }
    }
    Ok(endings)
}

/// How long no packet of a program is answered when its server is killed and back after 500 ms (F-01), while another
/// tunnel's program loses none. `seed` says at which moment.
///
/// # Errors
/// Something that must hold always does not.
pub fn gap_of_a_killed_server(seed: u64) -> Result<Duration, Violation> {
    let mut dialogue = Dialogue::off();
    let apps = (0..2).map(|place| steady_app(place, Duration::from_millis(50), BEGIN + 2 * SECOND)).collect::<Vec<_>>();
    let setup = Setup { seed, ..plain(2, 1, 5) };
    let mut world = World::with(setup, apps, None, &mut dialogue);
    let killed = BEGIN + 20 * SECOND + Duration::from_millis(crate::sim::Dice::of(seed, "kill").below(5_000));
    world.pass_until(killed)?;
    let push = world.sites[0].push.clone();
    world.restart(0, Duration::from_millis(500), Some(&push));
    let before = world.oracle.answers_through(0);
    while world.oracle.answers_through(0) <= before + 1 {
        let next = world.now + Duration::from_millis(10);
        world.pass_until(next)?;
        if world.now.since(killed) > 60 * SECOND {
            return Err(Violation::new("I-7", "no packet is answered any more", world.now));
        }
    }
    Ok(world.now.since(killed))
}

/// One tunnel is used to the full, in bursts of `burst` packets, beside seven whose programs must not notice. Returns how
/// many of their packets had to be answered in time, and were.
///
/// # Errors
/// One of them was lost, or late (I-8).
pub fn saturated(burst: u32, length: Duration) -> Result<u64, Violation> {
    let mut dialogue = Dialogue::off();
    let mut apps: Vec<App> =
        (1..8).map(|place| steady_app(place, Duration::from_millis(20), BEGIN + 2 * SECOND)).collect();
    for _ in 0..burst {
        apps.push(App { payload: 1_300, ..steady_app(0, Duration::from_millis(100), BEGIN + 2 * SECOND) });
    }
    let mut world = World::with(plain(8, 5, 30), apps, None, &mut dialogue);
    world.pass_until(BEGIN + length)?;
    Ok(world.oracle.tally.must)
}

/// Tunnels that nobody collides with, and no rules.
fn plain(tunnels: usize, ping: u32, restart: u32) -> Setup {
    Setup {
        seed: 1,
        places: tunnels,
        file: File::plain(tunnels),
        pushes: (0..tunnels).map(|place| Push::plain(place, ping, restart)).collect(),
        calm: vec![true; tunnels],
    }
}

/// A program that asks a host behind the server of `place` for ever.
fn steady_app(place: usize, period: Duration, from: Moment) -> App {
    App {
        protocol: UDP,
        bind: Bind::No,
        to: SocketAddr::new(own_target(place).into(), 443),
        period,
        packets: u32::MAX,
        payload: 100,
        flow: None,
        next_at: from,
    }
}

impl World<'_> {
    fn opened(&self) -> u64 {
        self.machine.as_ref().map_or(0, |machine| machine.opened)
    }

    fn say_to(&mut self, place: usize, text: &'static str) {
        self.perform(&super::script::What::Say { place, text });
        self.settle();
    }

    fn all_must_be_up(&mut self) -> Result<(), Violation> {
        self.must_be_up();
        self.check()
    }
}
