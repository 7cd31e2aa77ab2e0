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
        leaf(directory, "server", "serverAuth");
        leaf(directory, "client", "clientAuth");
        for name in ["static.key", "foreign-static.key"] {
            run("openvpn", &["--genkey", "secret", &at(name)]);
        }
        Self {
            directory: directory.to_path_buf(),
            ca: read(directory, "ca.crt"),
            foreign_ca: read(directory, "foreign.crt"),
            server: Identity { certificate: read(directory, "server.crt"), key: read(directory, "server.key") },
            client: Identity { certificate: read(directory, "client.crt"), key: read(directory, "client.key") },
            static_key: read(directory, "static.key"),
            foreign_static_key: read(directory, "foreign-static.key"),
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
}

#[track_caller]
fn leaf(directory: &Path, name: &str, usage: &str) {
    let at = |ending: &str| directory.join(format!("{name}.{ending}")).display().to_string();
    let (key, request, certificate, extensions) = (at("key"), at("csr"), at("crt"), at("ext"));
    let subject = format!("/CN={name}");
    let mut arguments = new_key(&key);
    arguments.extend(["-subj", &subject, "-out", &request]);
    run("openssl", &arguments);
    let text = format!("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage={usage}\n");
    fs::write(&extensions, text).unwrap_or_else(|error| panic!("{extensions}: {error}"));
    let (ca, ca_key) = (directory.join("ca.crt").display().to_string(), directory.join("ca.key").display().to_string());
    let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "1"];
    run("openssl", &[&sign[..], &["-extfile", &extensions, "-out", &certificate]].concat());
}

fn new_key(key: &str) -> Vec<&str> {
    vec!["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
}

#[track_caller]
fn read(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
