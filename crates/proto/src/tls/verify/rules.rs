//! Tests: each rule alone, on certificates made for it and judged without a handshake, so that none can be turned round
//! unseen. Whole handshakes are in `tests/proto/certificates.rs`.

use mrvpn_profile::{PeerName, TlsOptions};
use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::super::{TlsError, judge_certificate};
use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;
type Verdict = Result<Vec<String>, TlsError>;

/// Whatever is judged, it is judged at this second, in June 2026.
const NOW: WallTime = WallTime::from_unix(1_780_272_000);

fn params(common_name: impl Into<DnValue>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2026, 12, 31);
    params
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn server_params() -> CertificateParams {
    let mut params = params("server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn ca_with(params: CertificateParams) -> Issuer {
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn ca() -> Issuer {
    ca_with(ca_params("Test CA"))
}

fn signed(params: CertificateParams, issuer: &Issuer) -> Vec<u8> {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

fn trusting(issuers: &[&Issuer]) -> TlsOptions {
    TlsOptions { ca: issuers.iter().map(|issuer| issuer.der().to_vec()).collect(), ..TlsOptions::default() }
}

fn judged(options: &TlsOptions, chain: &[Vec<u8>], now: WallTime) -> Verdict {
    let policy = ServerPolicy::new(options, false).unwrap();
    let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (leaf, others) = chain.split_first().unwrap();
    policy.judge(leaf, others, now)
}

/// The verdict on a leaf that `change` makes of a plain server's.
fn verdict(change: impl FnOnce(&mut CertificateParams)) -> Verdict {
    let ca = ca();
    let mut leaf = server_params();
    change(&mut leaf);
    judged(&trusting(&[&ca]), &[signed(leaf, &ca)], NOW)
}

// proves: T-20
#[test]
fn any_one_of_the_three_usages_of_a_tls_server_will_do() {
    use KeyUsagePurpose::{
        ContentCommitment, CrlSign, DataEncipherment, DigitalSignature, KeyAgreement, KeyEncipherment,
    };
    for (usage, fits) in [
        (DigitalSignature, true),
        (KeyEncipherment, true),
        (KeyAgreement, true),
        (ContentCommitment, false),
        (DataEncipherment, false),
        (CrlSign, false),
    ] {
        let got = verdict(|leaf| leaf.key_usages = vec![usage]);
        let expected = if fits { Ok(vec![]) } else { Err(TlsError::WrongPurpose("its key usage fits no TLS server")) };
        assert_eq!(got, expected, "{usage:?}");
    }
}

// proves: T-21
#[test]
fn a_name_is_the_same_name_in_every_encoding() {
    let encodings: [DnValue; 5] = [
        DnValue::Utf8String("server".into()),
        DnValue::PrintableString(PrintableString::try_from("server").unwrap()),
        DnValue::Ia5String(Ia5String::try_from("server").unwrap()),
        DnValue::TeletexString(TeletexString::try_from("server").unwrap()),
        DnValue::BmpString(BmpString::try_from("server").unwrap()),
    ];
    for value in encodings {
        for (name, fits) in [("server", true), ("serves", false)] {
            let ca = ca();
            let mut leaf = server_params();
            leaf.distinguished_name = params(value.clone()).distinguished_name;
            let mut options = trusting(&[&ca]);
            options.verify_x509_name = Some(PeerName::CommonName(name.into()));
            let got = judged(&options, &[signed(leaf, &ca)], NOW);
            let wrong = TlsError::WrongName { expected: name.into(), got: "server".into() };
            assert_eq!(got, if fits { Ok(vec![]) } else { Err(wrong) }, "{value:?}");
        }
    }
}

// proves: T-22
#[test]
fn an_extension_that_cannot_be_read_refuses_the_certificate() {
    // Netscape's certificate type, which webpki does not look at: no bit string.
    let oid = [2, 16, 840, 1, 113_730, 1, 1];
    let got = verdict(|leaf| leaf.custom_extensions = vec![CustomExtension::from_oid_content(&oid, vec![4, 1, 0])]);
    assert_eq!(got, Err(TlsError::BadCertificate("an extension is malformed".into())));
}

// proves: T-22
#[test]
fn a_certificate_is_valid_from_its_first_to_its_last_second() {
    let facts = Facts::parse(&signed(server_params(), &ca())).unwrap();
    let (first, last) = (facts.not_before.unix(), facts.not_after.unix());
    for (second, valid) in [(first - 1, false), (first, true), (first + 1, true), (last - 1, true), (last, true)] {
        assert_eq!(facts.check_time(WallTime::from_unix(second)).is_ok(), valid, "{second}");
    }
    assert!(matches!(facts.check_time(WallTime::from_unix(last + 1)), Err(TlsError::Expired { .. })));
    assert!(matches!(facts.check_time(WallTime::from_unix(first - 1)), Err(TlsError::NotYetValid { .. })));
}

// proves: T-22
#[test]
fn who_may_sign_is_told_by_constraints_then_by_usage_then_by_version() {
    let facts = Facts::parse(&signed(server_params(), &ca())).unwrap();
    assert!(!facts.is_version_1 && facts.key_usage.is_none() && facts.constraints.is_none());
    const CERT_SIGN: u8 = 0x04;
    for (constraints, key_usage, is_version_1, expected) in [
        (Some((true, None)), None, false, true),
        (Some((true, None)), Some(CERT_SIGN), false, true),
        (Some((true, None)), Some(0x80), false, false),
        (Some((false, None)), Some(CERT_SIGN), false, false),
        (Some((false, None)), None, true, false),
        (None, Some(CERT_SIGN), false, true),
        (None, Some(CERT_SIGN | 0x02), false, true),
        (None, Some(0xfb), false, false),
        (None, None, false, false),
        (None, None, true, true),
    ] {
        let facts = Facts { constraints, key_usage, is_version_1, ..facts.clone() };
        assert_eq!(facts.may_sign(), expected, "{constraints:?} {key_usage:?} {is_version_1}");
    }
    let version_1 = include_bytes!("../../../tests/vectors/weak/leaf-version1.der");
    assert!(Facts::parse(version_1).unwrap().is_version_1);
}

// proves: T-22
#[test]
fn a_ca_with_neither_constraints_nor_usage_is_none() {
    let bare = ca_with(params("Test CA"));
    let got = judged(&trusting(&[&bare]), &[signed(server_params(), &bare)], NOW);
    assert_eq!(got, Err(TlsError::UnknownIssuer { subject: "CN=server".into() }));
}

// proves: T-22
#[test]
fn a_strangers_certificate_is_not_told_as_that_of_an_outdated_ca() {
    let mut old = ca_params("Old CA");
    old.not_after = date_time_ymd(2025, 2, 1);
    let (old, current, stranger) = (ca_with(old), ca(), ca());
    let options = trusting(&[&old, &current]);
    let got = judged(&options, &[signed(server_params(), &stranger)], NOW);
    assert_eq!(got, Err(TlsError::UnknownIssuer { subject: "CN=server".into() }));
    let got = judged(&options, &[signed(server_params(), &old)], NOW);
    assert!(matches!(got, Err(TlsError::Expired { subject, .. }) if subject == "CN=Old CA"));
    assert_eq!(judged(&options, &[signed(server_params(), &current)], NOW), Ok(vec![]));
}

// proves: T-22
#[test]
fn as_many_may_stand_between_as_the_path_length_says() {
    for (length, fits) in [(0, false), (1, true), (2, true)] {
        let mut root = ca_params("Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        let root = ca_with(root);
        let middle = CertifiedIssuer::signed_by(ca_params("Middle"), KeyPair::generate().unwrap(), &root).unwrap();
        let chain = [signed(server_params(), &middle), middle.der().to_vec()];
        assert_eq!(judged(&trusting(&[&root]), &chain, NOW).is_ok(), fits, "{length}");
    }
}

// proves: T-20
#[test]
fn whoever_is_named_or_listed_needs_no_mark_of_a_server() {
    let ca = ca();
    let leaf = signed(params("anyone"), &ca);
    let fingerprint = digest::digest(&digest::SHA256, &leaf).as_ref().try_into().unwrap();
    let plain = trusting(&[&ca]);
    let chain = [leaf];
    assert_eq!(judged(&plain, &chain, NOW).unwrap().len(), 1, "a warning");
    let listed = TlsOptions { peer_fingerprints: vec![fingerprint], ..plain.clone() };
    assert_eq!(judged(&listed, &chain, NOW), Ok(vec![]));
    let named = TlsOptions { verify_x509_name: Some(PeerName::CommonName("anyone".into())), ..plain.clone() };
    assert_eq!(judged(&named, &chain, NOW), Ok(vec![]));
    let both = TlsOptions { peer_fingerprints: vec![fingerprint], ..named };
    assert_eq!(judged(&both, &chain, NOW), Ok(vec![]));
    // Only a certificate that is marked as a server's gets past the extended usage of a server.
    let purpose = TlsOptions { remote_cert_eku: Some("1.3.6.1.5.5.7.3.1".into()), ..plain };
    assert!(matches!(judged(&purpose, &chain, NOW), Err(TlsError::WrongPurpose(_))));
}

#[test]
fn tests_from_outside_are_told_the_same() {
    let ca = ca();
    let chain = [signed(params("anyone"), &ca)];
    assert_eq!(judge_certificate(&trusting(&[&ca]), false, &chain, NOW).unwrap().len(), 1);
    let refused = judge_certificate(&trusting(&[&ca]), true, &chain, NOW);
    assert_eq!(refused, Err(TlsError::NotMarkedAsServer.to_string()));
}

// proves: T-23
#[test]
fn a_chain_whose_paths_multiply_is_refused_soon() {
    // Nine CAs of one name and one key, each signed by any other: 9! orders to try, and none ends at the profile's CA.
    let key = KeyPair::generate().unwrap();
    let twin = || {
        let key = KeyPair::try_from(key.serialize_der()).unwrap();
        CertifiedIssuer::self_signed(ca_params("Twin"), key).unwrap()
    };
    let first = twin();
    let mut chain = vec![signed(server_params(), &first)];
    chain.extend((1..limits::CHAIN_DEPTH).map(|_| twin().der().to_vec()));
    let mut outdated = ca_params("Twin");
    outdated.not_after = date_time_ymd(2025, 2, 1);
    let options = trusting(&[&ca_with(ca_params("Twin")), &ca_with(outdated)]);
    let before = processor_time();
    let got = judged(&options, &chain, NOW);
    let spent = processor_time().saturating_sub(before);
    assert!(matches!(got, Err(TlsError::BadChain(_) | TlsError::UnknownIssuer { .. })), "{got:?}");
    assert!(spent < Duration::from_millis(50), "{spent:?}");
}

/// What this thread has used of a processor, whatever else the machine does meanwhile.
#[expect(clippy::disallowed_methods, reason = "a test of how long something takes asks the system")]
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
