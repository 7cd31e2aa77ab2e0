//! The data channel: packets sealed and opened in place (openvpn-protocol.md section 6). [`DataKeys`] are made by the
//! session and owned by the lane; the session itself never sees a data packet.
//!
//! Only P_DATA_V2 with an AEAD cipher, in the format with 32-bit packet ids. P_DATA_V1 (servers that push no
//! `peer-id`), CBC and the epoch format are not in this version.

mod inner;
mod keys;
mod opener;
mod sealer;
mod usage;

pub use inner::{Inner, OCC_EXIT, PING};
pub use keys::DataKeys;
pub use opener::{OpenError, Opener};
pub use sealer::{SealError, Sealer};
