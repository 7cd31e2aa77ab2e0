//! Tests of the crate through its public API, as one program: known answers, a recorded session, whole handshakes
//! against the scripted server and against rustls, hostile input.

#![allow(clippy::unwrap_used, reason = "tests: a failure is the test's answer")]

mod certificates; // what is asked of a server's certificate
mod client_keys; // tls-crypt-v2
mod crossing; // no byte of one TLS session in another
mod data_channel; // sealing and opening
mod derivation; // keys without the exporter
mod first_answer; // a stranger is faster than the server
mod forgeries; // a hundred thousand forgeries
mod handshake; // client and scripted server over a bad link
mod hex; // hexadecimal text
mod hostile; // forged, repeated, oversized
mod known; // the vectors as JSON
mod known_strings; // known answers about texts and sizes
mod lane; // who seals and opens
mod limits; // each limit at one less, itself, one more
mod many; // a server and its clients
mod pair; // a client and a server joined by a link
mod recorded; // the session with a real 2.6 server
mod recorded_sessions; // every control packet of four recorded sessions
mod reflection; // no more bytes out than in
mod renewal; // later keys
mod server; // the server half
mod server_forge; // what no honest server says
mod server_hostile; // noise, prefixes, flipped bits
mod server_tls; // real TLS, client certificates
mod stream; // packets in an outer TCP stream
mod traffic; // numbered packets both ways
mod vectors; // known answers
