//! From a tunnel to the host: parse, find the flow that asked for it, translate back. Nothing is picked and nothing is
//! opened here: what the host has not asked for does not arrive (T-45, I-4).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use crate::flow::{Outside, OutsideKey, Protocol, Remote, Way};
use crate::icmp_error::{self, Quote};
use crate::nat::{self, State, Translation};
use crate::outbound::{lease_has_ended, most_mss};
use crate::packet::ipv4::{self, Fragment, Ipv4, Side};
use crate::packet::tcp::Flags;
use crate::packet::transport::Transport;
use crate::packet::{Malformed, icmp};
use crate::{Attachment, DropReason, Router, TunnelId, TunnelView};

/// What becomes of a packet from a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// It is translated back; write it to the host.
    Forward {
        /// Where its flow came from.
        attachment: Attachment,
    },
    /// It is counted for the tunnel.
    Drop(DropReason),
}

/// What a packet says it answers.
struct Answer {
    protocol: Protocol,
    remote: Remote,
    /// The host's port as the server knows it.
    port: u16,
    flags: Option<Flags>,
    /// Why it is dropped if nothing asked for it.
    unknown: DropReason,
}

impl Answer {
    /// Reads it from the headers; an echo request and what is not translated answer nothing.
    fn of(ip: &Ipv4, transport: &Transport) -> Result<Self, DropReason> {
        let (protocol, remote, port, flags, unknown) = match transport {
            Transport::Tcp(tcp) => {
                let unknown = if tcp.flags.opens() { DropReason::Unasked } else { DropReason::NoFlow };
                (Protocol::Tcp, tcp.source, tcp.destination, Some(tcp.flags), unknown)
            }
            // A late answer looks like a first question, so neither is told from the other.
            Transport::Udp(udp) => (Protocol::Udp, udp.source, udp.destination, None, DropReason::Unasked),
            Transport::EchoReply(id) => (Protocol::Echo, 0, *id, None, DropReason::NoFlow),
            Transport::EchoRequest(_) => return Err(DropReason::Unasked),
            Transport::IcmpError { .. } | Transport::Other => return Err(DropReason::Protocol),
        };
        Ok(Self { protocol, remote: Remote { address: ip.source, port: remote }, port, flags, unknown })
    }
}

impl From<Malformed> for DropReason {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Router {
    /// Judges a complete packet that came out of `tunnel`, and translates it back if the host asked for it.
    pub fn inbound(&mut self, tunnel: TunnelId, packet: &mut [u8], now: Moment) -> Inbound {
        let carried = match packet.first().map(|first| first >> 4) {
            Some(4) => self.carry_in(tunnel, packet, now),
            Some(6) => Err(DropReason::Ipv6),
            Some(_) | None => Err(DropReason::Malformed),
        };
        match carried {
            Ok(attachment) => Inbound::Forward { attachment },
            Err(reason) => {
                self.count(Some(tunnel), reason);
                Inbound::Drop(reason)
            }
        }
    }

    fn carry_in(&mut self, tunnel: TunnelId, packet: &mut [u8], now: Moment) -> Result<Attachment, DropReason> {
        let ip = Ipv4::parse(packet)?;
        if ip.ttl == 0 || !ip.checksum_is_right(packet) {
            return Err(DropReason::Malformed);
        }
        let view = self.policy.tunnel(tunnel).filter(|view| view.inner_v4 == Some(ip.destination));
        let view = *view.ok_or(DropReason::NotOurAddress)?;
        if ip.fragment == Fragment::Later {
            return self.carry_in_later(tunnel, packet, &ip, now);
        }
        let transport = Transport::parse(packet, &ip)?;
        if let Transport::IcmpError { kind, .. } = transport {
            return self.carry_in_error(tunnel, &view, packet, &ip, kind, now);
        }
        let answer = Answer::of(&ip, &transport)?;
        let key = OutsideKey::new(tunnel, view.lease, answer.protocol, answer.remote, answer.port);
        let id = self.flows.find_outside(&key, now).ok_or(answer.unknown)?;
        let flow = *self.flows.get(id).ok_or(answer.unknown)?;
        let to = Translation { side: Side::Destination, address: flow.inside.address, port: flow.inside.port };
        nat::translate(packet, &ip, flow.protocol, to, most_mss(view.limit), State::Complete);
        self.flows.touch(id, flow.progress.after(Way::In, answer.flags), now);
        if ip.fragment == Fragment::First {
            self.received.first(tunnel.number().into(), &ip, id, now);
        }
        Ok(flow.attachment)
    }

    /// A later fragment belongs to its first one's flow.
    fn carry_in_later(
        &mut self,
        tunnel: TunnelId,
        packet: &mut [u8],
        ip: &Ipv4,
        now: Moment,
    ) -> Result<Attachment, DropReason> {
        let id = self.received.later(tunnel.number().into(), ip, now);
        let flow = id.and_then(|id| self.flows.get(id)).filter(|flow| !lease_has_ended(&self.policy, flow));
        let flow = flow.ok_or(DropReason::Fragment)?;
        nat::translate_address(packet, ip, Side::Destination, flow.inside.address);
        Ok(flow.attachment)
    }

    /// An error reaches the host if it quotes a packet that a live flow sent through this tunnel in this lease, and is no
    /// redirect (T-46). Any router on the way may have sent it.
    fn carry_in_error(
        &mut self,
        tunnel: TunnelId,
        view: &TunnelView,
        packet: &mut [u8],
        ip: &Ipv4,
        kind: u8,
        now: Moment,
    ) -> Result<Attachment, DropReason> {
        let believable = kind != icmp::REDIRECT
            && ip.fragment == Fragment::Whole
            && ipv4::may_be_source(ip.source)
            && !self.policy.is_own_destination(ip.source);
        let quote = Quote::parse(packet, ip).filter(|quote| believable && quote.ip.source == ip.destination);
        let quote = quote.ok_or(DropReason::NoFlow)?;
        let remote = Remote { address: quote.ip.destination, port: quote.destination_port };
        let key = OutsideKey::new(tunnel, view.lease, quote.protocol, remote, quote.source_port);
        let id = self.flows.find_outside(&key, now);
        let flow = id.and_then(|id| self.flows.get(id)).ok_or(DropReason::NoFlow)?;
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
