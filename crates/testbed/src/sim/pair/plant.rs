//! Faults made on purpose, so that each check is seen to find what it is there for. They are in what stands around the
//! protocol here, never in the product.

/// A fault made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Packets come out of the tunnel twice.
    Twice,
    /// A bit of each packet is another when it comes out of the tunnel.
    Changed,
    /// Packets come out of another session's tunnel.
    OtherSession,
    /// When all is well, packets get lost.
    Lost,
    /// After its first session the client never comes back.
    NeverBack,
    /// When all is well, the client's deadlines are not heeded.
    LeftBehind,
    /// The server remembers one session more than it has.
    Remembered,
    /// Something panics at the first action.
    Panics,
    /// No run is like the one before.
    NeverTheSame,
}

impl Plant {
    /// Each with the invariant that it violates (threats-and-faults.md section 1).
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Twice, "I-12"),
        (Self::Changed, "I-12"),
        (Self::OtherSession, "I-12"),
        (Self::Lost, "I-7"),
        (Self::NeverBack, "I-7"),
        (Self::LeftBehind, "I-6"),
        (Self::Remembered, "I-9"),
        (Self::Panics, "I-6"),
        (Self::NeverTheSame, "I-13"),
    ];
}
