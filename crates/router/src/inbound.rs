//! From a tunnel to the host: parse, find the flow that asked for it, translate back. Nothing is picked here, and nothing
//! is opened but what `accept` names: what the host has not asked for does not arrive (T-45, I-4).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use crate::admit::{has_checksum, untranslated_ports};
use crate::app::Holder;
use crate::ending::over;
use crate::flow::{Flow, Inside, Outside, OutsideKey, Protocol, Remote};
use crate::flow_table::FlowId;
use crate::fragment_table::{Datagram, Following};
use crate::icmp_error::{self, Quote};
use crate::nat::{self, State, Translation, most_mss};
use crate::packet::Malformed;
use crate::packet::ip::{Ip, may_be_source};
use crate::packet::ipv4::{Fragment, Side};
use crate::packet::transport::Transport;
use crate::progress::{Progress, Segment, Way};
use crate::{Attachment, DropReason, LeaseId, Router, TunnelId};

/// What becomes of a packet from a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// It is translated back; write it to the host. Then ask [`Router::poll_received_fragment`] for what waited for it.
    Forward {
        /// Where its flow came from.
        attachment: Attachment,
    },
    /// It is a later fragment whose first has not come: a copy waits inside, and is counted if the wait is in vain.
    Wait,
    /// It is counted for the tunnel.
    Drop(DropReason),
}

/// Why a packet stops here.
enum Stop {
    Drop(DropReason),
    Keep,
}

impl From<DropReason> for Stop {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

impl From<Malformed> for Stop {
    fn from(_: Malformed) -> Self {
        Self::Drop(DropReason::Malformed)
    }
}

/// What a packet says it answers.
struct Answer {
    protocol: Protocol,
    remote: Remote,
    /// The host's port as the server knows it.
    port: u16,
    segment: Option<Segment>,
    /// Why it is dropped if nothing asked for it.
    unknown: DropReason,
}

impl Answer {
    /// Reads it from the headers; an echo request and what is not translated answer nothing.
    fn of(packet: &[u8], ip: &Ip, transport: &Transport) -> Result<Self, Stop> {
        let (protocol, remote, port, segment, unknown) = match transport {
            Transport::Tcp(tcp) => {
                let unknown = if tcp.flags.opens() { DropReason::Unasked } else { DropReason::NoFlow };
                let segment = Segment::new(tcp, ip.length.saturating_sub(ip.header));
                (Protocol::Tcp, tcp.source, tcp.destination, Some(segment), unknown)
            }
            // A late answer looks like a first question, so neither is told from the other.
            Transport::Udp(udp) => (Protocol::Udp, udp.source, udp.destination, None, DropReason::Unasked),
            Transport::EchoReply(id) => (Protocol::echo(ip.source), 0, *id, None, DropReason::NoFlow),
            Transport::EchoRequest(_) => return Err(DropReason::Unasked.into()),
            Transport::Neighbours => return Err(DropReason::Multicast.into()),
            Transport::IcmpError { .. } | Transport::IcmpOther => return Err(DropReason::Protocol.into()),
            Transport::Other => {
                let (remote, port) = untranslated_ports(ip, packet)?;
                (Protocol::Other(ip.protocol), remote, port, None, DropReason::Unasked)
            }
        };
        Ok(Self { protocol, remote: Remote { address: ip.source, port: remote }, port, segment, unknown })
    }

    fn opens(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => self.segment.is_some_and(Segment::opens),
            Protocol::Udp => true,
            Protocol::Echo | Protocol::EchoV6 | Protocol::Other(_) => false,
        }
    }
}

impl Router {
    /// Judges a complete packet that came out of `tunnel`, and translates it back if the host asked for it.
    pub fn inbound(&mut self, tunnel: TunnelId, packet: &mut [u8], now: Moment) -> Inbound {
        match self.carry_in(tunnel, packet, now) {
            Ok(attachment) => Inbound::Forward { attachment },
            Err(Stop::Keep) => Inbound::Wait,
            Err(Stop::Drop(reason)) => {
                self.count(Some(tunnel), reason);
                Inbound::Drop(reason)
            }
        }
    }

    fn carry_in(&mut self, tunnel: TunnelId, packet: &mut [u8], now: Moment) -> Result<Attachment, Stop> {
        let ip = Ip::parse(packet)?;
        if ip.ttl == 0 || !ip.checksum_is_right(packet) {
            return Err(DropReason::Malformed.into());
        }
        let view = self.policy.tunnel(tunnel).filter(|view| view.inner(ip.destination) == Some(ip.destination));
        let view = view.ok_or(DropReason::NotOurAddress)?;
        let (lease, limit) = (view.lease, view.limit);
        if ip.fragment.is_later() {
            return self.carry_in_later(tunnel, packet, &ip, now);
        }
        let transport = Transport::parse(packet, &ip)?;
        if let Transport::IcmpError { kind, .. } = transport {
            return self.carry_in_error(tunnel, lease, packet, &ip, kind, now);
        }
        if !has_checksum(packet, &ip, &transport) {
            return Err(DropReason::Malformed.into());
        }
        let answer = Answer::of(packet, &ip, &transport)?;
        let id = self.flow_in(tunnel, lease, &answer, now)?;
        if ip.fragment == Fragment::First && !self.follow_received(tunnel, &ip, id, now) {
            return Err(DropReason::Fragment.into());
        }
        let flow = self.flows.get(id).filter(|flow| !flow.progress.is_withdrawn()).ok_or(answer.unknown)?;
        let (attachment, progress) = (flow.attachment, flow.progress);
        let to = Translation { side: Side::Destination, address: flow.inside.address, port: flow.inside.port };
        nat::translate(packet, &ip, flow.protocol, to, most_mss(limit, ip.source), State::Complete);
        self.flows.touch(id, progress.after(Way::In, answer.segment), now);
        Ok(attachment)
    }

    /// The flow that asked for a packet, or one that it opens since `accept` names it.
    fn flow_in(
        &mut self,
        tunnel: TunnelId,
        lease: LeaseId,
        answer: &Answer,
        now: Moment,
    ) -> Result<FlowId, DropReason> {
        let key = OutsideKey::outside(tunnel, lease, answer.protocol, answer.remote, answer.port);
        let known = self.flows.find_outside(&key, now);
        let over = |flow: &Flow| flow.progress.is_closing() || flow.progress.is_withdrawn();
        let is_over = |id: FlowId| self.flows.get(id).is_none_or(over);
        match known {
            Some(id) if !answer.opens() || !is_over(id) || !self.accepts(tunnel, answer) => Ok(id),
            // It has ended, and the far side opens the next.
            Some(id) => {
                self.flows.remove(id);
                self.accept(tunnel, answer, now)
            }
            None if answer.opens() && self.accepts(tunnel, answer) => self.accept(tunnel, answer, now),
            None => Err(answer.unknown),
        }
    }

    /// Whether the user lets the far side open this, and it comes from where such a packet can come from.
    fn accepts(&self, tunnel: TunnelId, answer: &Answer) -> bool {
        let from = answer.remote.address;
        self.policy.accepts(tunnel, answer.protocol.number(), answer.port)
            && may_be_source(from)
            && !self.policy.is_broadcast(from)
            && !self.policy.is_own_destination(from)
            && self.policy.claim_of(from).is_none_or(|(_, owner)| owner == tunnel)
    }

    /// Opens a flow from outside, to the address by which the interface shows the tunnel.
    fn accept(&mut self, tunnel: TunnelId, answer: &Answer, now: Moment) -> Result<FlowId, DropReason> {
        let view = self.policy.tunnel(tunnel).ok_or(answer.unknown)?;
        let address = view.presented(answer.remote.address).ok_or(answer.unknown)?;
        let outside = view.inner(answer.remote.address).ok_or(answer.unknown)?;
        let flow = Flow {
            attachment: Attachment::Rules,
            tunnel,
            lease: view.lease,
            protocol: answer.protocol,
            inside: Inside { address, port: answer.port },
            outside: Outside { address: outside, port: answer.port },
            remote: answer.remote,
            progress: Progress::from_outside(answer.protocol),
        };
        if self.flows.is_known(&flow.inside_key()) {
            return Err(answer.unknown);
        }
        let policy = &self.policy;
        let holder = Some(Holder::Tunnel(tunnel));
        Ok(self.flows.insert(flow, holder, |old| over(policy, old).is_some(), now)?)
    }

    /// A later fragment belongs to its first one's flow, and waits while that has not come.
    fn carry_in_later(
        &mut self,
        tunnel: TunnelId,
        packet: &mut [u8],
        ip: &Ip,
        now: Moment,
    ) -> Result<Attachment, Stop> {
        let owner = tunnel.number().into();
        let id = match self.received.later(owner, ip, now) {
            Following::Flow(id) => id,
            Following::Spoiled => return Err(DropReason::Fragment.into()),
            Following::Unknown if self.received_early.keep(Datagram::of(owner, ip), packet, now) => {
                return Err(Stop::Keep);
            }
            Following::Unknown => return Err(DropReason::Fragment.into()),
        };
        let flow = self.flows.get(id).filter(|flow| over(&self.policy, flow).is_none());
        let flow = flow.ok_or(DropReason::Fragment)?;
        ip.set_address(packet, Side::Destination, flow.inside.address);
        Ok(flow.attachment)
    }

    /// Lets later fragments follow a first one; `false` if it overlaps what came already.
    fn follow_received(&mut self, tunnel: TunnelId, ip: &Ip, flow: FlowId, now: Moment) -> bool {
        let owner = tunnel.number().into();
        let follows = self.received.first(owner, ip, flow, now);
        if follows {
            self.received_early.release(Datagram::of(owner, ip));
        }
        follows
    }

    /// An error reaches the host if it quotes a packet that a live flow sent through this tunnel in this lease, and is no
    /// redirect, ten a second at most (T-46). Any router on the way may have sent it, and stays its source.
    fn carry_in_error(
        &mut self,
        tunnel: TunnelId,
        lease: LeaseId,
        packet: &mut [u8],
        ip: &Ip,
        kind: u8,
        now: Moment,
    ) -> Result<Attachment, Stop> {
        let believable = !icmp_error::is_redirect(kind, ip.source)
            && ip.fragment == Fragment::Whole
            && may_be_source(ip.source)
            && !self.policy.is_own_destination(ip.source);
        let quote = Quote::parse(packet, ip).filter(|quote| believable && quote.ip.source == ip.destination);
        let quote = quote.ok_or(DropReason::NoFlow)?;
        let remote = Remote { address: quote.ip.destination, port: quote.destination_port };
        let key = OutsideKey::outside(tunnel, lease, quote.protocol, remote, quote.source_port);
        let id = self.flows.find_outside(&key, now).ok_or(DropReason::NoFlow)?;
        let flow = self.flows.get(id).copied().filter(|flow| !flow.progress.is_withdrawn());
        let flow = flow.ok_or(DropReason::NoFlow)?;
        if !self.flows.may_tell_error(id, now) {
            return Err(DropReason::TooManyErrors.into());
        }
        debug_assert_eq!(
            flow.outside,
            Outside { address: quote.ip.source, port: quote.source_port },
            "as its key says"
        );
        let to = Translation { side: Side::Source, address: flow.inside.address, port: flow.inside.port };
        icmp_error::translate(packet, ip, &quote, flow.inside.address, to);
        Ok(flow.attachment)
    }
}
