//! Faults that are planted on purpose, one an invariant, so that the oracle is seen to find each: a simulation that has never
//! failed has proved little. They are in the glue of the simulated world alone and never in the product.

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// I-1: a captured packet leaves in clear.
    CapturedLeavesClear,
    /// I-2: a packet of one tunnel's flow leaves through another tunnel.
    WrongTunnel,
    /// I-3: the anchor is the source of what leaves.
    UntranslatedSource,
    /// I-4: what a server sends reaches another address than asked.
    WrongArrival,
    /// I-4: what nobody asked for reaches the host.
    UnaskedArrives,
    /// I-6: the engine does not come to rest.
    NeverRests,
    /// I-6: work on a packet panics.
    Panics,
    /// I-7: a tunnel whose server was away is never heard again.
    ReconnectWithheld,
    /// I-8: a packet of a tunnel that nothing was done to is lost.
    OthersPacketLost,
    /// I-8: one is late.
    OthersPacketLate,
    /// I-9: packets wait for a tunnel without bound.
    UnboundedWait,
    /// I-12: a data packet is sent, and taken, twice.
    Replayed,
    /// I-13: something hangs on the machine's own clock.
    HangsOnClock,
}
