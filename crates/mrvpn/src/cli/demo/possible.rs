//! Enters a network namespace of the demo's own, or says exactly what this machine lacks for it and the line to type.

use std::fs::{self, File};
use std::io;

use mrvpn_host::own_network::{self, NoNetwork};

use crate::failure::Failure;

/// The driver of TUN devices.
const DRIVER: &str = "/dev/net/tun";
/// Settings that keep users from namespaces; the first is of Linux, the second of Debian, the third of Ubuntu.
const MAX_USER: &str = "/proc/sys/user/max_user_namespaces";
const MAX_NETWORK: &str = "/proc/sys/user/max_net_namespaces";
const DEBIAN: &str = "/proc/sys/kernel/unprivileged_userns_clone";
const UBUNTU: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// What to do where a container is the reason.
const CONTAINER: &str =
    "for a container: start it with `--device /dev/net/tun --cap-add NET_ADMIN --cap-add SYS_ADMIN`";

/// Moves this process, which has one thread, into a network namespace of its own. Nothing is changed where it fails.
pub(super) fn enter() -> Result<(), Failure> {
    let root = rustix::process::geteuid().is_root() && !in_user_namespace();
    driver(File::options().read(true).write(true).open(DRIVER).err().as_ref(), root)?;
    own_network::enter().map_err(|refused| explain(&refused, root, |path| fs::read_to_string(path).ok()))
}

/// Whether this process is in a user namespace already: root there is somebody else outside.
fn in_user_namespace() -> bool {
    let everybody = ["0", "0", "4294967295"];
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.split_whitespace().eq(everybody))
}

/// The driver can be opened, or what is missing.
fn driver(error: Option<&io::Error>, root: bool) -> Result<(), Failure> {
    let Some(error) = error else { return Ok(()) };
    let failure = |text: &str| Failure::failed(format!("{DRIVER} {text}"));
    Err(match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => failure("is missing: this system has no TUN devices")
            .hint("load the module: `sudo modprobe tun`; for a container: start it with `--device /dev/net/tun`"),
        Some(libc::EACCES) if !root => failure("may not be opened by this user")
            .hint(format!("`sudo {} demo`, or let all open it: `sudo chmod 0666 {DRIVER}`", program())),
        Some(libc::EPERM | libc::EACCES) => failure("may not be opened here, though it is there").hint(CONTAINER),
        _ => failure(&format!("cannot be opened: {error}")),
    })
}

/// What keeps this process from a namespace of its own. `read` reads a setting.
fn explain(refused: &NoNetwork, root: bool, read: impl Fn(&str) -> Option<String>) -> Failure {
    let failure = Failure::failed(format!("the demo needs network namespaces of its own: {refused}"));
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    let (NoNetwork::Network(source) | NoNetwork::User(source) | NoNetwork::Root(source)) = refused;
    let sudo = format!("or `sudo {} demo`", program());
    let hint = if is(MAX_USER, "0") {
        format!("user namespaces are off: `sudo sysctl user.max_user_namespaces=15000`, {sudo}")
    } else if is(MAX_NETWORK, "0") {
        String::from("network namespaces are off: `sudo sysctl user.max_net_namespaces=15000`")
    } else if is(DEBIAN, "0") {
        format!("user namespaces are for root alone: `sudo sysctl kernel.unprivileged_userns_clone=1`, {sudo}")
    } else if is(UBUNTU, "1") && !root {
        format!(
            "AppArmor gives no rights in user namespaces: `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, \
             {sudo}"
        )
    } else if source.raw_os_error() == Some(libc::ENOSPC) {
        String::from(
            "there are as many namespaces as are allowed: raise `sysctl user.max_user_namespaces` and \
                      `user.max_net_namespaces`",
        )
    } else if root {
        String::from(CONTAINER)
    } else {
        format!("user namespaces are not allowed here: `sudo {} demo`; {CONTAINER}", program())
    };
    failure.hint(hint)
}

/// As the user has called this program.
pub(super) fn program() -> String {
    let called = std::env::args().next().filter(|name| !name.is_empty());
    mrvpn_profile::escape(called.as_deref().unwrap_or("mrvpn").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(refused: &NoNetwork, root: bool, setting: Option<(&str, &str)>) -> String {
        let read = |path: &str| setting.filter(|(name, _)| *name == path).map(|(_, value)| format!("{value}\n"));
        explain(refused, root, read).hinted().unwrap().to_owned()
    }

    fn error(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn each_setting_that_keeps_users_from_namespaces_is_named_with_the_line_to_type() {
        let user = || NoNetwork::User(error(libc::ENOSPC));
        let cases = [
            (user(), MAX_USER, "0", "`sudo sysctl user.max_user_namespaces=15000`"),
            (NoNetwork::Network(error(libc::ENOSPC)), MAX_NETWORK, "0", "sysctl user.max_net_namespaces=15000"),
            (NoNetwork::User(error(libc::EPERM)), DEBIAN, "0", "kernel.unprivileged_userns_clone=1"),
            (NoNetwork::Root(error(libc::EPERM)), UBUNTU, "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ];
        for (refused, setting, value, line) in cases {
            assert!(hint(&refused, false, Some((setting, value))).contains(line), "{line}");
        }
        assert!(hint(&user(), false, None).contains("as many namespaces as are allowed"));
        assert!(hint(&NoNetwork::User(error(libc::EPERM)), false, None).contains("sudo "));
        assert!(hint(&NoNetwork::User(error(libc::EPERM)), true, None).contains("--cap-add SYS_ADMIN"));
    }

    #[test]
    fn a_driver_that_is_missing_or_for_root_alone_is_named_with_the_line_to_type() {
        let hint = |code, root| driver(Some(&error(code)), root).unwrap_err().hinted().unwrap().to_owned();
        assert!(hint(libc::ENOENT, false).contains("`sudo modprobe tun`"));
        assert!(hint(libc::ENXIO, true).contains("`sudo modprobe tun`"));
        assert!(hint(libc::EACCES, false).contains("`sudo chmod 0666 /dev/net/tun`"));
        assert!(hint(libc::EPERM, true).contains("--device /dev/net/tun"));
        assert!(driver(None, false).is_ok());
    }
}
