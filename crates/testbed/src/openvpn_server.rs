//! Debian's OpenVPN server, unchanged, in a region's namespace: started, killed by its pid, started again. Not a server of
//! ours: that two programs of one author agree proves little.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{netns::Netns, pki::Pki, process::Process, region::Region};

/// Port of every server.
pub const OPENVPN_PORT: u16 = 1194;

/// User and password that a server with [`ServerOptions::password`] takes.
pub const ACCOUNT: (&str, &str) = ("alice", "correct horse");

/// A server says this when it takes clients.
const READY: &str = "Initialization Sequence Completed";

/// How the control channel is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Not at all.
    None,
    /// `tls-auth` with SHA256, directions 0 and 1.
    TlsAuth,
    /// `tls-crypt`.
    TlsCrypt,
}

/// What a server does beyond the common configuration.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Wrapping of its control channel.
    pub wrapping: Wrapping,
    /// Whether it asks for a user and a password, and counts each login.
    pub password: bool,
    /// Options that it pushes, without the word `push`.
    pub pushes: Vec<String>,
    /// Other lines of its configuration.
    pub lines: Vec<String>,
}

impl ServerOptions {
    /// A server with this wrapping that pushes nothing but its address and `ping 1`, `ping-restart 4`.
    #[must_use]
    pub fn new(wrapping: Wrapping) -> Self {
        Self { wrapping, password: false, pushes: Vec::new(), lines: Vec::new() }
    }

    /// Asks for user and password.
    #[must_use]
    pub fn with_password(mut self) -> Self {
        self.password = true;
        self
    }

    /// Pushes one option more.
    #[must_use]
    pub fn push(mut self, option: &str) -> Self {
        self.pushes.push(String::from(option));
        self
    }

    /// Has one line more.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(String::from(line));
        self
    }
}

/// A running (or killed) server.
#[derive(Debug)]
pub struct OpenvpnServer {
    region: Region,
    directory: PathBuf,
    options: ServerOptions,
    process: Option<Process>,
}

impl OpenvpnServer {
    /// Writes its configuration; nothing runs yet.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    #[track_caller]
    pub fn new(region: Region, options: ServerOptions, pki: &Pki, directory: &Path) -> Self {
        let this = Self { region, directory: directory.to_path_buf(), options, process: None };
        this.write("conf", &this.configuration(pki));
        this.write("login.sh", &login_script(&this.logins_file()));
        this
    }

    /// Starts it in `netns` and waits until it takes clients.
    ///
    /// # Panics
    /// When it does not within 10 s.
    #[track_caller]
    pub fn start(&mut self, netns: &Netns) {
        let mut command = netns.command("openvpn");
        command.args(["--config", &self.file("conf").display().to_string()]);
        let mut process = Process::start(&format!("openvpn-{}", self.region.name), command, &self.directory);
        process.wait_for(READY, Duration::from_secs(10));
        self.process = Some(process);
    }

    /// Kills it at once: it says goodbye to nobody, its device and the addresses on it are gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap_or_else(|| panic!("the server of {} does not run", self.region.name)).pid()
    }

    /// How many logins it has judged, right or wrong.
    #[must_use]
    pub fn logins(&self) -> usize {
        fs::read_to_string(self.logins_file()).unwrap_or_default().lines().count()
    }

    /// Its log since the last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stdout).unwrap_or_default()
    }

    fn configuration(&self, pki: &Pki) -> String {
        let (region, at) = (&self.region, |name: &str| pki.path(name));
        let mut lines = vec![
            format!("server {} {}", region.network.0, region.network.1),
            format!("local {}\nport {OPENVPN_PORT}\nproto udp\ndev tun0\ndev-type tun\ntopology subnet", region.outer),
            format!("ca {}\ncert {}\nkey {}\ndh none", at("ca.crt"), at("server.crt"), at("server.key")),
            format!("keepalive 1 4\nverb 3\ntmp-dir {}", self.directory.display()),
        ];
        lines.push(match self.options.wrapping {
            Wrapping::None => String::new(),
            Wrapping::TlsAuth => format!("tls-auth {} 0\nauth SHA256", at("static.key")),
            Wrapping::TlsCrypt => format!("tls-crypt {}", at("static.key")),
        });
        if self.options.password {
            let script = self.file("login.sh").display().to_string();
            lines.push(format!("script-security 2\nauth-user-pass-verify \"/bin/sh {script}\" via-file"));
        }
        lines.extend(self.options.pushes.iter().map(|option| format!("push \"{option}\"")));
        lines.extend(self.options.lines.iter().cloned());
        lines.join("\n") + "\n"
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.directory.join(format!("{}-server.{ending}", self.region.name))
    }

    fn logins_file(&self) -> PathBuf {
        self.file("logins")
    }

    #[track_caller]
    fn write(&self, ending: &str, text: &str) {
        let path = self.file(ending);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Notes each login and takes [`ACCOUNT`] alone. OpenVPN gives a file with user and password, a line each.
fn login_script(logins: &Path) -> String {
    let (user, password) = ACCOUNT;
    let logins = logins.display();
    format!(
        "{{ read -r user; read -r password; }} < \"$1\"\necho \"$user\" >> {logins}\n\
         [ \"$user\" = '{user}' ] && [ \"$password\" = '{password}' ]\n"
    )
}
