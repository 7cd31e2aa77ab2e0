//! Which of the DNS options given count: `dns server` beats `dhcp-option`, and of several servers the lowest number
//! that can be served is used (openvpn-protocol.md sections 8.6 and 8.7). No question is asked here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::limits;
use crate::option::DnsPart;

/// All DNS options of one file, or of one push.
#[derive(Debug, Default)]
pub(crate) struct DnsChoice {
    servers: BTreeMap<i8, Server>,
    search: Vec<String>,
    dhcp: Vec<IpAddr>,
    dhcp_domain: Option<String>,
    dhcp_search: Vec<String>,
}

#[derive(Debug, Default)]
struct Server {
    addresses: Vec<IpAddr>,
    unserved: bool,
}

/// What to say about an option that was not taken as it stands.
pub(crate) type Remark = Option<&'static str>;

impl DnsChoice {
    pub(crate) fn dhcp_dns(&mut self, address: IpAddr) -> Remark {
        add(&mut self.dhcp, address, limits::DNS_SERVERS, TOO_MANY_SERVERS)
    }

    pub(crate) fn dhcp_domain(&mut self, domain: String) {
        self.dhcp_domain = Some(domain);
    }

    pub(crate) fn dhcp_search(&mut self, domain: String) -> Remark {
        add(&mut self.dhcp_search, domain, limits::DOMAINS, TOO_MANY_DOMAINS)
    }

    pub(crate) fn search(&mut self, domains: Vec<String>) -> Remark {
        let add = |domain| add(&mut self.search, domain, limits::DOMAINS, TOO_MANY_DOMAINS);
        domains.into_iter().filter_map(add).last()
    }

    pub(crate) fn server(&mut self, priority: i8, part: DnsPart) -> Remark {
        let server = self.servers.entry(priority).or_default();
        match part {
            DnsPart::Addresses { taken, other_port } => {
                let add = |address| add(&mut server.addresses, address, limits::DNS_SERVERS, TOO_MANY_SERVERS);
                let too_many = taken.into_iter().filter_map(add).last();
                if too_many.is_none() && other_port { Some(OTHER_PORT) } else { too_many }
            }
            DnsPart::Domains => Some("asking a server for some domains only is not in this version"),
            DnsPart::Nothing => None,
            DnsPart::Unserved => {
                server.unserved = true;
                Some("DNS over TLS or HTTPS and DNSSEC are not in this version, so this server is not used")
            }
        }
    }

    /// The servers to ask, and the search domains.
    pub(crate) fn decide(self) -> (Vec<IpAddr>, Vec<String>) {
        if self.servers.is_empty() {
            let mut search: Vec<String> = self.dhcp_domain.into_iter().collect();
            search.extend(self.dhcp_search);
            return (self.dhcp, search);
        }
        let served = self.servers.into_values().find(|server| !server.unserved && !server.addresses.is_empty());
        (served.map(|server| server.addresses).unwrap_or_default(), self.search)
    }
}

/// Adds `more` to `list` unless it is there already; past `limit` it stays out.
pub(crate) fn add<T: PartialEq>(list: &mut Vec<T>, more: T, limit: usize, remark: &'static str) -> Remark {
    if list.contains(&more) {
        return None;
    }
    if list.len() >= limit {
        return Some(remark);
    }
    list.push(more);
    None
}

const OTHER_PORT: &str = "a DNS server on another port than 53 is not in this version";
pub(crate) const TOO_MANY_SERVERS: &str = "there are 8 DNS servers already, and more are not taken";
pub(crate) const TOO_MANY_DOMAINS: &str = "there are 64 search domains already, and more are not taken";
