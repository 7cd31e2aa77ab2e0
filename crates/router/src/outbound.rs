//! From the host to a tunnel: parse, find or pick, admit, translate. The packet is changed only when it is forwarded.
//! What happens to it then (sealing, cutting to size) and what the host is told of a refusal is the caller's.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;
use rand_core::RngCore;

use crate::flow::{Flow, Inside, InsideKey, Outside, OutsideKey, Progress, Protocol, Remote, Way};
use crate::flow_table::{FlowId, FlowTable};
use crate::icmp_error::{self, Quote};
use crate::nat::{self, State, Translation};
use crate::packet::ipv4::{Fragment, Ipv4, Side};
use crate::packet::ipv6::Ipv6;
use crate::packet::tcp::Flags;
use crate::packet::transport::Transport;
use crate::packet::{Malformed, field, icmp, tcp, udp};
use crate::{
    Attachment, Checksum, DropReason, FlowTuple, LeaseId, Offload, Policy, Refusal, Router, SegmentKind, Segmentation,
    TunnelId, TunnelState, TunnelView, Via, limits, pick,
};

/// What becomes of a packet of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// It is translated; send it through this tunnel.
    Forward {
        /// Which.
        tunnel: TunnelId,
        /// Largest inner packet in bytes: what is larger is a TCP super-packet to be cut, a UDP super-packet to be split and
        /// fragmented, or a packet to be fragmented.
        limit: u16,
    },
    /// It is unchanged and not counted: keep it and present it again when the policy changes, at `until` at the latest.
    Hold {
        /// Whose queue it waits in; `None` while the default is undecided.
        tunnel: Option<TunnelId>,
        /// When waiting is over.
        until: Moment,
    },
    /// It is unchanged and counted: let the host feel it by [`Router::refuse`].
    Refuse {
        /// Which tunnel would have had it, if known.
        tunnel: Option<TunnelId>,
        /// Why.
        refusal: Refusal,
    },
    /// It is counted; nobody is told.
    Drop(DropReason),
}

/// Why a packet stops here.
enum Stop {
    Drop(DropReason),
    Refuse(Option<TunnelId>, Refusal),
    Hold(Option<TunnelId>, Moment),
}

impl From<Malformed> for Stop {
    fn from(_: Malformed) -> Self {
        Self::Drop(DropReason::Malformed)
    }
}

/// Refused on behalf of a tunnel.
fn denied(tunnel: Option<TunnelId>, reason: DropReason) -> Stop {
    Stop::Refuse(tunnel, Refusal::Denied(reason))
}

/// A packet that can open or continue a flow.
struct Candidate {
    attachment: Attachment,
    protocol: Protocol,
    inside: Inside,
    remote: Remote,
    flags: Option<Flags>,
}

impl Candidate {
    /// Whether it is allowed to open a flow: anything but TCP without SYN.
    fn opens(&self) -> bool {
        self.flags.is_none_or(Flags::opens)
    }

    fn key(&self) -> InsideKey {
        InsideKey::new(self.attachment, self.protocol, self.inside, self.remote)
    }
}

impl Router {
    /// Judges a packet that the host sent into `attachment`, and translates it if it is forwarded.
    ///
    /// A known flow keeps its tunnel, whatever its state; a new one goes where [`pick()`] says. While its tunnel cannot carry
    /// it, it is held or refused, never given to another.
    pub fn outbound(&mut self, packet: &mut [u8], offload: &Offload, attachment: Attachment, now: Moment) -> Outbound {
        let carried = match packet.first().map(|first| first >> 4) {
            Some(4) => self.carry_out(packet, offload, attachment, now),
            Some(6) => Err(judge_v6(&self.policy, packet, attachment)),
            Some(_) | None => Err(Malformed.into()),
        };
        match carried {
            Ok((tunnel, limit)) => Outbound::Forward { tunnel, limit },
            Err(Stop::Hold(tunnel, until)) => Outbound::Hold { tunnel, until },
            Err(Stop::Refuse(tunnel, refusal)) => {
                self.count(tunnel, refusal.reason());
                Outbound::Refuse { tunnel, refusal }
            }
            Err(Stop::Drop(reason)) => {
                self.count(None, reason);
                Outbound::Drop(reason)
            }
        }
    }

    fn carry_out(
        &mut self,
        packet: &mut [u8],
        offload: &Offload,
        attachment: Attachment,
        now: Moment,
    ) -> Result<(TunnelId, u16), Stop> {
        let ip = Ipv4::parse(packet)?;
        if self.policy.is_broadcast(ip.destination) {
            return Err(Stop::Drop(DropReason::Multicast));
        }
        if ip.fragment == Fragment::Later {
            return self.carry_out_later(packet, &ip, attachment, now);
        }
        let transport = Transport::parse(packet, &ip)?;
        let state = checked(offload, &ip, &transport)?;
        if let Transport::IcmpError { .. } = transport {
            return self.carry_out_error(packet, &ip, attachment, now);
        }
        let candidate = candidate(&self.policy, attachment, &ip, &transport)?;
        let (id, flow, view) = self.flow_out(&candidate, &ip, offload, now)?;
        let to = Translation { side: Side::Source, address: flow.outside.address, port: flow.outside.port };
        nat::translate(packet, &ip, flow.protocol, to, most_mss(view.limit), state);
        self.flows.touch(id, flow.progress.after(Way::Out, candidate.flags), now);
        if ip.fragment == Fragment::First {
            self.sent.first(owner(attachment), &ip, id, now);
        }
        Ok((flow.tunnel, view.limit))
    }

    /// The flow of a packet, known or opened by it, once its tunnel takes the packet.
    fn flow_out(
        &mut self,
        candidate: &Candidate,
        ip: &Ipv4,
        offload: &Offload,
        now: Moment,
    ) -> Result<(FlowId, Flow, TunnelView), Stop> {
        if let Some((id, flow)) = self.known(candidate, now)? {
            let view =
                admit(&self.policy, flow.tunnel, now).inspect_err(|stop| self.reset_if_refused(id, stop, now))?;
            fits(flow.tunnel, ip, offload, view.limit)?;
            return Ok((id, flow, view));
        }
        let tunnel = choose(&self.policy, candidate, ip, now)?;
        let view = admit(&self.policy, tunnel, now)?;
        fits(tunnel, ip, offload, view.limit)?;
        let (id, flow) = self.open(candidate, tunnel, &view, now)?;
        Ok((id, flow, view))
    }

    /// A live flow of this packet. One whose lease has ended goes: its packet is refused, unless it opens another one.
    fn known(&mut self, candidate: &Candidate, now: Moment) -> Result<Option<(FlowId, Flow)>, Stop> {
        let Some(id) = self.flows.find_inside(&candidate.key(), now) else { return Ok(None) };
        let Some(flow) = self.flows.get(id).copied() else { return Ok(None) };
        let ended = lease_has_ended(&self.policy, &flow);
        let reopened = candidate.flags.is_some_and(Flags::opens) && (ended || flow.progress.is_closing());
        if ended || reopened {
            self.flows.remove(id);
        }
        match (reopened, ended) {
            (true, _) => Ok(None),
            (false, true) => Err(denied(Some(flow.tunnel), DropReason::LeaseEnded)),
            (false, false) => Ok(Some((id, flow))),
        }
    }

    /// Opens a flow in a tunnel's lease.
    fn open(
        &mut self,
        candidate: &Candidate,
        tunnel: TunnelId,
        view: &TunnelView,
        now: Moment,
    ) -> Result<(FlowId, Flow), Stop> {
        let address = view.inner_v4.ok_or_else(|| denied(Some(tunnel), DropReason::NoAddress))?;
        let port = free_port(&self.flows, &mut self.random, candidate, tunnel, view.lease)
            .ok_or_else(|| denied(Some(tunnel), DropReason::PortsUsed))?;
        let flow = Flow {
            attachment: candidate.attachment,
            tunnel,
            lease: view.lease,
            protocol: candidate.protocol,
            inside: candidate.inside,
            outside: Outside { address, port },
            remote: candidate.remote,
            progress: Progress::new(candidate.protocol),
        };
        let policy = &self.policy;
        let id = self.flows.insert(flow, |old| lease_has_ended(policy, old), now);
        id.map(|id| (id, flow)).ok_or_else(|| denied(Some(tunnel), DropReason::TableFull))
    }

    /// A later fragment goes where its first went.
    fn carry_out_later(
        &mut self,
        packet: &mut [u8],
        ip: &Ipv4,
        attachment: Attachment,
        now: Moment,
    ) -> Result<(TunnelId, u16), Stop> {
        let id = self.sent.later(owner(attachment), ip, now);
        let flow = id.and_then(|id| self.flows.get(id)).ok_or(Stop::Drop(DropReason::Fragment))?;
        if lease_has_ended(&self.policy, flow) {
            return Err(denied(Some(flow.tunnel), DropReason::LeaseEnded));
        }
        let view = admit(&self.policy, flow.tunnel, now)?;
        nat::translate_address(packet, ip, Side::Source, flow.outside.address);
        Ok((flow.tunnel, view.limit))
    }

    /// An error about a packet that a flow brought in goes back through the flow's tunnel.
    fn carry_out_error(
        &mut self,
        packet: &mut [u8],
        ip: &Ipv4,
        attachment: Attachment,
        now: Moment,
    ) -> Result<(TunnelId, u16), Stop> {
        let quote = Quote::parse(packet, ip).filter(|quote| quote.ip.source == ip.destination);
        let quote = quote.filter(|_| ip.fragment == Fragment::Whole).ok_or(Stop::Drop(DropReason::NoFlow))?;
        let inside = Inside { address: quote.ip.destination, port: quote.destination_port };
        let remote = Remote { address: quote.ip.source, port: quote.source_port };
        let key = InsideKey::new(attachment, quote.protocol, inside, remote);
        let id = self.flows.find_inside(&key, now);
        let flow = id.and_then(|id| self.flows.get(id)).ok_or(Stop::Drop(DropReason::NoFlow))?;
        if lease_has_ended(&self.policy, flow) {
            return Err(denied(Some(flow.tunnel), DropReason::LeaseEnded));
        }
        let view = admit(&self.policy, flow.tunnel, now)?;
        let to = Translation { side: Side::Destination, address: flow.outside.address, port: flow.outside.port };
        icmp_error::translate(packet, ip, &quote, flow.outside.address, to);
        Ok((flow.tunnel, view.limit))
    }

    /// A refused TCP connection is dead for the app, so its flow need not stay long.
    fn reset_if_refused(&mut self, id: FlowId, stop: &Stop, now: Moment) {
        if let (Stop::Refuse(..), Some(flow)) = (stop, self.flows.get(id)) {
            self.flows.touch(id, flow.progress.reset(), now);
        }
    }
}

/// What could open or continue a flow; anything else stops here, with the reason that `pick` gives it if it gives one.
fn candidate(policy: &Policy, attachment: Attachment, ip: &Ipv4, transport: &Transport) -> Result<Candidate, Stop> {
    let (protocol, own, remote, flags) = match transport {
        Transport::Tcp(tcp) => (Protocol::Tcp, tcp.source, tcp.destination, Some(tcp.flags)),
        // DHCP to a single server, which can only be the LAN's (T-79).
        Transport::Udp(udp) if (udp.source, udp.destination) == (68, 67) => {
            return Err(Stop::Drop(DropReason::Multicast));
        }
        Transport::Udp(udp) => (Protocol::Udp, udp.source, udp.destination, None),
        Transport::EchoRequest(id) => (Protocol::Echo, *id, 0, None),
        Transport::EchoReply(_) | Transport::IcmpError { .. } => return Err(Stop::Drop(DropReason::NoFlow)),
        Transport::Other => return Err(judge_untranslated(policy, attachment, ip)),
    };
    let inside = Inside { address: ip.source, port: own };
    Ok(Candidate { attachment, protocol, inside, remote: Remote { address: ip.destination, port: remote }, flags })
}

/// Which tunnel a new flow goes to.
fn choose(policy: &Policy, candidate: &Candidate, ip: &Ipv4, now: Moment) -> Result<TunnelId, Stop> {
    let via = pick(policy, candidate.attachment, &tuple(candidate, ip)).via;
    let tunnel = match via {
        Via::Block => return Err(denied(None, DropReason::Blocked)),
        Via::Tunnel(tunnel) => Some(tunnel),
        Via::Direct | Via::Undecided | Via::Nobody => None,
    };
    if !policy.is_ours(candidate.attachment, ip.source) {
        return Err(denied(tunnel, DropReason::OlderThanClaim));
    }
    if !candidate.opens() {
        return Err(denied(tunnel, DropReason::NotSyn));
    }
    match via {
        Via::Tunnel(tunnel) if !policy.is_own_destination(ip.destination) => Ok(tunnel),
        Via::Tunnel(_) | Via::Nobody => Err(denied(None, DropReason::Unclaimed)),
        Via::Direct => Err(denied(None, DropReason::BoundDirect)),
        Via::Block => Err(denied(None, DropReason::Blocked)),
        Via::Undecided => Err(match policy.undecided_until().filter(|until| now < *until) {
            Some(until) => Stop::Hold(None, until),
            None => denied(None, DropReason::TunnelDown),
        }),
    }
}

/// What `pick` looks at.
fn tuple(candidate: &Candidate, ip: &Ipv4) -> FlowTuple {
    let has_ports = candidate.protocol != Protocol::Echo;
    FlowTuple {
        source: ip.source.into(),
        destination: ip.destination.into(),
        protocol: ip.protocol,
        source_port: has_ports.then_some(candidate.inside.port),
        destination_port: has_ports.then_some(candidate.remote.port),
    }
}

/// Whether a tunnel carries packets now. This is looked at after the tunnel is known, never before.
fn admit(policy: &Policy, tunnel: TunnelId, now: Moment) -> Result<TunnelView, Stop> {
    let view = policy.tunnel(tunnel).ok_or_else(|| denied(Some(tunnel), DropReason::TunnelDown))?;
    match view.state {
        TunnelState::Up => Ok(*view),
        TunnelState::Hold(until) if now < until => Err(Stop::Hold(Some(tunnel), until)),
        TunnelState::Hold(_) | TunnelState::Down => Err(denied(Some(tunnel), DropReason::TunnelDown)),
    }
}

/// Whether a packet fits the tunnel, or can be made to: TCP super-packets are cut, anything without DF is fragmented.
fn fits(tunnel: TunnelId, ip: &Ipv4, offload: &Offload, limit: u16) -> Result<(), Stop> {
    let length = match offload.segmentation {
        Some(Segmentation { kind: SegmentKind::Tcp4 | SegmentKind::Tcp6, .. }) => return Ok(()),
        Some(Segmentation { kind: SegmentKind::Udp, size, .. }) => {
            ip.header.saturating_add(udp::HEADER).saturating_add(usize::from(size))
        }
        None => ip.length,
    };
    if ip.dont_fragment && length > usize::from(limit) {
        return Err(Stop::Refuse(Some(tunnel), Refusal::TooBig(limit)));
    }
    Ok(())
}

/// A port for a new flow: its own where that is free towards the same remote in this lease, else a free one by chance.
fn free_port(
    flows: &FlowTable,
    random: &mut impl RngCore,
    candidate: &Candidate,
    tunnel: TunnelId,
    lease: LeaseId,
) -> Option<u16> {
    let is_free =
        |port: &u16| !flows.is_taken(&OutsideKey::new(tunnel, lease, candidate.protocol, candidate.remote, *port));
    let own = Some(candidate.inside.port).filter(is_free);
    own.or_else(|| (0..limits::PORT_TRIES).map(|_| random_port(random)).find(is_free))
}

/// Any port from [`limits::FIRST_PORT`], all equally likely but for one in 66,000.
fn random_port(random: &mut impl RngCore) -> u16 {
    const WIDTH: u64 = (u16::MAX - limits::FIRST_PORT) as u64 + 1;
    let place = u64::from(random.next_u32()).wrapping_mul(WIDTH) >> 32;
    limits::FIRST_PORT.saturating_add(place as u16)
}

/// Whether the offload state fits the headers, and what state the checksum is in.
fn checked(offload: &Offload, ip: &Ipv4, transport: &Transport) -> Result<State, Malformed> {
    let (place, kind) = match transport {
        Transport::Tcp(_) => (tcp::CHECKSUM, Some(SegmentKind::Tcp4)),
        Transport::Udp(_) => (udp::CHECKSUM, Some(SegmentKind::Udp)),
        Transport::EchoRequest(_) | Transport::EchoReply(_) => (icmp::CHECKSUM, None),
        Transport::IcmpError { .. } | Transport::Other => (usize::MAX, None),
    };
    let segments = offload.segmentation.is_none_or(|of| Some(of.kind) == kind && of.size > 0);
    let whole = ip.fragment == Fragment::Whole;
    match offload.checksum {
        Checksum::Complete if segments && (whole || offload.segmentation.is_none()) => Ok(State::Complete),
        Checksum::Partial { start, offset }
            if segments && whole && usize::from(start) == ip.header && usize::from(offset) == place =>
        {
            Ok(State::Partial)
        }
        Checksum::Complete | Checksum::Partial { .. } => Err(Malformed),
    }
}

/// A protocol that is not translated is picked all the same, for the right reason.
fn judge_untranslated(policy: &Policy, attachment: Attachment, ip: &Ipv4) -> Stop {
    let flow = FlowTuple {
        source: ip.source.into(),
        destination: ip.destination.into(),
        protocol: ip.protocol,
        source_port: None,
        destination_port: None,
    };
    refused(pick(policy, attachment, &flow).via, DropReason::Protocol)
}

/// IPv6 is picked and refused: the tunnel that should have it does not carry it in this version, and nobody else may.
fn judge_v6(policy: &Policy, packet: &[u8], attachment: Attachment) -> Stop {
    let Ok(ip) = Ipv6::parse(packet) else { return Malformed.into() };
    if ip.destination.is_multicast() {
        return Stop::Drop(DropReason::Multicast);
    }
    let ports = pick::has_ports(ip.protocol) && !ip.later_fragment;
    let port = |at: usize| field::read_u16(packet, ip.header.saturating_add(at)).filter(|_| ports);
    let flow = FlowTuple {
        source: ip.source.into(),
        destination: ip.destination.into(),
        protocol: ip.protocol,
        source_port: port(0),
        destination_port: port(2),
    };
    refused(pick(policy, attachment, &flow).via, DropReason::Ipv6)
}

/// The refusal of a packet that no tunnel can carry; `reason` is why not.
fn refused(via: Via, reason: DropReason) -> Stop {
    match via {
        Via::Tunnel(tunnel) => denied(Some(tunnel), reason),
        Via::Undecided => denied(None, reason),
        Via::Direct => denied(None, DropReason::BoundDirect),
        Via::Block => denied(None, DropReason::Blocked),
        Via::Nobody => denied(None, DropReason::Unclaimed),
    }
}

/// Whether the tunnel has another lease now than the flow's.
pub(crate) fn lease_has_ended(policy: &Policy, flow: &Flow) -> bool {
    policy.tunnel(flow.tunnel).is_none_or(|view| view.lease != flow.lease)
}

/// The largest MSS with which segments fit into `limit`: without IP and TCP header.
pub(crate) const fn most_mss(limit: u16) -> u16 {
    limit.saturating_sub(40)
}

/// An attachment as the owner of fragments.
fn owner(attachment: Attachment) -> u32 {
    match attachment {
        Attachment::Rules => 0,
        Attachment::Prefer(tunnel) => 1 << 16 | u32::from(tunnel.number()),
        Attachment::Only(tunnel) => 2 << 16 | u32::from(tunnel.number()),
    }
}
