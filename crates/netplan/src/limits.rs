//! Every hard limit of this crate in one place, each tested at the limit and on both sides of it. What a server may say
//! at all is limited earlier, in `profile`.

/// Claims of all tunnels together (threats-and-faults, limits: pushed routes). Claims beyond it are left out, in the
/// order of the file, and shown as a conflict.
pub const MAX_CLAIMS: usize = 16_384;

/// Runs of neighbouring rules with the same answer that need policy rules, a family: one priority each, P+10 to P+27.
pub const MAX_RUNS: usize = 18;

/// Policy rules that the user's rules become, both families together. The kernel walks them one by one for each lookup.
pub const MAX_POLICY_RULES: usize = 512;

/// Policy rules that are written down before those that are equal are joined: what lies above is refused without that.
/// A file of 256 KiB could ask for more than any memory holds.
pub const MAX_COMBINATIONS: usize = 65_536;

/// Lines for what is left to the host whatever else holds (`bypass`), both families together. The kernel walks them one
/// by one for each lookup; a tunnel may name 64.
pub const MAX_BYPASS: usize = 512;

/// Lines of the fence for policy rules of others. Where they have more, routing alone holds what is captured.
pub const MAX_FOREIGN_LINES: usize = 256;

/// Conflicts of a kind that are listed, from one source; how many more there are is said.
pub const MAX_LISTED: usize = 256;

/// Tunnels of one address book, and the bound of their bind numbers: what an eighth of the smaller kind of pool (a /20)
/// has bind addresses for (3,838), rounded down.
pub const MAX_TUNNELS: u16 = 3_584;
