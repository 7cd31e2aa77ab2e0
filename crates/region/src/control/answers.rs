//! What the protocol's server asks and tells of a client, and what the region answers: logins, keys, ends.

use std::net::SocketAddr;

use mrvpn_clock::Moment;
use mrvpn_profile::escape;
use mrvpn_proto::DataKeys;
use mrvpn_proto::server::{Farewell, Gone, LoginRequest, Push, ServerEvent};

use super::{Control, Member};
use crate::directory::Entry;
use crate::event::RegionEvent;
use crate::push;
use crate::seen::{ClientSeen, Traffic};
use crate::spec::Transport;
use crate::worker::{Adoption, Name, Order, Path};

/// What a client is told whose password is wrong.
const WRONG: &str = "AUTH_FAILED";
/// What a client is told for whom there is no address.
const FULL: &str = "AUTH_FAILED,no address is left";

impl Control {
    /// Answers one event.
    pub(super) fn answer(&mut self, name: Name, event: ServerEvent, now: Moment) {
        match event {
            ServerEvent::Began { from } => self.begin(name, from),
            ServerEvent::Login(login) => self.log_in(name, &login, now),
            ServerEvent::Keys(keys) => self.take_keys(name, keys),
            ServerEvent::Retire(key_id) => {
                if let Some((worker, place)) = self.carrier(name) {
                    self.workers[worker].tell(Order::Retire { place, key_id });
                }
            }
            ServerEvent::Up => self.up(name),
            ServerEvent::ExitNotify => {
                if let Some(seen) = self.seen(name) {
                    self.tell(RegionEvent::Leaving { client: seen.address });
                }
            }
            ServerEvent::Said(_) => {}
            ServerEvent::Gone(why) => self.end(name, &why),
        }
    }

    /// A client is at another address.
    pub(super) fn float(&mut self, name: Name, to: SocketAddr, now: Moment) {
        self.listeners[usize::from(name.0)].server.floated(name.1, to, now);
        let Some(member) = self.members.get_mut(&name) else { return };
        let was = std::mem::replace(&mut member.from, to);
        if let Path::Datagrams { to: address, .. } = &mut member.path {
            *address = to;
        }
        let Some(seen) = &mut member.seen else { return };
        seen.from = to;
        let client = seen.address;
        self.shown.show(name, member);
        self.tell(RegionEvent::Floated { client, was, now: to });
    }

    fn begin(&mut self, name: Name, from: SocketAddr) {
        let Some((worker, origin)) = self.arrival else { return };
        if let Path::Stream(number) = origin.path() {
            self.streams.keep(number);
        }
        self.members.insert(name, Member::new(worker, origin.path(), from));
    }

    fn log_in(&mut self, name: Name, login: &LoginRequest, now: Moment) {
        if !self.may_log_in(login) {
            return self.refuse(name, login, "wrong user or password", WRONG, now);
        }
        if login.renewal {
            return self.listeners[usize::from(name.0)].server.admit(name.1, Push::default(), now);
        }
        let who = self.who(login);
        if !self.spec.shared_certificates {
            self.end_others(name, &who, now);
        }
        let Some(place) = self.places.take(&who) else {
            return self.refuse(name, login, "no address is left", FULL, now);
        };
        let Some(member) = self.members.get_mut(&name) else { return self.places.give_back(place) };
        member.who = who;
        // A server that asks for the login again, for whatever reason, gives one address alone.
        if let Some(before) = member.place.replace(place) {
            self.places.give_back(before);
        }
        member.seen = Some(ClientSeen {
            user: escape(login.user.as_bytes()),
            common_name: escape(login.common_name.as_deref().unwrap_or_default().as_bytes()),
            from: member.from,
            transport: match member.path {
                Path::Datagrams { .. } => Transport::Udp,
                Path::Stream(_) => Transport::Tcp,
            },
            address: self.pool.address(place),
            address6: self.pool.address6(place),
            cipher: None,
            keys: 0,
            traffic: Traffic::default(),
        });
        let push = Push { options: push::options(&self.spec, place), whole: None };
        self.listeners[usize::from(name.0)].server.admit(name.1, push, now);
    }

    fn may_log_in(&self, login: &LoginRequest) -> bool {
        match &self.spec.users {
            None => true,
            Some(users) => users.get(&login.user).is_some_and(|password| password.expose() == login.password.expose()),
        }
    }

    /// By which name a client may be here once, and has its address again.
    fn who(&self, login: &LoginRequest) -> String {
        match (&self.spec.users, &login.common_name) {
            (Some(_), _) => login.user.clone(),
            (None, Some(name)) => name.clone(),
            (None, None) => String::new(),
        }
    }

    fn refuse(&mut self, name: Name, login: &LoginRequest, why: &'static str, text: &str, now: Moment) {
        self.listeners[usize::from(name.0)].server.refuse(name.1, text, now);
        self.tell(RegionEvent::Refused { from: login.from, user: escape(login.user.as_bytes()), why });
    }

    /// As a stock server without `duplicate-cn`: a newer login of the same name throws the older out, in silence.
    fn end_others(&mut self, name: Name, who: &str, now: Moment) {
        let is_other =
            |(other, member): (&Name, &Member)| *other != name && member.place.is_some() && member.who == who;
        let others: Vec<Name> = self.members.iter().filter(|pair| is_other(*pair)).map(|(other, _)| *other).collect();
        for other in others {
            self.release(other);
            self.disconnect(other, Farewell::Silent, now);
        }
    }

    fn take_keys(&mut self, name: Name, keys: Box<DataKeys>) {
        let Some(member) = self.members.get_mut(&name) else { return };
        let (Some(place), Some(seen)) = (member.place, &mut member.seen) else { return };
        seen.keys += 1;
        seen.cipher = Some(keys.sealer.cipher());
        let (client, count) = (seen.address, seen.keys);
        let worker = usize::from(member.worker);
        if member.carried {
            self.shown.show(name, member);
            self.workers[worker].tell(Order::Install { place, keys });
            return self.tell(RegionEvent::Renewed { client, keys: count });
        }
        member.carried = true;
        let adoption = Adoption {
            name,
            place,
            keys,
            path: member.path,
            address: self.pool.address(place),
            address6: self.pool.address6(place),
            ping: self.spec.ping,
            counters: std::sync::Arc::clone(&member.counters),
        };
        self.workers[worker].tell(Order::Adopt(Box::new(adoption)));
        let entry = Entry { place, worker: u8::try_from(worker).unwrap_or(0) };
        self.directory.enter(usize::from(name.0), name.1.get(), entry);
    }

    fn up(&mut self, name: Name) {
        let Some(member) = self.members.get_mut(&name) else { return };
        member.up = true;
        self.shown.show(name, member);
        if let Some(seen) = member.shown() {
            self.tell(RegionEvent::Up(seen));
        }
    }

    fn end(&mut self, name: Name, why: &Gone) {
        let seen = self.seen(name);
        self.release(name);
        let Some(member) = self.members.remove(&name) else { return };
        if let Path::Stream(number) = member.path {
            self.close_stream(number);
        }
        if let Some(client) = seen.filter(|_| member.up) {
            self.tell(RegionEvent::Gone { client, why: why.to_string() });
        }
    }

    /// Takes its address and its keys from a client.
    fn release(&mut self, name: Name) {
        let carrier = self.carrier(name);
        let Some(member) = self.members.get_mut(&name) else { return };
        let Some(place) = member.place.take() else { return };
        member.carried = false;
        self.shown.forget(name);
        self.directory.strike(usize::from(name.0), name.1.get(), place);
        if let Some((worker, _)) = carrier {
            self.workers[worker].tell(Order::Release { place });
        }
        self.places.give_back(place);
    }

    /// Worker and place of a client whose keys a worker has.
    fn carrier(&self, name: Name) -> Option<(usize, u16)> {
        let member = self.members.get(&name).filter(|member| member.carried)?;
        Some((usize::from(member.worker), member.place?))
    }

    fn seen(&self, name: Name) -> Option<ClientSeen> {
        self.members.get(&name)?.shown()
    }
}
