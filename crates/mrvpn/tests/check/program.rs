//! Running `mrvpn check`. No judgement is looked at here.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scratch::Scratch;

/// What the program said.
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl Said {
    /// The JSON array.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

/// Runs `mrvpn check` in `directory`, as whoever runs the test.
pub(crate) fn check(directory: &Path, arguments: &[&str]) -> Said {
    run(Command::new(env!("CARGO_BIN_EXE_mrvpn")), directory, arguments)
}

/// The same as a user without privileges: one who runs the tests as root becomes nobody, with a copy of the program
/// that nobody may run.
pub(crate) fn check_as_ordinary_user(scratch: &Scratch, arguments: &[&str]) -> Said {
    if !rustix::process::geteuid().is_root() {
        return check(scratch.path(), arguments);
    }
    let copy = scratch.path().join("mrvpn");
    if !copy.exists() {
        fs::copy(env!("CARGO_BIN_EXE_mrvpn"), &copy).expect("the program can be copied");
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("it is ours");
    }
    let mut command = Command::new(copy);
    command.uid(NOBODY).gid(NOBODY);
    run(command, scratch.path(), arguments)
}

/// The program must come to an end by itself, whatever it is given.
fn run(mut command: Command, directory: &Path, arguments: &[&str]) -> Said {
    let output = directory.join(format!(".said-{:?}", std::thread::current().id()));
    let files = [output.with_extension("out"), output.with_extension("err")];
    let [out, err] = files.each_ref().map(|path| fs::File::create(path).expect("a file can be made"));
    command.current_dir(directory).arg("check").args(arguments);
    command.stdin(Stdio::null()).stdout(out).stderr(err).env_remove("MRVPN_INSTANCE");
    let started = Instant::now();
    let mut child = loop {
        match command.spawn() {
            // A child of another test still holds the copy open for writing, from its fork to its exec.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && started.elapsed() < LONGEST => {
                std::thread::sleep(Duration::from_millis(2));
            }
            other => break other.expect("the program starts"),
        }
    };
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if started.elapsed() > LONGEST {
            let _ = child.kill();
            panic!("still running after {LONGEST:?}: check {arguments:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let [out, err] = files.map(|path| {
        let text = fs::read_to_string(&path).expect("what was said is text");
        fs::remove_file(path).expect("it is ours");
        text
    });
    Said { out, err, code: status.code().expect("no signal ended it") }
}

/// The user and group that own nothing.
const NOBODY: u32 = 65_534;

/// 60 s: many times what any file takes on a slow machine that does other work.
const LONGEST: Duration = Duration::from_secs(60);

/// The lines of a profile that is accepted; `text` follows from line [`HEAD`] + 1 on.
pub(crate) fn profile(text: &str) -> String {
    format!(
        "client\ndev tun\nremote vpn.example 1194\nauth-user-pass\nremote-cert-tls server\n<ca>\n\
         -----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n</ca>\n{text}"
    )
}

/// How many lines [`profile`] has before its text.
pub(crate) const HEAD: u64 = 10;
