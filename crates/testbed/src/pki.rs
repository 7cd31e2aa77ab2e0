//! Certificates and static keys, made by the `openssl` and `openvpn` command lines so that what the tests prove is not
//! this project's own reading of the formats. Keys are P-256 and live a day.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::command::run;

/// A certificate with its key, as PEM text.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// A CA signed it that the profile does not name.
    OtherCa,
    /// It is a client's.
    ClientUsage,
    /// It does not say whose it is: neither a server's nor a client's.
    NoUsage,
}

/// Words for `openssl ca` that say when a certificate is valid.
type Dates = &'static [&'static str];

/// From now for a day.
const DAY: Dates = &["-days", "1"];

/// Ended at the year 2000's second day.
const PAST: Dates = &["-startdate", "20000101000000Z", "-enddate", "20000102000000Z"];

/// Begins in the year 2099.
const FUTURE: Dates = &["-startdate", "20990101000000Z", "-enddate", "20990102000000Z"];

/// All that servers and clients of one world need.
#[derive(Clone, Debug)]
pub struct Pki {
    directory: PathBuf,
    /// The CA's certificate.
    pub ca: String,
    /// A CA that signed nothing here.
    pub foreign_ca: String,
    /// The servers' certificate: `serverAuth`.
    pub server: Identity,
    /// The clients' certificate: `clientAuth`.
    pub client: Identity,
    /// A static key for tls-auth and tls-crypt, as OpenVPN writes it.
    pub static_key: String,
    /// A static key that no server has.
    pub foreign_static_key: String,
    /// A client's key of tls-crypt-v2, which the servers' key opens.
    pub v2_client_key: String,
}

impl Pki {
    /// Makes everything in `directory`.
    ///
    /// # Panics
    /// When `openssl` or `openvpn` is missing or fails.
    #[must_use]
    #[track_caller]
    pub fn new(directory: &Path) -> Self {
        let at = |name: &str| directory.join(name).display().to_string();
        authority(directory, "ca", "Testbed CA");
        authority(directory, "foreign", "Foreign CA");
        let usage = |usage: &str| format!("extendedKeyUsage={usage}\n");
        leaf(directory, "ca", "server", DAY, &usage("serverAuth"));
        leaf(directory, "ca", "client", DAY, &usage("clientAuth"));
        for name in ["static.key", "foreign-static.key"] {
            run("openvpn", &["--genkey", "secret", &at(name)]);
        }
        let server_key = at("v2-server.key");
        run("openvpn", &["--genkey", "tls-crypt-v2-server", &server_key]);
        run("openvpn", &["--tls-crypt-v2", &server_key, "--genkey", "tls-crypt-v2-client", &at("v2-client.key")]);
        Self {
            directory: directory.to_path_buf(),
            ca: read(directory, "ca.crt"),
            foreign_ca: read(directory, "foreign.crt"),
            server: Identity { certificate: read(directory, "server.crt"), key: read(directory, "server.key") },
            client: Identity { certificate: read(directory, "client.crt"), key: read(directory, "client.key") },
            static_key: read(directory, "static.key"),
            foreign_static_key: read(directory, "foreign-static.key"),
            v2_client_key: read(directory, "v2-client.key"),
        }
    }

    /// Makes a certificate that something is wrong with, `NAME.crt` and `NAME.key`.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[track_caller]
    pub fn make(&self, name: &str, fault: Fault) {
        let server = "extendedKeyUsage=serverAuth\n";
        match fault {
            Fault::Expired => leaf(&self.directory, "ca", name, PAST, server),
            Fault::NotYetValid => leaf(&self.directory, "ca", name, FUTURE, server),
            Fault::OtherCa => leaf(&self.directory, "foreign", name, DAY, server),
            Fault::ClientUsage => leaf(&self.directory, "ca", name, DAY, "extendedKeyUsage=clientAuth\n"),
            Fault::NoUsage => leaf(&self.directory, "ca", name, DAY, ""),
        }
    }

    /// The path of one of its files: `ca.crt`, `server.crt`, `server.key`, `client.crt`, `client.key`, `static.key`.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

#[track_caller]
fn authority(directory: &Path, name: &str, subject: &str) {
    let at = |ending: &str| directory.join(format!("{name}.{ending}")).display().to_string();
    let (key, certificate, subject) = (at("key"), at("crt"), format!("/CN={subject}"));
    let mut arguments = new_key(&key);
    arguments.extend(["-x509", "-days", "1", "-subj", &subject, "-out", &certificate]);
    arguments.extend(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
    run("openssl", &arguments);
    write(directory, &format!("{name}.index"), "");
    write(directory, &format!("{name}.conf"), &signing_configuration(directory, name));
}

#[track_caller]
fn leaf(directory: &Path, issuer: &str, name: &str, dates: Dates, usage: &str) {
    let at = |name: &str, ending: &str| directory.join(format!("{name}.{ending}")).display().to_string();
    let (key, request, certificate, extensions) = (at(name, "key"), at(name, "csr"), at(name, "crt"), at(name, "ext"));
    let subject = format!("/CN={name}");
    let mut arguments = new_key(&key);
    arguments.extend(["-subj", &subject, "-out", &request]);
    run("openssl", &arguments);
    let text = format!("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n{usage}");
    write(directory, &format!("{name}.ext"), &text);
    let (ca, ca_key, config) = (at(issuer, "crt"), at(issuer, "key"), at(issuer, "conf"));
    let sign = ["ca", "-batch", "-notext", "-config", &config, "-cert", &ca, "-keyfile", &ca_key, "-in", &request];
    run("openssl", &[&sign[..], dates, &["-extfile", &extensions, "-out", &certificate]].concat());
}

/// What `openssl ca` wants to know before it signs; only it can give a certificate other dates than from today.
fn signing_configuration(directory: &Path, name: &str) -> String {
    let at = |ending: &str| directory.join(format!("{name}.{ending}")).display().to_string();
    format!(
        "[ca]\ndefault_ca = here\n[here]\ndatabase = {}\nnew_certs_dir = {}\nrand_serial = yes\ndefault_md = sha256\n\
         unique_subject = no\npolicy = any\n[any]\ncommonName = supplied\n",
        at("index"),
        directory.display()
    )
}

#[track_caller]
fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn new_key(key: &str) -> Vec<&str> {
    vec!["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
}

#[track_caller]
fn read(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
