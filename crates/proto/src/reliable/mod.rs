//! The reliability layer of one TLS session (openvpn-protocol.md section 3; OpenVPN `reliable.c`): numbered messages
//! out ([`SendQueue`]), numbered messages in ([`ReceiveWindow`]), and the acknowledgements between ([`AckBook`]). It
//! knows nothing of what the messages say or how they are wrapped.

mod acks;
mod receive;
mod rtt;
mod send;

pub use acks::AckBook;
pub use receive::{ReceiveWindow, Received};
pub use rtt::RoundTrip;
pub use send::{Outgoing, SendQueue};
