//! No wrapping: head and body as they are (openvpn-protocol.md section 1.2).

use crate::control::ControlPacket;

pub(super) fn wrap(packet: &ControlPacket<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&packet.head.bytes());
    packet.emit_body(out);
}
