//! The fence: what is captured and yet about to leave by another interface is refused. Routing alone captures; where
//! someone takes our policy rules or routes away, or a program binds itself to a card, this list is what keeps the same
//! traffic closed until they are back. It is made of the same lines as capture (`capture/fenced.rs`) and refuses nothing
//! that capture leaves to the host. It does not outlive `down`.
//!
//! Where it knows less than capture it lets go. A packet on its way out has a source, whether its program bound to one or
//! not, so that lines of the user's that capture by source are routing's alone, and what a line lets go by source is let
//! go whoever chose it. How it is asked, and what is never asked, is [`crate::firewall`]'s.

use std::net::IpAddr;

use mrvpn_router::PortRange;

use crate::plan::Family;
use crate::spans::Spans;
use crate::way::Probe;

/// What is refused, in order; the first match decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    /// Addresses of ours: what they send is refused first.
    pub sources: Spans,
    /// What decides by more than one look.
    pub lines: Vec<FenceLine>,
    /// Destinations that are refused where no line has decided.
    pub held: Spans,
}

/// A line: a packet that has all of it is refused, or let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceLine {
    /// Family.
    pub family: Family,
    /// Sources.
    pub from: Option<Spans>,
    /// Destinations.
    pub to: Option<Spans>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Destination ports.
    pub port: Option<PortRange>,
    /// Firewall mark and mask.
    pub mark: Option<(u32, u32)>,
    /// The interface by which it would leave.
    pub device: Option<String>,
    /// Whether it is refused.
    pub refuses: bool,
}

impl Fence {
    /// Whether it refuses a packet that is about to leave by `device`, none of ours. A packet without a source has none of
    /// our addresses.
    #[must_use]
    pub fn refuses(&self, probe: &Probe, device: &str) -> bool {
        if self.has_source(probe) {
            return true;
        }
        let decided = self.lines.iter().find(|line| line.matches(probe, device)).map(|line| line.refuses);
        decided.unwrap_or_else(|| self.held.contains(probe.to))
    }

    /// Whether the packet comes from an address of ours.
    #[must_use]
    pub fn has_source(&self, probe: &Probe) -> bool {
        probe.from.is_some_and(|from| self.sources.contains(from))
    }

    /// One that refuses only what both refuse, for the time between them. With the same lines it is all of that; else what
    /// a line of either lets go is let go, whatever stands before it.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        Self {
            sources: self.sources.both(&other.sources),
            lines: if self.lines == other.lines { self.lines.clone() } else { self.common_lines(other) },
            held: self.held.both(&other.held),
        }
    }

    fn common_lines(&self, other: &Self) -> Vec<FenceLine> {
        let (mut lines, mut refusing) = (Vec::new(), Vec::new());
        for line in self.lines.iter().chain(&other.lines) {
            let place = if line.refuses { &mut refusing } else { &mut lines };
            let is_common = self.lines.contains(line) && other.lines.contains(line);
            if (is_common || !line.refuses) && !place.contains(line) {
                place.push(line.clone());
            }
        }
        lines.extend(refusing);
        lines
    }
}

impl FenceLine {
    fn matches(&self, probe: &Probe, device: &str) -> bool {
        let family = if probe.to.is_ipv4() { Family::V4 } else { Family::V6 };
        let has = |spans: &Spans, address: Option<IpAddr>| address.is_some_and(|address| spans.contains(address));
        self.family == family
            && self.from.as_ref().is_none_or(|spans| has(spans, probe.from))
            && self.to.as_ref().is_none_or(|spans| has(spans, Some(probe.to)))
            && self.proto.is_none_or(|proto| proto == probe.proto)
            && self.port.is_none_or(|range| probe.port.is_some_and(|port| (range.first..=range.last).contains(&port)))
            && self.mark.is_none_or(|(mark, mask)| probe.mark & mask == mark)
            && self.device.as_ref().is_none_or(|name| name == device)
    }
}
