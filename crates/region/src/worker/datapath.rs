//! The data path, both directions, in order. In: receive → find the client → open → judge → join → TUN. Out: TUN → find
//! the client → cut → seal → send. Packets whose client another worker carries are handed to that one at the second step.
//! There is no translation here and no flow: a client may send from its own address, and gets what is for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use mrvpn_clock::Moment;
use mrvpn_engine::lane::limits::{TURN_READ_BYTES, TURN_READS, TURN_RECEIVES};
use mrvpn_engine::lane::{Berth, PacketSink, PacketWriter, ReceiveBatch, SocketError, Train, split};
use mrvpn_host::LinuxQueue;
use mrvpn_netplan::Queue;
use mrvpn_proto::{Inner, PeerId, Sealer, data_key_id, is_data};
use mrvpn_router::Offload;

use super::message::{Handed, Origin, Upcall};
use super::sources::FIRST_STREAM;
use super::{Worker, id};
use crate::directory::Entry;
use crate::mss;
use crate::seen::Losses;

/// In: receives from a socket or a stream until it is dry or the share of a turn is used up; how much came.
pub(super) fn inward(worker: &mut Worker, number: u16, now: Moment) -> usize {
    let mut batch = std::mem::take(&mut worker.batch);
    let mut from = std::mem::take(&mut worker.from);
    let mut received = 0;
    for round in 0..TURN_RECEIVES {
        batch.clear();
        let count = if number < FIRST_STREAM {
            worker.sources.port(number).map_or(0, |port| port.receive(&mut batch, &mut from))
        } else {
            receive_stream(worker, number, &mut batch, &mut from)
        };
        received += count;
        let full = batch.is_full();
        take_batch(worker, number, &mut batch, &from, now);
        if !full {
            break;
        }
        worker.busy |= round + 1 == TURN_RECEIVES;
    }
    (worker.batch, worker.from) = (batch, from);
    received
}

/// Reads a stream; each of its packets is from its other end.
fn receive_stream(worker: &mut Worker, number: u16, batch: &mut ReceiveBatch, from: &mut Vec<SocketAddr>) -> usize {
    let Some((origin, received)) = worker.sources.receive_stream(&worker.poller, number, batch) else { return 0 };
    match received {
        Ok(count) => {
            from.clear();
            from.resize(count, origin.from);
            count
        }
        Err(SocketError::Ended(_)) => {
            worker.report(Upcall::StreamEnded { listener: origin.listener, number, from: origin.from });
            0
        }
        Err(SocketError::Passing(_)) => 0,
    }
}

fn take_batch(worker: &mut Worker, number: u16, batch: &mut ReceiveBatch, from: &[SocketAddr], now: Moment) {
    let (storage, runs) = batch.contents();
    let listener = worker.sources.listener(number);
    for (run, from) in runs.iter().zip(from) {
        let origin = Origin { listener, from: *from, stream: (number >= FIRST_STREAM).then_some(number) };
        for datagram in run.datagrams() {
            arrive(worker, storage, datagram, origin, now);
        }
    }
    worker.coalescer.flush(storage, &mut Arrival { queue: &mut worker.queue, losses: &worker.losses });
}

/// One packet in: opened, judged, joined with its flow, written.
fn arrive(worker: &mut Worker, storage: &mut [u8], datagram: Range<usize>, origin: Origin, now: Moment) {
    let bytes = &mut storage[datagram.clone()];
    let Some(entry) = find(worker, bytes, origin) else { return };
    if entry.worker != worker.index {
        return worker.hand(entry.worker, Handed::Datagram { origin, bytes: bytes.to_vec() });
    }
    let Some(length) = open(worker, entry.place, bytes, origin, now) else { return };
    // The packet is the end of its datagram: header and tag stand in front of it.
    let packet = datagram.end - length..datagram.end;
    match judge(worker, entry.place, &mut storage[packet.clone()]) {
        Verdict::Device => {
            let mut arrival = Arrival { queue: &mut worker.queue, losses: &worker.losses };
            worker.coalescer.offer(storage, packet, &mut arrival);
        }
        Verdict::Client(place) => depart_to(worker, place, &mut storage[packet], &Offload::NONE, now),
        Verdict::Drop => {}
    }
}

/// Whose a data packet is. Control packets go to the control thread, all else is dropped without an answer.
fn find(worker: &mut Worker, bytes: &[u8], origin: Origin) -> Option<Entry> {
    let [first, a, b, c] = *bytes.first_chunk()?;
    if !is_data(first) {
        worker.call(Upcall::Control { worker: worker.index, origin, packet: bytes.to_vec() });
        return None;
    }
    let peer = PeerId::new(u32::from_be_bytes([0, a, b, c]))?;
    let entry = worker.directory.of_peer(usize::from(origin.listener), peer);
    if entry.is_none() {
        worker.losses.stranger();
    }
    entry
}

/// Opens a packet of a client; the length of what was in it, if that is a packet.
fn open(worker: &mut Worker, place: u16, bytes: &mut [u8], origin: Origin, now: Moment) -> Option<usize> {
    let client = worker.clients.get_mut(usize::from(place))?.as_deref_mut()?;
    let key_id = data_key_id(*bytes.first()?)?;
    let opened = client.keys.opener(key_id).and_then(|opener| opener.open(bytes, now).ok());
    let Some(opened) = opened else {
        client.counters.lose(1);
        return None;
    };
    let (inner, length, name) = (Inner::of(opened), opened.len(), client.name);
    client.keys.opened(key_id);
    client.counters.hear(now);
    let worn = client.keys.are_worn() && !std::mem::replace(&mut client.worn_reported, client.keys.are_worn());
    let moved = client.path != origin.path();
    if moved {
        client.move_to(origin.path());
    }
    if inner == Inner::Packet {
        client.counters.receive(length);
    }
    if moved {
        worker.report(Upcall::Floated { client: name, to: origin.from });
    }
    if worn {
        worker.report(Upcall::Worn { client: name });
    }
    match inner {
        Inner::Packet => Some(length),
        Inner::OccExit => {
            worker.report(Upcall::Exit { client: name });
            None
        }
        Inner::Ping | Inner::Occ => None,
    }
}

/// Where a client's packet goes.
enum Verdict {
    /// To the kernel.
    Device,
    /// To another client.
    Client(u16),
    /// Nowhere.
    Drop,
}

/// A client sends from its own address alone, and to other clients only where that is wanted.
fn judge(worker: &mut Worker, place: u16, packet: &mut [u8]) -> Verdict {
    let Some(client) = worker.clients.get_mut(usize::from(place)).and_then(Option::as_deref_mut) else {
        return Verdict::Drop;
    };
    let own = match source(packet) {
        Some(IpAddr::V4(from)) => client.owns(from),
        Some(IpAddr::V6(from)) => client.owns6(from),
        None => false,
    };
    let other = if own { destination(packet).and_then(|to| place_of(worker.pool, to)) } else { None };
    match other {
        _ if !own => {}
        None => {
            mss::clamp(packet, client.segment, &Offload::NONE);
            return Verdict::Device;
        }
        Some(other) if worker.between_clients => return Verdict::Client(other),
        Some(_) => {}
    }
    client.counters.lose(1);
    Verdict::Drop
}

/// Out: reads packets until the TUN is dry or the share of a turn is used up.
pub(super) fn outward(worker: &mut Worker, now: Moment) {
    let mut buffer = std::mem::take(&mut worker.read);
    let (mut reads, mut bytes) = (0, 0);
    // A device that is gone or down has nothing: the region ends, or it is raised again.
    while let Ok(Some((length, offload))) = worker.queue.read(&mut buffer) {
        depart(worker, &mut buffer[..length], &offload, now);
        reads += 1;
        bytes += length;
        if reads == TURN_READS || bytes >= TURN_READ_BYTES {
            worker.busy = true;
            break;
        }
    }
    worker.read = buffer;
    (worker.read_packets, worker.read_bytes) = (reads, bytes);
}

/// One packet out: whose it is, by its destination.
fn depart(worker: &mut Worker, packet: &mut [u8], offload: &Offload, now: Moment) {
    let place = destination(packet).and_then(|to| place_of(worker.pool, to));
    match place {
        Some(place) => depart_to(worker, place, packet, offload, now),
        None => worker.losses.stranger(),
    }
}

/// One packet to a client: cut to its way, sealed and sent by the worker that carries it.
fn depart_to(worker: &mut Worker, place: u16, packet: &mut [u8], offload: &Offload, now: Moment) {
    let Some(entry) = worker.directory.of_place(place) else { return worker.losses.stranger() };
    if entry.worker != worker.index {
        return worker.hand(entry.worker, Handed::Packet { place, offload: *offload, bytes: packet.to_vec() });
    }
    let Some(client) = worker.clients.get_mut(usize::from(place)).and_then(Option::as_deref_mut) else { return };
    mss::clamp(packet, client.segment, offload);
    let limit = if offload.segmentation.is_some() { usize::from(client.segment) } else { usize::from(INNER_MTU) };
    if split(packet, offload, limit, &mut Departure { worker, place, now }).is_err()
        && let Some(client) = worker.clients.get(usize::from(place)).and_then(Option::as_deref)
    {
        client.counters.lose(1);
    }
}

/// Sends off every train that has packets.
pub(super) fn send_trains(worker: &mut Worker, now: Moment) {
    while let Some(index) = worker.trains.oldest() {
        send_train(worker, index, now);
    }
}

/// Seals a train and sends it with one call.
fn send_train(worker: &mut Worker, index: usize, now: Moment) {
    let train = worker.trains.train(index);
    let (place, packets) = (train.tunnel().number(), train.count());
    let (frames, stride) = train.frames();
    if let Some(client) = worker.clients.get_mut(usize::from(place)).and_then(Option::as_deref_mut) {
        let sealed = client.keys.sealer(now).seal_train(frames, stride);
        let sent =
            sealed.is_ok() && worker.sources.send(&worker.poller, client.path, &Train::new(frames, stride)).is_ok();
        if sent {
            client.counters.send(packets, frames.len() - packets * Sealer::HEADROOM);
            client.last_sent = now;
        } else {
            client.counters.lose(packets);
        }
    }
    worker.trains.train(index).clear();
}

/// Takes what another worker has handed over.
pub(super) fn take_handed(worker: &mut Worker, handed: Handed, now: Moment) {
    match handed {
        Handed::Datagram { origin, mut bytes } => {
            let end = bytes.len();
            arrive(worker, &mut bytes, 0..end, origin, now);
            worker.coalescer.flush(&mut bytes, &mut Arrival { queue: &mut worker.queue, losses: &worker.losses });
        }
        Handed::Packet { place, offload, mut bytes } => depart_to(worker, place, &mut bytes, &offload, now),
    }
}

/// MTU within the tunnel: what is longer is fragmented before it is sealed.
const INNER_MTU: u16 = 1_500;

/// The source address of an IP packet.
fn source(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 12, 8)
}

/// The destination address of an IP packet.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 16, 24)
}

fn address(packet: &[u8], four: usize, six: usize) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => packet.get(four..)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        6 => packet.get(six..)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

fn place_of(pool: crate::pool::Pool, address: IpAddr) -> Option<u16> {
    match address {
        IpAddr::V4(address) => pool.place(address),
        IpAddr::V6(address) => pool.place6(address),
    }
}

/// Gives room for packets behind the headroom of their frames, and sends trains as they fill.
struct Departure<'a> {
    worker: &'a mut Worker,
    place: u16,
    now: Moment,
}

impl PacketSink for Departure<'_> {
    fn room(&mut self, length: usize) -> &mut [u8] {
        let (client, frame) = (id(self.place), Sealer::HEADROOM + length);
        let index = loop {
            match self.worker.trains.berth(client, frame) {
                Berth::On(index) => break index,
                Berth::After(index) => send_train(self.worker, index, self.now),
            }
        };
        &mut self.worker.trains.append(index, client, frame)[Sealer::HEADROOM..]
    }
}

/// Writes to the interface and counts what that does not take.
struct Arrival<'a> {
    queue: &'a mut LinuxQueue,
    losses: &'a Losses,
}

impl PacketWriter for Arrival<'_> {
    fn write(&mut self, offload: Offload, parts: &[&[u8]]) {
        if !matches!(self.queue.write(offload, parts), Ok(true)) {
            self.losses.device(parts.len());
        }
    }
}
