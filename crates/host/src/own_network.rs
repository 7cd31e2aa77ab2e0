//! A network namespace of this thread's own, empty, seen by nobody else and gone with the last thread and descriptor in it.
//! It is not a tunnel's namespace and has no name: `mrvpn demo` builds its world from such. What is joined to it and
//! how is [`mod@crate::wiring`]'s.

use std::fs::{self, File};
use std::io;

use rustix::process::{getgid, getuid};
use rustix::thread::UnshareFlags;
use thiserror::Error;

use crate::sys;

/// Which step was refused; what to do about it depends on the machine's settings.
#[derive(Debug, Error)]
pub enum NoNetwork {
    /// A network namespace of its own was refused to this process, with the rights that it has.
    #[error("making a network namespace: {0}")]
    Network(#[source] io::Error),
    /// A user namespace, in which the process would have the right, was refused too.
    #[error("making a user namespace: {0}")]
    User(#[source] io::Error),
    /// The user namespace was made, and gives no rights.
    #[error("becoming root of a user namespace: {0}")]
    Root(#[source] io::Error),
}

/// Moves this thread into a new network namespace; threads that it starts later are there too. Without the right to do so
/// it makes a user namespace first, in which this process is root and outside of which it is who it was: that works
/// only while the process has one thread.
///
/// # Errors
/// See [`NoNetwork`]. After [`NoNetwork::Root`] the process is in a user namespace without rights, and should end.
pub fn enter() -> Result<(), NoNetwork> {
    match sys::unshare(UnshareFlags::NEWNET) {
        Ok(()) => return Ok(()),
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => return Err(NoNetwork::Network(error)),
        Err(_) => {}
    }
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER).map_err(NoNetwork::User)?;
    map_root(user, group).map_err(NoNetwork::Root)?;
    sys::unshare(UnshareFlags::NEWNET).map_err(NoNetwork::Root)
}

/// The namespace of this thread, for others to send devices there.
///
/// # Errors
/// There is no /proc.
pub fn descriptor() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// Who this process is outside becomes root inside. Who may change groups is taken away first, or no group may be mapped
/// (user_namespaces(7)).
fn map_root(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1\n"))
}
