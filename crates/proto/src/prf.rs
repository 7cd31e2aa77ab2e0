//! The pseudo-random function of TLS 1.0, by which servers without exported keys derive data keys (openvpn-protocol.md
//! section 5.4; RFC 2246 section 5; OpenVPN `ssl.c`, `openvpn_PRF`). MD5 and SHA-1 stand here as RFC 2246 has them, xored:
//! nothing else in this crate uses MD5.

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

/// Fills `out` from `secret` and `seed` (the label is its beginning).
pub fn tls1_prf(secret: &[u8], seed: &[u8], out: &mut [u8]) {
    // The halves share the middle byte of an odd length.
    let half = secret.len().div_ceil(2);
    let (first, last) = (secret.get(..half), secret.get(secret.len().saturating_sub(half)..));
    let (first, last) = (first.unwrap_or(secret), last.unwrap_or(secret));
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, last);
    out.fill(0);
    mix(|parts| hmac_md5(first, parts).to_vec(), seed, out);
    mix(|parts| hmac_sha1(&key, parts), seed, out);
}

/// Xors the stream `HMAC(A(1) + seed), HMAC(A(2) + seed), ...` into `out`, with `A(0) = seed` and `A(i) = HMAC(A(i-1))`.
fn mix(hmac: impl Fn(&[&[u8]]) -> Vec<u8>, seed: &[u8], out: &mut [u8]) {
    let mut link = Zeroizing::new(hmac(&[seed]));
    for chunk in out.chunks_mut(link.len()) {
        let block = Zeroizing::new(hmac(&[&link, seed]));
        for (byte, mask) in chunk.iter_mut().zip(block.iter()) {
            *byte ^= mask;
        }
        link = Zeroizing::new(hmac(&[&link]));
    }
}

fn hmac_sha1(key: &hmac::Key, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().to_vec()
}

/// HMAC (RFC 2104) over MD5, which aws-lc-rs does not have.
fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    const BLOCK: usize = 64;
    let mut pad = Zeroizing::new([0_u8; BLOCK]);
    if key.len() > BLOCK {
        let short: [u8; 16] = Md5::digest(key).into();
        pad.iter_mut().zip(short).for_each(|(byte, key)| *byte = key);
    } else {
        pad.iter_mut().zip(key).for_each(|(byte, key)| *byte = *key);
    }
    let masked = |mask: u8| Zeroizing::new(pad.map(|byte| byte ^ mask));
    let mut inner = Md5::new();
    inner.update(masked(0x36).as_slice());
    parts.iter().for_each(|part| inner.update(part));
    let inner: [u8; 16] = inner.finalize().into();
    let mut outer = Md5::new();
    outer.update(masked(0x5c).as_slice());
    outer.update(inner);
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn hmac_md5_is_that_of_rfc_2202() {
        assert_eq!(hex(&hmac_md5(&[0x0b; 16], &[b"Hi There"])), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(
            hex(&hmac_md5(&[0xaa; 80], &[b"Test Using Larger Than Block-Size Key - Hash Key First"])),
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"
        );
    }
}
