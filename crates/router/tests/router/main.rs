//! The router from outside: packets in, packets and outcomes out, against oracles of the tests' own. Single values and
//! tables are tested beside their code.

#![allow(clippy::unwrap_used, reason = "a test stops at what is wrong")]

mod accepted; // flows that a server opens
mod away; // connections of a tunnel that stays away
mod fragments; // later fragments follow their first
mod icmp_errors; // errors that quote a flow
mod ipv6; // what IPv6 has of its own
mod isolation; // random policies and packets against a model
mod leases; // what ends with a lease
mod live; // which flows exist
mod outcomes; // each reason, once
mod packets; // building packets and judging checksums, independently
mod picking; // pick and its explanation against a reference
mod refusals; // answers as the host reads them
mod shares; // who may have how many flows
mod six; // the same packets over IPv6
mod translation; // there and back
mod withdrawn; // what the user takes back
mod world; // a router with tunnels
