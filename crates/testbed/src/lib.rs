//! For tests only: network namespaces with real OpenVPN servers, and what observes them. Nothing but tests uses it; it needs
//! root, and Debian's openvpn, iproute2, nftables, iputils-ping and openssl. A thing that cannot be built is a panic with
//! its reason, because that is a failed test. [`sim`] alone needs none of this.

mod clash; // servers whose addresses clash
mod clear_watch; // whether claimed packets leave in clear
mod command; // run a program to its end
mod container; // a container of another program beside the client
mod counters; // packets counted by the kernel where they pass
mod cpu; // what a process has cost
mod farm; // many servers in one place
mod host_snapshot; // before and after
mod knocks; // claimed flows that never rest
mod lan_talk; // multicast and broadcast
pub mod mrvpn; // the program under test
mod netns; // one network namespace
mod openvpn_server; // Debian's server
mod pki; // certificates and static keys
mod probe; // questions asked from inside
mod process; // a program that stays
mod profile_text; // the .ovpn of a region
mod random; // moments at random
mod region; // the three regions and their addresses
mod scratch; // files of a test
mod server_options; // what a test asks of a server
mod session; // connections like ssh, alive or not
pub mod sim; // a simulated network, without root
pub mod stock_client; // Debian's client
mod world; // all of it joined

pub use clash::{Given, conflict, conflicts};
pub use clear_watch::{ClearWatch, Cleared};
pub use container::Container;
pub use counters::Counters;
pub use cpu::cpu_time;
pub use farm::{Farm, Field};
pub use host_snapshot::HostSnapshot;
pub use knocks::Knocks;
pub use lan_talk::{Ear, tell};
pub use mrvpn::Mrvpn;
pub use netns::Netns;
pub use openvpn_server::{ACCOUNT, OPENVPN_PORT, OpenvpnServer, Seat};
pub use pki::{Fault, Identity, Pki};
pub use probe::{Answer, Background, PROTOS, Proto, ask, helper, ping, run as run_helper};
pub use process::{Process, wait_until};
pub use profile_text::ProfileText;
pub use random::Random;
pub use region::{FR, PUBLIC, PUBLIC6, REGIONS, Region, SERVICE_PORT, UK, UNCLAIMED, US};
pub use scratch::{Scratch, unique_name};
pub use server_options::{Outside, ServerOptions, Transport, Wrapping};
pub use session::{Ended, SESSION_PORT, Sessions, Speaker};
pub use world::{CLIENT, NOBODY, ROUTER, World, usual_wrapping};
