//! Streams between nodes, as TCP makes them: bytes arrive in order and undamaged or not at all. What the link loses comes
//! later, and so does everything behind it; while it is cut, all of it waits. It is no TCP: no window, no speed, and whoever
//! writes never waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use mrvpn_clock::Moment;

use super::noise::Noise;
use crate::sim::seed::Dice;

/// One stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

/// Which end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Who connected.
    Client,
    /// Who listened.
    Server,
}

/// What happens to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Somebody connected to this listener; `from` is what it sees.
    Accepted {
        /// Where it seems to come from.
        from: SocketAddr,
        /// The listener.
        to: SocketAddr,
    },
    /// The client's connection stands.
    Connected,
    /// Nobody listens there: for the client.
    Refused,
    /// Bytes came to this end.
    Bytes(End, Vec<u8>),
    /// Nothing more comes to this end: the other one has closed, or is gone.
    Ended(End),
}

/// All streams of a network.
#[derive(Debug, Default)]
pub(super) struct Streams {
    listeners: BTreeSet<SocketAddr>,
    streams: BTreeMap<StreamId, Stream>,
    next: u64,
}

#[derive(Debug)]
struct Stream {
    client: SocketAddr,
    /// The client as the server sees it.
    seen: SocketAddr,
    server: SocketAddr,
    up: Direction,
    down: Direction,
    /// Address translation has forgotten it, or the server's end is gone: neither end hears the other any more.
    broken: bool,
}

#[derive(Debug, Default)]
struct Direction {
    on_way: VecDeque<(Moment, Piece)>,
    latest: Moment,
}

#[derive(Debug)]
enum Piece {
    Connect,
    Accept,
    Refuse,
    Bytes(Vec<u8>),
    End,
}

/// What is lost is sent again after so long, then after twice that (RFC 6298 has 200 ms as Linux's least).
const AGAIN: Duration = Duration::from_millis(200);
/// What the server's kernel says by itself takes so long.
const ANSWER: Duration = Duration::from_millis(20);
/// While nothing passes it is tried so often.
const WHILE_CUT: Duration = Duration::from_secs(1);

impl Streams {
    pub(super) fn listen(&mut self, at: SocketAddr) {
        self.listeners.insert(at);
    }

    /// Whoever listened there was killed: its kernel ends every stream.
    pub(super) fn kill(&mut self, at: SocketAddr, now: Moment) {
        self.listeners.remove(&at);
        for stream in self.streams.values_mut().filter(|stream| stream.server == at && !stream.broken) {
            stream.broken = true;
            stream.up.on_way.clear();
            stream.down.push(Piece::End, now + ANSWER);
        }
    }

    pub(super) fn connect(&mut self, client: SocketAddr, seen: SocketAddr, server: SocketAddr) -> StreamId {
        let id = StreamId(self.next);
        self.next += 1;
        let (up, down) = (Direction::default(), Direction::default());
        self.streams.insert(id, Stream { client, seen, server, up, down, broken: false });
        id
    }

    pub(super) fn send_connect(&mut self, id: StreamId, noise: &Noise, dice: &mut Dice, now: Moment) {
        self.push(id, End::Client, Piece::Connect, noise, dice, now);
    }

    pub(super) fn write(&mut self, id: StreamId, by: End, bytes: Vec<u8>, noise: &Noise, dice: &mut Dice, now: Moment) {
        self.push(id, by, Piece::Bytes(bytes), noise, dice, now);
    }

    pub(super) fn close(&mut self, id: StreamId, by: End, noise: &Noise, dice: &mut Dice, now: Moment) {
        self.push(id, by, Piece::End, noise, dice, now);
    }

    /// Address translation in front of this node has forgotten its flows.
    pub(super) fn break_all(&mut self, node: std::net::IpAddr) {
        for stream in self.streams.values_mut().filter(|stream| stream.client.ip() == node) {
            stream.broken = true;
            stream.down.on_way.clear();
        }
    }

    /// The sockets of both ends.
    pub(super) fn ends(&self, id: StreamId) -> Option<(SocketAddr, SocketAddr)> {
        self.streams.get(&id).map(|stream| (stream.client, stream.server))
    }

    pub(super) fn next_at(&self) -> Option<Moment> {
        let heads = self.streams.values().flat_map(|stream| [stream.up.head(), stream.down.head()]);
        heads.flatten().min()
    }

    /// The first thing that has happened by now; `passes` tells whether anything passes between two nodes.
    pub(super) fn take_next(
        &mut self,
        passes: impl Fn(SocketAddr, SocketAddr) -> bool,
        now: Moment,
    ) -> Option<(StreamId, StreamEvent)> {
        loop {
            let due = |direction: &Direction| direction.head().filter(|at| *at <= now);
            let heads = self.streams.iter().flat_map(|(id, stream)| {
                [(due(&stream.up), End::Server), (due(&stream.down), End::Client)].map(|(at, to)| (at, *id, to))
            });
            let (_, id, to) = heads.filter_map(|(at, id, to)| Some((at?, id, to))).min()?;
            let stream = self.streams.get_mut(&id)?;
            if !passes(stream.client, stream.server) {
                stream.direction(to).postpone(now + WHILE_CUT);
                continue;
            }
            let (at, piece) = stream.direction(to).on_way.pop_front()?;
            if let Some(event) = self.arrive(id, to, piece, at) {
                return Some((id, event));
            }
        }
    }

    fn arrive(&mut self, id: StreamId, to: End, piece: Piece, at: Moment) -> Option<StreamEvent> {
        let stream = self.streams.get_mut(&id)?;
        if stream.broken && to == End::Server {
            // Nobody knows this stream there: it is reset.
            stream.up.on_way.clear();
            stream.down.push(Piece::End, at + ANSWER);
            return None;
        }
        match piece {
            Piece::Connect => {
                let listens = self.listeners.contains(&stream.server);
                stream.broken = !listens;
                stream.down.push(if listens { Piece::Accept } else { Piece::Refuse }, at + ANSWER);
                listens.then_some(StreamEvent::Accepted { from: stream.seen, to: stream.server })
            }
            Piece::Accept => Some(StreamEvent::Connected),
            Piece::Refuse => {
                self.streams.remove(&id);
                Some(StreamEvent::Refused)
            }
            Piece::Bytes(bytes) => Some(StreamEvent::Bytes(to, bytes)),
            Piece::End => {
                self.streams.remove(&id);
                Some(StreamEvent::Ended(to))
            }
        }
    }

    fn push(&mut self, id: StreamId, by: End, piece: Piece, noise: &Noise, dice: &mut Dice, now: Moment) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let mut at = now + dice.within(&noise.delay);
        let mut again = AGAIN;
        while (noise.loss.roll(dice) || noise.corrupt.roll(dice)) && again < 32 * AGAIN {
            at = at + again;
            again *= 2;
        }
        match by {
            End::Client => stream.up.push(piece, at),
            // What a broken stream's server says reaches nobody.
            End::Server if stream.broken => {}
            End::Server => stream.down.push(piece, at),
        }
    }
}

impl Stream {
    const fn direction(&mut self, to: End) -> &mut Direction {
        match to {
            End::Server => &mut self.up,
            End::Client => &mut self.down,
        }
    }
}

impl Direction {
    fn head(&self) -> Option<Moment> {
        self.on_way.front().map(|(at, _)| *at)
    }

    /// Behind everything that is on its way.
    fn push(&mut self, piece: Piece, at: Moment) {
        self.latest = self.latest.max(at);
        self.on_way.push_back((self.latest, piece));
    }

    fn postpone(&mut self, at: Moment) {
        for (arrival, _) in &mut self.on_way {
            *arrival = at.max(*arrival);
        }
        self.latest = self.latest.max(at);
    }
}
