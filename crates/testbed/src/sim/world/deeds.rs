//! How a deed of the script is done: to servers and links, by the user, to the engine's process, on the host. The reference
//! model is told what it must know of it.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use mrvpn_clock::Moment;
use mrvpn_engine::driver::TunnelVerb;
use mrvpn_netplan::plan::RouteKind;
use mrvpn_router::TunnelId;

use super::machine::Machine;
use super::script::What;
use super::setup::{CARD, File, LAN, OTHER_LAN, Push, name, place_of, remote};
use super::{World, follow};
use crate::sim::hosts::{self, SimQueue};
use crate::sim::reference::{DefaultModel, Place};
use crate::sim::{Dice, Noise};

/// How much longer a link is not quiet when noise or a black hole has ended: what was sent before may still be on its way, and
/// a server that was not heard must be heard again.
const AFTERMATH: Duration = Duration::from_millis(200);

impl World<'_> {
    /// Does it.
    pub(super) fn perform(&mut self, what: &What) {
        let now = self.now;
        self.dialogue.say(now, "script", || format!("{what:?}"));
        match what {
            What::Restart { place, away, push } => self.restart(*place, *away, push.as_deref()),
            What::Say { place, text } => self.say(*place, text),
            What::Renegotiate { place } => self.sites[*place].renegotiate(now),
            What::Lie { place } => self.lie(*place),
            What::Hole { place, last } => {
                self.network.black_hole(IpAddr::V4(CARD), remote(*place).ip(), now + *last);
                self.disturb(*place, now + *last + AFTERMATH);
            }
            What::Noise { place, last, worst } => self.make_noise(*place, *last, *worst),
            What::Reload(file) => self.reload(file),
            What::Stop { place } => self.verb(*place, TunnelVerb::Stop),
            What::Start { place } => self.verb(*place, TunnelVerb::Start),
            What::Again { place } => self.verb(*place, TunnelVerb::Restart),
            What::Kill { away } => self.kill(*away),
            What::Move { elsewhere } => self.move_host(*elsewhere),
            What::Tamper { which } => self.tamper(*which),
            What::Down { last } => self.set_interface_down(*last),
            What::Delete => self.delete_interface(),
        }
        self.run_sites();
    }

    pub(super) fn restart(&mut self, place: Place, away: Duration, push: Option<&Push>) {
        let push = push.cloned().unwrap_or_else(|| self.sites[place].push.clone());
        self.sites[place].restart(push, self.now + away);
        self.broken[place] = true;
        self.look_at_rest();
    }

    fn say(&mut self, place: Place, text: &str) {
        if text.starts_with("INFO") {
            return self.sites[place].say(text, self.now);
        }
        // The session ends by it, if there is one that hears it.
        self.sites[place].say(text, self.now);
        self.halted[place] |= text == "HALT";
        self.broken[place] = true;
        self.look_at_rest();
    }

    fn make_noise(&mut self, place: Place, last: Duration, worst: bool) {
        let noise = if worst { Noise::loss(200) } else { Noise::openvpn3() };
        self.network.set_noise(IpAddr::V4(CARD), remote(place).ip(), noise);
        self.quiet_at.push((self.now + last, place));
        self.disturb(place, self.now + last + AFTERMATH);
    }

    /// Noise that has lasted long enough ends.
    pub(super) fn make_quiet(&mut self) {
        let now = self.now;
        let (over, lasting): (Vec<_>, Vec<_>) = self.quiet_at.drain(..).partition(|(at, _)| *at <= now);
        // A longer one may have begun since.
        for (_, place) in over.iter().filter(|(_, place)| lasting.iter().all(|(_, noisy)| noisy != place)) {
            self.network.set_noise(IpAddr::V4(CARD), remote(*place).ip(), Noise::NONE);
        }
        self.quiet_at = lasting;
    }

    fn reload(&mut self, file: &File) {
        let Some(machine) = &mut self.machine else {
            // It is read by the engine that begins next.
            self.file = file.clone();
            return;
        };
        let before = self.reference.clone();
        machine.reload(file, self.now);
        for entry in &file.tunnels {
            let changed = self.file.entry(entry.place).is_none_or(|old| old.routes != entry.routes);
            self.broken[entry.place] |= changed;
        }
        self.file = file.clone();
        self.new_binds = true;
        self.generation += 1;
        follow::take_file(&mut self.reference, file);
        let crate::sim::reference::Reference { default, tunnels, .. } = &mut self.reference;
        default.reloaded(tunnels);
        self.reference.decide(self.waited);
        self.note_change(before);
        self.oracle.withdraw(&self.reference);
        self.look_at_rest();
    }

    fn verb(&mut self, place: Place, verb: TunnelVerb) {
        let Some(machine) = &mut self.machine else { return };
        if self.file.entry(place).is_none() {
            return;
        }
        let before = self.reference.clone();
        let touches = match verb {
            TunnelVerb::Stop | TunnelVerb::Restart => true,
            TunnelVerb::Start => self.reference.tunnel(place).is_some_and(|tunnel| tunnel.stopped),
        };
        let outcome = machine.fleet.tunnel_verb(&name(place), verb, self.now);
        if let Err(refused) = outcome {
            panic!("a tunnel of the file is not known: {}", refused.message);
        }
        self.broken[place] |= touches;
        self.generation += 1;
        match verb {
            TunnelVerb::Stop => self.reference.stopped(place),
            TunnelVerb::Start | TunnelVerb::Restart => {
                if let Some(tunnel) = self.reference.tunnel_mut(place) {
                    tunnel.stopped = false;
                }
            }
        }
        self.reference.decide(self.waited);
        self.note_change(before);
        self.oracle.withdraw(&self.reference);
        self.look_at_rest();
    }

    /// The process is gone with sockets, keys and flows. The interface, the routes and the rules stay.
    fn kill(&mut self, away: Duration) {
        let Some(machine) = self.machine.take() else { return };
        self.memory = machine.memory;
        self.reborn_at = Some(self.now + away);
        self.up_at = None;
        self.known.clear();
        self.look_at_rest();
    }

    /// Another engine begins on what the killed one left.
    pub(super) fn rebirth(&mut self) {
        self.reborn_at = None;
        // It reads the host anew.
        self.moved();
        let mut dice = Dice::clone(&self.dice);
        let mut machine = Machine::new(&self.file, self.memory.clone(), &mut self.host, &mut dice, self.now);
        self.dice = dice;
        machine.plant = self.plant;
        self.machine = Some(machine);
        let before = self.reference.clone();
        (self.started, self.waited, self.version) = (self.now, false, u64::MAX);
        self.new_binds = true;
        self.generation += 1;
        self.life += 1;
        follow::take_file(&mut self.reference, &self.file);
        self.reference.default = DefaultModel::default();
        for tunnel in &mut self.reference.tunnels {
            (tunnel.stopped, tunnel.settled, tunnel.lease) = (false, false, None);
            self.broken[tunnel.place] = true;
            // What was removed meanwhile, or never came up, is not remembered.
            let known = self.memory.tunnels.get(&name(tunnel.place)).and_then(|known| known.pushed.as_ref());
            tunnel.pushed = tunnel.pushed.take().filter(|_| known.is_some());
        }
        self.reference.decide(false);
        self.note_change(before);
    }

    fn move_host(&mut self, elsewhere: bool) {
        self.host.model.facts = hosts::facts(elsewhere);
        if let Some(machine) = &mut self.machine {
            machine.ring(self.now);
        }
        self.moving = Some(elsewhere);
        self.look_at_rest();
    }

    /// The engine has looked at the host: from now on it knows the networks.
    pub(super) fn moved(&mut self) {
        let Some(elsewhere) = self.moving.take() else { return };
        let before = self.reference.clone();
        let mut lan = vec![IpNet::V4(LAN)];
        lan.extend(elsewhere.then_some(IpNet::V4(OTHER_LAN)));
        self.reference.moved(lan, self.host.model.facts.addresses.clone());
        self.note_change(before);
    }

    /// Some of the rules, routes and addresses are gone. What then leaves in clear is not the engine's fault until it has
    /// put them back.
    fn tamper(&mut self, which: u64) {
        let model = &mut self.host.model;
        let victim = |length: usize| usize::try_from(which / 7).unwrap_or(0) % length.max(1);
        match which % 4 {
            0 if !model.rules.is_empty() => {
                model.rules.remove(victim(model.rules.len()));
            }
            1 => {
                let route = model.routes.iter().nth(victim(model.routes.len())).cloned();
                route.iter().for_each(|route| {
                    model.routes.remove(route);
                });
            }
            2 if !model.addresses.is_empty() => {
                model.addresses.remove(victim(model.addresses.len()));
            }
            _ => {
                model.rules.clear();
                model.routes.clear();
            }
        }
        self.tampered = true;
        if let Some(machine) = &mut self.machine {
            machine.ring(self.now);
        }
        self.look_at_rest();
    }

    /// Its routes go with it; packets are not read any more.
    fn set_interface_down(&mut self, last: Duration) {
        let Some(machine) = self.machine.as_mut().filter(|machine| !machine.io.queue.gone) else { return };
        machine.io.queue.down = true;
        machine.io.queue.incoming.clear();
        let device = RouteKind::Device(self.host.scope().device);
        self.host.model.routes.retain(|route| route.kind != device);
        self.up_at = Some(self.now + last);
        self.look_at_rest();
    }

    pub(super) fn set_interface_up(&mut self) {
        self.up_at = None;
        if let Some(machine) = &mut self.machine {
            machine.io.queue.down = false;
            machine.ring(self.now);
        }
    }

    fn delete_interface(&mut self) {
        let device = self.host.scope().device;
        let Some(machine) = &mut self.machine else { return };
        self.host.model.lose(&device);
        machine.io.queue = SimQueue { gone: true, ..SimQueue::default() };
        self.up_at = None;
        self.look_at_rest();
        // Whoever polls the queue sees the error at once.
        self.settle();
    }

    /// No fault lasts: servers are back, links are quiet, the interface is up, the engine runs.
    pub(super) fn stop_faults(&mut self) {
        let now = self.now;
        for place in 0..self.sites.len() {
            self.sites[place].off_until = None;
            self.network.set_noise(IpAddr::V4(CARD), remote(place).ip(), Noise::NONE);
            self.network.black_hole(IpAddr::V4(CARD), remote(place).ip(), now);
            self.noisy_until[place] = now + AFTERMATH;
        }
        self.quiet_at.clear();
        if self.reborn_at.is_some() {
            self.reborn_at = Some(now);
        }
        if self.up_at.is_some() {
            self.up_at = Some(now);
        }
        self.dialogue.say(now, "script", || "all faults stop".to_owned());
    }

    pub(super) fn place_of_tunnel(&self, id: TunnelId) -> Option<Place> {
        let machine = self.machine.as_ref()?;
        let tunnel = machine.fleet.tunnels().find(|tunnel| tunnel.id() == id)?;
        place_of(&tunnel.config().name)
    }

    /// When noise ends.
    pub(super) fn quiet_at(&self) -> Option<Moment> {
        self.quiet_at.iter().map(|(at, _)| *at).min()
    }
}
