//! What client and server of a pair are like. What happens to them is `action.rs`.

use std::time::Duration;

use mrvpn_profile::{
    Cipher, Credentials, Digest, KeyDirection, PullOptions, Renewal, Secret, StaticKey, Transport, Wrap,
};
use mrvpn_proto::SessionConfig;
use mrvpn_proto::server::{ServerConfig, ServerKey, ServerTransport, ServerWrap};

use super::plant::Plant;
use crate::sim::net::Noise;
use crate::sim::seed::Dice;

/// A client, a server, and what is between them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// From this follows all that is random.
    pub seed: u64,
    /// What carries the tunnel.
    pub transport: Transport,
    /// How control packets are wrapped.
    pub wrapping: Wrapping,
    /// The client's data ciphers.
    pub client_ciphers: Vec<Cipher>,
    /// The server's data ciphers; one of them is the client's, too.
    pub server_ciphers: Vec<Cipher>,
    /// Whether keys come from the TLS exporter.
    pub exporter: bool,
    /// Whether renegotiations have dynamic tls-crypt.
    pub dynamic_wrap: bool,
    /// Whether the server pushes without being asked.
    pub unasked_push: bool,
    /// The pushed `ping`; `ping-restart` is four times that on the client's side and eight times on the server's.
    pub ping: Duration,
    /// `hand-window` of both sides.
    pub hand_window: Duration,
    /// `reneg-sec` of the client.
    pub client_renewal: Option<Duration>,
    /// `reneg-sec` of the server.
    pub server_renewal: Option<Duration>,
    /// `reneg-pkts` of the client.
    pub renewal_packets: Option<u64>,
    /// `tran-window` of both sides.
    pub tran_window: Duration,
    /// Whether the client sends user and password, and wants to tell when it leaves.
    pub login: bool,
    /// Routes that are pushed: a long push is several messages.
    pub routes: u8,
    /// Next packet id and spent blocks with which the client's first key of each session begins: one that has been used
    /// long.
    pub age: Option<(u32, u64)>,
    /// A packet goes each way so often.
    pub probe_every: Duration,
    /// The link at the beginning.
    pub noise: Noise,
    /// How long faults happen.
    pub length: Duration,
    /// A fault made on purpose.
    pub plant: Option<Plant>,
}

/// How control packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrapping {
    /// Not at all.
    None,
    /// `tls-auth` with `key-direction 1`.
    TlsAuth,
    /// `tls-auth` without a direction.
    TlsAuthBoth,
    /// `tls-crypt`.
    TlsCrypt,
    /// `tls-crypt-v2`.
    TlsCryptV2,
}

impl Wrapping {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::TlsAuth, Self::TlsAuthBoth, Self::TlsCrypt, Self::TlsCryptV2];
}

/// How long a connection of TCP is waited for.
pub(super) const DIAL: Duration = Duration::from_secs(10);

const SECOND: Duration = Duration::from_secs(1);

impl Plan {
    /// Anything that works.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::of(seed, "plan");
        let mut ciphers = Cipher::DEFAULT.to_vec();
        let turn = dice.place(ciphers.len());
        ciphers.rotate_left(turn);
        let renewals = [None, Some(4 * SECOND), Some(11 * SECOND), Some(60 * SECOND), Some(3_600 * SECOND)];
        Self {
            seed,
            transport: if Dice::of(seed, "transport").one_in(4) { Transport::Tcp } else { Transport::Udp },
            wrapping: *dice.pick(&Wrapping::ALL),
            client_ciphers: ciphers.clone(),
            server_ciphers: if dice.one_in(2) { ciphers } else { Cipher::DEFAULT.to_vec() },
            exporter: !dice.one_in(3),
            dynamic_wrap: dice.one_in(2),
            unasked_push: !dice.one_in(3),
            ping: *dice.pick(&[1, 2, 5, 10]) * SECOND,
            hand_window: *dice.pick(&[15, 30, 60]) * SECOND,
            client_renewal: *dice.pick(&renewals),
            server_renewal: *dice.pick(&renewals),
            renewal_packets: dice.one_in(8).then_some(300),
            tran_window: *dice.pick(&[10, 60, 3_600]) * SECOND,
            login: dice.one_in(2),
            routes: if dice.one_in(8) { 200 } else { 0 },
            age: dice.one_in(16).then_some((0xff00_0000 - 40, 0)),
            probe_every: Duration::from_millis(*dice.pick(&[20, 150, 700, 2_500])),
            noise: Noise::random(&mut dice),
            length: length(&mut dice),
            plant: None,
        }
    }

    /// A common pair on a link without noise, for a minute.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        Self {
            seed,
            transport: Transport::Udp,
            wrapping: Wrapping::TlsCrypt,
            client_ciphers: Cipher::DEFAULT.to_vec(),
            server_ciphers: Cipher::DEFAULT.to_vec(),
            exporter: true,
            dynamic_wrap: false,
            unasked_push: true,
            ping: 10 * SECOND,
            hand_window: 60 * SECOND,
            client_renewal: Some(3_600 * SECOND),
            server_renewal: None,
            renewal_packets: None,
            tran_window: 3_600 * SECOND,
            login: true,
            routes: 0,
            age: None,
            probe_every: SECOND,
            noise: Noise::NONE,
            length: 60 * SECOND,
            plant: None,
        }
    }

    /// `ping-restart` of the client.
    #[must_use]
    pub fn client_patience(&self) -> Duration {
        4 * self.ping
    }

    /// `ping-restart` of the server.
    #[must_use]
    pub fn server_patience(&self) -> Duration {
        8 * self.ping
    }

    /// How long it may take from the end of all faults until the tunnel is up: a negotiation that cannot end is given up
    /// by one side, its silence by the other, and then the client tries again. A connection of TCP may have to be given up
    /// first.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let dial = match self.transport {
            Transport::Udp => Duration::ZERO,
            Transport::Tcp => DIAL,
        };
        self.hand_window + self.client_patience() + dial + 10 * SECOND
    }

    /// How long the tunnel then has to lose nothing. Afterwards all older sessions are forgotten on both sides.
    #[must_use]
    pub fn calm(&self) -> Duration {
        self.server_patience().max(self.hand_window) + 10 * SECOND
    }

    /// What is told to the client's session.
    pub(super) fn session(&self) -> SessionConfig {
        SessionConfig {
            wrap: self.wrap(),
            transport: self.transport,
            ipv6_outside: false,
            credentials: self.login.then(credentials),
            token: None,
            ciphers: self.client_ciphers.clone(),
            fallback: None,
            digest: Digest::Sha1,
            pull: PullOptions::default(),
            hand_window: self.hand_window,
            renewal: Renewal {
                reneg_sec: self.client_renewal,
                reneg_bytes: None,
                reneg_pkts: self.renewal_packets,
                tran_window: self.tran_window,
            },
            explicit_exit_notify: self.login.then_some(1),
            version: String::from("0.1.0"),
        }
    }

    /// What is told to the server.
    pub(super) fn server(&self) -> ServerConfig {
        let key = static_key();
        let wrap = match self.wrapping {
            Wrapping::None => ServerWrap::None,
            Wrapping::TlsAuth => ServerWrap::TlsAuth { key, direction: KeyDirection::Inverse, digest: Digest::Sha256 },
            Wrapping::TlsAuthBoth => ServerWrap::TlsAuth { key, direction: KeyDirection::Both, digest: Digest::Sha1 },
            Wrapping::TlsCrypt => ServerWrap::TlsCrypt { key },
            Wrapping::TlsCryptV2 => ServerWrap::TlsCryptV2 { server_key: server_key() },
        };
        let transport = match self.transport {
            Transport::Udp => ServerTransport::Datagram,
            Transport::Tcp => ServerTransport::Stream,
        };
        ServerConfig {
            ciphers: self.server_ciphers.clone(),
            exporter: self.exporter,
            dynamic_wrap: self.dynamic_wrap,
            unasked_push: self.unasked_push,
            handshake: self.hand_window,
            renewal: self.server_renewal,
            tran_window: self.tran_window,
            ping_restart: Some(self.server_patience()),
            ..ServerConfig::new(wrap, transport)
        }
    }

    /// The wrapping in the words of the client's profile.
    pub(super) fn wrap(&self) -> Wrap {
        let key = static_key();
        match self.wrapping {
            Wrapping::None => Wrap::None,
            Wrapping::TlsAuth => Wrap::TlsAuth { key, direction: KeyDirection::Inverse, digest: Digest::Sha256 },
            Wrapping::TlsAuthBoth => Wrap::TlsAuth { key, direction: KeyDirection::Both, digest: Digest::Sha1 },
            Wrapping::TlsCrypt => Wrap::TlsCrypt { key },
            Wrapping::TlsCryptV2 => {
                let wrapped = server_key().seal(&key, &[0]);
                Wrap::TlsCryptV2 { key, wrapped }
            }
        }
    }
}

/// Most runs are some minutes long, few an hour.
fn length(dice: &mut Dice) -> Duration {
    let minutes = if dice.one_in(100) { 60 } else { *dice.pick(&[1, 2, 3, 6]) };
    dice.within(&(10 * SECOND..minutes * 60 * SECOND))
}

fn credentials() -> Credentials {
    Credentials { user: String::from("anna"), password: Secret::new(String::from("simulated")) }
}

fn static_key() -> StaticKey {
    StaticKey::from_bytes((0..=u8::MAX).collect()).expect("a static key has 256 bytes")
}

fn server_key() -> ServerKey {
    ServerKey::from_bytes(&[0x5a; ServerKey::LEN])
}
