//! TUN devices: opening one with its queues, and moving packets. Always multi-queue and always with a virtio-net
//! header, with one queue and with offload off too, so that every device of ours is of one kind (decision 17 of the
//! design). Addresses and routes are netlink's.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use mrvpn_netplan::{DeviceSpec, HostError, OffloadSet, Queue, QueueCapabilities, QueueError};
use mrvpn_router::{AppId, FlowTuple, Offload};
use rustix::io::Errno;

use crate::owner::Owners;
use crate::{facts, sys};

pub(crate) mod virtio; // the header in front of each packet

const DRIVER: &str = "/dev/net/tun";
/// A device of this kind and no other.
const FLAGS: libc::c_int = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE | libc::IFF_VNET_HDR;
/// TCP super-packets.
const TCP_OFFLOAD: libc::c_uint = libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
/// UDP super-packets, Linux 6.2 and later.
const UDP_OFFLOAD: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;
/// Parts that one write can have at most; the kernel's own limit is 1024 (IOV_MAX).
const MAX_PARTS: usize = 127;
/// With this many parts or fewer the list is short.
const FEW_PARTS: usize = 7;

/// Whether the device is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is made; one of that name is in the way.
    New,
    /// A killed engine left it.
    There,
}

/// One queue of a TUN device. A device that is not persistent vanishes with its last queue.
#[derive(Debug)]
pub struct LinuxQueue {
    file: File,
    capabilities: QueueCapabilities,
    owners: Owners,
}

/// Makes the device, or joins the one that is there, and opens its queues.
///
/// # Errors
/// No permission, no driver; a device of that name is there already, or it is there and of another kind.
pub(crate) fn open(spec: &DeviceSpec, presence: Presence) -> Result<Vec<LinuxQueue>, HostError> {
    let first = match presence {
        Presence::New => queue(spec, FLAGS | libc::IFF_TUN_EXCL)?,
        Presence::There => queue(spec, FLAGS).map_err(not_of_our_kind)?,
    };
    let mut queues = vec![first];
    for _ in 1..spec.queues {
        queues.push(queue(spec, FLAGS)?);
    }
    Ok(queues)
}

/// A device that refuses the flags is no TUN, or one of another kind.
fn not_of_our_kind(error: HostError) -> HostError {
    match error {
        HostError::System { what, source } if source.raw_os_error() == Some(libc::EINVAL) => HostError::Taken { what },
        HostError::System { .. } | HostError::Taken { .. } | HostError::NotPermitted { .. } => error,
    }
}

fn queue(spec: &DeviceSpec, flags: libc::c_int) -> Result<LinuxQueue, HostError> {
    let file = open_driver()?;
    let what = || format!("making the TUN device {}", spec.name);
    sys::set_interface(file.as_fd(), &spec.name, flags).map_err(|error| refused(what(), error))?;
    let length = virtio::LENGTH as libc::c_int;
    sys::set_header_length(file.as_fd(), length).map_err(|error| refused(what(), error))?;
    let capabilities = set_offload(&file, spec.offload).map_err(|error| refused(what(), error))?;
    Ok(LinuxQueue { file, capabilities, owners: Owners::default() })
}

fn open_driver() -> Result<File, HostError> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(DRIVER);
    opened.map_err(|error| not_opened(error, facts::may_change()))
}

/// Why there is no driver, and what to type. Who may change the network and is refused all the same is in a container that
/// was given no devices.
fn not_opened(error: io::Error, may_change: bool) -> HostError {
    let hint = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            "is the kernel module `tun` loaded? try `sudo modprobe tun`; in a container, start it with \
             `--device /dev/net/tun`"
        }
        Some(libc::EPERM | libc::EACCES) if may_change => {
            "this container, or whoever started this program, is kept from it; start it with `--device /dev/net/tun`"
        }
        _ => return refused(format!("opening {DRIVER}"), error),
    };
    HostError::System { what: format!("opening {DRIVER} ({hint})"), source: error }
}

fn refused(what: String, error: io::Error) -> HostError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => HostError::NotPermitted { what },
        // Taken by name (IFF_TUN_EXCL), or of another kind than ours.
        Some(libc::EBUSY | libc::EEXIST) => HostError::Taken { what },
        _ => HostError::System { what, source: error },
    }
}

/// Asks for what is wanted and the kernel gives: all of it, else without UDP super-packets.
fn set_offload(file: &File, wanted: OffloadSet) -> io::Result<QueueCapabilities> {
    let wanted = QueueCapabilities::of(wanted);
    if !wanted.checksum {
        sys::set_offload(file.as_fd(), 0)?;
        return Ok(wanted);
    }
    let tcp = libc::TUN_F_CSUM | if wanted.tso { TCP_OFFLOAD } else { 0 };
    let uso = wanted.uso && sys::set_offload(file.as_fd(), tcp | UDP_OFFLOAD).is_ok();
    if !uso {
        sys::set_offload(file.as_fd(), tcp)?;
    }
    Ok(QueueCapabilities { uso, ..wanted })
}

impl Queue for LinuxQueue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError> {
        loop {
            let mut header = [0; virtio::LENGTH];
            let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
            let length = match rustix::io::readv(&self.file, &mut parts) {
                Ok(length) => length,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(ended(error)),
            };
            // A kind of super-packet that was never asked for, or less than a header, cannot come; it is passed over.
            if let (Some(packet), Some(offload)) = (length.checked_sub(virtio::LENGTH), virtio::parse(&header)) {
                return Ok(Some((packet, offload)));
            }
        }
    }

    fn write(&mut self, offload: Offload, parts: &[&[u8]]) -> Result<bool, QueueError> {
        let header = virtio::emit(&offload);
        if parts.len() <= FEW_PARTS {
            self.write_list(&header, parts, &mut [IoSlice::new(&[]); FEW_PARTS + 1])
        } else {
            self.write_list(&header, parts, &mut [IoSlice::new(&[]); MAX_PARTS + 1])
        }
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.capabilities
    }

    fn app(&mut self, flow: &FlowTuple) -> Option<AppId> {
        self.owners.app(flow)
    }
}

impl LinuxQueue {
    /// The device stays when its last queue is dropped.
    pub(crate) fn make_persistent(&self) -> io::Result<()> {
        sys::set_persistent(self.file.as_fd())
    }

    fn write_list<'a>(
        &self,
        header: &'a [u8; virtio::LENGTH],
        parts: &[&'a [u8]],
        list: &mut [IoSlice<'a>],
    ) -> Result<bool, QueueError> {
        let Some(list) = list.get_mut(..=parts.len()) else {
            let what = format!("a packet in more than {MAX_PARTS} parts");
            return Err(QueueError::System(io::Error::new(io::ErrorKind::InvalidInput, what)));
        };
        let bytes = std::iter::once(header.as_slice()).chain(parts.iter().copied());
        for (slot, bytes) in list.iter_mut().zip(bytes) {
            *slot = IoSlice::new(bytes);
        }
        loop {
            match rustix::io::writev(&self.file, list) {
                Ok(_) => return Ok(true),
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(ended(error)),
            }
        }
    }
}

/// After its deletion a device answers EBADFD.
fn ended(error: Errno) -> QueueError {
    if error == Errno::BADFD { QueueError::Gone } else { QueueError::System(error.into()) }
}

impl AsFd for LinuxQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_cannot_be_opened_is_named_with_the_cause_and_the_line_to_type() {
        for (code, may_change, said) in [
            (libc::ENOENT, true, "sudo modprobe tun"),
            (libc::ENODEV, true, "sudo modprobe tun"),
            (libc::EPERM, true, "--device /dev/net/tun"),
            (libc::EACCES, false, "sudo"),
            (libc::EMFILE, true, "Too many open files"),
        ] {
            let text = not_opened(io::Error::from_raw_os_error(code), may_change).to_string();
            assert!(text.starts_with("opening /dev/net/tun") && text.contains(said), "{code}: {text}");
        }
    }
}
