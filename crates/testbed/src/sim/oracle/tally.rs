//! How much was checked, so that a run in which nothing happened cannot pass for one in which nothing went wrong.

/// Packets of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Sent by programs into the interface, or refused by the host.
    pub(crate) asked: u64,
    /// Sent while they had to be answered in time.
    pub(crate) must: u64,
    /// Come out at servers.
    pub(crate) arrived: u64,
    /// Answers written to the interface.
    pub(crate) answered: u64,
    /// Refusals written to the interface.
    pub(crate) refused: u64,
    /// Let past the interface, as they should.
    pub(crate) clear: u64,
    /// Let in by `accept`.
    pub(crate) accepted: u64,
    /// Lies that servers told.
    pub(crate) forged: u64,
    /// Sessions that came up.
    pub(crate) sessions: u64,
    /// Ways that were looked at between two steps of a change of the host.
    pub(crate) between: u64,
}

impl Tally {
    /// With their names.
    pub(crate) const fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("asked", self.asked),
            ("must", self.must),
            ("arrived", self.arrived),
            ("answered", self.answered),
            ("refused", self.refused),
            ("clear", self.clear),
            ("accepted", self.accepted),
            ("forged", self.forged),
            ("sessions", self.sessions),
            ("between", self.between),
        ]
    }
}
