//! What the program asks is done by the fleet and answered here: at once, or when the host is as it must be then.

use std::os::fd::AsFd;

use mrvpn_netplan::Host;
use mrvpn_router::{DropReason, FlowFilter, TunnelId};
use tokio::sync::oneshot;

use super::host_thread::Job;
use super::questions::Question;
use super::{Command, Driver, Refused, Reloaded, TunnelVerb, clock};
use crate::config::EngineConfig;
use crate::explained::FlowQuery;
use crate::fleet::Counted;
use crate::lane::LaneCommand;
use crate::status::Status;

/// Flows of an answer at most: a person reads them.
const FLOWS: usize = 64;

impl<H> Driver<H>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
{
    /// Does what it is told. An engine that is ending shows itself and refuses everything else.
    pub(super) fn obey(&mut self, command: Command) {
        match (command, self.ending.is_some()) {
            // Whoever asked may be gone; so it is with each answer.
            (Command::Status(answer), _) => drop(answer.send(self.status())),
            (Command::Shutdown, _) => self.begin_end(),
            (Command::Explain { answer, .. }, true) => drop(answer),
            (Command::Reload { answer, .. }, true) => drop(answer.send(Err(Refused::ending()))),
            (Command::Tunnel { answer, .. }, true) => drop(answer.send(Err(Refused::ending()))),
            (Command::Explain { query, answer }, false) => self.ask_lane(Question { query, answer }),
            (Command::Reload { config, dry_run: true, answer }, false) => self.preview(&config, answer),
            (Command::Reload { config, dry_run: false, answer }, false) => self.reload(*config, answer),
            (Command::Tunnel { name, verb, answer }, false) => self.tunnel(&name, verb, answer),
        }
    }

    fn status(&mut self) -> Status {
        if let Some(lane) = &self.lane {
            self.fleet.handle_offloads(lane.handle.offloads());
        }
        let counted = |tunnel: Option<TunnelId>| self.counted(tunnel);
        let mut status = self.fleet.status(clock::pair(), &counted);
        status.warnings.extend_from_slice(&self.warnings);
        status
    }

    fn counted(&self, tunnel: Option<TunnelId>) -> Counted {
        let Some(lane) = &self.lane else { return Counted::default() };
        let counters = &lane.counters;
        let drops = DropReason::ALL.iter().map(|reason| (reason.name().to_owned(), counters.drops(tunnel, *reason)));
        Counted {
            rx_bytes: tunnel.map_or(0, |tunnel| counters.rx_bytes(tunnel)),
            tx_bytes: tunnel.map_or(0, |tunnel| counters.tx_bytes(tunnel)),
            drops: drops.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// The lane says which flows there are, if there is one and it is not too slow.
    fn ask_lane(&mut self, question: Question) {
        let now = clock::now();
        let FlowQuery { to, port, proto, from } = question.query;
        if self.lane.is_none() {
            return self.explain(question, &[], now);
        }
        let question = self.questions.ask(question, now);
        let filter = FlowFilter { destination: to, port, protocol: Some(proto), source: from };
        self.tell_lane(LaneCommand::FindFlows { question, filter, most: FLOWS });
    }

    fn preview(&self, config: &EngineConfig, answer: oneshot::Sender<Result<Reloaded, Refused>>) {
        match self.fleet.preview(config, clock::now()) {
            Ok((reloaded, wanted)) => {
                let (wanted, reloaded) = (Box::new(wanted), Box::new(reloaded));
                self.host.order(Job::Preview { wanted, reloaded, answer });
            }
            Err(refused) => drop(answer.send(Err(refused))),
        }
    }

    fn reload(&mut self, config: EngineConfig, answer: oneshot::Sender<Result<Reloaded, Refused>>) {
        match self.fleet.reload(config, None, clock::now()) {
            Ok(reloaded) => self.waiting.reload(self.upkeep.begun(), reloaded, answer),
            Err(refused) => drop(answer.send(Err(refused))),
        }
    }

    fn tunnel(&mut self, name: &str, verb: TunnelVerb, answer: oneshot::Sender<Result<String, Refused>>) {
        match self.fleet.tunnel_verb(name, verb, clock::now()) {
            Ok(sentence) => self.waiting.verb(self.upkeep.begun(), sentence, answer),
            Err(refused) => drop(answer.send(Err(refused))),
        }
    }

    /// Answers those who wait for the host, once no plan is to come any more.
    pub(super) fn answer_waiting(&mut self) {
        if !self.upkeep.is_owed() {
            self.waiting.answer();
        }
    }
}
