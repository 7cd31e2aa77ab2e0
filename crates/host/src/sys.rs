//! The ioctls of /dev/net/tun, one socket option and `unshare`, and nothing else: the only unsafe code of this crate (tun.c
//! of the Linux kernel, linux/if_tun.h). Which flags and when is [`crate::tun`]'s and [`mod@crate::own_network`]'s.

#![expect(unsafe_code, reason = "neither ioctl nor unshare has a safe form, and no library has the option")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::thread::UnshareFlags;

/// Longest name of a device in bytes (IFNAMSIZ without its zero).
pub(crate) const MAX_NAME: usize = libc::IFNAMSIZ - 1;

/// TUNSETIFF: makes or joins the device `name`.
///
/// # Errors
/// The name is empty or longer than [`MAX_NAME`], or the kernel refuses.
pub(crate) fn set_interface(tun: BorrowedFd<'_>, name: &str, flags: libc::c_int) -> io::Result<()> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: every field of `ifreq` is an integer, an array of integers or a union of such, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // The kernel reads the low 16 bits; IFF_TUN_EXCL is the sign bit of them.
    request.ifr_ifru.ifru_flags = (flags & 0xffff) as u16 as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is and which outlives the call; the descriptor is
    // borrowed and therefore open.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    checked(result)
}

/// TUNSETVNETHDRSZ: length of the virtio-net header in front of each packet.
pub(crate) fn set_header_length(tun: BorrowedFd<'_>, length: libc::c_int) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one `int`, which `length` is and which outlives the call.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const length) };
    checked(result)
}

/// TUNSETOFFLOAD: what the reader of the device can finish by itself.
pub(crate) fn set_offload(tun: BorrowedFd<'_>, offload: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offload)) };
    checked(result)
}

/// TUNSETPERSIST: the device stays when nobody has it open any more.
pub(crate) fn set_persistent(tun: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes its argument by value and touches no memory of ours.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETPERSIST, 1 as libc::c_ulong) };
    checked(result)
}

/// SO_NETNS_COOKIE: the number of the socket's network namespace, which no other has had since boot.
///
/// # Errors
/// The kernel is older than 5.14.
pub(crate) fn namespace_number(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut number = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    let (option, value) = (libc::SO_NETNS_COOKIE, (&raw mut number).cast());
    // SAFETY: the option is eight bytes, which `number` has room for and `length` says; both outlive the call; the
    // descriptor is borrowed and therefore open.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, &raw mut length) };
    checked(result).map(|()| number)
}

/// Leaves what `flags` name for something new of this thread's own: namespaces, never the table of descriptors.
///
/// # Errors
/// The process may not, its machine has no more of them, or the table of descriptors is among them.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.intersects(UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: what makes it unsafe is a table of descriptors that threads no longer share, and FILES is not among `flags`.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
