//! Who is at the other end of a connection, by the kernel's word at the time it was made: user, group and all further
//! groups. What they may do is judged in [`super::caller`].

#![expect(unsafe_code, reason = "SO_PEERGROUPS: no crate that is used here has a safe call for it")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use tokio::net::UnixStream;

/// 65,536: NGROUPS_MAX of Linux.
const MOST_GROUPS: usize = 65_536;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its effective user.
    pub(super) uid: u32,
    /// Its effective group and all further ones.
    pub(super) groups: Vec<u32>,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The kernel does not say; nobody may be taken for somebody then.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let who = stream.peer_cred()?;
        let mut groups = further_groups(stream.as_fd())?;
        groups.insert(0, who.gid());
        Ok(Self { uid: who.uid(), groups })
    }
}

/// The further groups of the other end. A kernel older than 4.13 does not know them: none then.
fn further_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut room = 64;
    loop {
        let mut groups = vec![0_u32; room];
        match ask(socket, &mut groups) {
            Ok(count) => {
                groups.truncate(count);
                return Ok(groups);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && room < MOST_GROUPS => {
                room = room.saturating_mul(4).min(MOST_GROUPS);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// Fills `groups` and says how many there are.
fn ask(socket: BorrowedFd<'_>, groups: &mut [u32]) -> io::Result<usize> {
    let size = size_of::<u32>();
    let mut length = libc::socklen_t::try_from(size_of_val(groups)).unwrap_or(0);
    // SAFETY: `groups` is `length` bytes of plain integers (gid_t is u32 on Linux), which the kernel may write and which
    // outlive the call; the descriptor is borrowed and open.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).unwrap_or(0) / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_is_known_with_user_and_every_group() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.groups[0], rustix::process::getegid().as_raw());
        let mut further: Vec<u32> = rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let mut seen = peer.groups[1..].to_vec();
        further.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, further);
    }
}
