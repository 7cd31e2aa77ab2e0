//! What a world begins with, drawn from its seed: how many tunnels there may be, what their servers push, what the file says.
//! The same values are turned into the engine's configuration and into the reference model, each by itself. What happens then
//! is `script.rs`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_engine::tunnel::Connector;
use mrvpn_engine::{EngineConfig, TunnelConfig};
use mrvpn_profile::config::{Accept, Ports};
use mrvpn_profile::{Credentials, Secret, ovpn};
use mrvpn_proto::peer::ScriptedConnector;
use mrvpn_router::{PortRange, Rule, Target, TunnelId};

use super::script;
use crate::sim::Dice;
use crate::sim::apps::packet::{TCP, UDP};
use crate::sim::reference::{Place, PushModel, RuleModel, Via};

/// Most tunnels of one world.
pub(crate) const PLACES: usize = 50;
/// The UDP port of this host that tunnels may accept.
pub(crate) const ACCEPTED: u16 = 51_413;
/// A network that the host is on.
pub(crate) const LAN: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 0), 24);
/// Another that it may come to be on; servers assign addresses of it too.
pub(crate) const OTHER_LAN: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 51, 0), 24);
/// The host's own address there.
pub(crate) const CARD: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// What nobody ever claims or names.
pub(crate) const UNCLAIMED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// What one server pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    pub(crate) v4: Ipv4Net,
    pub(crate) v6: Option<Ipv6Net>,
    pub(crate) routes: Vec<IpNet>,
    /// `redirect-gateway`.
    pub(crate) offers: bool,
    /// Seconds.
    pub(crate) ping: u32,
    /// Seconds.
    pub(crate) restart: u32,
}

/// One tunnel of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    /// Routes of the profile.
    pub(crate) routes: Vec<IpNet>,
    pub(crate) default: bool,
    pub(crate) accepts: bool,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) tunnels: Vec<Entry>,
    pub(crate) rules: Vec<RuleModel>,
}

/// The beginning of a world.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    /// How many tunnels there may be.
    pub(crate) places: usize,
    pub(crate) file: File,
    /// What each server pushes first.
    pub(crate) pushes: Vec<Push>,
    /// Tunnels that nothing is ever done to: what happens to others must cost them nothing.
    pub(crate) calm: Vec<bool>,
}

impl Setup {
    /// The beginning of this seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::of(seed, "setup");
        let places = match (script::is_long(seed), dice.one_in(40)) {
            // A day of fifty tunnels takes as long as a thousand worlds.
            (true, _) => 2 + dice.place(3),
            (false, true) => 10 + dice.place(PLACES - 9),
            (false, false) => 2 + dice.place(7),
        };
        let pushes = (0..places).map(|place| Push::any(place, places, &mut dice)).collect();
        let calm = (0..places).map(|_| dice.one_in(3)).collect();
        let file = File::any(places, &mut dice);
        Self { seed, places, file, pushes, calm }
    }
}

/// What a tunnel is called.
pub(crate) fn name(place: Place) -> String {
    format!("t{place:02}")
}

/// The place of a name.
pub(crate) fn place_of(name: &str) -> Option<Place> {
    name.strip_prefix('t')?.parse().ok()
}

/// Where its server listens: on 192.0.2.1 the first.
pub(crate) fn remote(place: Place) -> SocketAddr {
    let number = u32::try_from(place).unwrap_or(u32::MAX);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0xc000_0201_u32.wrapping_add(number))), 1194)
}

/// The server that listens there.
pub(crate) fn site_at(address: SocketAddr) -> Option<Place> {
    let IpAddr::V4(v4) = address.ip() else { return None };
    u32::from(v4).checked_sub(0xc000_0201).and_then(|number| Place::try_from(number).ok())
}

/// A host behind one server alone.
pub(crate) fn own_target(place: Place) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113 + byte(place / 256), byte(place % 256))
}

/// A host of a network that several servers and profiles may claim.
pub(crate) fn shared_target(number: u64) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 50 + byte(number as usize % 4), 9)
}

fn byte(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}

fn shared_net(dice: &mut Dice) -> IpNet {
    let address = shared_target(dice.below(4));
    let length = *dice.pick(&[16, 23, 24, 24, 25, 32]);
    IpNet::V4(Ipv4Net::new_assert(address, length).trunc())
}

impl Push {
    /// What the server of `place` may push. Addresses and networks collide with others' on purpose.
    pub(crate) fn any(place: Place, places: usize, dice: &mut Dice) -> Self {
        let other = byte(dice.place(places));
        let own = byte(place);
        let v4 = match dice.below(8) {
            // As many servers do, whoever else does.
            0 | 1 => Ipv4Net::new_assert(Ipv4Addr::new(10, 8, 0, 2 + byte(dice.place(2))), 24),
            2 => Ipv4Net::new_assert(Ipv4Addr::new(10, 100 + other, 0, 2), 16),
            // Of the host's own network, or of one that it may come to be on.
            3 => Ipv4Net::new_assert(Ipv4Addr::new(192, 168, *dice.pick(&[1, 51]), 77), 24),
            _ => Ipv4Net::new_assert(Ipv4Addr::new(10, 100 + own, 0, 2 + byte(dice.place(3))), 16),
        };
        let v6 = dice.one_in(3).then(|| {
            let net = u16::from(if dice.one_in(3) { other } else { own });
            Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, 2), 64)
        });
        let mut routes = vec![IpNet::from(IpAddr::V4(own_target(place)))];
        for _ in 0..dice.below(3) {
            routes.push(match dice.below(4) {
                0 => IpNet::from(IpAddr::V4(own_target(usize::from(other)))),
                1 => IpNet::V4(LAN),
                _ => shared_net(dice),
            });
        }
        let ping = *dice.pick(&[1, 1, 2, 5]);
        let restart = ping * (3 + dice.below(3) as u32);
        Self { v4, v6, routes, offers: dice.one_in(4), ping, restart }
    }

    /// A server that nobody collides with.
    pub(crate) fn plain(place: Place, ping: u32, restart: u32) -> Self {
        let v4 = Ipv4Net::new_assert(Ipv4Addr::new(10, 100 + byte(place / 256), byte(place % 256), 2), 24);
        let routes = vec![IpNet::from(IpAddr::V4(own_target(place)))];
        Self { v4, v6: None, routes, offers: false, ping, restart }
    }

    /// The inner addresses.
    pub(crate) fn inner(&self) -> Vec<IpAddr> {
        let v6 = self.v6.map(|net| IpAddr::V6(net.addr()));
        std::iter::once(IpAddr::V4(self.v4.addr())).chain(v6).collect()
    }

    /// What counts of it.
    pub(crate) fn model(&self) -> PushModel {
        let networks = std::iter::once(IpNet::V4(self.v4.trunc())).chain(self.v6.map(|net| IpNet::V6(net.trunc())));
        PushModel { claims: self.routes.iter().copied().chain(networks).collect(), offers: self.offers }
    }

    /// The options of a PUSH_REPLY, but for those that the session negotiates.
    pub(crate) fn options(&self) -> Vec<String> {
        let v4 = self.v4;
        let gateway = v4.hosts().next().filter(|first| *first != v4.addr()).unwrap_or_else(|| v4.addr());
        let mut options = vec![
            format!("route-gateway {gateway}"),
            "topology subnet".to_owned(),
            format!("ping {}", self.ping),
            format!("ping-restart {}", self.restart),
            format!("ifconfig {} {}", v4.addr(), v4.netmask()),
            "tun-mtu 1500".to_owned(),
        ];
        options.extend(self.v6.map(|v6| format!("ifconfig-ipv6 {v6} {}", v6.network())));
        options.extend(self.routes.iter().map(|route| match route {
            IpNet::V4(net) => format!("route {} {}", net.addr(), net.netmask()),
            IpNet::V6(net) => format!("route-ipv6 {net}"),
        }));
        if self.offers {
            options.push("redirect-gateway def1".to_owned());
        }
        options
    }
}

impl File {
    /// A file with some of the tunnels in some order, and some rules.
    pub(crate) fn any(places: usize, dice: &mut Dice) -> Self {
        let mut tunnels: Vec<Entry> = Vec::new();
        for place in 0..places {
            if !dice.one_in(6) || (place == 0 && tunnels.is_empty()) {
                let at = dice.place(tunnels.len() + 1);
                tunnels.insert(at, Entry::any(place, dice));
            }
        }
        let mut file = Self { tunnels, rules: Vec::new() };
        file.draw_rules(places, dice);
        file
    }

    /// The same with other rules.
    pub(crate) fn draw_rules(&mut self, places: usize, dice: &mut Dice) {
        let rules = dice.below(5);
        self.rules = (0..rules).map(|_| self.any_rule(places, dice)).collect();
    }

    fn any_rule(&self, places: usize, dice: &mut Dice) -> RuleModel {
        let to: Vec<IpNet> = match dice.below(6) {
            0 => Vec::new(),
            1 => vec![IpNet::V4(LAN)],
            2 => vec![IpNet::from(IpAddr::V4(own_target(dice.place(places))))],
            3 => vec![IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24))],
            _ => vec![shared_net(dice)],
        };
        let protocol = dice.one_in(4).then(|| *dice.pick(&[TCP, UDP]));
        let ports = dice.one_in(4).then(|| *dice.pick(&[(53, 53), (1_000, 5_000)]));
        let via = match dice.below(8) {
            0 => Via::Direct,
            1 => Via::Block,
            _ => Via::Tunnel(dice.pick(&self.tunnels).place),
        };
        RuleModel { to, from: Vec::new(), protocol, ports, via }
    }

    /// All of so many tunnels, and no rules.
    pub(crate) fn plain(places: usize) -> Self {
        let entry = |place| Entry { place, routes: Vec::new(), default: false, accepts: false };
        Self { tunnels: (0..places).map(entry).collect(), rules: Vec::new() }
    }

    /// The entry of a tunnel.
    pub(crate) fn entry(&self, place: Place) -> Option<&Entry> {
        self.tunnels.iter().find(|entry| entry.place == place)
    }

    /// As the engine takes it.
    pub(crate) fn config(&self) -> EngineConfig {
        let mut config = EngineConfig::new();
        config.tunnels = self.tunnels.iter().map(Entry::config).collect();
        config.rules = self.rules.iter().map(|rule| self.engine_rule(rule)).collect();
        config
    }

    fn engine_rule(&self, rule: &RuleModel) -> Rule {
        let via = match rule.via {
            Via::Tunnel(place) => match self.tunnels.iter().position(|entry| entry.place == place) {
                Some(at) => Target::Tunnel(TunnelId::new(u16::try_from(at).unwrap_or(u16::MAX))),
                None => Target::Block,
            },
            Via::Direct => Target::Direct,
            Via::Block => Target::Block,
        };
        Rule {
            name: None,
            to: rule.to.clone(),
            from: rule.from.clone(),
            proto: rule.protocol.into_iter().collect(),
            port: rule.ports.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect(),
            via,
        }
    }

    /// Scripted TLS engines, one a tunnel.
    pub(crate) fn connectors(&self) -> Vec<Connector> {
        let connector =
            |entry: &Entry| Ok(Arc::new(ScriptedConnector { seed: entry.place as u64, refusal: None }) as _);
        self.tunnels.iter().map(connector).collect()
    }
}

impl Entry {
    pub(crate) fn any(place: Place, dice: &mut Dice) -> Self {
        let routes = if dice.one_in(4) { vec![shared_net(dice)] } else { Vec::new() };
        Self { place, routes, default: dice.one_in(10), accepts: dice.one_in(4) }
    }

    fn config(&self) -> TunnelConfig {
        let route = |net: &IpNet| match net {
            IpNet::V4(net) => format!("route {} {}\n", net.addr(), net.netmask()),
            IpNet::V6(net) => format!("route-ipv6 {net}\n"),
        };
        let routes: String = self.routes.iter().map(route).collect();
        let remote = remote(self.place).ip();
        let text = format!(
            "client\ndev tun\nremote {remote}\nremote-cert-tls server\nauth-user-pass\n{routes}<ca>\n{CA}</ca>\n"
        );
        let parsed = ovpn::parse(text.as_bytes(), &mut ovpn::NoFiles).expect("the text above is a profile");
        let ports = Ports { first: ACCEPTED, last: ACCEPTED };
        TunnelConfig {
            name: name(self.place),
            file: format!("{}.ovpn", name(self.place)),
            profile: parsed.profile,
            credentials: Some(Credentials { user: name(self.place), password: Secret::new("secret".to_owned()) }),
            default: self.default,
            strict_server: false,
            accept: self.accepts.then_some(Accept { proto: UDP, ports }).into_iter().collect(),
            bypass: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// A certificate in form only: the scripted TLS looks at none.
const CA: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
