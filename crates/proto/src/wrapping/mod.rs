//! How control packets are protected on the wire (openvpn-protocol.md section 2): not at all, by tls-auth, by
//! tls-crypt, by tls-crypt-v2. One [`Wrapper`] a session and side; it numbers what goes out and judges replays of what comes in. Data
//! packets never pass here.

mod none;
mod tls_auth;
mod tls_crypt;
mod tls_crypt_v2;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Wrap;

use crate::control::{ControlHead, ControlPacket};
use crate::dropped::Dropped;
use crate::ids::{MessageId, PacketId};
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::replay::{Stamp, StampWindow};
use tls_auth::TlsAuth;
use tls_crypt::TlsCrypt;
use tls_crypt_v2::{EarlyNegotiation, TlsCryptV2};

/// Which side of the connection packets are wrapped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// The wrapping of one session as one side sees it.
#[derive(Clone, Debug)]
pub struct Wrapper {
    kind: Kind,
    sent: Stamp,
    received: StampWindow,
}

#[derive(Clone, Debug)]
enum Kind {
    None,
    TlsAuth(Box<TlsAuth>),
    TlsCrypt(TlsCrypt),
    TlsCryptV2(TlsCryptV2),
}

/// A packet that authenticated and is no replay; what it says is not judged yet.
#[derive(Debug)]
pub struct Unwrapped {
    head: ControlHead,
    body: Vec<u8>,
    stamp: Option<Stamp>,
}

impl Unwrapped {
    /// Parses the packet.
    ///
    /// # Errors
    /// As [`ControlPacket::parse`].
    pub fn packet(&self) -> Result<ControlPacket<'_>, Dropped> {
        ControlPacket::parse(self.head, &self.body)
    }

    /// Opcode, key id and session id.
    #[must_use]
    pub const fn head(&self) -> ControlHead {
        self.head
    }

    /// The replay fields, where the wrapping has any.
    #[must_use]
    pub const fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }
}

impl Wrapper {
    /// The wrapping `wrap` of a profile, for `side`. `wrap` is always the client's view: its key direction is the
    /// client's. `wall` is the time that goes into every packet of the session (section 2.4).
    #[must_use]
    pub fn new(wrap: &Wrap, side: Side, wall: WallTime) -> Self {
        let kind = match wrap {
            Wrap::None => Kind::None,
            Wrap::TlsAuth { key, direction, digest } => {
                Kind::TlsAuth(Box::new(TlsAuth::new(key, *direction, *digest, side)))
            }
            Wrap::TlsCrypt { key } => Kind::TlsCrypt(TlsCrypt::new(key, side)),
            Wrap::TlsCryptV2 { key, wrapped } => Kind::TlsCryptV2(TlsCryptV2::new(key, wrapped, side)),
        };
        let id = match &kind {
            Kind::TlsCryptV2(crypt) => crypt.first_packet_id(),
            Kind::None | Kind::TlsAuth(_) | Kind::TlsCrypt(_) => PacketId::FIRST,
        };
        // The field has 32 bits on the wire until 2106; only equality and order within a session mean anything.
        let time = u32::try_from(wall.unix() & u64::from(u32::MAX)).unwrap_or(0);
        Self { kind, sent: Stamp { id, time }, received: StampWindow::default() }
    }

    /// The same behind one datagram that another wrapper of the same second sent: a server's answer to a reset (section
    /// 2.4).
    #[cfg(any(test, feature = "server"))]
    #[must_use]
    pub fn after_first(mut self) -> Self {
        self.next_stamp();
        self
    }

    /// Whether packets travel bare.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// Bytes that wrapping adds to a control packet.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        match &self.kind {
            Kind::None => 0,
            Kind::TlsAuth(auth) => auth.overhead(),
            Kind::TlsCrypt(_) | Kind::TlsCryptV2(_) => TlsCrypt::OVERHEAD,
        }
    }

    /// Bytes that a packet of `opcode` has behind it, besides [`Self::overhead`]: the sealed client key of tls-crypt-v2.
    #[must_use]
    pub fn trailer(&self, opcode: Opcode) -> usize {
        match &self.kind {
            Kind::TlsCryptV2(crypt) => crypt.trailer(opcode),
            Kind::None | Kind::TlsAuth(_) | Kind::TlsCrypt(_) => 0,
        }
    }

    /// The opcode by which a client begins a session.
    #[must_use]
    pub const fn client_reset(&self) -> Opcode {
        match &self.kind {
            Kind::TlsCryptV2(_) => Opcode::HardResetClientV3,
            Kind::None | Kind::TlsAuth(_) | Kind::TlsCrypt(_) => Opcode::HardResetClientV2,
        }
    }

    /// The opcode of the message `id` that carries TLS, in the TLS session `key_id`.
    #[must_use]
    pub fn carrier(&self, key_id: KeyId, id: MessageId) -> Opcode {
        match &self.kind {
            Kind::TlsCryptV2(crypt) => crypt.carrier(key_id, id),
            Kind::None | Kind::TlsAuth(_) | Kind::TlsCrypt(_) => Opcode::ControlV1,
        }
    }

    /// Judges the payload of a server's reset (section 3.6); only with tls-crypt-v2 it means anything.
    ///
    /// # Errors
    /// [`Dropped::Reset`]: it is cut off.
    pub fn judge_reset(&self, payload: &[u8]) -> Result<(), Dropped> {
        match &self.kind {
            Kind::TlsCryptV2(_) => EarlyNegotiation::parse(payload).map(drop),
            Kind::None | Kind::TlsAuth(_) | Kind::TlsCrypt(_) => Ok(()),
        }
    }

    /// Heeds the payload of a server's reset that [`Self::judge_reset`] found good.
    pub fn take_reset(&mut self, payload: &[u8]) {
        match (&mut self.kind, EarlyNegotiation::parse(payload)) {
            (Kind::TlsCryptV2(crypt), Ok(early)) => crypt.heed(early),
            (Kind::None | Kind::TlsAuth(_) | Kind::TlsCrypt(_) | Kind::TlsCryptV2(_), _) => {}
        }
    }

    /// The datagram of `packet`, under the next packet id: a message that is sent again is wrapped anew.
    pub fn wrap(&mut self, packet: &ControlPacket<'_>) -> Vec<u8> {
        let mut body = Vec::with_capacity(limits::CONTROL_IP_PACKET);
        packet.emit_body(&mut body);
        let stamp = self.next_stamp();
        self.wrap_body(packet.head, body, stamp)
    }

    /// The datagram of any bytes behind a head, for whoever forges; under the next packet id, or as `stamp` says.
    #[cfg(any(test, feature = "test-peer"))]
    #[must_use]
    pub fn wrap_any(&mut self, head: ControlHead, body: Vec<u8>, stamp: Option<Stamp>) -> Vec<u8> {
        let stamp = stamp.unwrap_or_else(|| self.next_stamp());
        self.wrap_body(head, body, stamp)
    }

    fn wrap_body(&self, head: ControlHead, body: Vec<u8>, stamp: Stamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(limits::CONTROL_IP_PACKET);
        match &self.kind {
            Kind::None => none::wrap(head, &body, &mut out),
            Kind::TlsAuth(auth) => auth.wrap(head, &body, stamp, &mut out),
            Kind::TlsCrypt(crypt) => crypt.wrap(head, body, stamp, &mut out),
            Kind::TlsCryptV2(crypt) => crypt.wrap(head, body, stamp, &mut out),
        }
        out
    }

    /// Authenticates and opens `datagram`. Changes nothing: whoever finds the packet to fit calls [`Self::accept`].
    ///
    /// # Errors
    /// [`Dropped::Long`], [`Dropped::Short`], [`Dropped::Data`], [`Dropped::Opcode`], [`Dropped::Forged`],
    /// [`Dropped::Replayed`].
    pub fn unwrap(&self, datagram: &[u8], now: Moment) -> Result<Unwrapped, Dropped> {
        if datagram.len() > limits::CONTROL_DATAGRAM {
            return Err(Dropped::Long);
        }
        let (head, rest) = ControlHead::parse(datagram)?;
        let (body, stamp) = match &self.kind {
            Kind::None => (rest.to_vec(), None),
            Kind::TlsAuth(auth) => auth.unwrap(head, rest).map(|(body, stamp)| (body, Some(stamp)))?,
            Kind::TlsCrypt(crypt) => crypt.unwrap(head, rest).map(|(body, stamp)| (body, Some(stamp)))?,
            Kind::TlsCryptV2(crypt) => crypt.unwrap(head, rest).map(|(body, stamp)| (body, Some(stamp)))?,
        };
        if stamp.is_some_and(|stamp| !self.received.would_accept(stamp, now)) {
            return Err(Dropped::Replayed);
        }
        Ok(Unwrapped { head, body, stamp })
    }

    /// Takes the packet's id out of the window, so that it comes through once.
    pub fn accept(&mut self, unwrapped: &Unwrapped, now: Moment) {
        if let Some(stamp) = unwrapped.stamp {
            self.received.accept(stamp, now);
        }
    }

    /// The stamp of the next datagram. At the end of the ids time moves on and they start again (section 2.4).
    fn next_stamp(&mut self) -> Stamp {
        let stamp = self.sent;
        self.sent = match stamp.id.get().checked_add(1).and_then(PacketId::new) {
            Some(id) => Stamp { id, time: stamp.time },
            None => Stamp { id: PacketId::FIRST, time: stamp.time.wrapping_add(1) },
        };
        stamp
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::{Digest, KeyDirection, StaticKey};

    use super::*;
    use crate::control::Acks;
    use crate::ids::SessionId;

    fn wraps() -> [Wrap; 4] {
        let key = StaticKey::from_bytes(vec![0x5a; 256]).unwrap();
        [
            Wrap::None,
            Wrap::TlsAuth { key: key.clone(), direction: KeyDirection::Both, digest: Digest::Sha256 },
            Wrap::TlsCrypt { key: key.clone() },
            Wrap::TlsCryptV2 { key, wrapped: vec![0x5a; 300] },
        ]
    }

    fn client(wrap: &Wrap) -> Wrapper {
        Wrapper::new(wrap, Side::Client, WallTime::from_unix(1_780_000_000))
    }

    #[test]
    fn packets_travel_bare_without_a_wrapping_alone() {
        let bare: Vec<bool> = wraps().iter().map(|wrap| client(wrap).is_none()).collect();
        assert_eq!(bare, [true, false, false, false]);
    }

    // proves: I-11
    #[test]
    fn a_wrapping_is_shown_without_its_keys() {
        let kinds = ["None", "TlsAuth(TlsAuth(SHA256))", "TlsCrypt(TlsCrypt)", "TlsCryptV2(TlsCryptV2(resend: false))"];
        for (wrap, kind) in wraps().iter().zip(kinds) {
            let shown = format!("{:?}", client(wrap));
            assert!(shown.starts_with(&format!("Wrapper {{ kind: {kind}, ")), "{shown}");
            assert!(!shown.contains("90, 90") && !shown.to_lowercase().contains("5a5a"), "{shown}");
        }
    }

    #[test]
    fn a_packet_grows_by_the_overhead_and_the_trailer_that_are_told() {
        for wrap in wraps() {
            for opcode in [Opcode::ControlV1, Opcode::HardResetClientV3] {
                let head = ControlHead { opcode, key_id: KeyId::FIRST, session: SessionId::new([7; 8]).unwrap() };
                let packet = ControlPacket { head, acks: Acks::NONE, message: Some(MessageId::RESET), payload: b"tls" };
                let mut wrapper = client(&wrap);
                let grown = wrapper.overhead() + wrapper.trailer(opcode);
                assert_eq!(wrapper.wrap(&packet).len(), packet.bare_size() + grown, "{wrap:?} {opcode:?}");
            }
        }
    }

    #[test]
    fn a_forger_makes_the_same_packet_or_one_of_another_time() {
        let head =
            ControlHead { opcode: Opcode::ControlV1, key_id: KeyId::FIRST, session: SessionId::new([7; 8]).unwrap() };
        let packet = ControlPacket { head, acks: Acks::NONE, message: Some(MessageId::RESET), payload: b"tls" };
        let mut body = Vec::new();
        packet.emit_body(&mut body);
        for wrap in wraps() {
            let made = client(&wrap).wrap_any(head, body.clone(), None);
            assert_eq!(made, client(&wrap).wrap(&packet));
            let stamp = Stamp { id: PacketId::FIRST, time: 7 };
            let forged = client(&wrap).wrap_any(head, body.clone(), Some(stamp));
            let server = Wrapper::new(&wrap, Side::Server, WallTime::from_unix(1_780_000_000));
            let got = server.unwrap(&forged, Moment::default()).unwrap();
            assert_eq!(got.stamp(), if client(&wrap).is_none() { None } else { Some(stamp) });
        }
    }
}
