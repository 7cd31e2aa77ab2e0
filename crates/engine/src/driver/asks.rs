//! What the fleet asks for is carried out: names, sockets, keys for the lane, plans for the host, words for those who listen.
//! What came of it is told to the fleet where it comes in.

use std::os::fd::AsFd;

use mrvpn_netplan::Host;
use mrvpn_router::TunnelId;

use super::host_thread::Job;
use super::lane_thread::{HandedSocket, LaneMessage};
use super::outer::Sent;
use super::upkeep::Todo;
use super::{Driver, Resolved, clock, resolver};
use crate::fleet::Request;
use crate::lane::LaneCommand;
use crate::tunnel::Ask;

impl<H> Driver<H>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
{
    /// Carries out all that the fleet has asked for. What is to be remembered is given to the host's thread before the plan
    /// that was asked for after it.
    pub(super) fn carry_out(&mut self) {
        while let Some(request) = self.fleet.poll_request() {
            match request {
                Request::Policy(policy) => self.tell_lane(LaneCommand::Policy(policy)),
                Request::Remember(memory) => self.host.order(Job::Remember(memory)),
                Request::Plan(plan) => self.upkeep.want(plan),
                Request::Event(what) => self.events.tell(what),
                Request::Tunnel { tunnel, ask } => self.serve_tunnel(tunnel, ask),
            }
        }
    }

    /// Gives the host what it is to do next. At the end everything is taken down, whatever was wanted.
    pub(super) fn keep_up(&mut self) {
        if self.ending.is_some() {
            return;
        }
        match self.upkeep.poll(clock::now()) {
            Some(Todo::Open) => self.host.order(Job::Open(self.device.clone())),
            Some(Todo::Change(plan)) => {
                let told = self.lane.as_ref().map(|lane| lane.handle.told());
                self.host.order(Job::Change { wanted: Box::new(plan), told });
            }
            Some(Todo::Audit(plan)) => self.host.order(Job::Audit { wanted: Box::new(plan) }),
            None => {}
        }
    }

    fn serve_tunnel(&mut self, tunnel: TunnelId, ask: Ask) {
        match ask {
            Ask::Fresh => self.tell_lane(LaneCommand::Forget { tunnel }),
            Ask::Resolve { host } => {
                let (answer, mark) = (self.resolved_in.clone(), self.mark);
                tokio::spawn(async move {
                    let found = resolver::resolve(&host, mark).await;
                    let _ = answer.send(Resolved { tunnel, host, answer: found }).await;
                });
            }
            Ask::Open { attempt, remote, transport } => {
                if let Some(outcome) = self.outers.open(tunnel, attempt, remote, transport) {
                    self.fleet.handle_opened(tunnel, attempt, outcome, clock::wall(), clock::now());
                }
            }
            Ask::Transmit { attempt, datagram } => match self.outers.send(tunnel, attempt, datagram) {
                Sent::Done => {}
                Sent::Refused => self.fleet.handle_port_refused(tunnel, attempt, clock::now()),
                Sent::WithLane(datagram) => self.tell_lane(LaneCommand::Control { tunnel, datagram }),
            },
            Ask::Adopt { attempt, keys, ping } => {
                let socket = self.outers.hand_over(tunnel, attempt);
                let command = LaneCommand::Adopt { tunnel, attempt, keys, ping };
                self.hand_to_lane(tunnel, command, socket);
            }
            Ask::Install { keys } => self.tell_lane(LaneCommand::Install { tunnel, keys }),
            Ask::Retire { key_id } => self.tell_lane(LaneCommand::Retire { tunnel, key_id }),
            Ask::ExitNotify => self.tell_lane(LaneCommand::ExitNotify { tunnel }),
            Ask::Drop { attempt } => self.outers.drop_one(tunnel, attempt),
            Ask::Close => {
                if self.outers.close(tunnel) {
                    self.tell_lane(LaneCommand::Release { tunnel });
                }
            }
        }
    }

    /// What a server on this host sends on may come back into the interface.
    fn hand_to_lane(&self, tunnel: TunnelId, command: LaneCommand, socket: Option<HandedSocket>) {
        let local = socket.as_ref().is_some_and(HandedSocket::is_local);
        self.message_lane(LaneMessage { command, socket: socket.map(|socket| (tunnel, socket)) });
        if local {
            self.tell_lane(LaneCommand::WatchLoop { tunnel });
        }
    }

    pub(super) fn tell_lane(&self, command: LaneCommand) {
        self.message_lane(LaneMessage { command, socket: None });
    }

    fn message_lane(&self, message: LaneMessage) {
        if let Some(lane) = &self.lane {
            lane.handle.send(message);
        }
    }
}
