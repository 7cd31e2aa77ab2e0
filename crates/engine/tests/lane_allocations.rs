//! A warm lane allocates nothing, whatever passes through it.

#![expect(unsafe_code, reason = "a counting allocator")]

mod lane_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lane_support::*;
use mrvpn_engine::lane::{LaneIo, ReceiveBatch, SocketError, Train};
use mrvpn_netplan::{Queue, QueueCapabilities, QueueError};
use mrvpn_router::{Offload, TunnelId};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's work; counting touches only a thread's own cell, which needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: handed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: handed on as it came.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Gives the same packets again and again and throws away what it gets.
struct Loop {
    queue: LoopQueue,
    datagrams: Vec<Vec<u8>>,
    next: usize,
}

struct LoopQueue {
    packets: Vec<(Vec<u8>, Offload)>,
    next: usize,
    written: usize,
}

impl Queue for LoopQueue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError> {
        let Some((packet, offload)) = self.packets.get(self.next) else { return Ok(None) };
        self.next += 1;
        buffer[..packet.len()].copy_from_slice(packet);
        Ok(Some((packet.len(), *offload)))
    }

    fn write(&mut self, _: Offload, _: &[&[u8]]) -> Result<bool, QueueError> {
        self.written += 1;
        Ok(true)
    }

    fn capabilities(&self) -> QueueCapabilities {
        ALL
    }
}

impl LaneIo for Loop {
    type Queue = LoopQueue;

    fn queue(&mut self) -> &mut LoopQueue {
        &mut self.queue
    }

    fn ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool {
        tunnels.push(UK);
        true
    }

    fn receive(&mut self, _: TunnelId, into: &mut ReceiveBatch) -> Result<usize, SocketError> {
        while let Some(datagram) = self.datagrams.get(self.next)
            && into.push(datagram)
        {
            self.next += 1;
        }
        Ok(into.count())
    }

    fn send(&mut self, _: TunnelId, _: &Train<'_>) -> Result<(), SocketError> {
        Ok(())
    }
}

/// Super-packets, acknowledgements and datagrams out; segments and junk in.
fn rounds(world: &mut World, rounds: usize) -> Vec<Loop> {
    let port = world.open_flow(UK, IN_UK, 40_000);
    let mut upload = Tcp::new(ANCHOR, IN_UK, 40_000);
    upload.payload = vec![1; 30_000];
    let mut download = Tcp::new(inner(UK), IN_UK, port).answer();
    download.payload = vec![2; 14_000];
    let packets = vec![
        upload.super_packet(1_400),
        (Tcp::new(ANCHOR, IN_UK, 40_000).packet(), Offload::NONE),
        (udp((ANCHOR, 5000), (IN_UK, 53), b"question"), Offload::NONE),
    ];
    let round = |world: &mut World| {
        let mut datagrams: Vec<_> =
            download.segments(1_400).iter().map(|segment| world.servers[0].seal(segment)).collect();
        datagrams.push(vec![0x48; 90]);
        let queue = LoopQueue { packets: packets.clone(), next: 0, written: 0 };
        Loop { queue, datagrams, next: 0 }
    };
    (0..rounds).map(|_| round(world)).collect()
}

#[test]
fn a_warm_lane_allocates_nothing() {
    let mut world = World::up(ALL);
    let mut ios = rounds(&mut world, 20);
    let mut measured = 0;
    for (round, io) in ios.iter_mut().enumerate() {
        let before = ALLOCATIONS.with(Cell::get);
        world.lane.turn(io, at(0.1));
        let allocated = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(io.queue.written, 1, "all segments in one packet");
        if round >= 2 {
            measured += allocated;
        }
    }
    assert_eq!(measured, 0);
}
