//! Every hard limit of this crate in one place, each tested at the limit and on both sides of it. What a server may say
//! at all is limited earlier, in `profile`.

/// Claims of all tunnels together (threats-and-faults, limits: pushed routes). Claims beyond it are left out, in the
/// order of the file, and shown as a conflict.
pub const MAX_CLAIMS: usize = 16_384;

/// Runs of neighbouring rules with the same answer that need policy rules, a family: one priority each, P+10 to P+27.
pub const MAX_RUNS: usize = 18;

/// Policy rules that the user's rules become, both families together. The kernel walks them one by one for each lookup.
pub const MAX_POLICY_RULES: usize = 512;

/// Tunnels of one address book: what the smaller kind of pool (/16) has bind addresses for, rounded down.
pub const MAX_TUNNELS: u16 = 16_384;
