//! Whether a packet of the host may go, in the order of the design: which tunnel a new flow goes to, whether that carries
//! packets now, whether the packet fits. It changes nothing; `outbound.rs` asks and acts.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use crate::flow::{self, Inside, InsideKey, Protocol, Remote};
use crate::nat::State;
use crate::packet::ip::Ip;
use crate::packet::ipv4::Fragment;
use crate::packet::transport::Transport;
use crate::packet::{Malformed, field, icmp, tcp, udp};
use crate::progress::Segment;
use crate::{
    Attachment, Checksum, DropReason, FlowTuple, Offload, Policy, Refusal, SegmentKind, Segmentation, TunnelId,
    TunnelState, Via, pick,
};

/// Why a packet stops here.
pub(crate) enum Stop {
    Drop(DropReason),
    Refuse(Option<TunnelId>, Refusal),
    Hold(Option<TunnelId>, Moment),
    /// A later fragment waits for its first.
    Keep,
    /// It would open a flow, and whose it is must be known first.
    Ask,
}

impl From<Malformed> for Stop {
    fn from(_: Malformed) -> Self {
        Self::Drop(DropReason::Malformed)
    }
}

/// Refused on behalf of a tunnel.
pub(crate) fn denied(tunnel: Option<TunnelId>, reason: DropReason) -> Stop {
    Stop::Refuse(tunnel, Refusal::Denied(reason))
}

/// A packet that can open or continue a flow.
pub(crate) struct Candidate {
    pub(crate) attachment: Attachment,
    pub(crate) protocol: Protocol,
    pub(crate) inside: Inside,
    pub(crate) remote: Remote,
    pub(crate) segment: Option<Segment>,
}

impl Candidate {
    /// What could open or continue a flow; anything else stops here, with the reason that `pick` gives it if it gives one.
    pub(crate) fn of(
        policy: &Policy,
        attachment: Attachment,
        packet: &[u8],
        ip: &Ip,
        transport: &Transport,
    ) -> Result<Self, Stop> {
        let (protocol, own, remote, segment) = match transport {
            Transport::Tcp(tcp) => {
                let length = ip.length.saturating_sub(ip.header);
                (Protocol::Tcp, tcp.source, tcp.destination, Some(Segment::new(tcp, length)))
            }
            // DHCP to a single server, which can only be the LAN's (T-79).
            Transport::Udp(udp) if matches!((udp.source, udp.destination), (68, 67) | (546, 547)) => {
                return Err(Stop::Drop(DropReason::Multicast));
            }
            Transport::Udp(udp) => (Protocol::Udp, udp.source, udp.destination, None),
            Transport::EchoRequest(id) => (Protocol::echo(ip.source), *id, 0, None),
            Transport::EchoReply(_) | Transport::IcmpError { .. } => return Err(Stop::Drop(DropReason::NoFlow)),
            Transport::Neighbours => return Err(Stop::Drop(DropReason::Multicast)),
            Transport::IcmpOther => return Err(judge_untranslated(policy, attachment, ip)),
            Transport::Other => {
                let (own, remote) = untranslated_ports(ip, packet)?;
                (Protocol::Other(ip.protocol), own, remote, None)
            }
        };
        let inside = Inside { address: ip.source, port: own };
        Ok(Self { attachment, protocol, inside, remote: Remote { address: ip.destination, port: remote }, segment })
    }

    /// Whether it is allowed to open a flow: anything but TCP without SYN.
    pub(crate) fn opens(&self) -> bool {
        self.segment.is_none_or(Segment::opens)
    }

    pub(crate) fn key(&self) -> InsideKey {
        InsideKey::inside(self.attachment, self.protocol, self.inside, self.remote)
    }

    pub(crate) fn tuple(&self) -> FlowTuple {
        flow::tuple(self.protocol, self.inside, self.remote)
    }
}

/// Both ports of a protocol that keeps its ports; 0 where it has none.
pub(crate) fn untranslated_ports(ip: &Ip, packet: &[u8]) -> Result<(u16, u16), Malformed> {
    if !pick::has_ports(ip.protocol) {
        return Ok((0, 0));
    }
    let payload = ip.payload(packet);
    field::read_u16(payload, 0).zip(field::read_u16(payload, 2)).ok_or(Malformed)
}

/// Which tunnel a new flow goes to.
pub(crate) fn choose(policy: &Policy, candidate: &Candidate, now: Moment) -> Result<TunnelId, Stop> {
    let via = pick(policy, candidate.attachment, &candidate.tuple()).via;
    let tunnel = match via {
        Via::Block => return Err(denied(None, DropReason::Blocked)),
        Via::Tunnel(tunnel) => Some(tunnel),
        Via::Direct | Via::Undecided | Via::Nobody => None,
    };
    // A tunnel without an address of this version has no way, whatever the source (T-78).
    if tunnel.is_some_and(|id| lacks_version(policy, id, candidate)) {
        return Err(denied(tunnel, DropReason::NoAddress));
    }
    if !policy.is_ours(candidate.attachment, candidate.inside.address) {
        return Err(denied(tunnel, DropReason::OlderThanClaim));
    }
    if !candidate.opens() {
        return Err(denied(tunnel, DropReason::NotSyn));
    }
    match via {
        Via::Tunnel(tunnel) if !policy.is_own_destination(candidate.remote.address) => Ok(tunnel),
        Via::Tunnel(_) | Via::Nobody => Err(denied(None, DropReason::Unclaimed)),
        Via::Direct => Err(denied(None, DropReason::BoundDirect)),
        Via::Block => Err(denied(None, DropReason::Blocked)),
        Via::Undecided => Err(match policy.undecided_until().filter(|until| now < *until) {
            Some(until) => Stop::Hold(None, until),
            None => denied(None, DropReason::TunnelDown),
        }),
    }
}

/// Whether a tunnel that has an address has none of the packet's version. One that has none at all may get it yet.
fn lacks_version(policy: &Policy, tunnel: TunnelId, candidate: &Candidate) -> bool {
    policy.tunnel(tunnel).is_some_and(|view| {
        let any = view.inner_v4.is_some() || view.inner_v6.is_some();
        any && view.inner(candidate.remote.address).is_none()
    })
}

/// The largest packet of a tunnel that carries packets now. This is looked at after the tunnel is known, never before.
pub(crate) fn admit(policy: &Policy, tunnel: TunnelId, now: Moment) -> Result<u16, Stop> {
    let view = policy.tunnel(tunnel).ok_or_else(|| denied(Some(tunnel), DropReason::TunnelDown))?;
    match view.state {
        TunnelState::Up => Ok(view.limit),
        TunnelState::Hold(until) if now < until => Err(Stop::Hold(Some(tunnel), until)),
        TunnelState::Hold(_) | TunnelState::Down => Err(denied(Some(tunnel), DropReason::TunnelDown)),
    }
}

/// Whether a packet fits the tunnel, or can be made to: TCP super-packets are cut, IPv4 without DF is fragmented.
pub(crate) fn fits(tunnel: TunnelId, ip: &Ip, offload: &Offload, limit: u16) -> Result<(), Stop> {
    let length = match offload.segmentation {
        Some(Segmentation { kind: SegmentKind::Tcp4 | SegmentKind::Tcp6, .. }) => return Ok(()),
        Some(Segmentation { kind: SegmentKind::Udp, size, .. }) => {
            ip.header.saturating_add(udp::HEADER).saturating_add(usize::from(size)).min(ip.length)
        }
        None => ip.length,
    };
    if ip.dont_fragment && length > usize::from(limit) {
        return Err(Stop::Refuse(Some(tunnel), Refusal::TooBig(limit)));
    }
    Ok(())
}

/// Whether the offload state fits the headers, and what state the checksum is in.
pub(crate) fn checked(offload: &Offload, packet: &[u8], ip: &Ip, transport: &Transport) -> Result<State, Malformed> {
    let (place, kind) = match transport {
        Transport::Tcp(_) if ip.source.is_ipv4() => (tcp::CHECKSUM, Some(SegmentKind::Tcp4)),
        Transport::Tcp(_) => (tcp::CHECKSUM, Some(SegmentKind::Tcp6)),
        Transport::Udp(_) => (udp::CHECKSUM, Some(SegmentKind::Udp)),
        Transport::EchoRequest(_) | Transport::EchoReply(_) => (icmp::CHECKSUM, None),
        Transport::IcmpError { .. } | Transport::Neighbours | Transport::IcmpOther | Transport::Other => {
            (usize::MAX, None)
        }
    };
    let segments = offload.segmentation.is_none_or(|of| Some(of.kind) == kind && of.size > 0);
    let whole = ip.fragment == Fragment::Whole;
    match offload.checksum {
        Checksum::Complete if segments && (whole || offload.segmentation.is_none()) => {
            has_checksum(packet, ip, transport).then_some(State::Complete).ok_or(Malformed)
        }
        Checksum::Partial { start, offset }
            if segments && whole && usize::from(start) == ip.header && usize::from(offset) == place =>
        {
            Ok(State::Partial)
        }
        Checksum::Complete | Checksum::Partial { .. } => Err(Malformed),
    }
}

/// Whether a packet has the checksum that it must have: over IPv6, UDP is not without (RFC 8200, 8.1; T-82).
pub(crate) fn has_checksum(packet: &[u8], ip: &Ip, transport: &Transport) -> bool {
    match transport {
        Transport::Udp(_) => ip.source.is_ipv4() || field::read_u16(ip.payload(packet), udp::CHECKSUM) != Some(0),
        Transport::Tcp(_)
        | Transport::EchoRequest(_)
        | Transport::EchoReply(_)
        | Transport::IcmpError { .. }
        | Transport::Neighbours
        | Transport::IcmpOther
        | Transport::Other => true,
    }
}

/// A message that is not translated is picked all the same, for the right reason.
fn judge_untranslated(policy: &Policy, attachment: Attachment, ip: &Ip) -> Stop {
    let flow = FlowTuple {
        source: ip.source,
        destination: ip.destination,
        protocol: ip.protocol,
        source_port: None,
        destination_port: None,
    };
    match pick(policy, attachment, &flow).via {
        Via::Tunnel(tunnel) => denied(Some(tunnel), DropReason::Protocol),
        Via::Undecided => denied(None, DropReason::Protocol),
        Via::Direct => denied(None, DropReason::BoundDirect),
        Via::Block => denied(None, DropReason::Blocked),
        Via::Nobody => denied(None, DropReason::Unclaimed),
    }
}
