//! Judges a server's certificate by OpenVPN's rules, not by the web's: no host name, the profile's own CA, usages as
//! the profile and OpenSSL demand (openvpn-protocol.md section 4.3; OpenVPN `ssl_verify.c`, `ssl_verify_openssl.c`;
//! OpenSSL `v3_purp.c`). Signatures and the path are webpki's; every refusal says what is wrong.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::time::Duration;

use aws_lc_rs::digest;
use mrvpn_clock::WallTime;
use mrvpn_profile::escape::escape;
use mrvpn_profile::{PeerName, TlsOptions};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use super::certificate::Facts;
use super::{TlsError, TlsSetupError};
use crate::limits;

/// What is asked of a server's certificate.
#[derive(Debug)]
pub(super) struct ServerPolicy {
    anchors: Vec<Anchor>,
    remote_cert_tls_server: bool,
    key_usage: Option<Vec<u8>>,
    extended_usage: Option<String>,
    ns_cert_type_server: bool,
    name: Option<PeerName>,
    fingerprints: Vec<[u8; 32]>,
    strict_server: bool,
}

/// A certificate of `ca`.
#[derive(Debug)]
struct Anchor {
    der: CertificateDer<'static>,
    trust: TrustAnchor<'static>,
    facts: Facts,
}

impl ServerPolicy {
    pub(super) fn new(options: &TlsOptions, strict_server: bool) -> Result<Self, TlsSetupError> {
        let numbered = options.ca.iter().enumerate();
        let anchors = numbered.map(|(place, der)| Anchor::new(place, der)).collect::<Result<Vec<_>, _>>()?;
        if anchors.is_empty() && options.peer_fingerprints.is_empty() {
            return Err(TlsSetupError::NoTrust);
        }
        Ok(Self {
            anchors,
            remote_cert_tls_server: options.remote_cert_tls_server,
            key_usage: options.remote_cert_ku.clone(),
            extended_usage: options.remote_cert_eku.clone(),
            ns_cert_type_server: options.ns_cert_type_server,
            name: options.verify_x509_name.clone(),
            fingerprints: options.peer_fingerprints.clone(),
            strict_server,
        })
    }

    /// Accepts or refuses a server's chain at the time `now`; returns what the user should know though it is accepted.
    pub(super) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Result<Vec<String>, TlsError> {
        if others.len() >= limits::CHAIN_DEPTH {
            return Err(TlsError::ChainTooLong);
        }
        let facts = Facts::parse(leaf)?;
        let chain = others.iter().map(|der| Facts::parse(der)).collect::<Result<Vec<_>, _>>()?;
        if facts.has_bad_name || chain.iter().any(|facts| facts.has_bad_name) {
            return Err(TlsError::BadName);
        }
        self.check_fingerprint(leaf)?;
        if facts.has_short_rsa_key {
            return Err(TlsError::BadChain(String::from("its RSA key is shorter than 2048 bits")));
        }
        if !self.anchors.is_empty() {
            self.check_chain(leaf, others, &facts, &chain, now)?;
        }
        check_openssl_purpose(&facts)?;
        self.check_usage(&facts)?;
        self.check_name(&facts)?;
        self.check_mark(&facts)
    }

    fn check_fingerprint(&self, leaf: &CertificateDer<'_>) -> Result<(), TlsError> {
        let found = digest::digest(&digest::SHA256, leaf);
        if self.fingerprints.is_empty() || self.fingerprints.iter().any(|listed| listed == found.as_ref()) {
            return Ok(());
        }
        let shown: Vec<String> = found.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Err(TlsError::WrongFingerprint(shown.join(":")))
    }

    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        facts: &Facts,
        chain: &[Facts],
        now: WallTime,
    ) -> Result<(), TlsError> {
        // A self-signed certificate that the profile itself lists needs no issuer.
        if self.anchors.iter().any(|anchor| anchor.der.as_ref() == leaf.as_ref()) {
            return facts.check_time(now);
        }
        let usable = |anchor: &&Anchor| anchor.facts.may_sign();
        let current: Vec<&Anchor> =
            self.anchors.iter().filter(usable).filter(|anchor| anchor.facts.check_time(now).is_ok()).collect();
        let Err(error) = verify_path(leaf, others, &current, now) else { return Ok(()) };
        // A chain that only an outdated CA would carry fails because of that CA's time, not as a stranger's.
        for outdated in self.anchors.iter().filter(usable) {
            if outdated.facts.check_time(now).is_err() && verify_path(leaf, others, &[outdated], now).is_ok() {
                return outdated.facts.check_time(now);
            }
        }
        // The signature of a short key is not even looked at, which would else be told as a wrong CA.
        let mut issuers = self.anchors.iter().map(|anchor| &anchor.facts).chain(chain);
        if issuers.any(|issuer| issuer.has_short_rsa_key) {
            return Err(TlsError::BadChain(String::from("the RSA key of its CA is shorter than 2048 bits")));
        }
        Err(explain(error, facts, chain, now))
    }

    fn check_usage(&self, facts: &Facts) -> Result<(), TlsError> {
        if self.remote_cert_tls_server && (facts.key_usage.is_none() || !facts.has_server_auth()) {
            return Err(TlsError::WrongPurpose(
                "`remote-cert-tls server` needs a key usage and the extended key usage of a server",
            ));
        }
        if let Some(masks) = &self.key_usage {
            let usage = facts.key_usage.ok_or(TlsError::WrongPurpose("`remote-cert-ku` needs a key usage"))?;
            if !masks.is_empty() && !masks.iter().any(|mask| usage & mask == *mask) {
                return Err(TlsError::WrongPurpose("its key usage has none of the values of `remote-cert-ku`"));
            }
        }
        if let Some(wanted) = &self.extended_usage
            && !facts.extended_usage.as_ref().is_some_and(|usages| usages.contains(wanted))
        {
            return Err(TlsError::WrongPurpose("its extended key usage is not that of `remote-cert-eku`"));
        }
        if self.ns_cert_type_server && !facts.is_marked_as_server() {
            return Err(TlsError::WrongPurpose("`ns-cert-type server` needs a certificate marked as a server's"));
        }
        Ok(())
    }

    fn check_name(&self, facts: &Facts) -> Result<(), TlsError> {
        let Some(name) = &self.name else { return Ok(()) };
        let common_name = facts.common_names.join(" and ");
        let (fits, expected, got) = match name {
            PeerName::Subject(expected) => (facts.subject == *expected, expected, &facts.subject),
            PeerName::CommonName(expected) => (facts.common_names == [expected.as_str()], expected, &common_name),
            PeerName::CommonNamePrefix(expected) => {
                let one = facts.common_names.len() == 1;
                (one && common_name.starts_with(expected.as_str()), expected, &common_name)
            }
        };
        if fits {
            return Ok(());
        }
        Err(TlsError::WrongName { expected: escape(expected.as_bytes()), got: escape(got.as_bytes()) })
    }

    /// `strict_server`, or the warning in its place.
    fn check_mark(&self, facts: &Facts) -> Result<Vec<String>, TlsError> {
        if facts.is_marked_as_server() {
            return Ok(Vec::new());
        }
        if self.strict_server {
            return Err(TlsError::NotMarkedAsServer);
        }
        // An extended usage that the profile asks for makes no difference here: what has one is marked, or refused.
        if self.name.is_some() || !self.fingerprints.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![String::from(
            "any certificate of this CA can pose as the server; add `remote-cert-tls server` or `verify-x509-name`",
        )])
    }
}

impl Anchor {
    fn new(place: usize, der: &[u8]) -> Result<Self, TlsSetupError> {
        let number = place.saturating_add(1);
        let bad = |why: String| TlsSetupError::BadCa { number, why };
        let facts = Facts::parse(der).map_err(|error| bad(error.to_string()))?;
        let der = CertificateDer::from(der.to_vec());
        let trust = anchor_from_trusted_cert(&der).map_err(|error| bad(error.to_string()))?.to_owned();
        Ok(Self { der, trust, facts })
    }
}

/// What OpenSSL refuses in any case: usages that exist and do not fit a server.
fn check_openssl_purpose(facts: &Facts) -> Result<(), TlsError> {
    /// digitalSignature, keyEncipherment, keyAgreement.
    const TLS_USAGES: u8 = 0x80 | 0x20 | 0x08;
    if facts.extended_usage.is_some() && !facts.has_server_auth() {
        return Err(TlsError::WrongPurpose("its extended key usage has no server authentication"));
    }
    if facts.key_usage.is_some_and(|usage| usage & TLS_USAGES == 0) {
        return Err(TlsError::WrongPurpose("its key usage fits no TLS server"));
    }
    if facts.netscape_type.is_some() && !facts.is_netscape_server() {
        return Err(TlsError::WrongPurpose("its Netscape certificate type is not a server's"));
    }
    Ok(())
}

/// Signatures, validity, CA flags, path lengths and extended usages along the path to one of `anchors`.
fn verify_path(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &[&Anchor],
    now: WallTime,
) -> Result<(), webpki::Error> {
    let trust: Vec<TrustAnchor<'_>> = anchors.iter().map(|anchor| anchor.trust.clone()).collect();
    let as_openssl = |path: &VerifiedPath<'_>| {
        check_issuers(path)?;
        check_anchor_length(path, anchors)
    };
    let end_entity = EndEntityCert::try_from(leaf)?;
    end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &trust,
        others,
        UnixTime::since_unix_epoch(Duration::from_secs(now.unix())),
        KeyUsage::server_auth(),
        None,
        Some(&as_openssl),
    )?;
    Ok(())
}

/// webpki looks at the CA flag of an intermediate, not at its key usage.
fn check_issuers(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    let may_sign = |der: CertificateDer<'_>| Facts::parse(&der).is_ok_and(|facts| facts.may_sign());
    let all = path.intermediate_certificates().all(|issuer| may_sign(issuer.der()));
    if all { Ok(()) } else { Err(webpki::Error::EndEntityUsedAsCa) }
}

/// webpki forgets the path length of a trust anchor; OpenSSL does not.
fn check_anchor_length(path: &VerifiedPath<'_>, anchors: &[&Anchor]) -> Result<(), webpki::Error> {
    let between = path.intermediate_certificates().count();
    let allowed = anchors.iter().filter(|anchor| anchor.trust == *path.anchor());
    let too_long = allowed
        .filter_map(|anchor| anchor.facts.path_length())
        .any(|length| usize::try_from(length).is_ok_and(|length| between > length));
    if too_long { Err(webpki::Error::PathLenConstraintViolated) } else { Ok(()) }
}

/// webpki's refusal in words of our own.
#[expect(clippy::wildcard_enum_match_arm, reason = "webpki's enum grows; whatever else it says is shown")]
fn explain(error: webpki::Error, leaf: &Facts, chain: &[Facts], now: WallTime) -> TlsError {
    use webpki::Error;
    match error {
        // A wrong key under the right name is a wrong CA as well: many have the same names.
        Error::UnknownIssuer
        | Error::InvalidSignatureForPublicKey
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            TlsError::UnknownIssuer { subject: leaf.shown_subject() }
        }
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
            let times = std::iter::once(leaf).chain(chain).map(|facts| facts.check_time(now));
            times.filter_map(Result::err).next().unwrap_or_else(|| TlsError::BadChain(error.to_string()))
        }
        Error::RequiredEkuNotFoundContext(_) => {
            TlsError::WrongPurpose("the extended key usage of its chain has no server authentication")
        }
        Error::CaUsedAsEndEntity => TlsError::WrongPurpose("it is a CA's certificate"),
        Error::UnsupportedSignatureAlgorithmContext(_) => {
            TlsError::BadChain(String::from("it is signed with an algorithm that is too weak or unknown"))
        }
        Error::UnsupportedCertVersion => {
            TlsError::BadChain(String::from("an X.509 version 1 certificate in it, which is not in this version"))
        }
        Error::MaximumPathDepthExceeded => TlsError::ChainTooLong,
        other => TlsError::BadChain(escape(other.to_string().as_bytes())),
    }
}

#[cfg(test)]
mod rules; // each rule alone

#[cfg(test)]
mod tests {
    use super::*;

    const CA_1024: &[u8] = include_bytes!("../../tests/vectors/weak/ca-rsa1024.der");
    const LEAF_OF_1024: &[u8] = include_bytes!("../../tests/vectors/weak/leaf-of-rsa1024.der");
    const CA_2048: &[u8] = include_bytes!("../../tests/vectors/weak/ca-rsa2048.der");
    const LEAF_1024: &[u8] = include_bytes!("../../tests/vectors/weak/leaf-rsa1024.der");
    const LEAF_VERSION_1: &[u8] = include_bytes!("../../tests/vectors/weak/leaf-version1.der");
    const LEAF_SHA1: &[u8] = include_bytes!("../../tests/vectors/weak/leaf-sha1.der");

    fn judged(ca: &[u8], leaf: &[u8]) -> Result<Vec<String>, TlsError> {
        let options = TlsOptions { ca: vec![ca.to_vec()], ..TlsOptions::default() };
        let policy = ServerPolicy::new(&options, false).unwrap();
        policy.judge(&CertificateDer::from(leaf), &[], WallTime::from_unix(1_900_000_000))
    }

    // proves: T-12
    #[test]
    fn weak_keys_and_digests_are_named_and_not_told_as_a_wrong_ca() {
        let bad = |why: &str| Err(TlsError::BadChain(String::from(why)));
        assert_eq!(judged(CA_1024, LEAF_OF_1024), bad("the RSA key of its CA is shorter than 2048 bits"));
        assert_eq!(judged(CA_2048, LEAF_1024), bad("its RSA key is shorter than 2048 bits"));
        assert_eq!(judged(CA_2048, LEAF_SHA1), bad("it is signed with an algorithm that is too weak or unknown"));
        let version_1 = bad("an X.509 version 1 certificate in it, which is not in this version");
        assert_eq!(judged(CA_2048, LEAF_VERSION_1), version_1);
        assert!(matches!(judged(CA_2048, LEAF_OF_1024), Err(TlsError::UnknownIssuer { .. })));
    }

    // proves: T-01
    #[test]
    fn any_prefix_of_a_certificate_is_unreadable() {
        for len in 0..LEAF_SHA1.len() {
            assert!(matches!(judged(CA_2048, &LEAF_SHA1[..len]), Err(TlsError::BadCertificate(_))));
        }
    }
}
