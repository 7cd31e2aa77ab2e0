//! What a shell or a program has left open stays with it: a detached engine lives long, and whoever waits for the other
//! end of an inherited pipe would wait as long (threats-and-faults.md, T-64).

#![expect(unsafe_code, reason = "close_range(2): no crate that is used here has a safe call for it")]

use std::io;

/// The first descriptor behind the standard streams.
const FIRST: libc::c_uint = 3;

/// Marks every open descriptor but the standard streams so that no program that this process starts has it.
///
/// # Errors
/// Linux before 5.11 does not know how; what the caller has left open is inherited then.
pub(super) fn keep_from_children() -> io::Result<()> {
    // SAFETY: no memory is handed over and nothing is closed: CLOSE_RANGE_CLOEXEC only sets FD_CLOEXEC, which std sets on
    // all that it opens anyway.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: T-64
    #[test]
    fn a_descriptor_that_a_shell_left_open_is_not_inherited() {
        let (near, _far) = io::pipe().unwrap();
        rustix::io::fcntl_setfd(&near, rustix::io::FdFlags::empty()).unwrap();
        keep_from_children().unwrap();
        assert!(rustix::io::fcntl_getfd(&near).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
}
