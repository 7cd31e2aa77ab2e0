//! Why a flow goes where it goes, in words (`explain`): the plan says whether the engine gets it, the router what decides
//! then and what does not; here it gets names, sentences and the state of the tunnel. Nothing is decided here.

mod fate; // what becomes of it
mod left; // why the host keeps it

use std::net::IpAddr;

use mrvpn_clock::Moment;
use mrvpn_router::{Attachment, By, Field, FlowTuple, LiveFlow, Pick, Policy, Rejected, Via, WhyNot, source_sent};

use super::Fleet;
use crate::explained::{Because, Explained, FlowQuery, FlowShown, LiveShown, NotShown, SourceShown};
use fate::Fate;

impl Fleet {
    /// Where a flow would go now and why; `live` are the flows to the same destination that there are.
    #[must_use]
    pub fn explain(&self, query: &FlowQuery, live: &[LiveFlow], now: Moment) -> Explained {
        let policy = &self.policy;
        let flow = tuple(policy, query);
        let explanation = mrvpn_router::explain(policy, Attachment::Rules, &flow);
        let pick = explanation.pick;
        let explained = Explained {
            flow: FlowShown { proto: protocol_name(query.proto), to: query.to, port: query.port, from: query.from },
            via: self.via(pick.via),
            by: self.because(pick.by),
            state: Fate::Up.name().to_owned(),
            source: None,
            refused: None,
            not: explanation.not.iter().map(|rejected| self.not(rejected)).collect(),
            live: live.iter().filter(|flow| flow.lease_alive).map(|flow| self.live(flow)).collect(),
        };
        match self.left(query) {
            None => {
                let fate = self.fate(&pick, &flow, now);
                let source = self.source(&pick, query, &flow);
                Explained { state: fate.name().to_owned(), source, refused: fate.why(), ..explained }
            }
            Some(_) if pick.via == Via::Direct => explained,
            Some(why) => left_to_host(explained, &why),
        }
    }

    fn via(&self, via: Via) -> Option<String> {
        match via {
            Via::Tunnel(id) => Some(self.name_of(id)),
            Via::Direct => Some("direct".to_owned()),
            Via::Block => Some("block".to_owned()),
            Via::Undecided | Via::Nobody => None,
        }
    }

    fn because(&self, by: By) -> Because {
        let rule = |place: usize| self.policy.rules().get(place).and_then(|rule| rule.name.clone());
        let (kind, name, what) = match by {
            By::Rule(place) => ("rule", rule(place), format!("rule {} of the file", place + 1)),
            By::Source => ("source", None, "the address that the program bound to".to_owned()),
            By::Claim(prefix) => ("claim", None, prefix.to_string()),
            By::Default => ("default", None, self.default_words()),
            By::Fallback => ("fallback", None, "nothing claims it".to_owned()),
            By::Attachment => ("source", None, "the device that it came from".to_owned()),
        };
        Because { kind: kind.to_owned(), name, what }
    }

    fn default_words(&self) -> String {
        match self.default_status() {
            Some(default) => default.why,
            None => "the default tunnel is not known yet: an earlier tunnel of the file may still offer".to_owned(),
        }
    }

    /// The source of the flow's packets, where they go through a tunnel.
    fn source(&self, pick: &Pick, query: &FlowQuery, flow: &FlowTuple) -> Option<SourceShown> {
        match pick.via {
            Via::Tunnel(_) => Some(SourceShown {
                seen: query.from.unwrap_or(flow.source),
                sent: source_sent(&self.policy, pick, flow),
            }),
            Via::Direct | Via::Block | Via::Undecided | Via::Nobody => None,
        }
    }

    fn not(&self, rejected: &Rejected) -> NotShown {
        NotShown { via: self.via(rejected.via), by: self.because(rejected.by), why: self.why_not(rejected.why) }
    }

    fn why_not(&self, why: WhyNot) -> String {
        match why {
            WhyNot::EarlierRule(place) => format!("rule {} stands before it and matches too", place + 1),
            WhyNot::FieldDiffers(field) => format!("its `{}` does not match", field_name(field)),
            WhyNot::RuleDecides => "a rule decides first".to_owned(),
            WhyNot::AttachmentDecides => "the device that it came from decides first".to_owned(),
            WhyNot::SourceDecides => "the address that the program bound to decides first".to_owned(),
            WhyNot::LongerClaim(prefix) => format!("{prefix} is a longer prefix"),
            WhyNot::FirstInFile(id) => {
                format!("{} claims the same prefix and stands before it in the file", self.name_of(id))
            }
            WhyNot::ClaimDecides => "a claim decides first".to_owned(),
            WhyNot::DefaultDecides => "there is a default tunnel".to_owned(),
        }
    }

    fn live(&self, flow: &LiveFlow) -> LiveShown {
        let end = |(address, port): (IpAddr, u16)| std::net::SocketAddr::new(address, port).to_string();
        LiveShown {
            proto: protocol_name(flow.protocol),
            seen: end(flow.seen),
            sent: end(flow.sent),
            remote: end(flow.remote),
            via: self.name_of(flow.tunnel),
        }
    }
}

/// The flow as the interface would bring it: a program that binds to nothing has the anchor.
fn tuple(policy: &Policy, query: &FlowQuery) -> FlowTuple {
    let own = policy.own();
    let anchor = if query.to.is_ipv4() { IpAddr::V4(own.anchor_v4) } else { IpAddr::V6(own.anchor_v6) };
    FlowTuple {
        source: query.from.unwrap_or(anchor),
        destination: query.to,
        protocol: query.proto,
        source_port: None,
        destination_port: query.port,
    }
}

/// What the engine would do with it becomes one of the ways that it does not take.
fn left_to_host(explained: Explained, why: &str) -> Explained {
    let by = Because { kind: "fallback".to_owned(), name: None, what: format!("left to this host: {why}") };
    let why = "this host keeps it".to_owned();
    let engine = explained.via.map(|via| NotShown { via: Some(via), by: explained.by, why });
    let others = explained.not.into_iter().filter(|not| not.via.is_some());
    Explained { via: None, by, not: engine.into_iter().chain(others).collect(), ..explained }
}

const fn field_name(field: Field) -> &'static str {
    match field {
        Field::To => "to",
        Field::From => "from",
        Field::Proto => "proto",
        Field::Port => "port",
    }
}

fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 | 58 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}
