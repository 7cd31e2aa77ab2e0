//! What the kernel tests need of the machine: Debian packages, root, a TUN device. What is missing is installed where that
//! may be done, else named with the command to type: a test that cannot run is a failure, never skipped.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use crate::step::say;

/// A program and the Debian package that has it.
pub(crate) type Needs = &'static [(&'static str, &'static str)];

/// For the tests.
pub(crate) const FOR_TESTS: Needs = &[
    ("openvpn", "openvpn"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("openssl", "openssl"),
    ("sysctl", "procps"),
];

/// For the benchmark.
pub(crate) const FOR_BENCH: Needs = &[
    ("openvpn", "openvpn"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("sysctl", "procps"),
    ("iperf3", "iperf3"),
    ("taskset", "util-linux"),
];

/// Makes sure that root runs this on a machine with the programs and a TUN device.
///
/// # Errors
/// What is missing, with the command to type.
pub(crate) fn prepare(needs: Needs) -> Result<(), String> {
    if !is_root() {
        return Err(String::from(
            "kernel tests make network namespaces and need root; type: sudo --preserve-env=PATH,HOME cargo xtask test",
        ));
    }
    install(&missing(needs))?;
    let still = missing(needs);
    if !still.is_empty() {
        return Err(format!("still missing after the installation: {}", still.join(" ")));
    }
    if Path::new("/dev/net/tun").exists() {
        return Ok(());
    }
    Err(String::from(
        "no /dev/net/tun; type: mkdir -p /dev/net && mknod /dev/net/tun c 10 200 (in a container: --device /dev/net/tun --cap-add NET_ADMIN)",
    ))
}

/// The packages whose programs are not there, each once.
fn missing(needs: Needs) -> Vec<&'static str> {
    let mut packages: Vec<&str> =
        needs.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> Result<(), String> {
    if packages.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_there("apt-get") {
        return Err(format!("missing: {}; on Debian type: {command}", packages.join(" ")));
    }
    say(&format!("installing {}", packages.join(" ")));
    let run = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        apt.status().is_ok_and(|status| status.success())
    };
    let arguments = [&["install", "-y", "-q", "--no-install-recommends"], packages].concat();
    // A list that could not be refreshed may still do; the installation decides.
    run(&["update", "-q"]);
    if run(&arguments) { Ok(()) } else { Err(format!("the installation failed; type: {command}")) }
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(std::path::PathBuf::from);
    env::split_paths(&path).chain(system).any(|directory| directory.join(program).exists())
}

/// Whether the effective user is root: the third number of `Uid` in the kernel's account of this process.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uids.split_whitespace().nth(1) == Some("0")
}
