//! Assignments made by hand for this crate's tests.

use mrvpn_profile::{Assignment, Ipv4Assignment, Keepalive, ProtocolFlags};

/// An assignment of one IPv4 address and nothing else.
pub(crate) fn assignment(address: &str) -> Assignment {
    Assignment {
        ipv4: Some(Ipv4Assignment { address: address.parse().unwrap(), gateway: None }),
        ipv6: None,
        routes: Vec::new(),
        redirect_gateway: None,
        dns: Vec::new(),
        search_domains: Vec::new(),
        tun_mtu: 1500,
        block_ipv6: false,
        keepalive: Keepalive::default(),
        peer_id: None,
        cipher: None,
        protocol_flags: ProtocolFlags::default(),
        auth_token: None,
        explicit_exit_notify: None,
        session_timeout: None,
        skipped: Vec::new(),
    }
}
