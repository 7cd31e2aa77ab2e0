//! A server that is up says what it likes, as often as it likes: only its own tunnel feels it. The other one loses no packet,
//! and nothing grows.

#![expect(unsafe_code, reason = "a counting allocator")]

mod table;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_engine::EngineConfig;
use mrvpn_proto::peer::TestServerConfig;
use table::{FR, Start, Table, ends, good, reply, server, test_server, tunnel, udp};

const FR_INNER: Ipv4Addr = Ipv4Addr::new(10, 101, 0, 2);
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const SECOND: Duration = Duration::from_secs(1);
/// How much more may be held after minutes of a storm than after its beginning (T-31).
const GROWTH: usize = 1 << 20;

thread_local! {
    /// Bytes that this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's work; counting touches only a thread's own cell, which needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.with(|held| held.set(held.get().wrapping_add(layout.size())));
        // SAFETY: handed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.with(|held| held.set(held.get().wrapping_sub(layout.size())));
        // SAFETY: handed on as it came.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Two tunnels that are up.
fn table() -> Table {
    let config = EngineConfig { tunnels: vec![tunnel("uk", 0, ""), tunnel("fr", 1, "")], ..EngineConfig::new() };
    let mut table = Table::start(Start::of(config), vec![server(0, good(), ""), server(1, good(), "")]);
    table.run(3 * SECOND);
    assert_eq!(table.states(), ["up", "up"]);
    table
}

/// Whether a packet bound to fr arrives at its server, and the answer here.
fn fr_talks(table: &mut Table) -> bool {
    table.send(udp(FR_INNER, ANYWHERE, b"ask"));
    let seen = table.at_server(FR);
    let [packet] = &seen[..] else { return false };
    table.answer(FR, &reply(packet));
    table.received().iter().filter(|packet| ends(packet) == (ANYWHERE, FR_INNER)).count() == 1
}

/// Lets uk's server do it ten times a second for a minute; fr talks all the while.
fn rage(table: &mut Table, mut storm: impl FnMut(&mut Table)) {
    let mut held = 0;
    for tenth in 0..600 {
        if table.servers[0].is_up() {
            storm(table);
        }
        table.run(SECOND / 10);
        assert!(fr_talks(table), "fr lost a packet at {tenth}");
        // What the table itself keeps of what happened.
        table.events.clear();
        drop(table.take_asked());
        if tenth == 100 {
            held = HELD.get();
        }
    }
    let grown = HELD.get().saturating_sub(held);
    assert!(grown <= GROWTH, "{grown} bytes more");
    assert_eq!(table.states()[1], "up");
}

/// The server says this.
fn says(text: &str) -> impl FnMut(&mut Table) + use<'_> {
    move |table| {
        let now = table.now;
        table.servers[0].say(text, now);
    }
}

// proves: T-41, I-8
#[test]
fn farewells_of_every_kind_concern_their_own_tunnel_alone() {
    for text in ["RESTART", "RESTART,[N]elsewhere", "RESTART,[P]", "HALT", "HALT,closed", "EXIT", "AUTH_FAILED,later"] {
        rage(&mut table(), says(text));
    }
}

// proves: T-48, I-8
#[test]
fn soft_resets_without_end_concern_their_own_tunnel_alone() {
    let mut table = table();
    rage(&mut table, |table| {
        let now = table.now;
        table.servers[0].renegotiate(now);
    });
}

// proves: T-31, I-8, I-9
#[test]
fn floods_of_messages_concern_their_own_tunnel_alone_and_nothing_grows() {
    let long = format!("INFO,{}", "x".repeat(60_000));
    let update = "PUSH_UPDATE,route 10.9.9.0 255.255.255.0,route 10.9.8.0 255.255.255.0";
    let push = "PUSH_REPLY,route 10.9.9.0 255.255.255.0,push-continuation 2";
    for text in
        [long.as_str(), "INFO,hello", update, push, "ECHO,1", "CR_TEXT,?", "INFO_PRE,OPEN_URL:https://x", "nonsense"]
    {
        rage(&mut table(), |table| (0..10).for_each(|_| says(text)(table)));
    }
}

// proves: T-31, I-8, I-9
#[test]
fn a_push_without_end_ends_its_session_and_the_next_waits() {
    let mut config = TestServerConfig::new(mrvpn_profile::Wrap::None);
    config.login = good();
    let routes: String = (0..40).map(|number| format!(",route 10.9.{number}.0 255.255.255.0")).collect();
    let piece = format!("PUSH_REPLY{routes},push-continuation 2");
    config.push = vec![piece; 1 + (768 << 10) / 1_000];
    let engine = EngineConfig { tunnels: vec![tunnel("uk", 0, ""), tunnel("fr", 1, "")], ..EngineConfig::new() };
    let mut table = Table::start(Start::of(engine), vec![test_server(config, 9), server(1, good(), "")]);
    table.run(5 * SECOND);
    assert_eq!(table.states()[1], "up", "{:?}", table.status().tunnels[1].error);
    rage(&mut table, |_| ());
    let error = table.status().tunnels[0].error.clone().unwrap();
    assert_eq!(error.stage, "push", "{error:?}");
    assert!(table.servers[0].sessions() < 12, "{} sessions in a minute", table.servers[0].sessions());
}
