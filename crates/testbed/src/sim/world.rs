//! The simulated world: a host with many tunnels of the real engine's values, their servers with the hosts behind them, a
//! network between, programs that send all the time, and a script of all that goes wrong. One clock, one seed. After each step
//! the oracle (`oracle.rs`) compares what happened with what the reference model (`reference.rs`) says must happen.

mod deeds; // what is done to it
mod follow; // what the reference model learns
pub(crate) mod machine; // the engine at work
mod script; // what is done, and when
pub(crate) mod setup; // with what it begins
mod sites; // the servers, and the hosts behind them
pub mod storm; // many tunnels at once, or one again and again
mod traffic; // what programs and far ends send

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_engine::Memory;
use mrvpn_netplan::model::Verdict;
use mrvpn_router::TunnelId;

use crate::sim::apps::App;
use crate::sim::apps::packet::FragmentOf;
use crate::sim::dialogue::Dialogue;
use crate::sim::hosts::SimHost;
use crate::sim::oracle::{Oracle, View};
use crate::sim::reference::Reference;
use crate::sim::{Dice, Network, Scenario, Trace, TraceHash, Violation};
use follow::Known;
use machine::{Kept, Machine, Outgoing};
use setup::{File, Setup};
use sites::Site;

pub use crate::sim::plant::Plant;
pub use script::Deed;

/// Worlds do not begin at 0: that moment means "never" to some counters.
const BEGIN: Moment = Moment::from_nanos(1_000_000_000);
/// 170 s: how long it may take when all faults have stopped until every tunnel that should be up is up: the longest `ping-restart`
/// (25 s), a handshake that is under way and fails (60 s), the longest pause (75 s), and one more try.
const CALM_DOWN: Duration = Duration::from_secs(170);
/// 20 s: in that time every program that a tunnel must carry is answered, or I-8 does not hold.
const AFTERWARDS: Duration = Duration::from_secs(20);
/// Rounds in which one moment must be over.
const ROUNDS: usize = 10_000;

/// The scenario: every world, whole or shortened.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorldScenario {
    /// A fault planted on purpose.
    pub plant: Option<Plant>,
}

impl Scenario for WorldScenario {
    type Action = Deed;

    fn name(&self) -> &'static str {
        "world"
    }

    fn generate(&self, seed: u64) -> Vec<Deed> {
        script::generate(seed)
    }

    fn run(&self, seed: u64, actions: &[Deed], dialogue: &mut Dialogue) -> Result<Trace, Violation> {
        let mut world = World::new(seed, self.plant, dialogue);
        world.run(actions)?;
        Ok(world.trace())
    }
}

/// Everything.
struct World<'a> {
    setup: Setup,
    file: File,
    now: Moment,
    dice: Dice,
    machine: Option<Machine>,
    /// When a killed engine begins anew.
    reborn_at: Option<Moment>,
    memory: Memory,
    /// Whether the memory has changed since the model learned bind addresses from it.
    new_binds: bool,
    host: SimHost,
    sites: Vec<Site>,
    network: Network,
    apps: Vec<App>,
    next_flow: u32,
    next_port: u16,
    oracle: Oracle,
    reference: Reference,
    before: Vec<Reference>,
    steady: Vec<Option<Moment>>,
    /// Sessions that the server has forgotten or ended, until the next.
    broken: Vec<bool>,
    noisy_until: Vec<Moment>,
    known: BTreeMap<TunnelId, Known>,
    started: Moment,
    version: u64,
    /// Whether nobody is waited for any more who may offer to be the default.
    waited: bool,
    /// Where the host is, which the engine does not know yet.
    moving: Option<bool>,
    /// Someone has deleted what the engine made, and it is not put back yet.
    tampered: bool,
    /// Who was told never to come again.
    halted: Vec<bool>,
    quiet_at: Vec<(Moment, usize)>,
    /// What a planted queue keeps.
    kept: Vec<(Moment, Vec<u8>)>,
    fragments: BTreeMap<FragmentOf, BTreeMap<usize, Vec<u8>>>,
    generation: u32,
    life: u32,
    up_at: Option<Moment>,
    outgoing: Vec<Outgoing>,
    hash: TraceHash,
    pub(crate) dialogue: &'a mut Dialogue,
    plant: Option<Plant>,
    tunnel_time: Duration,
}

impl<'a> World<'a> {
    pub(crate) fn new(seed: u64, plant: Option<Plant>, dialogue: &'a mut Dialogue) -> Self {
        let setup = Setup::of(seed);
        let apps = App::all(setup.places, script::pace(seed), &mut Dice::of(seed, "apps"), BEGIN);
        Self::with(setup, apps, plant, dialogue)
    }

    /// One of the caller's making.
    fn with(setup: Setup, apps: Vec<App>, plant: Option<Plant>, dialogue: &'a mut Dialogue) -> Self {
        let seed = setup.seed;
        let mut dice = Dice::of(seed, "world");
        let now = BEGIN;
        let mut host = SimHost::new();
        let mut machine = Machine::new(&setup.file, Memory::default(), &mut host, &mut dice, now);
        machine.plant = plant;
        let sites = setup.pushes.iter().enumerate().map(|(place, push)| Site::new(place, push.clone(), now)).collect();
        let places = setup.places;
        let mut world = Self {
            file: setup.file.clone(),
            now,
            dice,
            machine: Some(machine),
            reborn_at: None,
            memory: Memory::default(),
            new_binds: true,
            host,
            sites,
            network: Network::new(seed),
            apps,
            next_flow: 1,
            next_port: 1_024,
            oracle: Oracle::new(),
            reference: follow::beginning(&setup.file),
            before: vec![follow::without_engine()],
            steady: vec![None; places],
            broken: vec![false; places],
            noisy_until: vec![now; places],
            known: BTreeMap::new(),
            started: now,
            version: u64::MAX,
            waited: false,
            moving: None,
            tampered: false,
            halted: vec![false; places],
            quiet_at: Vec::new(),
            kept: Vec::new(),
            fragments: BTreeMap::new(),
            generation: 0,
            life: 0,
            up_at: None,
            outgoing: Vec::new(),
            hash: TraceHash::default(),
            dialogue,
            plant,
            tunnel_time: Duration::ZERO,
            setup,
        };
        world.settle();
        world
    }

    /// Does all of the script, lets it calm down, and looks at what came of it.
    pub(crate) fn run(&mut self, deeds: &[Deed]) -> Result<(), Violation> {
        for deed in deeds {
            self.pass_until(BEGIN + deed.at)?;
            self.perform(&deed.what);
            self.settle();
            self.check()?;
        }
        self.pass_until(BEGIN + script::length(self.setup.seed))?;
        self.stop_faults();
        self.pass_until(self.now + CALM_DOWN)?;
        self.must_be_up();
        self.check()?;
        self.pass_until(self.now + AFTERWARDS)
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn pass_until(&mut self, end: Moment) -> Result<(), Violation> {
        while let Some(due) = self.due().filter(|due| *due <= end) {
            let due = due.max(self.now);
            self.count_time(due);
            self.now = due;
            self.step();
            self.check()?;
        }
        self.count_time(end);
        self.now = end;
        Ok(())
    }

    fn count_time(&mut self, until: Moment) {
        let tunnels = u32::try_from(self.file.tunnels.len()).unwrap_or(u32::MAX);
        self.tunnel_time += until.since(self.now) * tunnels;
    }

    fn due(&self) -> Option<Moment> {
        let engine = self.machine.as_ref().and_then(Machine::poll_timeout);
        let sites = self.sites.iter().filter_map(|site| site.poll_timeout(self.now)).min();
        let apps = self.apps.iter().map(|app| app.next_at).min();
        let rest = [self.network.next_at(), self.oracle.poll_timeout(), self.reborn_at, self.up_at, self.quiet_at()];
        engine.into_iter().chain(sites).chain(apps).chain(rest.into_iter().flatten()).min()
    }

    /// All that is due at this moment.
    fn step(&mut self) {
        let now = self.now;
        if self.reborn_at.is_some_and(|at| at <= now) {
            self.rebirth();
        }
        if self.up_at.is_some_and(|at| at <= now) {
            self.set_interface_up();
        }
        self.make_quiet();
        self.give_up_kept();
        self.run_apps();
        self.deliver();
        self.settle();
        self.run_sites();
        self.oracle.pass_time(&self.steady, now);
    }

    /// Carries messages inside the engine until nobody has anything to say, and sees what comes out.
    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            let busy = self.round();
            self.follow();
            if !busy {
                self.host_may_have_followed();
                return self.look_at_rest();
            }
        }
        self.oracle.fail("I-6", self.now, || "the engine does not come to rest".to_owned());
    }

    fn round(&mut self) -> bool {
        let now = self.now;
        let Some(machine) = &mut self.machine else { return false };
        machine.pass_time(now);
        let mut busy = machine.carry_out(&mut self.outgoing, now);
        if std::mem::take(&mut machine.remembered) {
            self.memory.clone_from(&machine.memory);
            self.new_binds = true;
        }
        // The model follows before a packet is judged by what has changed.
        self.follow();
        let Some(machine) = &mut self.machine else { return busy };
        busy |= machine.turn(&mut self.outgoing, now);
        busy |= self.keep_up_host();
        busy |= self.take_written();
        self.post();
        busy | (self.plant == Some(Plant::NeverRests) && self.now > BEGIN + Duration::from_secs(20))
    }

    /// The host's plan step by step: between each two, what must be held is.
    fn keep_up_host(&mut self) -> bool {
        let now = self.now;
        let Some(machine) = &mut self.machine else { return false };
        let (oracle, reference, before) = (&mut self.oracle, &self.reference, &self.before);
        let (apps, tampered) = (&self.apps, self.tampered);
        let kept = machine.keep_up(&mut self.host, now, |host| {
            if tampered {
                return;
            }
            for app in apps.iter().filter(|app| app.bind == crate::sim::apps::Bind::No) {
                let question = app.question();
                let way = host.way(None, question.destination, question.protocol, question.port);
                oracle.between(&question, &way, reference, before, now);
            }
        });
        match kept {
            Kept::Nothing => return false,
            Kept::Interface => {}
            Kept::Plan => {}
            Kept::Audit => self.moved(),
        }
        true
    }

    /// Nobody has anything to say: what the engine wants of the host stands, unless a plan is still to be carried out.
    fn host_may_have_followed(&mut self) {
        let Some(machine) = &self.machine else { return };
        if !machine.plan_is_due() {
            self.before.clear();
            self.tampered &= machine.host_is_disturbed();
        }
    }

    /// Hands the engine's datagrams to the network, if they go past the interface as they must.
    fn post(&mut self) {
        for Outgoing { tunnel, from, to, datagram } in std::mem::take(&mut self.outgoing) {
            self.hash.number(u64::from(tunnel.number()));
            traffic::note(&mut self.hash, &datagram);
            if self.host.marked(to.ip()) != Verdict::Clear {
                // Somebody has deleted the line that lets the engine's own sockets out.
                continue;
            }
            self.dialogue.say(self.now, "client", || format!("{from} to {to}: {} bytes", datagram.len()));
            self.send_outer(tunnel, from, to, datagram);
        }
    }

    fn check(&self) -> Result<(), Violation> {
        self.oracle.violation().map_or(Ok(()), |violation| Err(violation.clone()))
    }

    pub(crate) fn view<'b>(
        reference: &'b Reference,
        before: &'b [Reference],
        steady: &'b [Option<Moment>],
        (generation, life): (u32, u32),
    ) -> View<'b> {
        View { now: reference, before, steady, generation, life }
    }

    fn trace(&self) -> Trace {
        let mut trace = Trace { end: self.now, tunnel_time: self.tunnel_time, ..Trace::default() };
        let mut hash = self.hash;
        let tally = self.oracle.tally;
        for (what, count) in tally.named() {
            trace.add(what, count);
            hash.number(count);
        }
        hash.moment(self.now);
        trace.hash = hash.get();
        trace
    }

    fn engine_addresses() -> [IpAddr; 2] {
        follow::ENGINE
    }
}
