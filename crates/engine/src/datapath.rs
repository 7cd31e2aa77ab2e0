//! The data path, both directions, in order. Out: TUN → router → split → seal → send. Back: receive → open → router →
//! join → TUN. Each step is one call, and each packet that does not go on has its reason counted. How a step works is
//! in the files of [`crate::lane`], in `router` and in `proto`; when and for how long is [`Lane::turn`]'s.

use std::ops::Range;

use mrvpn_clock::Moment;
use mrvpn_netplan::{Queue, QueueError};
use mrvpn_proto::{Inner, OpenError, Sealer, data_key_id, is_data};
use mrvpn_router::{DropReason, Inbound, Offload, Outbound, Refusal, TunnelId};

use crate::lane::limits::{TURN_READ_BYTES, TURN_READS, TURN_RECEIVE_BYTES, TURN_RECEIVES};
use crate::lane::{Berth, Lane, LaneIo, LaneReport, PacketSink, PacketWriter, Train, Turn, split};

/// Out: what programs send. Reads packets until the TUN is dry or the share of a turn is used up.
pub(crate) fn outward(lane: &mut Lane, io: &mut impl LaneIo, now: Moment, turn: &mut Turn) {
    let mut buffer = std::mem::take(&mut lane.read);
    let mut bytes = 0;
    while let Some((length, offload)) = read(lane, io, &mut buffer, now) {
        if !lane.has_come_back(&buffer[..length]) {
            depart(lane, io, &mut buffer[..length], &offload, now);
        }
        turn.read += 1;
        bytes += length;
        if turn.read == TURN_READS || bytes >= TURN_READ_BYTES {
            turn.busy = true;
            break;
        }
    }
    lane.read = buffer;
}

/// One packet out: judged and translated, cut to the tunnel's size, sealed and sent.
pub(crate) fn depart(lane: &mut Lane, io: &mut impl LaneIo, packet: &mut [u8], offload: &Offload, now: Moment) {
    match lane.router.outbound(packet, offload, lane.attachment, now) {
        Outbound::Forward { tunnel, limit } => {
            let cut = split(packet, offload, usize::from(limit), &mut Departure { lane, io, tunnel, now });
            cut.unwrap_or_else(|why| lane.count(tunnel, why.reason(), 1));
            while let Some(mut fragment) = lane.router.poll_sent_fragment() {
                depart(lane, io, &mut fragment, &Offload::NONE, now);
            }
        }
        Outbound::Hold { tunnel, until } => hold(lane, io, packet, offload, (tunnel, until), now),
        Outbound::Refuse { refusal, .. } => lane.refuse(io, packet, refusal, now),
        Outbound::Wait => {}
        Outbound::Ask => {
            while let Some(question) = lane.router.poll_question() {
                let app = io.app(&question.flow);
                lane.router.answer(question, app);
            }
            depart(lane, io, packet, offload, now);
        }
        Outbound::Drop(_) => lane.dropped = true,
    }
}

/// Seals a train and sends it with one call.
fn send_train(lane: &mut Lane, io: &mut impl LaneIo, index: usize, now: Moment) {
    let train = lane.trains.train(index);
    let (tunnel, packets) = (train.tunnel(), train.count());
    let (frames, stride) = train.frames();
    let Some(carrier) = lane.carriers.get_mut(tunnel.index()).and_then(Option::as_mut) else {
        lane.trains.train(index).clear();
        return lane.count(tunnel, DropReason::TunnelDown, packets);
    };
    let sealed = carrier.keys.sealer(now).seal_train(frames, stride);
    let sent = sealed.map(|()| io.send(tunnel, &Train::new(frames, stride)));
    let inner = frames.len() - packets * Sealer::HEADROOM;
    carrier.carry(inner, packets);
    carrier.publish();
    if let Ok(Ok(())) = sent {
        carrier.counters.sent(inner);
        carrier.keepalive.sent(now);
        if carrier.watches_loops() {
            Train::new(frames, stride).datagrams().for_each(|datagram| carrier.note_sent(datagram));
        }
    }
    let worn = carrier.keys.are_worn();
    lane.trains.train(index).clear();
    match sent {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            lane.count(tunnel, DropReason::SocketFull, packets);
            lane.socket_failed(tunnel, error, now);
        }
        Err(_) => lane.count(tunnel, DropReason::KeyWorn, packets),
    }
    if worn {
        lane.key_worn(tunnel);
    }
}

/// Back: what a server sends. Receives until its socket is dry or the share of a turn is used up.
pub(crate) fn inward(lane: &mut Lane, io: &mut impl LaneIo, tunnel: TunnelId, now: Moment, turn: &mut Turn) {
    let mut batch = std::mem::take(&mut lane.receive);
    batch.expect_joined(lane.carrier(tunnel).is_some_and(|carrier| carrier.joined));
    let (mut left, mut used_up) = (TURN_RECEIVE_BYTES, false);
    for round in 0..TURN_RECEIVES {
        batch.clear();
        match io.receive(tunnel, &mut batch) {
            Ok(count) => turn.received += count,
            Err(error) => lane.socket_failed(tunnel, error, now),
        }
        let full = batch.is_full();
        let (storage, runs) = batch.contents();
        let mut arrival = Arrival { queue: io.queue(), outcome: Outcome::default() };
        for datagram in runs.iter().flat_map(|run| run.datagrams()) {
            arrive(lane, storage, datagram, tunnel, &mut arrival, now);
        }
        lane.coalescer.flush(storage, &mut arrival);
        let outcome = arrival.outcome;
        note_arrival(lane, tunnel, outcome, now);
        left = left.saturating_sub(batch.bytes());
        if !full {
            break;
        }
        if left == 0 || round + 1 == TURN_RECEIVES {
            used_up = true;
            break;
        }
    }
    turn.busy |= used_up;
    batch.clear();
    if let Some(carrier) = lane.carrier(tunnel) {
        (carrier.joined, carrier.used_up) = (batch.joins(), used_up);
    }
    lane.receive = batch;
}

/// One datagram back: opened, judged and translated, joined with its flow, written.
fn arrive(
    lane: &mut Lane,
    storage: &mut [u8],
    datagram: Range<usize>,
    tunnel: TunnelId,
    arrival: &mut Arrival<'_, impl Queue>,
    now: Moment,
) {
    let Some(packet) = open(lane, storage, datagram, tunnel, now) else { return };
    match lane.router.inbound(tunnel, &mut storage[packet.clone()], now) {
        Inbound::Forward { .. } => {
            lane.coalescer.offer(storage, packet, arrival);
            follow(lane, arrival, now);
        }
        Inbound::Wait => {}
        Inbound::Drop(_) => lane.dropped = true,
    }
}

/// Fragments that came before their first, which has arrived now.
fn follow(lane: &mut Lane, arrival: &mut Arrival<'_, impl Queue>, now: Moment) {
    while let Some((tunnel, mut fragment)) = lane.router.poll_received_fragment() {
        match lane.router.inbound(tunnel, &mut fragment, now) {
            Inbound::Forward { .. } => arrival.write(Offload::NONE, &[&fragment]),
            Inbound::Wait => {}
            Inbound::Drop(_) => lane.dropped = true,
        }
    }
}

/// The packet within a datagram. Control datagrams go to the session, pings and messages about the connection end
/// here, as does what does not authenticate: nothing of that is ever answered.
fn open(
    lane: &mut Lane,
    storage: &mut [u8],
    datagram: Range<usize>,
    tunnel: TunnelId,
    now: Moment,
) -> Option<Range<usize>> {
    let bytes = &mut storage[datagram.clone()];
    let Some(first) = bytes.first().copied() else { return drop_one(lane, tunnel, DropReason::Malformed) };
    if !is_data(first) {
        let taken = lane.reports.control(tunnel, bytes);
        return if taken { None } else { drop_one(lane, tunnel, DropReason::ControlFull) };
    }
    let carrier = lane.carriers.get_mut(tunnel.index()).and_then(Option::as_mut);
    let (Some(carrier), Some(key_id)) = (carrier, data_key_id(first)) else {
        return drop_one(lane, tunnel, DropReason::UnknownKey);
    };
    let Some(opener) = carrier.keys.opener(key_id) else { return drop_one(lane, tunnel, DropReason::UnknownKey) };
    let opened = match opener.open(bytes, now) {
        Ok(packet) => (Inner::of(packet), packet.len()),
        Err(error) => return drop_one(lane, tunnel, reason(error)),
    };
    carrier.keys.opened(key_id);
    carrier.carry(opened.1, 1);
    carrier.counters.heard(now);
    let attempt = carrier.attempt;
    match opened {
        // The packet is the end of its datagram: header and tag stand in front of it.
        (Inner::Packet, length) => Some(datagram.end - length..datagram.end),
        (Inner::OccExit, _) => {
            lane.reports.push(LaneReport::PeerExit { tunnel, attempt });
            None
        }
        (Inner::Ping | Inner::Occ, _) => None,
    }
}

/// Sends off every train that has packets.
pub(crate) fn send_trains(lane: &mut Lane, io: &mut impl LaneIo, now: Moment) {
    while let Some(index) = lane.trains.oldest() {
        send_train(lane, io, index, now);
    }
}

fn read(lane: &mut Lane, io: &mut impl LaneIo, buffer: &mut [u8], now: Moment) -> Option<(usize, Offload)> {
    match io.queue().read(buffer) {
        Ok(packet) => packet,
        Err(QueueError::Gone) => {
            lane.lose_queue();
            None
        }
        // The device is down: what is there is read when it is up again.
        Err(QueueError::System(_)) => {
            lane.stall_queue(now);
            None
        }
    }
}

/// The tunnel is not up yet: the packet waits, if there is room.
fn hold(
    lane: &mut Lane,
    io: &mut impl LaneIo,
    packet: &[u8],
    offload: &Offload,
    (tunnel, until): (Option<TunnelId>, Moment),
    now: Moment,
) {
    if !lane.holds.keep(tunnel, packet, *offload, until) {
        lane.router.count(tunnel, DropReason::HoldFull);
        lane.refuse(io, packet, Refusal::Denied(DropReason::HoldFull), now);
    }
}

fn drop_one<T>(lane: &mut Lane, tunnel: TunnelId, reason: DropReason) -> Option<T> {
    lane.count(tunnel, reason, 1);
    None
}

const fn reason(error: OpenError) -> DropReason {
    match error {
        OpenError::Short | OpenError::Empty => DropReason::Malformed,
        OpenError::Forged => DropReason::Forged,
        OpenError::Replayed => DropReason::Replayed,
        OpenError::Worn => DropReason::KeyWorn,
    }
}

fn note_arrival(lane: &mut Lane, tunnel: TunnelId, outcome: Outcome, now: Moment) {
    if let Some(carrier) = lane.carrier(tunnel) {
        carrier.counters.received(outcome.bytes);
        carrier.publish();
        if carrier.keys.are_worn() {
            lane.key_worn(tunnel);
        }
    }
    if outcome.refused > 0 {
        lane.count(tunnel, DropReason::InterfaceFull, outcome.refused);
    }
    if outcome.gone {
        lane.lose_queue();
    } else if outcome.down {
        lane.stall_queue(now);
    }
}

/// Gives room for packets behind the headroom of their frames, and sends trains as they fill.
struct Departure<'a, Io> {
    lane: &'a mut Lane,
    io: &'a mut Io,
    tunnel: TunnelId,
    now: Moment,
}

impl<Io: LaneIo> PacketSink for Departure<'_, Io> {
    fn room(&mut self, length: usize) -> &mut [u8] {
        let frame = Sealer::HEADROOM + length;
        let index = loop {
            match self.lane.trains.berth(self.tunnel, frame) {
                Berth::On(index) => break index,
                Berth::After(index) => send_train(self.lane, self.io, index, self.now),
            }
        };
        &mut self.lane.trains.append(index, self.tunnel, frame)[Sealer::HEADROOM..]
    }
}

/// What came of writing to the interface.
#[derive(Clone, Copy, Default)]
struct Outcome {
    bytes: usize,
    refused: usize,
    down: bool,
    gone: bool,
}

/// Writes to the interface and notes what it did not take.
struct Arrival<'a, Q> {
    queue: &'a mut Q,
    outcome: Outcome,
}

impl<Q: Queue> PacketWriter for Arrival<'_, Q> {
    fn write(&mut self, offload: Offload, parts: &[&[u8]]) {
        let outcome = &mut self.outcome;
        let written = self.queue.write(offload, parts);
        match &written {
            Ok(true) => outcome.bytes += parts.iter().map(|part| part.len()).sum::<usize>(),
            Ok(false) | Err(_) => outcome.refused += parts.len(),
        }
        match written {
            Ok(_) => {}
            Err(QueueError::System(_)) => outcome.down = true,
            Err(QueueError::Gone) => outcome.gone = true,
        }
    }
}
