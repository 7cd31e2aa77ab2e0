//! What is asked of a server's certificate, by whole TLS handshakes through the session: chains made here, judged at a
//! time given here.

use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{PeerName, TlsOptions, Wrap};
use mrvpn_proto::peer::{TestServer, TestServerConfig, rustls_server};
use mrvpn_proto::{EndReason, Event, RustlsConnector, Session, Tls, TlsError, TlsSetupError, limits};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::pair::{Link, Pair, WALL, config};

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key.
pub(crate) struct Made {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
}

pub(crate) fn params(common_name: &str) -> CertificateParams {
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

fn ca_with(params: CertificateParams) -> Issuer {
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn ca() -> Issuer {
    ca_with(ca_params("Test CA"))
}

/// A server's certificate as OpenVPN's own tools make it.
pub(crate) fn server_params() -> CertificateParams {
    let mut params = params("server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

pub(crate) fn signed(params: CertificateParams, issuer: &Issuer) -> Made {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Made { chain: vec![certificate.der().to_vec()], key: key.serialize_der() }
}

pub(crate) fn trusting(issuer: &Issuer) -> TlsOptions {
    TlsOptions { ca: vec![issuer.der().to_vec()], ..TlsOptions::default() }
}

fn unix(year: i32) -> WallTime {
    WallTime::from_unix(u64::try_from(date_time_ymd(year, 6, 1).unix_timestamp()).unwrap())
}

/// A whole session; returns its warnings, or why TLS failed.
fn connect(options: &TlsOptions, server: &Made, strict: bool, wall: WallTime) -> Result<Vec<String>, TlsError> {
    connect_with(options, server, strict, wall, false)
}

fn connect_with(
    options: &TlsOptions,
    server: &Made,
    strict: bool,
    wall: WallTime,
    tls12: bool,
) -> Result<Vec<String>, TlsError> {
    let connector = std::sync::Arc::new(RustlsConnector::new(options, strict).unwrap());
    let client = Session::new(config(Wrap::None), connector, [9; 32], wall, Moment::default()).unwrap();
    let (chain, key) = (server.chain.clone(), server.key.clone());
    let accept = Box::new(move || -> Box<dyn Tls> { rustls_server(&chain, &key, tls12).unwrap() });
    let server = TestServer::new(TestServerConfig::new(Wrap::None), accept, wall);
    let mut pair = Pair::of(client, server, Link::default(), 1);
    pair.run(Duration::from_secs(60));
    match pair.events.last() {
        Some(Event::Established(established)) => Ok(established.warnings.clone()),
        Some(Event::Ended(EndReason::Tls(error))) => Err(error.clone()),
        other => panic!("{other:?} at {:?}", pair.client.stage()),
    }
}

fn code(error: TlsError) -> &'static str {
    EndReason::Tls(error).code()
}

/// The outcome's code for a leaf made by `change` under a plain CA, with options made by `ask`.
fn outcome(change: impl FnOnce(&mut CertificateParams), ask: impl FnOnce(&mut TlsOptions)) -> &'static str {
    let ca = ca();
    let mut leaf = server_params();
    change(&mut leaf);
    let mut options = trusting(&ca);
    ask(&mut options);
    match connect(&options, &signed(leaf, &ca), false, WALL) {
        Ok(warnings) if warnings.is_empty() => "up",
        Ok(_) => "up with a warning",
        Err(error) => code(error),
    }
}

#[test]
fn a_server_of_the_profiles_ca_is_taken_by_both_tls_versions() {
    let ca = ca();
    let server = signed(server_params(), &ca);
    for tls12 in [false, true] {
        assert_eq!(connect_with(&trusting(&ca), &server, true, WALL, tls12), Ok(vec![]));
    }
    let mut options = trusting(&ca);
    options.tls12_only = true;
    assert_eq!(connect(&options, &server, true, WALL), Ok(vec![]));
    options.tls12_only = false;
    options.tls13_only = true;
    assert_eq!(connect(&options, &server, true, WALL), Ok(vec![]));
    assert!(matches!(
        connect_with(&options, &server, true, WALL, true),
        Err(TlsError::Alert(_) | TlsError::Protocol(_))
    ));
}

// proves: T-22
#[test]
fn another_ca_is_named_as_such_even_under_the_same_name() {
    let server = signed(server_params(), &ca());
    for stranger in [ca(), ca_with(ca_params("Another CA"))] {
        let error = connect(&trusting(&stranger), &server, false, WALL).unwrap_err();
        assert_eq!(error, TlsError::UnknownIssuer { subject: "CN=server".into() });
        assert_eq!(code(error), "wrong-ca");
    }
}

// proves: T-22
#[test]
fn certificates_outside_their_time_are_refused_by_name_of_whose_they_are() {
    let ca = ca();
    let server = signed(server_params(), &ca);
    let expired = connect(&trusting(&ca), &server, false, unix(2030)).unwrap_err();
    assert!(matches!(&expired, TlsError::Expired { .. }), "{expired:?}");
    let early = connect(&trusting(&ca), &server, false, unix(2001)).unwrap_err();
    assert_eq!(code(early), "certificate-not-yet-valid");
    let mut short = server_params();
    short.not_after = date_time_ymd(2025, 2, 1);
    let leaf = connect(&trusting(&ca), &signed(short, &ca), false, WALL).unwrap_err();
    assert!(matches!(leaf, TlsError::Expired { subject, .. } if subject == "CN=server"));
    let mut old = ca_params("Old CA");
    old.not_after = date_time_ymd(2025, 2, 1);
    let old = ca_with(old);
    let by_old = connect(&trusting(&old), &signed(server_params(), &old), false, WALL).unwrap_err();
    assert!(matches!(by_old, TlsError::Expired { subject, .. } if subject == "CN=Old CA"));
}

// proves: T-20
#[test]
fn usages_that_exist_must_fit_a_server() {
    let none = |_: &mut TlsOptions| {};
    let with = |usages: &'static [ExtendedKeyUsagePurpose]| {
        move |leaf: &mut CertificateParams| leaf.extended_key_usages = usages.to_vec()
    };
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    assert_eq!(outcome(|_| {}, none), "up");
    assert_eq!(outcome(with(&[ClientAuth]), none), "certificate-purpose");
    assert_eq!(outcome(with(&[Any]), none), "certificate-purpose");
    assert_eq!(outcome(with(&[ClientAuth, ServerAuth]), none), "up");
    assert_eq!(outcome(with(&[]), none), "up with a warning");
    let sign_only = |leaf: &mut CertificateParams| leaf.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    assert_eq!(outcome(sign_only, none), "certificate-purpose");
    let netscape = |bits: u8| {
        move |leaf: &mut CertificateParams| {
            leaf.extended_key_usages.clear();
            let oid = [2, 16, 840, 1, 113_730, 1, 1];
            leaf.custom_extensions = vec![CustomExtension::from_oid_content(&oid, vec![3, 2, 0, bits])];
        }
    };
    assert_eq!(outcome(netscape(0x80), none), "certificate-purpose");
    assert_eq!(outcome(netscape(0x40), none), "up");
}

// proves: T-20
#[test]
fn what_the_profile_asks_for_is_demanded() {
    let bare = |leaf: &mut CertificateParams| {
        leaf.key_usages.clear();
        leaf.extended_key_usages.clear();
    };
    let tls_server = |options: &mut TlsOptions| options.remote_cert_tls_server = true;
    assert_eq!(outcome(|_| {}, tls_server), "up");
    assert_eq!(outcome(bare, tls_server), "certificate-purpose");
    assert_eq!(outcome(|leaf| leaf.key_usages.clear(), tls_server), "certificate-purpose");
    let usage = |masks: &'static [u8]| move |options: &mut TlsOptions| options.remote_cert_ku = Some(masks.to_vec());
    assert_eq!(outcome(|_| {}, usage(&[0xa0])), "up");
    assert_eq!(outcome(|_| {}, usage(&[0x88, 0x80])), "up");
    assert_eq!(outcome(|_| {}, usage(&[0x88])), "certificate-purpose");
    assert_eq!(outcome(|_| {}, usage(&[])), "up");
    assert_eq!(outcome(bare, usage(&[])), "certificate-purpose");
    let extended = |oid: &'static str| move |options: &mut TlsOptions| options.remote_cert_eku = Some(oid.into());
    assert_eq!(outcome(|_| {}, extended("1.3.6.1.5.5.7.3.1")), "up");
    assert_eq!(outcome(|_| {}, extended("1.3.6.1.5.5.7.3.2")), "certificate-purpose");
    let old = |options: &mut TlsOptions| options.ns_cert_type_server = true;
    assert_eq!(outcome(|_| {}, old), "up");
    assert_eq!(outcome(bare, old), "certificate-purpose");
}

// proves: T-20
#[test]
fn a_certificate_that_anyone_of_the_ca_could_have_is_refused_by_strict_server_only() {
    let ca = ca();
    let server = signed(params("anyone"), &ca);
    assert_eq!(connect(&trusting(&ca), &server, true, WALL), Err(TlsError::NotMarkedAsServer));
    let warnings = connect(&trusting(&ca), &server, false, WALL).unwrap();
    assert!(warnings[0].starts_with("any certificate of this CA can pose as the server"), "{warnings:?}");
    let mut named = trusting(&ca);
    named.verify_x509_name = Some(PeerName::CommonName("anyone".into()));
    assert_eq!(connect(&named, &server, false, WALL), Ok(vec![]));
}

/// The outcome with `verify-x509-name`.
fn named(change: impl FnOnce(&mut CertificateParams), name: PeerName) -> &'static str {
    outcome(change, |options| options.verify_x509_name = Some(name))
}

// proves: T-21
#[test]
fn names_are_compared_exactly() {
    let long = |leaf: &mut CertificateParams| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "US");
        name.push(DnType::OrganizationName, "Org, Inc");
        name.push(DnType::CommonName, "server");
        leaf.distinguished_name = name;
    };
    let subject = |text: &str| PeerName::Subject(text.into());
    let common = |text: &str| PeerName::CommonName(text.into());
    let prefix = |text: &str| PeerName::CommonNamePrefix(text.into());
    assert_eq!(named(long, subject("C=US, O=Org, Inc, CN=server")), "up");
    for wrong in ["CN=server", "C=US, O=Org, Inc, CN=Server", "C=US, O=Org, Inc, CN=server ", ""] {
        assert_eq!(named(long, subject(wrong)), "certificate-name", "{wrong}");
    }
    assert_eq!(named(long, common("server")), "up");
    assert_eq!(named(long, common("serve")), "certificate-name");
    assert_eq!(named(long, common("*")), "certificate-name");
    assert_eq!(named(long, prefix("ser")), "up");
    assert_eq!(named(long, prefix("Ser")), "certificate-name");
    let literal = |leaf: &mut CertificateParams| {
        *leaf = {
            let mut new = server_params();
            new.distinguished_name = params("*.hide.me").distinguished_name;
            new
        }
    };
    assert_eq!(named(literal, common("*.hide.me")), "up");
}

// proves: T-21
#[test]
fn control_characters_in_a_name_refuse_the_chain() {
    for bad in ["server\0.evil.example", "ser\nver", "\u{1b}[2J"] {
        let change = |leaf: &mut CertificateParams| {
            leaf.distinguished_name = DistinguishedName::new();
            leaf.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(bad.into()));
        };
        assert_eq!(outcome(change, |_| {}), "certificate-refused", "{bad:?}");
    }
}

#[test]
fn a_listed_fingerprint_stands_for_a_chain() {
    let server = ca_with(server_params());
    let made = Made { chain: vec![server.der().to_vec()], key: server.key().serialize_der() };
    let digest = aws_lc_digest(&made.chain[0]);
    let options = TlsOptions { peer_fingerprints: vec![[0; 32], digest], ..TlsOptions::default() };
    assert_eq!(connect(&options, &made, false, WALL), Ok(vec![]));
    let other = TlsOptions { peer_fingerprints: vec![[0; 32]], ..TlsOptions::default() };
    let error = connect(&other, &made, false, WALL).unwrap_err();
    assert_eq!(code(error), "certificate-fingerprint");
    // The same self-signed certificate as `ca` is its own chain.
    assert_eq!(connect(&trusting(&server), &made, false, WALL), Ok(vec![]));
}

fn aws_lc_digest(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// A leaf under `intermediate` under `root`, the intermediate sent along.
fn outcome_of_chain(root: CertificateParams, intermediate: CertificateParams, leaf: CertificateParams) -> &'static str {
    let root = ca_with(root);
    let key = KeyPair::generate().unwrap();
    let middle = CertifiedIssuer::signed_by(intermediate, key, &root).unwrap();
    let leaf = signed(leaf, &middle);
    let chain = vec![leaf.chain[0].clone(), middle.der().to_vec()];
    match connect(&trusting(&root), &Made { chain, key: leaf.key }, false, WALL) {
        Ok(_) => "up",
        Err(error) => code(error),
    }
}

// proves: T-22
#[test]
fn issuers_must_be_allowed_to_issue() {
    let root = || ca_params("Root");
    assert_eq!(outcome_of_chain(root(), ca_params("Middle"), server_params()), "up");
    let mut no_ca = params("Middle");
    no_ca.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(outcome_of_chain(root(), no_ca, server_params()), "certificate-refused");
    let mut no_sign = ca_params("Middle");
    no_sign.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(outcome_of_chain(root(), no_sign, server_params()), "certificate-refused");
    let mut short = root();
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert_eq!(outcome_of_chain(short, ca_params("Middle"), server_params()), "certificate-refused");
    let mut client_only = ca_params("Middle");
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(outcome_of_chain(root(), client_only, server_params()), "certificate-purpose");
}

// proves: T-22
#[test]
fn a_ca_that_may_not_sign_is_no_ca() {
    let mut no_sign = ca_params("Test CA");
    no_sign.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let mut no_ca = params("Test CA");
    no_ca.is_ca = IsCa::ExplicitNoCa;
    for weak in [no_sign, no_ca] {
        let weak = ca_with(weak);
        let error = connect(&trusting(&weak), &signed(server_params(), &weak), false, WALL).unwrap_err();
        assert_eq!(code(error), "wrong-ca");
    }
}

// proves: T-22
#[test]
fn a_ca_certificate_is_no_server() {
    let ca_as_leaf = |leaf: &mut CertificateParams| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(outcome(ca_as_leaf, |_| {}), "certificate-purpose");
}

// proves: T-23
#[test]
fn a_chain_has_ten_certificates_at_most() {
    let ca = ca();
    let leaf = signed(server_params(), &ca);
    for (len, fits) in [(limits::CHAIN_DEPTH - 1, true), (limits::CHAIN_DEPTH, true), (limits::CHAIN_DEPTH + 1, false)]
    {
        let mut chain = leaf.chain.clone();
        chain.resize(len, ca.der().to_vec());
        let made = Made { chain, key: leaf.key.clone() };
        let expected = if fits { Ok(vec![]) } else { Err(TlsError::ChainTooLong) };
        assert_eq!(connect(&trusting(&ca), &made, false, WALL), expected, "{len}");
    }
}

#[test]
fn a_profile_that_trusts_nobody_or_is_half_an_identity_is_refused_before_connecting() {
    let setup = |options: &TlsOptions| RustlsConnector::new(options, false).err();
    assert_eq!(setup(&TlsOptions::default()), Some(TlsSetupError::NoTrust));
    let garbage = TlsOptions { ca: vec![vec![1, 2, 3]], ..TlsOptions::default() };
    assert!(matches!(setup(&garbage), Some(TlsSetupError::BadCa { number: 1, .. })));
    let ca = ca();
    let mut half = trusting(&ca);
    half.cert = vec![ca.der().to_vec()];
    assert_eq!(setup(&half), Some(TlsSetupError::HalfIdentity));
    let mut no_version = trusting(&ca);
    (no_version.tls12_only, no_version.tls13_only) = (true, true);
    assert_eq!(setup(&no_version), Some(TlsSetupError::NoVersion));
}

#[test]
fn a_refusal_of_the_certificate_is_final_but_a_wrong_clock_is_not() {
    let ca = ca();
    let server = signed(server_params(), &ca);
    let at = |wall| EndReason::Tls(connect(&trusting(&ca), &server, false, wall).unwrap_err());
    assert!(at(unix(2030)).is_final());
    assert!(!at(unix(2001)).is_final());
    assert_eq!(at(unix(2001)).stage(), "certificate");
}
