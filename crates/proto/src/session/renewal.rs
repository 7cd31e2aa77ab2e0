//! Later keys: when a renegotiation begins, what comes of it, when old keys end (openvpn-protocol.md sections 6.6 and
//! 10.4; OpenVPN `ssl.c`, `key_state_soft_reset`, `lame_duck_must_die`). Each is a negotiation like the first one, under
//! the next key id; cipher, peer id and the way keys are made stay.

use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Renewal;

use super::negotiation::{Negotiation, Step, random_source};
use super::{EndReason, Event, Phase, Session, Timer};
use crate::data::DataKeys;
use crate::key_method::ServerMessage;
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::wrapping::Side;

/// What a tunnel that is up knows of its data keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewals {
    newest: KeyId,
    /// The key before, and when it ends.
    older: Option<(KeyId, Moment)>,
    /// The end of the last negotiation.
    since: Moment,
    /// When the server began one last.
    asked: Option<Moment>,
    /// The server has begun one too soon after that: when it is answered.
    answer_at: Option<Moment>,
    /// The old key should seal no longer than it must: it is worn.
    urgent: bool,
    carried: Option<Carried>,
}

/// What was carried, in the caller's counting: at the beginning of the newest key, and lately.
#[derive(Clone, Copy, Debug)]
struct Carried {
    base: (u64, u64),
    last: (u64, u64),
}

impl Renewals {
    pub(super) const fn new(first: KeyId, now: Moment) -> Self {
        Self { newest: first, older: None, since: now, asked: None, answer_at: None, urgent: false, carried: None }
    }

    /// When the next negotiation is due by time alone.
    fn due(&self, wishes: &Renewal) -> Option<Moment> {
        let own = wishes.reneg_sec.map(|seconds| self.since + seconds);
        own.into_iter().chain(self.answer_at).min()
    }

    /// Whether the server listens on the channel of the next key alone.
    pub(super) const fn server_has_begun(&self) -> bool {
        self.answer_at.is_some()
    }

    /// Notes what was carried and tells whether that is enough for this key.
    fn note(&mut self, bytes: u64, packets: u64, wishes: &Renewal) -> bool {
        let carried = self.carried.get_or_insert(Carried { base: (bytes, packets), last: (bytes, packets) });
        carried.last = (bytes, packets);
        let reached = |limit: Option<u64>, last: u64, base: u64| limit.is_some_and(|n| last.saturating_sub(base) >= n);
        reached(wishes.reneg_bytes, bytes, carried.base.0) || reached(wishes.reneg_pkts, packets, carried.base.1)
    }

    /// Takes the new key in; returns the moment from which it seals.
    fn finish(&mut self, done: &Negotiation, times: (Duration, Duration), now: Moment) -> Moment {
        let (hand_window, tran_window) = times;
        // A side that renegotiates often forgets keys early: the old one is used for half of the last interval at most.
        let half = done.began.since(self.since) / 2;
        let most = if self.urgent { limits::WORN_KEY_SEALS.min(hand_window) } else { hand_window };
        // What is still on its way when the old key ends is lost.
        let patience = most.min(half).min(tran_window / 2);
        self.older = Some((self.newest, done.began + tran_window));
        self.newest = done.channel.key_id();
        self.since = now;
        self.urgent = false;
        if let Some(carried) = &mut self.carried {
            carried.base = carried.last;
        }
        now + patience.max(limits::OLD_KEY_SEALS)
    }
}

impl Session {
    /// Asks for a new data key now, as the lane does whose key is worn. Nothing happens while the tunnel is not up or a
    /// new key is being negotiated. [`Event::Keys`] follows; where the negotiation is not over within `hand-window`,
    /// [`Event::Ended`].
    pub fn renegotiate(&mut self, now: Moment) {
        if !self.may_renew() {
            return;
        }
        if let Phase::Up(up) = &mut self.phase {
            up.renewals.urgent = true;
        }
        self.begin_renewal(now);
        self.flush(now);
    }

    /// Tells how many bytes and packets the tunnel has carried in both directions, counted from anywhere: only growth
    /// from one call to the next means something. `reneg-bytes` and `reneg-pkts` follow from it.
    pub fn carried(&mut self, bytes: u64, packets: u64, now: Moment) {
        let Phase::Up(up) = &mut self.phase else { return };
        if up.renewals.note(bytes, packets, &self.config.renewal) && self.may_renew() {
            self.begin_renewal(now);
            self.flush(now);
        }
    }

    /// The tunnel is up and no negotiation is on.
    pub(super) const fn may_renew(&self) -> bool {
        match self.current.step {
            Step::Done { .. } | Step::Broken => matches!(self.phase, Phase::Up(_)),
            Step::Reset | Step::Tls | Step::KeyExchange { .. } => false,
        }
    }

    /// The server begins a renegotiation. It may not do so as often as it likes: what comes too soon is answered later.
    pub(super) fn answer_renewal(&mut self, now: Moment) {
        let Phase::Up(up) = &mut self.phase else { return };
        let earliest = up.renewals.asked.map(|asked| asked + limits::SOFT_RESET_INTERVAL);
        up.renewals.answer_at = Some(earliest.map_or(now, |earliest| earliest.max(now)));
        self.check_renewal(now);
    }

    /// Opens the channel of the next key. The key before the present one ends: servers forget it now, too.
    fn begin_renewal(&mut self, now: Moment) {
        let tls = match self.connector.connect(self.wall(now)) {
            Ok(tls) => tls,
            Err(error) => return self.end(EndReason::Tls(error), now),
        };
        let Phase::Up(up) = &mut self.phase else { return };
        let answers = up.renewals.answer_at.take().is_some();
        up.renewals.asked = if answers { Some(now) } else { up.renewals.asked };
        self.events.extend(up.renewals.older.take().map(|(key_id, _)| Event::Retire(key_id)));
        let source = random_source(&mut self.random);
        let deadline = now + self.config.hand_window.min(limits::HANDSHAKE);
        let mut next = Negotiation::new(self.current.channel.next(tls), source, now, deadline);
        next.channel.send_reset(Opcode::SoftResetV1, now);
        if answers {
            next.channel.take_reset();
            next.begin_tls();
        }
        let last = std::mem::replace(&mut self.current, next);
        // A server that has begun says nothing more on the last channel, nor does it listen there.
        self.previous = (!answers).then_some(last);
    }

    /// Both key exchange messages are through: the key is there. The server's push does not come again.
    pub(super) fn finish_renewal(&mut self, server: &ServerMessage, now: Moment) {
        let Phase::Up(up) = &self.phase else { return };
        let agreed = up.agreed;
        let block = match self.key_block(agreed.derivation, server) {
            Ok(block) => block,
            Err(error) => return self.end(EndReason::Tls(error), now),
        };
        let key_id = self.current.channel.key_id();
        let mut keys = DataKeys::new(&block, Side::Client, agreed.cipher, key_id, agreed.peer_id);
        let times = (self.config.hand_window.min(limits::HANDSHAKE), self.config.renewal.tran_window);
        if let Phase::Up(up) = &mut self.phase {
            keys.seal_after = up.renewals.finish(&self.current, times, now);
        }
        self.events.push_back(Event::Keys(Box::new(keys)));
        self.retire(now);
    }

    /// Forgets the key before, once its time is over: where a negotiation takes long that may be at its very end.
    fn retire(&mut self, now: Moment) {
        let Phase::Up(up) = &mut self.phase else { return };
        if let Some((key_id, _)) = up.renewals.older.take_if(|(_, end)| *end <= now) {
            self.events.push_back(Event::Retire(key_id));
        }
    }

    /// What a tunnel that is up waits for on account of its keys.
    pub(super) fn renewal_timeouts(&self) -> impl Iterator<Item = (Moment, Timer)> {
        let renewals = match &self.phase {
            Phase::Up(up) => Some(up.renewals),
            Phase::Connecting | Phase::Push(_) | Phase::Closing { .. } | Phase::Ended => None,
        };
        let next = renewals.and_then(|renewals| {
            if self.may_renew() {
                renewals.due(&self.config.renewal).map(|due| (due, Timer::Renewal))
            } else {
                Some((self.current.deadline, Timer::Handshake))
            }
        });
        let retire = renewals.and_then(|renewals| renewals.older).map(|(_, end)| (end, Timer::Retire));
        next.into_iter().chain(retire)
    }

    /// Does what is due on account of the keys of a tunnel that is up.
    pub(super) fn check_renewal(&mut self, now: Moment) {
        self.retire(now);
        let may_renew = self.may_renew();
        let Phase::Up(up) = &self.phase else { return };
        let due = up.renewals.due(&self.config.renewal).is_some_and(|due| due <= now);
        if may_renew && due {
            self.begin_renewal(now);
        } else if !may_renew && self.current.deadline <= now {
            self.end(EndReason::HandshakeTimeout(self.current.stage()), now);
        }
    }

    /// The calendar time by this session's own counting.
    pub(super) fn wall(&self, now: Moment) -> WallTime {
        let (wall, began) = self.epoch;
        WallTime::from_unix(wall.unix().saturating_add(now.since(began).as_secs()))
    }
}
