//! Which wrapper a packet has: the profile's for the first key id of a connection and, where the server wants dynamic
//! tls-crypt, another for all later ones (openvpn-protocol.md section 2.6; OpenVPN `tls_crypt.c`,
//! `tls_session_generate_dynamic_tls_crypt_key`). How each of them works is `wrapping/`.
//!
//! The later wrapper's key comes from the first TLS session, so that soft resets and renegotiations are authentic even
//! where the profile has no wrapping at all.

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::static_key::KeySlot;
use mrvpn_profile::{StaticKey, Wrap};
use zeroize::Zeroizing;

use crate::dropped::Dropped;
use crate::opcode::KeyId;
use crate::tls::{Tls, TlsError};
use crate::wrapping::{Side, Unwrapped, Wrapper};

/// The wrappers of one connection as one side sees them.
#[derive(Clone, Debug)]
pub(crate) struct Wrappers {
    first: Wrapper,
    later: Option<Wrapper>,
}

/// The label of the exporter (`ssl.h`, EXPORT_DYNAMIC_TLS_CRYPT_LABEL).
const LABEL: &str = "EXPORTER-OpenVPN-dynamic-tls-crypt";

impl Wrappers {
    /// One wrapper for all key ids.
    pub(crate) fn new(wrap: &Wrap, side: Side, wall: WallTime) -> Self {
        Self { first: Wrapper::new(wrap, side, wall), later: None }
    }

    /// The same, behind a server's answer to a reset that another one wrapped.
    #[cfg(any(test, feature = "server"))]
    pub(crate) fn after_first(self) -> Self {
        Self { first: self.first.after_first(), later: self.later }
    }

    /// From now on every key id but the first has dynamic tls-crypt: its key is exported by `tls`, the first TLS session,
    /// and mixed with the key of the profile's `wrap`.
    ///
    /// # Errors
    /// [`TlsError`] where TLS cannot export.
    pub(crate) fn make_dynamic(
        &mut self,
        tls: &dyn Tls,
        wrap: &Wrap,
        side: Side,
        wall: WallTime,
    ) -> Result<(), TlsError> {
        let mut bytes = Zeroizing::new(vec![0; StaticKey::LEN]);
        tls.export(LABEL, &mut bytes)?;
        if let Some(key) = key_of(wrap) {
            let slots = [KeySlot::First, KeySlot::Second];
            let own = slots.into_iter().flat_map(|slot| key.cipher(slot).iter().chain(key.hmac(slot)));
            bytes.iter_mut().zip(own).for_each(|(byte, own)| *byte ^= own);
        }
        let key = StaticKey::from_bytes(std::mem::take(&mut bytes)).expect("it is as long as a static key");
        self.later = Some(Wrapper::new(&Wrap::TlsCrypt { key }, side, wall));
        Ok(())
    }

    /// The wrapper of packets of this key id.
    pub(crate) fn of(&self, key_id: KeyId) -> &Wrapper {
        match &self.later {
            Some(later) if key_id != KeyId::FIRST => later,
            Some(_) | None => &self.first,
        }
    }

    /// As [`Self::of`].
    pub(crate) fn of_mut(&mut self, key_id: KeyId) -> &mut Wrapper {
        match &mut self.later {
            Some(later) if key_id != KeyId::FIRST => later,
            Some(_) | None => &mut self.first,
        }
    }

    /// Authenticates and opens a datagram, changing nothing.
    ///
    /// # Errors
    /// As [`Wrapper::unwrap`].
    pub(crate) fn unwrap(&self, datagram: &[u8], now: Moment) -> Result<Unwrapped, Dropped> {
        let first = datagram.first().ok_or(Dropped::Short)?;
        self.of(KeyId::of(*first)).unwrap(datagram, now)
    }

    /// Takes the packet's id out of the window of its wrapper.
    pub(crate) fn accept(&mut self, unwrapped: &Unwrapped, now: Moment) {
        self.of_mut(unwrapped.head().key_id).accept(unwrapped, now);
    }
}

/// The static key of a wrapping, whichever way it is used.
const fn key_of(wrap: &Wrap) -> Option<&StaticKey> {
    match wrap {
        Wrap::None => None,
        Wrap::TlsAuth { key, .. } | Wrap::TlsCrypt { key } | Wrap::TlsCryptV2 { key, .. } => Some(key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::control::{Acks, ControlHead, ControlPacket};
    use crate::ids::{MessageId, SessionId};
    use crate::opcode::Opcode;

    /// TLS that exports given bytes.
    struct Exporter(Vec<u8>);

    impl Tls for Exporter {
        fn read_tls(&mut self, _bytes: &[u8]) -> Result<(), TlsError> {
            Ok(())
        }

        fn write_tls(&mut self, _into: &mut Vec<u8>) {}

        fn is_handshaking(&self) -> bool {
            false
        }

        fn write_plaintext(&mut self, _one_record: &[u8]) -> Result<(), TlsError> {
            Ok(())
        }

        fn read_plaintext(&mut self) -> Option<Vec<u8>> {
            None
        }

        fn export(&self, label: &str, into: &mut [u8]) -> Result<(), TlsError> {
            assert_eq!(label, "EXPORTER-OpenVPN-dynamic-tls-crypt");
            into.copy_from_slice(&self.0);
            Ok(())
        }
    }

    fn bytes(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn later_key_ids_have_the_wrapping_that_openvpn_makes() {
        let all: Value = serde_json::from_str(include_str!("../tests/vectors/openvpn-vectors.json")).unwrap();
        let known = &all["dynamic_tls_crypt"]["vectors"][1];
        let wrap = Wrap::TlsCrypt { key: StaticKey::from_bytes(bytes(&all["static_key_file"]["key"])).unwrap() };
        let (wall, now) = (WallTime::from_unix(0x6500_0000), Moment::default());
        let mut wrappers = Wrappers::new(&wrap, Side::Client, wall);
        let exporter = Exporter(bytes(&known["ekm"]));
        wrappers.make_dynamic(&exporter, &wrap, Side::Client, wall).unwrap();
        let head = |number: u8| ControlHead {
            opcode: Opcode::SoftResetV1,
            key_id: KeyId::new(number).unwrap(),
            session: SessionId::new([1, 2, 3, 4, 5, 6, 7, 8]).unwrap(),
        };
        let packet = |number| ControlPacket {
            head: head(number),
            acks: Acks::NONE,
            message: Some(MessageId::RESET),
            payload: &[],
        };
        let reset = wrappers.of_mut(KeyId::FIRST.next()).wrap(&packet(1));
        assert_eq!(reset, bytes(&known["client_soft_reset_packet"]));
        let mut server = Wrappers::new(&wrap, Side::Server, wall);
        assert_eq!(server.unwrap(&reset, now).err(), Some(Dropped::Forged));
        server.make_dynamic(&exporter, &wrap, Side::Server, wall).unwrap();
        assert!(server.unwrap(&reset, now).is_ok());
        let first = wrappers.of_mut(KeyId::FIRST).wrap(&packet(0));
        assert!(server.unwrap(&first, now).is_ok(), "the first key id keeps its own");
    }
}
