//! Every hard limit of this crate in one place, each tested at the limit and on both sides of it.

/// 64 MiB of a journal: more is not read. One that is written is far shorter ([`COMPACT_FROM`]).
pub const MAX_JOURNAL: u64 = 64 << 20;

/// 1 MiB: from here on a journal that has doubled since is written anew with what stands alone.
pub const COMPACT_FROM: u64 = 1 << 20;

/// 1 MiB of the file that says who holds which kernel setting: more is not read.
pub const MAX_SETTINGS: u64 = 1 << 20;

/// Connections that came in before, taken into the set that lets them go on; of more, those with the lowest addresses. A
/// batch with all of them is about 5 MiB.
pub const MAX_INBOUND: usize = 65_536;

/// UDP services that are named.
pub const MAX_SERVICES: usize = 1_024;

/// UDP flows of this host that are known as such when the tables are set.
pub const MAX_ASKED: usize = 16_384;

/// Routes of one table that a policy rule of others leads to, an entry for each interface. Of more it is not said where they
/// lead.
pub const MAX_FOREIGN_ROUTES: usize = 4_096;
