//! Nothing of one TLS session is in another: neither in the next session of the same tunnel nor in a renegotiation. Every
//! byte that TLS sends carries the number of its session, and the other end looks at each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Wrap;
use mrvpn_proto::peer::{ScriptedTls, TestServer, TestServerConfig};
use mrvpn_proto::{Session, Stage, Tls, TlsConnector, TlsError};

use crate::pair::{Link, Pair, WALL, config};

/// Scripted TLS, each byte behind the number of the session.
struct Tagged {
    inner: ScriptedTls,
    tag: u8,
    odd: Option<u8>,
}

impl Tagged {
    fn new(inner: ScriptedTls, tag: u8) -> Self {
        Self { inner, tag, odd: None }
    }
}

impl Tls for Tagged {
    fn read_tls(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        let mut all: Vec<u8> = self.odd.take().into_iter().chain(bytes.iter().copied()).collect();
        if !all.len().is_multiple_of(2) {
            self.odd = all.pop();
        }
        for pair in all.chunks(2) {
            assert_eq!(pair[0], self.tag, "a byte of another session");
        }
        let plain: Vec<u8> = all.chunks(2).map(|pair| pair[1]).collect();
        self.inner.read_tls(&plain)
    }

    fn write_tls(&mut self, into: &mut Vec<u8>) {
        let mut plain = Vec::new();
        self.inner.write_tls(&mut plain);
        into.extend(plain.into_iter().flat_map(|byte| [self.tag, byte]));
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn write_plaintext(&mut self, one_record: &[u8]) -> Result<(), TlsError> {
        self.inner.write_plaintext(one_record)
    }

    fn read_plaintext(&mut self) -> Option<Vec<u8>> {
        self.inner.read_plaintext()
    }

    fn export(&self, label: &str, into: &mut [u8]) -> Result<(), TlsError> {
        self.inner.export(label, into)
    }
}

/// Numbers the sessions of the clients; a server's has the number of the client's that it belongs to, the last one.
#[derive(Default)]
struct Numbers {
    client: AtomicU8,
    server: AtomicU8,
}

impl TlsConnector for Numbers {
    fn connect(&self, _wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        let tag = self.client.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Tagged::new(ScriptedTls::client(u64::from(tag)), tag)))
    }
}

// proves: T-24
#[test]
fn no_byte_of_a_session_is_in_another_wherever_the_first_was_cut_off() {
    let numbers = Arc::new(Numbers::default());
    let mut ups = 0;
    for cut in 0..40 {
        let connector: Arc<dyn TlsConnector> = Arc::<Numbers>::clone(&numbers);
        let session = Session::new(config(Wrap::None), connector, [cut; 32], WALL, Moment::default()).unwrap();
        let of_server = Arc::clone(&numbers);
        let accept = Box::new(move || {
            of_server.server.fetch_add(1, Ordering::Relaxed);
            let tag = of_server.client.load(Ordering::Relaxed) - 1;
            Box::new(Tagged::new(ScriptedTls::server(u64::from(tag)), tag)) as Box<dyn Tls>
        });
        let server = TestServer::new(TestServerConfig::new(Wrap::None), accept, WALL);
        let mut pair = Pair::of(session, server, Link::default(), 1);
        // Each one is given up 5 ms later than the one before; the last ones come up and renew their keys.
        pair.run_until(Duration::from_millis(11 + 5 * u64::from(cut)), |_| false);
        if pair.client.stage() == Stage::Up {
            ups += 1;
            pair.run_until(Duration::from_millis(50), |_| false);
            pair.client.renegotiate(pair.now);
            pair.run_until(Duration::from_millis(11 + u64::from(cut)), |_| false);
        }
    }
    assert!(ups > 10, "{ups}");
    // One that was given up before its second packet never reached a server's TLS.
    let (client, server) = (numbers.client.load(Ordering::Relaxed), numbers.server.load(Ordering::Relaxed));
    assert!(server > 40 && client - server < 10, "{client} {server}");
}
