//! What a user or a server may say: `.ovpn` files become a [`Profile`], pushed options an [`Assignment`], `mrvpn.toml`
//! a [`config::Config`]. Pure: files are read by the caller and handed in; nothing named in a file is ever run.

#![forbid(unsafe_code)]

pub mod assignment; // what one server pushed, as decided
pub mod cipher; // data-channel ciphers and digests by name
pub mod profile; // the typed profile
pub mod secret; // bytes that do not print
pub mod static_key; // tls-auth and tls-crypt keys
pub mod wrap; // how control packets are wrapped

pub use assignment::{Assignment, Ipv4Assignment, Ipv6Assignment, ProtocolFlags, Topology};
pub use cipher::{Cipher, Digest};
pub use profile::{
    AuthUserPass, Credentials, Keepalive, PeerName, Profile, PullOptions, RedirectGateway, Remote, Route, RouteVia,
    TlsOptions, Transport,
};
pub use secret::Secret;
pub use static_key::StaticKey;
pub use wrap::{KeyDirection, Wrap};
