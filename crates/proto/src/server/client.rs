//! One client of a server: the counterpart of the client's own `session/mod.rs`. What comes from it is `intake.rs`, from
//! TLS to its login `handshake.rs`, what it gets `push.rs`, later keys `renewal.rs`, deadlines `timers.rs`, its end
//! `farewell.rs`. Which datagrams are its own `mod.rs` decides.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use mrvpn_clock::Moment;
use mrvpn_profile::Wrap;

use super::abilities::Abilities;
use super::event::{ClientId, Gone, Push, ServerEvent, ServerTimer};
use super::negotiation::Negotiation;
use super::push::Agreed;
use super::renewal::Renewals;
use super::shared::Shared;
use crate::channel::Wire;
use crate::ids::SessionId;
use crate::wrappers::Wrappers;

pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) address: SocketAddr,
    pub(super) own: SessionId,
    pub(super) peer: SessionId,
    /// The wrapping in the words of the client's profile.
    pub(super) wrap: Wrap,
    pub(super) wrappers: Wrappers,
    /// The newest: as OpenVPN's server, this one listens on no other.
    pub(super) current: Negotiation,
    pub(super) phase: Phase,
    pub(super) abilities: Abilities,
    /// When something authentic came last.
    pub(super) last_heard: Moment,
    /// What [`super::Server`] has noted as its next deadline.
    pub(super) noted: Option<(Moment, ServerTimer)>,
}

/// How far a client is.
#[derive(Debug)]
pub(super) enum Phase {
    /// It is not let in yet.
    Handshake {
        /// It has asked for its push.
        asked: bool,
    },
    /// It is let in; its push waits to be asked for.
    Push(Push),
    /// The push is out, but has not arrived yet.
    Pushed(Agreed, Renewals),
    /// Packets flow.
    Up(Agreed, Renewals),
    /// The last word is out, or the client's was EXIT.
    Closing {
        until: Moment,
        why: Gone,
        /// Whether to stay until then, whatever is acknowledged.
        lingers: bool,
    },
    Gone(Gone),
}

/// Who a client is and where it begins.
pub(super) struct Beginning {
    pub(super) id: ClientId,
    pub(super) address: SocketAddr,
    pub(super) own: SessionId,
    pub(super) peer: SessionId,
    pub(super) wrap: Wrap,
    pub(super) wrappers: Wrappers,
}

impl Client {
    pub(super) fn new(beginning: Beginning, current: Negotiation, now: Moment) -> Self {
        let Beginning { id, address, own, peer, wrap, wrappers } = beginning;
        Self {
            id,
            address,
            own,
            peer,
            wrap,
            wrappers,
            current,
            phase: Phase::Handshake { asked: false },
            abilities: Abilities::default(),
            last_heard: now,
            noted: None,
        }
    }

    /// Tells that something authentic came at the moment `at`.
    pub(super) fn heard(&mut self, at: Moment) {
        self.last_heard = self.last_heard.max(at);
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(..))
    }

    /// Whether it has not come so far that its push is out.
    pub(super) const fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::Handshake { .. } | Phase::Push(_))
    }

    pub(super) const fn gone(&self) -> Option<&Gone> {
        match &self.phase {
            Phase::Gone(why) => Some(why),
            Phase::Handshake { .. } | Phase::Push(_) | Phase::Pushed(..) | Phase::Up(..) | Phase::Closing { .. } => {
                None
            }
        }
    }

    pub(super) fn tell(&self, shared: &mut Shared, event: ServerEvent) {
        shared.events.push_back((self.id, event));
    }

    /// Says a string, with its NUL, as one record.
    pub(super) fn say(&mut self, text: &[u8]) {
        let mut record = text.to_vec();
        record.push(0);
        self.write(&record);
    }

    /// Sends one record. Where TLS cannot any more the client will miss it, and its silence ends it.
    pub(super) fn write(&mut self, record: &[u8]) {
        let _ = self.current.channel.write(record);
    }

    /// Puts everything that is due on the wire.
    pub(super) fn flush(&mut self, shared: &mut Shared, now: Moment) {
        let mut outbox = VecDeque::new();
        let mut wire = Wire {
            wrappers: &mut self.wrappers,
            own: self.own,
            peer: Some(self.peer),
            ipv6_outside: self.address.is_ipv6(),
            outbox: &mut outbox,
        };
        self.current.channel.flush(&mut wire, now);
        shared.outbox.extend(outbox.into_iter().map(|datagram| (self.address, datagram)));
    }
}

/// All state but secrets.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("address", &self.address)
            .field("own", &self.own)
            .field("peer", &self.peer)
            .field("wrappers", &self.wrappers)
            .field("current", &self.current)
            .field("phase", &self.phase)
            .field("abilities", &self.abilities)
            .field("last_heard", &self.last_heard)
            .finish_non_exhaustive()
    }
}
