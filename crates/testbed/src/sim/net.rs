//! The simulated network: datagrams between nodes, each known by its IP address, over links that lose, delay, reorder,
//! double and damage them as `noise.rs` says, with address translation (`nat.rs`), partitions and black holes. Nothing
//! here knows what a datagram holds, and nothing waits: who owns the network asks when something arrives and takes it
//! then. The same seed and the same calls give the same arrivals. Outer TCP is `streams.rs`.

mod nat;
mod noise;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use mrvpn_clock::Moment;

use super::seed::Dice;
use nat::Nat;
use streams::Streams;

pub use noise::{Noise, Odds};
pub use streams::{End, StreamEvent, StreamId};

/// A datagram that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Where it seems to come from: behind address translation this is the outside.
    pub from: SocketAddr,
    /// The socket that gets it.
    pub to: SocketAddr,
    /// What it holds, maybe damaged.
    pub datagram: Vec<u8>,
}

/// What became of a datagram when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on its way, so often, maybe damaged.
    Sent {
        /// Two where it was doubled.
        copies: u8,
        /// Whether one of the copies is damaged.
        damaged: bool,
    },
    /// The noise took it.
    Lost,
    /// One end is cut off.
    Cut,
    /// A black hole swallowed it.
    Swallowed,
    /// It is larger than the link carries.
    TooLarge,
}

/// Datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to [`Network::send`].
    pub sent: u64,
    /// Taken by the noise.
    pub lost: u64,
    /// Sent by or to a node that is cut off.
    pub cut: u64,
    /// Swallowed by black holes.
    pub swallowed: u64,
    /// Larger than the link carries.
    pub too_large: u64,
    /// Doubled.
    pub doubled: u64,
    /// Damaged.
    pub damaged: u64,
    /// Late enough for others to overtake.
    pub late: u64,
    /// For an outside port that stands for nobody any more.
    pub unmapped: u64,
    /// Arrived.
    pub delivered: u64,
}

/// Datagrams on their way.
#[derive(Debug)]
pub struct Network {
    dice: Dice,
    noise: Noise,
    links: BTreeMap<Link, Noise>,
    holes: BTreeMap<Link, Moment>,
    cut: BTreeSet<IpAddr>,
    nats: BTreeMap<IpAddr, Nat>,
    /// The latest arrival in each direction of a link: what is not late keeps its order.
    latest: BTreeMap<(IpAddr, IpAddr), Moment>,
    on_way: BTreeMap<(Moment, u64), Delivered>,
    streams: Streams,
    counts: Counts,
    number: u64,
}

/// Two nodes, the smaller address first.
type Link = (IpAddr, IpAddr);

fn link(a: IpAddr, b: IpAddr) -> Link {
    (a.min(b), a.max(b))
}

impl Network {
    /// A network without noise, on which everything takes 10 ms.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::of(seed, "network"),
            noise: Noise::NONE,
            links: BTreeMap::new(),
            holes: BTreeMap::new(),
            cut: BTreeSet::new(),
            nats: BTreeMap::new(),
            latest: BTreeMap::new(),
            on_way: BTreeMap::new(),
            streams: Streams::default(),
            counts: Counts::default(),
            number: 0,
        }
    }

    /// The noise of every link that has none of its own.
    pub fn set_noise_everywhere(&mut self, noise: Noise) {
        self.noise = noise;
    }

    /// The noise between two nodes, in both directions.
    pub fn set_noise(&mut self, a: IpAddr, b: IpAddr, noise: Noise) {
        self.links.insert(link(a, b), noise);
    }

    /// Cuts a node off, or joins it again. What is on its way to it is lost as well while it is cut off.
    pub fn partition(&mut self, node: IpAddr, cut: bool) {
        if cut {
            self.cut.insert(node);
        } else {
            self.cut.remove(&node);
        }
    }

    /// All that is sent between two nodes is swallowed until then.
    pub fn black_hole(&mut self, a: IpAddr, b: IpAddr, until: Moment) {
        self.holes.insert(link(a, b), until);
    }

    /// From now on the node is behind address translation: others see its flows come from ports of `outside`.
    pub fn nat(&mut self, node: IpAddr, outside: IpAddr) {
        self.nats.insert(node, Nat::new(outside));
    }

    /// The translation forgets its flows: the node's next datagrams come from new ports, and what is sent to the old ones
    /// is lost.
    pub fn rebind(&mut self, node: IpAddr) {
        if let Some(nat) = self.nats.get_mut(&node) {
            nat.forget();
            self.streams.break_all(node);
        }
    }

    /// As [`Self::rebind`], and the new ports are of another address.
    pub fn rebind_to(&mut self, node: IpAddr, outside: IpAddr) {
        if let Some(nat) = self.nats.get_mut(&node) {
            nat.move_to(outside);
            self.streams.break_all(node);
        }
    }

    /// Sends a datagram.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>, now: Moment) -> Fate {
        self.counts.sent += 1;
        let noise = self.noise_between(from.ip(), self.node(to.ip()));
        let fate = self.fate(from.ip(), self.node(to.ip()), datagram.len(), &noise, now);
        match fate {
            Fate::Sent { copies, damaged } => {
                let seen = self.nats.get_mut(&from.ip()).map_or(from, |nat| nat.outward(from, to));
                let direction = (from.ip(), self.node(to.ip()));
                for copy in 0..copies {
                    let mut datagram = datagram.clone();
                    if damaged && copy == 0 {
                        damage(&mut datagram, &mut self.dice);
                    }
                    let at = self.arrival(direction, &noise, now);
                    self.number += 1;
                    self.on_way.insert((at, self.number), Delivered { from: seen, to, datagram });
                }
            }
            Fate::Lost => self.counts.lost += 1,
            Fate::Cut => self.counts.cut += 1,
            Fate::Swallowed => self.counts.swallowed += 1,
            Fate::TooLarge => self.counts.too_large += 1,
        }
        fate
    }

    /// From now on streams to this socket are accepted.
    pub fn listen(&mut self, at: SocketAddr) {
        self.streams.listen(at);
    }

    /// Whoever listened there is killed: its streams end, and new ones are refused.
    pub fn kill_listener(&mut self, at: SocketAddr, now: Moment) {
        self.streams.kill(at, now);
    }

    /// Begins a stream; [`StreamEvent::Connected`] or [`StreamEvent::Refused`] follows, if anything passes.
    pub fn connect(&mut self, from: SocketAddr, to: SocketAddr, now: Moment) -> StreamId {
        let seen = self.nats.get_mut(&from.ip()).map_or(from, |nat| nat.outward(from, to));
        let id = self.streams.connect(from, seen, to);
        let noise = self.noise_between(from.ip(), to.ip());
        self.streams.send_connect(id, &noise, &mut self.dice, now);
        id
    }

    /// Writes to a stream. Where it has ended, nothing happens.
    pub fn write(&mut self, id: StreamId, by: End, bytes: Vec<u8>, now: Moment) {
        let Some((client, server)) = self.streams.ends(id) else { return };
        let noise = self.noise_between(client.ip(), server.ip());
        self.streams.write(id, by, bytes, &noise, &mut self.dice, now);
    }

    /// Closes one end of a stream: the other one is told behind all that was written.
    pub fn close(&mut self, id: StreamId, by: End, now: Moment) {
        let Some((client, server)) = self.streams.ends(id) else { return };
        let noise = self.noise_between(client.ip(), server.ip());
        self.streams.close(id, by, &noise, &mut self.dice, now);
    }

    /// The first thing that has happened to a stream by now.
    pub fn take_stream_event(&mut self, now: Moment) -> Option<(StreamId, StreamEvent)> {
        let Self { streams, cut, holes, .. } = self;
        let passes = |a: SocketAddr, b: SocketAddr| {
            let hole = holes.get(&link(a.ip(), b.ip())).is_some_and(|until| now < *until);
            !hole && !cut.contains(&a.ip()) && !cut.contains(&b.ip())
        };
        streams.take_next(passes, now)
    }

    /// When the next datagram arrives, or something happens to a stream.
    #[must_use]
    pub fn next_at(&self) -> Option<Moment> {
        let datagram = self.on_way.first_key_value().map(|((at, _), _)| *at);
        datagram.into_iter().chain(self.streams.next_at()).min()
    }

    /// All that has arrived by now, in order.
    pub fn take_due(&mut self, now: Moment) -> Vec<Delivered> {
        std::iter::from_fn(|| self.take_next(now)).collect()
    }

    /// The first datagram that has arrived by now.
    pub fn take_next(&mut self, now: Moment) -> Option<Delivered> {
        while let Some(entry) = self.on_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let mut delivered = entry.remove();
            if !self.nats.is_empty() {
                match self.inward(&delivered) {
                    Some(to) => delivered.to = to,
                    None => {
                        self.counts.unmapped += 1;
                        continue;
                    }
                }
            }
            if self.cut.contains(&delivered.to.ip()) {
                self.counts.cut += 1;
                continue;
            }
            self.counts.delivered += 1;
            return Some(delivered);
        }
        None
    }

    /// Datagrams on their way.
    #[must_use]
    pub fn on_way(&self) -> usize {
        self.on_way.len()
    }

    /// What became of all datagrams so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn noise_between(&self, a: IpAddr, b: IpAddr) -> Noise {
        self.links.get(&link(a, b)).unwrap_or(&self.noise).clone()
    }

    /// The node that an address stands for.
    fn node(&self, address: IpAddr) -> IpAddr {
        let mut behind = self.nats.iter().filter(|(_, nat)| nat.outside() == address);
        behind.next().map_or(address, |(node, _)| *node)
    }

    fn fate(&mut self, from: IpAddr, to: IpAddr, len: usize, noise: &Noise, now: Moment) -> Fate {
        if self.cut.contains(&from) || self.cut.contains(&to) {
            return Fate::Cut;
        }
        if self.holes.get(&link(from, to)).is_some_and(|until| now < *until) {
            return Fate::Swallowed;
        }
        if len > usize::from(noise.mtu) {
            return Fate::TooLarge;
        }
        if noise.loss.roll(&mut self.dice) {
            return Fate::Lost;
        }
        let (doubled, damaged) = (noise.duplicate.roll(&mut self.dice), noise.corrupt.roll(&mut self.dice));
        self.counts.doubled += u64::from(doubled);
        self.counts.damaged += u64::from(damaged);
        Fate::Sent { copies: 1 + u8::from(doubled), damaged }
    }

    /// When a datagram arrives that is sent now: behind all before it, unless it or one of them is late.
    fn arrival(&mut self, direction: (IpAddr, IpAddr), noise: &Noise, now: Moment) -> Moment {
        let at = now + self.dice.within(&noise.delay);
        if noise.reorder.roll(&mut self.dice) {
            self.counts.late += 1;
            return at + self.dice.within(&noise.late);
        }
        let latest = self.latest.entry(direction).or_default();
        *latest = at.max(*latest);
        *latest
    }

    /// The socket that a datagram is for, behind address translation too.
    fn inward(&self, delivered: &Delivered) -> Option<SocketAddr> {
        match self.nats.values().find(|nat| nat.has_stood_for(delivered.to.ip())) {
            Some(nat) => nat.inward(delivered.to, delivered.from),
            None => Some(delivered.to),
        }
    }
}

/// Changes some bits, or cuts the datagram short.
fn damage(datagram: &mut Vec<u8>, dice: &mut Dice) {
    if datagram.is_empty() {
        return;
    }
    if dice.one_in(8) {
        let len = dice.place(datagram.len());
        datagram.truncate(len);
        return;
    }
    for _ in 0..=dice.below(3) {
        let place = dice.place(datagram.len());
        if let Some(byte) = datagram.get_mut(place) {
            *byte ^= 1 << dice.below(8);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn later(millis: u64) -> Moment {
        Moment::default() + Duration::from_millis(millis)
    }

    /// The first byte of all that arrives by then.
    fn arrivals(network: &mut Network, millis: u64) -> Vec<u8> {
        network.take_due(later(millis)).into_iter().map(|delivered| delivered.datagram[0]).collect()
    }

    fn send_hundred(network: &mut Network) {
        for number in 0..100 {
            network.send(at("10.0.0.1:5"), at("10.0.0.2:6"), vec![number; 20], later(u64::from(number)));
        }
    }

    #[test]
    fn without_noise_everything_arrives_once_in_order_and_on_time() {
        let mut network = Network::new(1);
        send_hundred(&mut network);
        assert_eq!(network.next_at(), Some(later(10)));
        assert!(arrivals(&mut network, 9).is_empty());
        assert_eq!(arrivals(&mut network, 10), [0]);
        assert_eq!(arrivals(&mut network, 500), (1..100).collect::<Vec<_>>());
        assert_eq!(network.next_at(), None);
    }

    #[test]
    fn delay_alone_changes_no_order() {
        let mut network = Network::new(1);
        network.set_noise_everywhere(Noise { delay: Duration::ZERO..Duration::from_millis(50), ..Noise::NONE });
        send_hundred(&mut network);
        assert_eq!(arrivals(&mut network, 500), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn noise_takes_doubles_damages_and_delays_about_as_often_as_it_says() {
        let mut network = Network::new(1);
        network.set_noise(at("10.0.0.1:5").ip(), at("10.0.0.2:6").ip(), Noise::openvpn3());
        for _ in 0..200 {
            send_hundred(&mut network);
        }
        let counts = network.counts();
        let near = |count: u64, expected: u64| count.abs_diff(expected) < expected / 5;
        assert!(near(counts.lost, 20_000 / 16), "{counts:?}");
        assert!(near(counts.doubled, 20_000 / 16 * 15 / 16), "{counts:?}");
        assert!(near(counts.damaged, 20_000 / 32 * 15 / 16), "{counts:?}");
        assert!(near(counts.late, 20_000 / 8), "{counts:?}");
        network.take_due(later(1_000));
        assert_eq!(network.counts().delivered, counts.sent - counts.lost + counts.doubled);
    }

    // proves: I-13
    #[test]
    fn the_same_seed_gives_the_same_arrivals() {
        let run = |seed| {
            let mut network = Network::new(seed);
            network.set_noise_everywhere(Noise::openvpn3());
            send_hundred(&mut network);
            network.take_due(later(1_000))
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_node_that_is_cut_off_gets_nothing_until_it_is_joined_again() {
        let mut network = Network::new(1);
        let (one, two) = (at("10.0.0.1:5"), at("10.0.0.2:6"));
        network.send(one, two, vec![1], later(0));
        network.partition(two.ip(), true);
        assert_eq!(network.send(one, two, vec![2], later(0)), Fate::Cut);
        assert_eq!(network.send(two, one, vec![3], later(0)), Fate::Cut);
        assert!(arrivals(&mut network, 100).is_empty());
        network.partition(two.ip(), false);
        network.send(one, two, vec![4], later(100));
        assert_eq!(arrivals(&mut network, 200), [4]);
    }

    #[test]
    fn a_black_hole_and_a_small_mtu_swallow_in_silence() {
        let mut network = Network::new(1);
        let (one, two) = (at("10.0.0.1:5"), at("10.0.0.2:6"));
        network.black_hole(two.ip(), one.ip(), later(50));
        assert_eq!(network.send(one, two, vec![1], later(49)), Fate::Swallowed);
        assert_eq!(network.send(one, two, vec![2], later(50)), Fate::Sent { copies: 1, damaged: false });
        network.set_noise(one.ip(), two.ip(), Noise { mtu: 1_200, ..Noise::NONE });
        assert_eq!(network.send(one, two, vec![3; 1_201], later(60)), Fate::TooLarge);
        assert_eq!(network.send(one, two, vec![4; 1_200], later(60)), Fate::Sent { copies: 1, damaged: false });
        assert_eq!(arrivals(&mut network, 100), [2, 4]);
    }

    #[test]
    fn behind_translation_answers_come_back_until_it_forgets() {
        let mut network = Network::new(1);
        let (client, server, outside) = (at("10.0.0.1:5"), at("192.0.2.1:1194"), at("198.51.100.1:0").ip());
        network.nat(client.ip(), outside);
        let seen = |network: &mut Network, now: u64| {
            network.send(client, server, vec![1], later(now));
            let from = network.take_due(later(now + 10))[0].from;
            assert_eq!(from.ip(), outside);
            from
        };
        let first = seen(&mut network, 0);
        assert_eq!(seen(&mut network, 20), first, "a flow keeps its port");
        network.send(server, first, vec![2], later(40));
        assert_eq!(network.take_due(later(50))[0].to, client);
        network.send(at("192.0.2.2:1194"), first, vec![3], later(50));
        assert!(arrivals(&mut network, 60).is_empty(), "a stranger is not let in");
        network.send(server, first, vec![4], later(60));
        network.rebind(client.ip());
        assert!(arrivals(&mut network, 70).is_empty(), "on its way while the flow was forgotten");
        assert_ne!(seen(&mut network, 80), first);
    }

    /// All that has happened to streams by then.
    fn happened(network: &mut Network, millis: u64) -> Vec<StreamEvent> {
        std::iter::from_fn(|| network.take_stream_event(later(millis))).map(|(_, event)| event).collect()
    }

    #[test]
    fn a_stream_carries_bytes_in_order_through_any_noise_and_tells_its_end() {
        let mut network = Network::new(1);
        network.set_noise_everywhere(Noise { loss: Odds::permille(300), ..Noise::openvpn3() });
        let (client, server) = (at("10.0.0.1:5"), at("192.0.2.1:443"));
        network.listen(server);
        let id = network.connect(client, server, later(0));
        let mut expected = vec![StreamEvent::Accepted { from: client, to: server }, StreamEvent::Connected];
        let mut seen = happened(&mut network, 60_000);
        for number in 0..50 {
            network.write(id, End::Client, vec![number], later(60_000));
            expected.push(StreamEvent::Bytes(End::Server, vec![number]));
        }
        network.close(id, End::Client, later(60_000));
        expected.push(StreamEvent::Ended(End::Server));
        seen.extend(happened(&mut network, 600_000));
        assert_eq!(seen, expected);
        assert_eq!(network.next_at(), None);
    }

    #[test]
    fn a_stream_waits_while_the_link_is_cut_and_is_refused_where_nobody_listens() {
        let mut network = Network::new(1);
        let (client, server) = (at("10.0.0.1:5"), at("192.0.2.1:443"));
        network.connect(client, server, later(0));
        assert_eq!(happened(&mut network, 100), [StreamEvent::Refused]);
        network.listen(server);
        network.partition(server.ip(), true);
        network.connect(client, server, later(100));
        assert_eq!(happened(&mut network, 5_000), []);
        network.partition(server.ip(), false);
        let opened = [StreamEvent::Accepted { from: client, to: server }, StreamEvent::Connected];
        assert_eq!(happened(&mut network, 7_000), opened);
    }

    #[test]
    fn a_stream_ends_for_the_client_when_its_server_is_killed_or_translation_forgets_it() {
        let mut network = Network::new(1);
        let (client, server) = (at("10.0.0.1:5"), at("192.0.2.1:443"));
        network.nat(client.ip(), at("198.51.100.1:0").ip());
        network.listen(server);
        let id = network.connect(client, server, later(0));
        assert_eq!(happened(&mut network, 100).len(), 2);
        network.rebind(client.ip());
        network.write(id, End::Server, vec![1], later(100));
        assert_eq!(happened(&mut network, 1_000), [], "it reaches nobody");
        network.write(id, End::Client, vec![2], later(1_000));
        assert_eq!(happened(&mut network, 2_000), [StreamEvent::Ended(End::Client)]);
        network.connect(client, server, later(2_000));
        assert_eq!(happened(&mut network, 3_000).len(), 2);
        network.kill_listener(server, later(3_000));
        assert_eq!(happened(&mut network, 4_000), [StreamEvent::Ended(End::Client)]);
    }

    #[test]
    fn a_node_that_moves_comes_from_another_address() {
        let mut network = Network::new(1);
        let (client, server) = (at("10.0.0.1:5"), at("192.0.2.1:1194"));
        network.nat(client.ip(), at("198.51.100.1:0").ip());
        network.rebind_to(client.ip(), at("198.51.100.2:0").ip());
        network.send(client, server, vec![1], later(0));
        let from = network.take_due(later(10))[0].from;
        assert_eq!(from.ip(), at("198.51.100.2:0").ip());
        network.send(server, from, vec![2], later(10));
        network.send(server, at("198.51.100.1:40000"), vec![3], later(10));
        assert_eq!(arrivals(&mut network, 20), [2]);
        assert_eq!(network.counts().unmapped, 1);
    }
}
