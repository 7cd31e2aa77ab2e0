//! PUSH_REPLY becomes an [`Assignment`]: what the server pushed, checked and laid over the profile's own options
//! (openvpn-protocol.md sections 8.2 to 8.7). A server proposes: what is not on the list, or wrong, or out of bounds is
//! left out and noted; only what makes the tunnel useless or unsafe refuses the whole push. Which claims follow from
//! an assignment is decided elsewhere.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

mod error; // why a whole push is refused
mod notes; // what was left out, for people

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::assignment::{Assignment, AuthToken, Ipv4Assignment, Ipv6Assignment, ProtocolFlags, PushedCipher, Topology};
use crate::default_offer::Redirect;
use crate::dns_choice::{self, DnsChoice, Remark};
use crate::option::{self, Class, Fault, Gateway, Meaning, RouteOption};
use crate::profile::PullFilterAction;
use crate::syntax::{WordError, words, words_up_to};
use crate::{Keepalive, PullOptions, Route, RouteVia, Secret, address, default_offer, limits, pull_filter};

pub use error::PushError;
use notes::{Notes, shown};

/// Whether another part of the same push follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// `push-continuation 2`.
    More,
    /// `push-continuation 1`, or no such word.
    Last,
}

/// Reads from one `PUSH_REPLY` whether more parts follow. Any bytes may be given.
#[must_use]
pub fn continuation(message: &[u8]) -> Continuation {
    let mut parts = message.split(|byte| *byte == b',').filter_map(|item| words(item).ok());
    let word = parts.rfind(|words| words.first().is_some_and(|name| name == CONTINUATION));
    match word.as_ref().and_then(|words| words.get(1)).map(String::as_str) {
        Some("2") => Continuation::More,
        Some(_) | None => Continuation::Last,
    }
}

/// Lays all parts of one push over the profile's own options.
///
/// `messages` are the parts in order, each beginning with `PUSH_REPLY` and without the NUL that ended it.
///
/// # Errors
///
/// [`PushError`]: the push as a whole is refused. Single options that are wrong are no error:
/// [`Assignment::skipped`] has them.
pub fn assignment(own: &PullOptions, messages: &[Vec<u8>]) -> Result<Assignment, PushError> {
    let total = messages.iter().fold(0_usize, |sum, message| sum.saturating_add(message.len()));
    if total > limits::PUSH_TOTAL {
        return Err(PushError::TooLong);
    }
    let mut layer = Layer::new(own);
    for message in messages {
        for item in items(message)? {
            layer.take(item)?;
        }
    }
    layer.decide()
}

/// The newest token in messages that came after the tunnel was up, when nothing else in them counts (section 9.5): a
/// server sends them to renew a token. A `pull-filter` of the profile holds for them too.
#[must_use]
pub fn auth_token(own: &PullOptions, messages: &[Vec<u8>]) -> Option<AuthToken> {
    let mut layer = Layer::new(own);
    for message in messages {
        for item in items(message).ok()?.filter(|item| item.contains(TOKEN)) {
            layer.take(item).ok()?;
        }
    }
    let user = layer.token_user;
    layer.token.map(|token| AuthToken { token, user })
}

/// The words of one option; a token alone may be longer than other words.
fn item_words(item: &str) -> Result<Vec<String>, WordError> {
    let longest = if item.trim_start().starts_with(TOKEN) { limits::AUTH_TOKEN } else { limits::WORD };
    words_up_to(item.as_bytes(), longest)
}

/// The options of one message as text.
fn items(message: &[u8]) -> Result<impl Iterator<Item = &str>, PushError> {
    if message.len() > limits::PUSH_MESSAGE {
        return Err(PushError::TooLong);
    }
    let text = str::from_utf8(message).map_err(|_| PushError::Unprintable)?;
    if text.chars().any(char::is_control) {
        return Err(PushError::Unprintable);
    }
    let list = text.strip_prefix(REPLY).ok_or(PushError::NotAReply)?;
    if !list.is_empty() && !list.starts_with(',') {
        return Err(PushError::NotAReply);
    }
    Ok(list.split(','))
}

/// The profile's options with what was pushed so far on top.
struct Layer<'a> {
    own: &'a PullOptions,
    ifconfig: Option<Ifconfig>,
    ifconfig_ipv6: Option<(Ipv6Addr, u8, Option<Ipv6Addr>)>,
    topology: Option<Topology>,
    route_gateway: Option<Ipv4Addr>,
    routes: Vec<Route>,
    route_nets: BTreeSet<IpNet>,
    too_many_routes: bool,
    redirect_gateway: Redirect,
    dns: DnsChoice,
    tun_mtu: Option<u16>,
    block_ipv6: bool,
    ping: Option<Option<Duration>>,
    ping_restart: Option<Option<Duration>>,
    peer_id: Option<u32>,
    cipher: Option<PushedCipher>,
    protocol_flags: ProtocolFlags,
    explicit_exit_notify: Option<u32>,
    session_timeout: Option<Duration>,
    token: Option<Secret<String>>,
    token_user: Option<String>,
    notes: Notes,
}

/// `ifconfig` and the option as it stood, for errors.
struct Ifconfig {
    local: Ipv4Addr,
    other: Ipv4Addr,
    shown: String,
}

impl<'a> Layer<'a> {
    fn new(own: &'a PullOptions) -> Self {
        Self {
            own,
            ifconfig: own.ifconfig.map(|(local, other)| Ifconfig {
                local,
                other,
                shown: format!("ifconfig {local} {other} (of the profile)"),
            }),
            ifconfig_ipv6: own.ifconfig_ipv6.map(|(local, bits)| (local, bits, None)),
            topology: own.topology,
            route_gateway: own.route_gateway,
            routes: own.routes.clone(),
            route_nets: own.routes.iter().map(|route| route.net).collect(),
            too_many_routes: false,
            redirect_gateway: Redirect::new(own.redirect_gateway),
            dns: DnsChoice::default(),
            tun_mtu: own.tun_mtu,
            block_ipv6: own.block_ipv6,
            ping: None,
            ping_restart: None,
            peer_id: None,
            cipher: None,
            protocol_flags: ProtocolFlags::default(),
            explicit_exit_notify: own.explicit_exit_notify,
            session_timeout: None,
            token: None,
            token_user: None,
            notes: Notes::default(),
        }
    }

    /// One pushed option.
    fn take(&mut self, item: &str) -> Result<(), PushError> {
        let words = match item_words(item) {
            Ok(words) => words,
            Err(error) => return self.skip(item, &error.to_string()),
        };
        let Some(name) = words.first() else { return Ok(()) };
        if name == CONTINUATION {
            return Ok(());
        }
        match pull_filter::verdict(&self.own.filters, &words) {
            PullFilterAction::Accept => {}
            PullFilterAction::Ignore => return self.skip(item, "a pull-filter of the profile ignores it"),
            PullFilterAction::Reject => return Err(PushError::Rejected { option: shown(item) }),
        }
        if self.own.route_nopull && option::class(name) == Class::RouteOrDns {
            return self.skip(item, "the profile says route-nopull");
        }
        match option::read(&words) {
            Ok(meaning) => self.apply(item, meaning),
            Err(Fault::Unknown) => self.skip(item, "it is not an option that a server may push"),
            Err(Fault::Wrong(why)) => self.skip(item, &why),
            Err(Fault::Fatal(why)) => Err(fatal(name, item, why)),
        }
    }

    fn apply(&mut self, item: &str, meaning: Meaning) -> Result<(), PushError> {
        match meaning {
            Meaning::Ifconfig { local, other } => {
                self.ifconfig = Some(Ifconfig { local, other, shown: shown(item) });
            }
            Meaning::IfconfigIpv6 { local, bits, remote } => {
                if let Some(why) = address::no_host6(local, bits) {
                    return Err(address_error(item, why));
                }
                self.ifconfig_ipv6 = Some((local, bits, remote));
            }
            Meaning::Topology(topology) => self.topology = Some(topology),
            Meaning::Route(route) => return self.route(item, route),
            Meaning::RouteGateway(gateway) => self.route_gateway = Some(gateway),
            Meaning::RedirectGateway { ipv6, not_ipv4, odd_flag } => {
                self.redirect_gateway.add(ipv6, not_ipv4);
                if let Some(flag) = odd_flag {
                    return self.skip(item, &format!("flag `{flag}` is unknown; it and what follows is left out"));
                }
            }
            Meaning::BlockIpv6 => self.block_ipv6 = true,
            Meaning::DhcpDns(address) => return self.remark(item, |dns| dns.dhcp_dns(address)),
            Meaning::DhcpDomain(domain) => self.dns.dhcp_domain(domain),
            Meaning::DhcpSearch(domain) => return self.remark(item, |dns| dns.dhcp_search(domain)),
            Meaning::DnsServer { priority, part } => return self.remark(item, |dns| dns.server(priority, part)),
            Meaning::DnsSearch(domains) => return self.remark(item, |dns| dns.search(domains)),
            Meaning::PeerId(id) => self.peer_id = Some(id),
            Meaning::Cipher(cipher) => self.cipher = Some(cipher),
            Meaning::ProtocolFlags(flags) => self.add_flags(flags),
            Meaning::Ping(time) => self.ping = Some(time),
            Meaning::PingRestart(time) => self.ping_restart = Some(time),
            Meaning::TunMtu(mtu) => self.tun_mtu = Some(mtu),
            Meaning::SessionTimeout(time) => self.session_timeout = time,
            Meaning::ExitNotify(times) => self.explicit_exit_notify = Some(times),
            Meaning::AuthToken(token) => self.token = Some(token),
            Meaning::AuthTokenUser(user) => self.token_user = Some(user),
            Meaning::Compression => return Err(PushError::Compression { option: shown(item) }),
            Meaning::Nothing => {}
            Meaning::NotUsed(why) => return self.skip(item, why),
        }
        Ok(())
    }

    fn route(&mut self, item: &str, route: RouteOption) -> Result<(), PushError> {
        if route.gateway == Gateway::Net {
            return self.skip(item, "a server may not send traffic around its tunnel (net_gateway)");
        }
        if let Some(why) = address::unroutable(&route.net) {
            return self.skip(item, why);
        }
        if self.routes.len() >= limits::ROUTES {
            self.too_many_routes = true;
            return Ok(());
        }
        if self.route_nets.insert(route.net) {
            self.routes.push(Route { net: route.net, via: RouteVia::Tunnel });
        }
        if route.masked {
            return self.skip(item, &format!("host bits are set: taken as {}", route.net));
        }
        Ok(())
    }

    /// `key-derivation` and `protocol-flags` may both be there.
    fn add_flags(&mut self, flags: ProtocolFlags) {
        let before = self.protocol_flags;
        self.protocol_flags = ProtocolFlags {
            cc_exit: before.cc_exit || flags.cc_exit,
            tls_ekm: before.tls_ekm || flags.tls_ekm,
            dyn_tls_crypt: before.dyn_tls_crypt || flags.dyn_tls_crypt,
            aead_epoch: before.aead_epoch || flags.aead_epoch,
        };
    }

    fn remark(&mut self, item: &str, change: impl FnOnce(&mut DnsChoice) -> Remark) -> Result<(), PushError> {
        match change(&mut self.dns) {
            Some(remark) => self.skip(item, remark),
            None => Ok(()),
        }
    }

    /// Always fine: an option left out does not break a connection.
    fn skip(&mut self, item: &str, why: &str) -> Result<(), PushError> {
        self.notes.add(shown(item), why);
        Ok(())
    }

    fn decide(mut self) -> Result<Assignment, PushError> {
        if self.too_many_routes {
            self.notes.add(String::from("route"), "more than 4096 routes: those after them are left out");
        }
        let ipv4 = self.ipv4()?;
        let ipv6 = self.ipv6();
        let tun_mtu = self.tun_mtu.unwrap_or(limits::TUN_MTU_DEFAULT);
        let keepalive = self.keepalive();
        let mut redirect_gateway = self.redirect_gateway.offer;
        default_offer::fold(&mut self.routes, &mut redirect_gateway);
        let (pushed_dns, pushed_search) = std::mem::take(&mut self.dns).decide();
        let dns = self.merge(&self.own.dns, pushed_dns, limits::DNS_SERVERS, dns_choice::TOO_MANY_SERVERS);
        let search = &self.own.search_domains;
        let search_domains = self.merge(search, pushed_search, limits::DOMAINS, dns_choice::TOO_MANY_DOMAINS);
        Ok(Assignment {
            ipv4,
            ipv6,
            routes: self.routes,
            redirect_gateway,
            dns,
            search_domains,
            tun_mtu,
            block_ipv6: self.block_ipv6 || tun_mtu < limits::TUN_MTU_IPV6,
            keepalive,
            peer_id: self.peer_id,
            cipher: self.cipher,
            protocol_flags: self.protocol_flags,
            auth_token: self.token.map(|token| AuthToken { token, user: self.token_user }),
            explicit_exit_notify: self.explicit_exit_notify,
            session_timeout: self.session_timeout,
            skipped: self.notes.decide(),
        })
    }

    fn ipv4(&mut self) -> Result<Option<Ipv4Assignment>, PushError> {
        let Some(Ifconfig { local, other, shown }) = self.ifconfig.take() else { return Ok(None) };
        let refused = |why: String| PushError::Address { option: shown.clone(), why };
        if let Some(why) = address::no_host(local) {
            return Err(refused(format!("{local} {why}")));
        }
        let is_mask = other.octets().first() == Some(&255);
        match self.topology.unwrap_or(Topology::Net30) {
            Topology::Subnet => self.subnet(local, other).map(Some).map_err(refused),
            Topology::Net30 | Topology::P2p if is_mask => {
                self.notes.add(shown.clone(), "the second address is a netmask, so it is read as in topology subnet");
                self.subnet(local, other).map(Some).map_err(refused)
            }
            Topology::Net30 | Topology::P2p => {
                let peer = Some(other).filter(|peer| address::no_host(*peer).is_none());
                Ok(Some(Ipv4Assignment { address: Ipv4Net::from(local), gateway: self.route_gateway.or(peer) }))
            }
        }
    }

    fn subnet(&self, local: Ipv4Addr, mask: Ipv4Addr) -> Result<Ipv4Assignment, String> {
        let bits = address::mask_bits(mask).filter(|bits| *bits >= MASK_MIN);
        let address = bits.and_then(|bits| Ipv4Net::new(local, bits).ok());
        let address = address.ok_or_else(|| format!("{mask} is no netmask of 8 bits or more without holes"))?;
        if address.prefix_len() < 31 && address.broadcast() == local {
            return Err(format!("{local} is the broadcast address of its own network"));
        }
        Ok(Ipv4Assignment { address, gateway: self.route_gateway })
    }

    fn ipv6(&self) -> Option<Ipv6Assignment> {
        let (local, bits, gateway) = self.ifconfig_ipv6?;
        let address = Ipv6Net::new(local, bits).ok()?;
        Some(Ipv6Assignment { address, gateway })
    }

    /// Pushed times before the profile's, made to fit each other: `ping-restart` is at least twice `ping`.
    fn keepalive(&mut self) -> Keepalive {
        let ping = self.ping.unwrap_or(self.own.keepalive.ping);
        let ping_restart = self.ping_restart.unwrap_or(self.own.keepalive.ping_restart);
        let fitted = Keepalive { ping, ping_restart }.fitted();
        if let (Some(asked), Some(taken)) =
            (ping_restart, fitted.ping_restart.filter(|_| fitted.ping_restart != ping_restart))
        {
            let why = format!("it is shorter than twice `ping`: taken as {}", taken.as_secs());
            self.notes.add(format!("ping-restart {}", asked.as_secs()), &why);
        }
        fitted
    }

    /// The profile's own list with the pushed one after it.
    fn merge<T: Clone + PartialEq>(&mut self, own: &[T], pushed: Vec<T>, limit: usize, remark: &'static str) -> Vec<T> {
        let mut list: Vec<T> = own.iter().take(limit).cloned().collect();
        let excess = pushed.into_iter().filter_map(|more| dns_choice::add(&mut list, more, limit, remark)).last();
        if let Some(remark) = excess {
            self.notes.add(String::from("dhcp-option, dns"), remark);
        }
        list
    }
}

fn fatal(name: &str, item: &str, why: String) -> PushError {
    match name {
        "ifconfig" | "ifconfig-ipv6" => address_error(item, why),
        _ => PushError::Keys { option: shown(item), why },
    }
}

fn address_error(item: &str, why: String) -> PushError {
    PushError::Address { option: shown(item), why }
}

const REPLY: &str = "PUSH_REPLY";
/// Begins `auth-token` and `auth-token-user`.
const TOKEN: &str = "auth-token";
const CONTINUATION: &str = "push-continuation";

/// 8 bits: the network of an assigned address is a claim, and no one owns more than a /8.
const MASK_MIN: u8 = 8;
