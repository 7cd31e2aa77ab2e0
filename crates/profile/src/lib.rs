//! What a user or a server may say: `.ovpn` files become a [`Profile`], pushed options an [`Assignment`], `mrvpn.toml`
//! a [`config::Config`]. Pure: files are read by the caller and handed in; nothing named in a file is ever run.

#![forbid(unsafe_code)]

mod address; // addresses, masks, numbers, domains as text
pub mod assignment; // what one server pushed, as decided
pub mod cipher; // data-channel ciphers and digests by name
pub mod config; // mrvpn.toml as written
mod default_offer; // the offer to be the default gateway, open or in disguise
mod dns_choice; // which of several DNS options count
pub mod escape; // foreign text made harmless
mod keepalive; // ping and ping-restart made to fit
pub mod limits; // the bounds on everything from outside
pub mod name; // the name of a tunnel
mod nearest; // the known word that was probably meant
mod option; // one option that file and server share, typed
pub mod ovpn; // .ovpn -> Profile, with a judgement of every line
pub mod profile; // the typed profile
pub mod pull_filter; // which pushed options are taken
pub mod push; // PUSH_REPLY -> Assignment
pub mod secret; // bytes that do not print
pub mod static_key; // tls-auth and tls-crypt keys
pub mod syntax; // the one lexer
pub mod wrap; // how control packets are wrapped

pub use assignment::{Assignment, AuthToken, Ipv4Assignment, Ipv6Assignment, ProtocolFlags, Topology};
pub use cipher::{Cipher, Digest};
pub use escape::escape;
pub use name::TunnelName;
pub use nearest::nearest;
pub use profile::{
    AuthRetry, AuthUserPass, Credentials, Keepalive, PeerName, Profile, PullOptions, RedirectGateway, Remote, Renewal,
    Route, RouteVia, TlsOptions, Transport,
};
pub use secret::Secret;
pub use static_key::StaticKey;
pub use wrap::{KeyDirection, Wrap};
