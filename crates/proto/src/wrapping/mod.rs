//! How control packets are protected on the wire (openvpn-protocol.md section 2): not at all, by tls-auth, by
//! tls-crypt. One [`Wrapper`] a session and side; it numbers what goes out and judges replays of what comes in. Data
//! packets never pass here.

mod none;
mod tls_auth;
mod tls_crypt;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Wrap;

use crate::control::{ControlHead, ControlPacket};
use crate::dropped::Dropped;
use crate::ids::PacketId;
use crate::limits;
use crate::replay::{Stamp, StampWindow};
use tls_auth::TlsAuth;
use tls_crypt::TlsCrypt;

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
        };
        // The field has 32 bits on the wire until 2106; only equality and order within a session mean anything.
        let time = u32::try_from(wall.unix() & u64::from(u32::MAX)).unwrap_or(0);
        Self { kind, sent: Stamp { id: PacketId::FIRST, time }, received: StampWindow::default() }
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
            Kind::TlsCrypt(_) => TlsCrypt::OVERHEAD,
        }
    }

    /// The datagram of `packet`, under the next packet id: a message that is sent again is wrapped anew.
    pub fn wrap(&mut self, packet: &ControlPacket<'_>) -> Vec<u8> {
        let stamp = self.next_stamp();
        let mut out = Vec::with_capacity(limits::CONTROL_IP_PACKET);
        match &self.kind {
            Kind::None => none::wrap(packet, &mut out),
            Kind::TlsAuth(auth) => auth.wrap(packet, stamp, &mut out),
            Kind::TlsCrypt(crypt) => crypt.wrap(packet, stamp, &mut out),
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
