//! How much a bundle may hold. A single file is bound by `mrvpn_profile::limits::NAMED_FILE`.

use crate::control::BUNDLE_LIMIT;

/// 64 MiB: all of it, as the control socket takes it (contract.md section 1).
pub(crate) const BUNDLE: usize = BUNDLE_LIMIT;

/// 8 MiB: the first line, room for the paths of all files.
pub(crate) const HEADER: usize = 8 * 1024 * 1024;

/// 20,000 files, read or tried: a thousand tunnels, each with a profile, credentials and nine materials that were looked
/// for in two places.
pub(crate) const FILES: usize = 20_000;

/// 1,000 users with their passwords: one a tunnel.
pub(crate) const ANSWERS: usize = 1_000;
