//! The router from outside: packets in, packets and outcomes out, against oracles of the tests' own. Single values and
//! tables are tested beside their code.

#![allow(clippy::unwrap_used, reason = "a test stops at what is wrong")]

mod fragments; // later fragments follow their first
mod icmp_errors; // errors that quote a flow
mod isolation; // random policies and packets against a model
mod outcomes; // each reason, once
mod packets; // building packets and judging checksums, independently
mod refusals; // answers as the host reads them
mod translation; // there and back
mod world; // a router with tunnels
