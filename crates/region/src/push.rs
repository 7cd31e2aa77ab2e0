//! What is pushed to the client of one place, as a stock server with `server`, `keepalive` and `topology subnet` does it;
//! then what the specification adds. Peer id, cipher, flags and MTU are the protocol's own.

use crate::spec::RegionSpec;

pub(crate) fn options(spec: &RegionSpec, place: u16) -> Vec<String> {
    let pool = spec.pool();
    let mut options = vec![
        format!("route-gateway {}", pool.gateway()),
        String::from("topology subnet"),
        format!("ping {}", spec.ping.as_secs().max(1)),
        format!("ping-restart {}", spec.ping_restart.as_secs().max(1)),
    ];
    if let (Some(net), Some(gateway), Some(address)) = (pool.six(), pool.gateway6(), pool.address6(place)) {
        options.push(format!("ifconfig-ipv6 {address}/{} {gateway}", net.prefix_len()));
    }
    options.extend(spec.push.iter().cloned());
    options.push(format!("ifconfig {} {}", pool.address(place), pool.four().netmask()));
    options
}

#[cfg(test)]
mod tests {
    use crate::authority::Authority;

    use super::*;

    #[test]
    fn a_client_is_pushed_its_address_in_both_families_and_what_the_specification_adds() {
        let authority = Authority::new().unwrap();
        let network = "10.102.0.0/24".parse().unwrap();
        let mut spec = RegionSpec::new("us", "127.0.0.1:1194".parse().unwrap(), network, authority);
        spec.network6 = Some("fd00:102::/64".parse().unwrap());
        spec.push = vec![String::from("dhcp-option DNS 10.102.0.1")];
        assert_eq!(
            options(&spec, 3).join(","),
            "route-gateway 10.102.0.1,topology subnet,ping 10,ping-restart 60,\
            ifconfig-ipv6 fd00:102::5/64 fd00:102::1,dhcp-option DNS 10.102.0.1,ifconfig 10.102.0.5 255.255.255.0"
        );
    }
}
