//! Keys without the TLS exporter: the pseudo-random function, and whole derivations of real handshakes.

use mrvpn_proto::SessionId;
use mrvpn_proto::key_block::KeyBlock;
use mrvpn_proto::key_method::{KeySource, ServerMessage};
use mrvpn_proto::prf::tls1_prf;
use mrvpn_proto::wrapping::Side;
use serde_json::Value;

use crate::known::{field, number, text, vector};

fn file() -> Value {
    serde_json::from_str(include_str!("../vectors/prf.json")).unwrap()
}

#[test]
fn the_function_is_that_of_tls_1_0() {
    let bytes = |case: &Value, name: &str| match case[format!("{name}_ascii")].as_str() {
        Some(ascii) => ascii.as_bytes().to_vec(),
        None => field(case, name),
    };
    for case in file()["tls1_prf"].as_array().unwrap() {
        let mut out = vec![0xee; number(case, "out_len") as usize];
        tls1_prf(&bytes(case, "secret"), &bytes(case, "seed"), &mut out);
        assert_eq!(out, field(case, "out"), "{}", text(case, "from"));
    }
}

/// The key block of a recorded exchange, one direction behind the other.
fn derived(case: &Value, pre_master: &str) -> Vec<u8> {
    let array = |name: &str| -> [u8; 32] { field(case, name).try_into().unwrap() };
    let pre_master: [u8; 48] = field(case, pre_master).try_into().unwrap();
    let client =
        KeySource { pre_master: pre_master.into(), random1: array("client_random1"), random2: array("client_random2") };
    let server =
        ServerMessage { random1: array("server_random1"), random2: array("server_random2"), options: Vec::new() };
    let id = |name: &str| SessionId::new(field(case, name).try_into().unwrap()).unwrap();
    let block = KeyBlock::derive(&client, id("client_session_id"), &server, id("server_session_id"));
    let halves = [Side::Client, Side::Server].map(|side| block.half(side));
    halves.iter().flat_map(|half| [half.cipher, half.hmac].concat()).collect()
}

#[test]
fn real_handshakes_give_the_keys_that_openvpn_had() {
    let run = vector("key_method_2_prf_run");
    assert_eq!(derived(&run, "client_pre_master"), field(&run, "key_block"));
    let recorded = file()["plain_cbc_prf"].clone();
    assert_eq!(derived(&recorded, "pre_master"), field(&recorded, "key_block"));
}
