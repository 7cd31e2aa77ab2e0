//! Packets of known flows cost no allocation in either direction. The allocator here counts for the thread that asks, so
//! that the test runner's own threads do not disturb.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_router::{
    Attachment, DefaultChoice, Defaults, Fallback, Inbound, LeaseId, Offload, Outbound, OwnAddresses, Policy,
    PolicyInput, Refusal, Router, Sources, TunnelId, TunnelState, TunnelView, limits,
};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ANCHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const INNER: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);

#[test]
fn warm_packets_allocate_nothing() {
    let mut router = router();
    let mut now = Moment::from_nanos(1_000_000_000);
    let answer = round(&mut router, now);
    let before = COUNT.with(Cell::get);
    for _ in 0..1_000 {
        now = now + Duration::from_millis(20);
        assert_eq!(round(&mut router, now), answer);
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}

/// One packet out, its answer in, one refused and answered, the timers looked at.
fn round(router: &mut Router, now: Moment) -> usize {
    let mut packet = datagram(ANCHOR, 4000, Ipv4Addr::new(203, 0, 113, 1), 53);
    let outcome = router.outbound(&mut packet, &Offload::NONE, Attachment::Rules, now);
    assert_eq!(outcome, Outbound::Forward { tunnel: TunnelId::new(0), limit: 1400 });
    let mut answer = datagram(Ipv4Addr::new(203, 0, 113, 1), 53, INNER, 4000);
    let outcome = router.inbound(TunnelId::new(0), &mut answer, now);
    assert_eq!(outcome, Inbound::Forward { attachment: Attachment::Rules });
    let mut foreign = datagram(Ipv4Addr::new(192, 168, 1, 9), 4000, Ipv4Addr::new(203, 0, 113, 1), 53);
    let outcome = router.outbound(&mut foreign, &Offload::NONE, Attachment::Rules, now);
    let Outbound::Refuse { refusal, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal, Refusal::Denied(mrvpn_router::DropReason::OlderThanClaim));
    let mut into = [0; limits::REFUSAL_BUFFER];
    router.refuse(&foreign, refusal, now, &mut into);
    assert!(router.poll_timeout().is_some_and(|due| due > now));
    router.handle_timeout(now);
    router.flows()
}

/// A UDP datagram without checksum and payload, on the stack.
fn datagram(from: Ipv4Addr, source: u16, to: Ipv4Addr, destination: u16) -> [u8; 28] {
    let mut packet = [0; 28];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17]);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet[20..22].copy_from_slice(&source.to_be_bytes());
    packet[22..24].copy_from_slice(&destination.to_be_bytes());
    packet[25] = 8;
    let mut sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet
}

fn router() -> Router {
    let tunnel = TunnelView {
        state: TunnelState::Up,
        lease: LeaseId::new(1),
        inner_v4: Some(INNER),
        inner_v6: None,
        presented_v4: Some(INNER),
        presented_v6: None,
        limit: 1400,
    };
    let policy = Policy::new(PolicyInput {
        rules: vec![],
        claims: vec![],
        defaults: Defaults { v4: DefaultChoice::Tunnel(TunnelId::new(0)), v6: DefaultChoice::NotOffered },
        undecided_until: None,
        fallback: Fallback::Auto,
        sources: Sources::new(),
        own: OwnAddresses {
            anchor_v4: ANCHOR,
            anchor_v6: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 1),
            engine_v4: Ipv4Addr::new(198, 18, 0, 254),
            engine_v6: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0xfe),
        },
        accept: vec![],
        tunnels: vec![tunnel],
    });
    Router::new([1; 32], Arc::new(policy))
}
