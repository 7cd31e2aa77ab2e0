//! The vectors as JSON; where they come from is in `tests/vectors/README.md`.

use serde_json::Value;

use crate::hex;

/// One entry of `openvpn-vectors.json`.
pub(crate) fn vector(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../vectors/openvpn-vectors.json")).unwrap();
    all[name].clone()
}

/// The recorded session with an OpenVPN 2.6.14 server.
pub(crate) fn recorded() -> Value {
    let file: Value = serde_json::from_str(include_str!("../vectors/tls_auth_gcm.json")).unwrap();
    file["session"].clone()
}

/// The bytes of a field.
pub(crate) fn field(value: &Value, name: &str) -> Vec<u8> {
    hex::bytes(text(value, name))
}

/// The text of a field.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is text"))
}

/// The number of a field.
pub(crate) fn number(value: &Value, name: &str) -> u32 {
    value[name].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_else(|| panic!("{name} is a number"))
}
