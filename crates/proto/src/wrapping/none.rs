//! No wrapping: head and body as they are (openvpn-protocol.md section 1.2).

use crate::control::ControlHead;

pub(super) fn wrap(head: ControlHead, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&head.bytes());
    out.extend_from_slice(body);
}
