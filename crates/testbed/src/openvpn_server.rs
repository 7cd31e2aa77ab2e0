//! Debian's OpenVPN server, unchanged, in a region's namespace: started, killed by its pid, started again. Not a server of
//! ours: that two programs of one author agree proves little.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    netns::Netns,
    pki::Pki,
    process::Process,
    region::Region,
    server_options::{Outside, ServerOptions, Transport, Wrapping},
};

/// Port of every server.
pub const OPENVPN_PORT: u16 = 1194;

/// User and password that a server with [`ServerOptions::password`] takes.
pub const ACCOUNT: (&str, &str) = ("alice", "correct horse");

/// A server says this when it takes clients.
const READY: &str = "Initialization Sequence Completed";

/// And this when it has told them that it ends.
const GOODBYE: &str = "SENT CONTROL";

/// Where a server stands: its address and port outside, its device and its network inside.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Name of its files and in messages.
    pub name: String,
    /// The outer address, of either family.
    pub outer: String,
    /// The outer port.
    pub port: u16,
    /// The tun device.
    pub device: String,
    /// Network and mask of `server`; empty where it assigns no IPv4 address.
    pub network: (String, String),
}

impl Seat {
    /// A region's own: port 1194, `tun0`.
    #[must_use]
    pub fn of(region: Region, outside: Outside) -> Self {
        Self {
            name: String::from(region.name),
            outer: String::from(match outside {
                Outside::Four => region.outer,
                Outside::Six => region.outer6.0,
            }),
            port: OPENVPN_PORT,
            device: String::from("tun0"),
            network: (String::from(region.network.0), String::from(region.network.1)),
        }
    }
}

/// A running (or killed) server.
#[derive(Debug)]
pub struct OpenvpnServer {
    seat: Seat,
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
    pub fn new(seat: Seat, options: ServerOptions, pki: &Pki, directory: &Path) -> Self {
        let this = Self { seat, directory: directory.to_path_buf(), options, process: None };
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
        let mut process = Process::start(&format!("openvpn-{}", self.seat.name), command, &self.directory);
        process.wait_for(READY, Duration::from_secs(10));
        self.process = Some(process);
    }

    /// Kills it at once: it says goodbye to nobody, its device and the addresses on it are gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to end and kills it once it has said so to its clients (`explicit-exit-notify` must be in its lines): they
    /// know at once, where a killed server leaves them to their timers.
    ///
    /// # Panics
    /// When it does not run, or says nothing.
    #[track_caller]
    pub fn dismiss(&mut self) {
        let mut process = self.process.take().unwrap_or_else(|| panic!("no server runs in {}", self.seat.name));
        process.signal(Signal::TERM);
        process.wait_for(GOODBYE, Duration::from_secs(3));
        // The packets themselves follow within the same turn of its loop, and again a second later.
        std::thread::sleep(Duration::from_millis(100));
    }

    /// Whether it was started and not killed.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap_or_else(|| panic!("the server of {} does not run", self.seat.name)).pid()
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
        let (seat, options, at) = (&self.seat, &self.options, |name: &str| pki.path(name));
        let identity = &options.identity;
        let mut lines = vec![
            if seat.network.0.is_empty() {
                String::from("mode server\ntls-server")
            } else {
                format!("server {} {}", seat.network.0, seat.network.1)
            },
            format!("local {}\nport {}\nproto {}", seat.outer, seat.port, protocol(options)),
            format!("dev {}\ndev-type tun\ntopology subnet", seat.device),
            format!("ca {}\ndh none", at("ca.crt")),
            format!("cert {}\nkey {}", at(&format!("{identity}.crt")), at(&format!("{identity}.key"))),
            format!("keepalive 1 4\nverb 3\ntmp-dir {}", self.directory.display()),
        ];
        lines.push(match (options.wrapping, options.transport) {
            (Wrapping::None, _) => String::new(),
            (Wrapping::TlsAuth, _) => format!("tls-auth {} 0\nauth SHA256", at("static.key")),
            (Wrapping::TlsCrypt, _) => format!("tls-crypt {}", at("static.key")),
            (Wrapping::TlsCryptV2, Transport::Udp) => format!("tls-crypt-v2 {} force-cookie", at("v2-server.key")),
            (Wrapping::TlsCryptV2, Transport::Tcp) => format!("tls-crypt-v2 {}", at("v2-server.key")),
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
        self.directory.join(format!("{}-server.{ending}", self.seat.name))
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

/// The word of `proto`: both families have their own.
fn protocol(options: &ServerOptions) -> &'static str {
    match (options.transport, options.outside) {
        (Transport::Udp, Outside::Four) => "udp4",
        (Transport::Udp, Outside::Six) => "udp6",
        (Transport::Tcp, Outside::Four) => "tcp4-server",
        (Transport::Tcp, Outside::Six) => "tcp6-server",
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
