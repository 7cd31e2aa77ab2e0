//! What the file itself says about addresses, routes, DNS and timers; a push is laid over it later (`push.rs`). The
//! options that file and server share are read by `option.rs`.

use std::time::Duration;

use super::judgement::Fate;
use crate::address;
use crate::default_offer::Redirect;
use crate::dns_choice::{DnsChoice, Remark};
use crate::option::{self, Fault, Gateway, Meaning, RouteOption};
use crate::profile::{PullFilter, PullFilterAction};
use crate::{Keepalive, PullOptions, Renewal, Route, RouteVia, default_offer, limits};

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Pull {
    options: PullOptions,
    redirect: Redirect,
    dns: DnsChoice,
    hand_window: Option<Duration>,
    renewal: Renewal,
    no_routes: bool,
}

impl Pull {
    pub(super) fn take(&mut self, name: &str, words: &[&str]) -> Option<Fate> {
        let parameters = words.get(1..).unwrap_or_default();
        Some(match name {
            name if SHARED.contains(&name) => self.shared(words),
            "keepalive" => self.keepalive(parameters),
            "hand-window" => self.take_hand_window(parameters),
            "reneg-sec" => self.take_reneg_sec(parameters),
            "reneg-bytes" => count(parameters, &mut self.renewal.reneg_bytes),
            "reneg-pkts" => count(parameters, &mut self.renewal.reneg_pkts),
            "tran-window" => self.take_tran_window(parameters),
            "pull-filter" => self.filter(parameters),
            "route-nopull" => {
                self.options.route_nopull = true;
                Fate::Used
            }
            "route-noexec" => {
                self.options.route_nopull = true;
                self.no_routes = true;
                Fate::UsedBut(String::from(
                    "no route of this profile and none that is pushed becomes a claim; use rules",
                ))
            }
            _ => return None,
        })
    }

    fn shared(&mut self, words: &[&str]) -> Fate {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match option::read(&words) {
            Ok(meaning) => self.apply(meaning),
            Err(Fault::Unknown) => Fate::Unknown,
            Err(Fault::Wrong(why) | Fault::Fatal(why)) => Fate::wrong(why, "correct the line, or remove it"),
        }
    }

    fn apply(&mut self, meaning: Meaning) -> Fate {
        match meaning {
            Meaning::Ifconfig { local, other } => {
                if let Some(why) = address::no_host(local) {
                    return Fate::refused(format!("{local} {why}"), ASSIGNED);
                }
                self.options.ifconfig = Some((local, other));
            }
            Meaning::IfconfigIpv6 { local, bits, .. } => {
                if let Some(why) = address::no_host6(local, bits) {
                    return Fate::refused(why, ASSIGNED);
                }
                self.options.ifconfig_ipv6 = Some((local, bits));
            }
            Meaning::Topology(topology) => self.options.topology = Some(topology),
            Meaning::Route(route) => return self.route(route),
            Meaning::RouteGateway(gateway) => self.options.route_gateway = Some(gateway),
            Meaning::RedirectGateway { odd_flag: Some(flag), .. } => {
                return Fate::wrong(format!("flag `{flag}` is unknown"), "remove the flag");
            }
            Meaning::RedirectGateway { ipv6, not_ipv4, odd_flag: None } => self.redirect.add(ipv6, not_ipv4),
            Meaning::BlockIpv6 => self.options.block_ipv6 = true,
            Meaning::DhcpDns(address) => return remarked(self.dns.dhcp_dns(address)),
            Meaning::DhcpDomain(domain) => self.dns.dhcp_domain(domain),
            Meaning::DhcpSearch(domain) => return remarked(self.dns.dhcp_search(domain)),
            Meaning::DnsServer { priority, part } => return remarked(self.dns.server(priority, part)),
            Meaning::DnsSearch(domains) => return remarked(self.dns.search(domains)),
            Meaning::Ping(time) => self.options.keepalive.ping = time,
            Meaning::PingRestart(time) => self.options.keepalive.ping_restart = time,
            Meaning::TunMtu(mtu) => self.options.tun_mtu = Some(mtu),
            Meaning::ExitNotify(times) => self.options.explicit_exit_notify = Some(times),
            Meaning::Compression => {
                let hint = "try without the line; if the tunnel is up then and carries nothing, the server still frames its \
                            packets for compression, and its operator must end that";
                return Fate::refused("compression and its framing are not in this version", hint);
            }
            Meaning::NotUsed(why) => return Fate::ignored(why),
            Meaning::Nothing => {
                return Fate::ignored("it adds no route, and mrvpn keeps the server reachable by itself");
            }
            Meaning::PeerId(_)
            | Meaning::Cipher(_)
            | Meaning::ProtocolFlags(_)
            | Meaning::SessionTimeout(_)
            | Meaning::AuthToken(_)
            | Meaning::AuthTokenUser(_) => {
                return Fate::ignored("only a server may say this");
            }
        }
        Fate::Used
    }

    fn route(&mut self, route: RouteOption) -> Fate {
        if let Some(why) = address::unroutable(&route.net) {
            return Fate::ignored(why);
        }
        if self.options.routes.len() >= limits::ROUTES {
            return Fate::refused("more than 4096 routes", "summarise them, or use `redirect-gateway`");
        }
        let via = match route.gateway {
            Gateway::Tunnel => RouteVia::Tunnel,
            Gateway::Net => RouteVia::Direct,
        };
        self.options.routes.push(Route { net: route.net, via });
        match (route.masked, via) {
            (true, RouteVia::Tunnel) => Fate::UsedBut(format!("host bits are set: taken as {}", route.net)),
            (true, RouteVia::Direct) => {
                Fate::UsedBut(format!("host bits are set: {} goes past the tunnel, in clear", route.net))
            }
            (false, RouteVia::Direct) => Fate::UsedBut(format!("{} goes past the tunnel, in clear", route.net)),
            (false, RouteVia::Tunnel) => Fate::Used,
        }
    }

    /// `keepalive INTERVAL TIMEOUT`: on a client it is `ping` and `ping-restart`.
    fn keepalive(&mut self, parameters: &[&str]) -> Fate {
        let seconds = |text: &&str| address::number(text).filter(|time| *time > 0).map(Duration::from_secs);
        match parameters {
            [ping, restart, ..] if seconds(ping).is_some() && seconds(restart).is_some() => {
                self.options.keepalive = Keepalive { ping: seconds(ping), ping_restart: seconds(restart) };
                Fate::Used
            }
            _ => Fate::wrong("it needs two numbers of seconds", "write for example `keepalive 10 60`"),
        }
    }

    fn take_hand_window(&mut self, parameters: &[&str]) -> Fate {
        let Some(seconds) = parameters.first().and_then(|text| address::number(text)) else {
            return Fate::wrong("it needs a number of seconds", "write for example `hand-window 60`");
        };
        let window = Duration::from_secs(seconds);
        let taken = window.clamp(limits::TIMER_MIN, limits::HANDSHAKE);
        self.hand_window = Some(taken);
        if taken == window { Fate::Used } else { Fate::UsedBut(format!("taken as {} s", taken.as_secs())) }
    }

    /// `reneg-sec MAX [MIN]`: a client has no use for the second.
    fn take_reneg_sec(&mut self, parameters: &[&str]) -> Fate {
        let Some(seconds) = parameters.first().and_then(|text| address::number(text)) else {
            return Fate::wrong("it needs a number of seconds", "write for example `reneg-sec 3600`, or 0 for never");
        };
        self.renewal.reneg_sec = (seconds > 0).then(|| Duration::from_secs(seconds.min(u64::from(u32::MAX))));
        Fate::Used
    }

    fn take_tran_window(&mut self, parameters: &[&str]) -> Fate {
        let Some(seconds) = parameters.first().and_then(|text| address::number(text)) else {
            return Fate::wrong("it needs a number of seconds", "write for example `tran-window 3600`");
        };
        let window = Duration::from_secs(seconds);
        let taken = window.clamp(limits::TIMER_MIN, limits::TIMER_MAX);
        self.renewal.tran_window = taken;
        if taken == window { Fate::Used } else { Fate::UsedBut(format!("taken as {} s", taken.as_secs())) }
    }

    fn filter(&mut self, parameters: &[&str]) -> Fate {
        let [action, text, ..] = parameters else {
            return Fate::wrong("it needs an action and a text", "write for example `pull-filter ignore \"route \"`");
        };
        let action = match *action {
            "accept" => PullFilterAction::Accept,
            "ignore" => PullFilterAction::Ignore,
            "reject" => PullFilterAction::Reject,
            _ => return Fate::wrong("the action is accept, ignore or reject", "correct the line"),
        };
        match PullFilter::parse(action, text) {
            Ok(filter) => {
                self.options.filters.push(filter);
                Fate::Used
            }
            Err(error) => Fate::wrong(error.to_string(), error.hint()),
        }
    }

    /// Whether the file says by `net_gateway` what goes past the tunnel.
    pub(super) fn keeps_something_outside(&self) -> bool {
        self.options.routes.iter().any(|route| route.via == RouteVia::Direct)
    }

    pub(super) fn hand_window(&self) -> Duration {
        self.hand_window.unwrap_or(limits::HANDSHAKE)
    }

    pub(super) const fn renewal(&self) -> Renewal {
        self.renewal
    }

    pub(super) const fn explicit_exit_notify(&self) -> Option<u32> {
        self.options.explicit_exit_notify
    }

    pub(super) fn finish(self) -> PullOptions {
        let mut options = self.options;
        options.keepalive = options.keepalive.fitted();
        options.redirect_gateway = self.redirect.offer;
        (options.dns, options.search_domains) = self.dns.decide();
        if self.no_routes {
            options.routes.clear();
            options.redirect_gateway = None;
        }
        default_offer::fold(&mut options.routes, &mut options.redirect_gateway);
        options
    }
}

/// A number of bytes or packets; 0 is off.
fn count(parameters: &[&str], slot: &mut Option<u64>) -> Fate {
    let Some(number) = parameters.first().and_then(|text| address::number(text)) else {
        return Fate::wrong("it needs a number", "write a number, or 0 for never");
    };
    *slot = (number > 0).then_some(number);
    Fate::Used
}

fn remarked(remark: Remark) -> Fate {
    remark.map_or(Fate::Used, |remark| Fate::UsedBut(remark.to_owned()))
}

const ASSIGNED: &str = "remove the line, for the server assigns an address; or write the one that its operator gave";

/// Options of `option.rs` that stand in files too.
pub(super) const SHARED: [&str; 18] = [
    "ifconfig",
    "ifconfig-ipv6",
    "topology",
    "route",
    "route-ipv6",
    "route-gateway",
    "redirect-gateway",
    "redirect-private",
    "block-ipv6",
    "dhcp-option",
    "dns",
    "ping",
    "ping-restart",
    "ping-exit",
    "tun-mtu",
    "explicit-exit-notify",
    "compress",
    "comp-lzo",
];
