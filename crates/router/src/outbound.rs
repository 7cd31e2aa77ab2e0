//! From the host to a tunnel: parse, find or pick, admit, translate. The packet is changed only when it is forwarded.
//! Whether it may go is asked of `admit.rs`; what happens to it then (sealing, cutting to size) and what the host is told
//! of a refusal is the caller's.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use crate::admit::{Candidate, Stop, admit, checked, choose, denied, fits};
use crate::ending::over;
use crate::flow::{Flow, Inside, InsideKey, Outside, Remote};
use crate::flow_table::FlowId;
use crate::fragment_table::{Datagram, Following};
use crate::icmp_error::{self, Quote};
use crate::nat::{self, Translation, most_mss};
use crate::packet::ip::Ip;
use crate::packet::ipv4::{Fragment, Side};
use crate::packet::transport::Transport;
use crate::ports::{self, Wanted};
use crate::progress::{Progress, Segment, Way};
use crate::{Attachment, DropReason, Offload, Refusal, Router, TunnelId};

/// What becomes of a packet of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// It is translated; send it through this tunnel. Then ask [`Router::poll_sent_fragment`] for what waited for it.
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
    /// It is a later fragment whose first has not come: a copy waits inside, and is counted if the wait is in vain.
    Wait,
    /// It is unchanged and not counted: the table is so full that it matters whose flows there are. Answer all that
    /// [`Router::poll_question`] asks, and present the packet again at once.
    Ask,
    /// It is counted; nobody is told.
    Drop(DropReason),
}

/// Where a packet goes, and the largest that fits there.
type Destined = (TunnelId, u16);

impl Router {
    /// Judges a packet that the host sent into `attachment`, and translates it if it is forwarded.
    ///
    /// A known flow keeps its tunnel, whatever its state; a new one goes where [`pick()`](crate::pick()) says. While its
    /// tunnel cannot carry it, it is held or refused, never given to another.
    pub fn outbound(&mut self, packet: &mut [u8], offload: &Offload, attachment: Attachment, now: Moment) -> Outbound {
        match self.carry_out(packet, offload, attachment, now) {
            Ok((tunnel, limit)) => Outbound::Forward { tunnel, limit },
            Err(Stop::Hold(tunnel, until)) => Outbound::Hold { tunnel, until },
            Err(Stop::Keep) => Outbound::Wait,
            Err(Stop::Ask) => Outbound::Ask,
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
    ) -> Result<Destined, Stop> {
        let ip = Ip::parse(packet)?;
        if self.policy.is_broadcast(ip.destination) {
            return Err(Stop::Drop(DropReason::Multicast));
        }
        if ip.fragment.is_later() {
            return self.carry_out_later(packet, &ip, attachment, now);
        }
        let transport = Transport::parse(packet, &ip)?;
        let state = checked(offload, packet, &ip, &transport)?;
        if let Transport::IcmpError { .. } = transport {
            return self.carry_out_error(packet, &ip, attachment, now);
        }
        let candidate = Candidate::of(&self.policy, attachment, packet, &ip, &transport)?;
        let (id, limit) = self.flow_out(&candidate, &ip, offload, now)?;
        if ip.fragment == Fragment::First && !self.follow_sent(attachment, &ip, id, now) {
            return Err(Stop::Drop(DropReason::Fragment));
        }
        let flow = self.flows.get(id).ok_or(Stop::Drop(DropReason::NoFlow))?;
        let (tunnel, progress) = (flow.tunnel, flow.progress);
        let to = Translation { side: Side::Source, address: flow.outside.address, port: flow.outside.port };
        nat::translate(packet, &ip, flow.protocol, to, most_mss(limit, ip.source), state);
        self.flows.touch(id, progress.after(Way::Out, candidate.segment), now);
        Ok((tunnel, limit))
    }

    /// The flow of a packet, known or opened by it, once its tunnel takes the packet; and the largest that it takes.
    fn flow_out(
        &mut self,
        candidate: &Candidate,
        ip: &Ip,
        offload: &Offload,
        now: Moment,
    ) -> Result<(FlowId, u16), Stop> {
        if let Some((id, tunnel)) = self.known(candidate, now)? {
            let limit = admit(&self.policy, tunnel, now).inspect_err(|stop| self.reset_if_refused(id, stop, now))?;
            fits(tunnel, ip, offload, limit)?;
            return Ok((id, limit));
        }
        let tunnel = choose(&self.policy, candidate, now)?;
        let limit = admit(&self.policy, tunnel, now)?;
        fits(tunnel, ip, offload, limit)?;
        Ok((self.open(candidate, tunnel, now)?, limit))
    }

    /// A live flow of this packet. One that is over goes: its packet is refused, unless it opens another one.
    fn known(&mut self, candidate: &Candidate, now: Moment) -> Result<Option<(FlowId, TunnelId)>, Stop> {
        let Some(id) = self.flows.find_inside(&candidate.key(), now) else { return Ok(None) };
        let Some(flow) = self.flows.get(id) else { return Ok(None) };
        let tunnel = flow.tunnel;
        let over = over(&self.policy, flow);
        let reopened = candidate.segment.is_some_and(Segment::opens) && (over.is_some() || flow.progress.is_closing());
        if over.is_some() || reopened {
            self.flows.remove(id);
        }
        match (reopened, over) {
            (true, _) => Ok(None),
            (false, Some(reason)) => Err(denied(Some(tunnel), reason)),
            (false, None) => Ok(Some((id, tunnel))),
        }
    }

    /// Opens a flow in a tunnel's lease.
    fn open(&mut self, candidate: &Candidate, tunnel: TunnelId, now: Moment) -> Result<FlowId, Stop> {
        let holder = self.holder_of(candidate)?;
        let view = self.policy.tunnel(tunnel).ok_or_else(|| denied(Some(tunnel), DropReason::TunnelDown))?;
        let Candidate { attachment, protocol, inside, remote, .. } = *candidate;
        let address = view.inner(remote.address).ok_or_else(|| denied(Some(tunnel), DropReason::NoAddress))?;
        let lease = view.lease;
        let wanted = Wanted { tunnel, lease, protocol, inside, remote };
        let port = ports::free_port(&wanted, &self.flows, &self.resting, &mut self.random, now)
            .ok_or_else(|| denied(Some(tunnel), DropReason::PortsUsed))?;
        let outside = Outside { address, port };
        let progress = Progress::new(protocol);
        let flow = Flow { attachment, tunnel, lease, protocol, inside, outside, remote, progress };
        let policy = &self.policy;
        let id = self.flows.insert(flow, holder, |old| over(policy, old).is_some(), now);
        id.map_err(|full| denied(Some(tunnel), full.into()))
    }

    /// A later fragment goes where its first went, and waits while that has not come.
    fn carry_out_later(
        &mut self,
        packet: &mut [u8],
        ip: &Ip,
        attachment: Attachment,
        now: Moment,
    ) -> Result<Destined, Stop> {
        let owner = owner(attachment);
        let id = match self.sent.later(owner, ip, now) {
            Following::Flow(id) => id,
            Following::Spoiled => return Err(Stop::Drop(DropReason::Fragment)),
            Following::Unknown if self.sent_early.keep(Datagram::of(owner, ip), packet, now) => return Err(Stop::Keep),
            Following::Unknown => return Err(Stop::Drop(DropReason::Fragment)),
        };
        let flow = self.flows.get(id).ok_or(Stop::Drop(DropReason::Fragment))?;
        if let Some(reason) = over(&self.policy, flow) {
            return Err(denied(Some(flow.tunnel), reason));
        }
        let limit = admit(&self.policy, flow.tunnel, now)?;
        fits(flow.tunnel, ip, &Offload::NONE, limit)?;
        ip.set_address(packet, Side::Source, flow.outside.address);
        Ok((flow.tunnel, limit))
    }

    /// Lets later fragments follow a first one; `false` if it overlaps what came already.
    fn follow_sent(&mut self, attachment: Attachment, ip: &Ip, flow: FlowId, now: Moment) -> bool {
        let owner = owner(attachment);
        let follows = self.sent.first(owner, ip, flow, now);
        if follows {
            self.sent_early.release(Datagram::of(owner, ip));
        }
        follows
    }

    /// An error about a packet that a flow brought in goes back through the flow's tunnel.
    fn carry_out_error(
        &mut self,
        packet: &mut [u8],
        ip: &Ip,
        attachment: Attachment,
        now: Moment,
    ) -> Result<Destined, Stop> {
        let quote = Quote::parse(packet, ip).filter(|quote| quote.ip.source == ip.destination);
        let quote = quote.filter(|_| ip.fragment == Fragment::Whole).ok_or(Stop::Drop(DropReason::NoFlow))?;
        let inside = Inside { address: quote.ip.destination, port: quote.destination_port };
        let remote = Remote { address: quote.ip.source, port: quote.source_port };
        let key = InsideKey::inside(attachment, quote.protocol, inside, remote);
        let id = self.flows.find_inside(&key, now);
        let flow = id.and_then(|id| self.flows.get(id)).ok_or(Stop::Drop(DropReason::NoFlow))?;
        if let Some(reason) = over(&self.policy, flow) {
            return Err(denied(Some(flow.tunnel), reason));
        }
        let limit = admit(&self.policy, flow.tunnel, now)?;
        fits(flow.tunnel, ip, &Offload::NONE, limit)?;
        let to = Translation { side: Side::Destination, address: flow.outside.address, port: flow.outside.port };
        icmp_error::translate(packet, ip, &quote, flow.outside.address, to);
        Ok((flow.tunnel, limit))
    }

    /// A refused TCP connection is dead for the app, so its flow need not stay long.
    fn reset_if_refused(&mut self, id: FlowId, stop: &Stop, now: Moment) {
        if let (Stop::Refuse(..), Some(flow)) = (stop, self.flows.get(id)) {
            self.flows.touch(id, flow.progress.reset(), now);
        }
    }
}

/// An attachment as the owner of fragments.
const fn owner(attachment: Attachment) -> u32 {
    match attachment {
        Attachment::Rules => 0,
        Attachment::Prefer(tunnel) => 1 << 16 | tunnel.number() as u32,
        Attachment::Only(tunnel) => 2 << 16 | tunnel.number() as u32,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    // proves: T-77
    #[test]
    fn no_two_attachments_own_the_same_fragments() {
        let tunnels = [0, 1, 2, 255, 4_095, u16::MAX].map(TunnelId::new);
        let bound = tunnels.iter().flat_map(|&tunnel| [Attachment::Prefer(tunnel), Attachment::Only(tunnel)]);
        let owners: Vec<u32> = std::iter::once(Attachment::Rules).chain(bound).map(owner).collect();
        assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), owners.len(), "{owners:x?}");
    }
}
