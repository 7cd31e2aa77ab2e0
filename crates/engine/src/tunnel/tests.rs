//! One tunnel among scripted servers on wires of known length: whom it dials, who is dropped, what follows an end.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use mrvpn_profile::{Credentials, Secret, ovpn};
use mrvpn_proto::peer::{Login as ServerLogin, ScriptedConnector, ScriptedTls, TestServer, TestServerConfig};

use super::*;

const WALL: WallTime = WallTime::from_unix(1_800_000_000);
const CA: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
const SECOND: Duration = Duration::from_secs(1);

/// A packet on its way.
struct Wire {
    at: Moment,
    attempt: Attempt,
    to_server: bool,
    datagram: Vec<u8>,
}

/// A tunnel, its servers by address, and all that is on the wires.
struct Scene {
    tunnel: Tunnel,
    servers: BTreeMap<SocketAddr, TestServer>,
    /// One way, by address; half a millisecond elsewhere.
    length: BTreeMap<SocketAddr, Duration>,
    /// Addresses whose sockets do not open.
    closed: BTreeMap<SocketAddr, ErrorKind>,
    names: BTreeMap<String, Vec<IpAddr>>,
    dns_is_dead: bool,
    sockets: BTreeMap<Attempt, SocketAddr>,
    carried: Option<Attempt>,
    wires: Vec<Wire>,
    now: Moment,
    /// Each address that was dialled, and when.
    dialled: Vec<(String, Duration)>,
    installed: usize,
    retired: usize,
    logins_open: Vec<bool>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server(login: ServerLogin, push: &str) -> TestServer {
    let mut config = TestServerConfig::new(mrvpn_profile::Wrap::None);
    config.login = login;
    config.push = vec![format!(
        "PUSH_REPLY,route-gateway 10.8.0.1,topology subnet,ping 1,ping-restart 4,ifconfig 10.8.0.2 255.255.255.0,peer-id \
         7,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm,tun-mtu 1500{push}"
    )];
    let mut seed = 100;
    TestServer::new(
        config,
        Box::new(move || {
            seed += 1;
            Box::new(ScriptedTls::server(seed))
        }),
        WALL,
    )
}

fn good() -> ServerLogin {
    ServerLogin::Only(Credentials { user: "ann".to_owned(), password: Secret::new("secret".to_owned()) })
}

impl Scene {
    /// A tunnel with these lines in its profile, dialling now; no server yet.
    fn new(lines: &str) -> Self {
        let text = format!("client\ndev tun\nremote-cert-tls server\nauth-user-pass\n{lines}\n<ca>\n{CA}</ca>\n");
        let parsed = ovpn::parse(text.as_bytes(), &mut ovpn::NoFiles).unwrap();
        let config = TunnelConfig {
            name: "uk".to_owned(),
            file: "uk.ovpn".to_owned(),
            profile: parsed.profile,
            credentials: Some(Credentials { user: "ann".to_owned(), password: Secret::new("secret".to_owned()) }),
            default: false,
            strict_server: false,
            accept: Vec::new(),
            bypass: Vec::new(),
            warnings: Vec::new(),
        };
        let now = Moment::default() + SECOND;
        let connector = Ok(Arc::new(ScriptedConnector { seed: 1, refusal: None }) as Arc<dyn TlsConnector>);
        Self {
            tunnel: Tunnel::new(TunnelId::new(0), config, connector, [3; 32], now),
            servers: BTreeMap::new(),
            length: BTreeMap::new(),
            closed: BTreeMap::new(),
            names: BTreeMap::new(),
            dns_is_dead: false,
            sockets: BTreeMap::new(),
            carried: None,
            wires: Vec::new(),
            now,
            dialled: Vec::new(),
            installed: 0,
            retired: 0,
            logins_open: Vec::new(),
        }
    }

    fn serve(mut self, at: &str, login: ServerLogin) -> Self {
        self.servers.insert(address(at), server(login, ""));
        self
    }

    fn dial(mut self) -> Self {
        self.tunnel.dial(self.now);
        self.settle();
        self
    }

    fn server(&mut self, at: &str) -> &mut TestServer {
        self.servers.get_mut(&address(at)).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.now.since(Moment::default() + SECOND)
    }

    /// Lets time pass, from deadline to deadline.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.step();
        }
        self.now = end;
    }

    /// When something is to happen next.
    fn due(&self) -> Option<Moment> {
        let servers = self.servers.values().filter_map(TestServer::poll_timeout);
        let wires = self.wires.iter().map(|wire| wire.at);
        self.tunnel.poll_timeout().into_iter().chain(servers).chain(wires).min()
    }

    fn step(&mut self) {
        let now = self.now;
        self.tunnel.handle_timeout(now);
        self.servers.values_mut().for_each(|server| server.handle_timeout(now));
        let due: Vec<Wire> = self.wires.extract_if(.., |wire| wire.at <= now).collect();
        for wire in due {
            let Some(remote) = self.sockets.get(&wire.attempt).copied() else { continue };
            if wire.to_server {
                if let Some(server) = self.servers.get_mut(&remote) {
                    server.handle_datagram(&wire.datagram, now);
                }
                self.answers(remote, wire.attempt);
            } else if self.carried == Some(wire.attempt) {
                self.tunnel.handle_control(&wire.datagram, now);
            } else {
                self.tunnel.handle_datagram(wire.attempt, &wire.datagram, now);
            }
            self.settle();
        }
        let open: Vec<_> = self.sockets.iter().map(|(attempt, remote)| (*attempt, *remote)).collect();
        open.into_iter().for_each(|(attempt, remote)| self.answers(remote, attempt));
        self.settle();
        // A retry at once is due at this very moment.
        for _ in 0..2 {
            self.tunnel.handle_timeout(now);
            self.settle();
        }
        assert!(self.tunnel.poll_timeout().is_none_or(|due| due > now), "a deadline in the past");
    }

    fn way(&self, remote: SocketAddr) -> Duration {
        self.length.get(&remote).copied().unwrap_or(Duration::from_micros(500))
    }

    fn answers(&mut self, remote: SocketAddr, attempt: Attempt) {
        let at = self.now + self.way(remote);
        let Some(server) = self.servers.get_mut(&remote) else { return };
        while let Some(datagram) = server.poll_transmit() {
            self.wires.push(Wire { at, attempt, to_server: false, datagram });
        }
    }

    /// Does what the tunnel asks.
    fn settle(&mut self) {
        while let Some(ask) = self.tunnel.poll_ask() {
            match ask {
                Ask::Fresh => {}
                Ask::Resolve { host } => {
                    let found = self.names.get(&host).cloned().filter(|_| !self.dns_is_dead);
                    self.tunnel.handle_resolved(&host, found.ok_or_else(|| "does not exist".to_owned()), self.now);
                }
                Ask::Open { attempt, remote, .. } => {
                    self.dialled.push((remote.ip().to_string(), self.elapsed()));
                    let outcome = match self.closed.get(&remote) {
                        Some(kind) => Err(OpenFailure { kind: *kind, why: "closed".to_owned() }),
                        None => Ok(()),
                    };
                    self.sockets.insert(attempt, remote);
                    self.tunnel.handle_opened(attempt, outcome, WALL, self.now);
                }
                Ask::Transmit { attempt, datagram } => {
                    let at = self.now + self.way(self.sockets[&attempt]);
                    self.wires.push(Wire { at, attempt, to_server: true, datagram });
                }
                Ask::Adopt { attempt, .. } => self.carried = Some(attempt),
                Ask::Install { .. } => self.installed += 1,
                Ask::Retire { .. } => self.retired += 1,
                Ask::ExitNotify => {}
                Ask::Drop { attempt } => drop(self.sockets.remove(&attempt)),
                Ask::Close => {
                    self.sockets.clear();
                    self.carried = None;
                }
            }
        }
        while let Some(change) = self.tunnel.poll_change() {
            if let Change::Lost { login_open } = change {
                self.logins_open.push(login_open);
            }
        }
    }

    fn hosts(&self) -> Vec<&str> {
        self.dialled.iter().map(|(host, _)| host.as_str()).collect()
    }

    fn code(&self) -> &'static str {
        self.tunnel.error().map_or("", |error| error.code)
    }

    /// How many key exchanges the servers have seen in all.
    fn logins(&self) -> u64 {
        self.servers.values().map(|server| u64::from(server.exchanges())).sum()
    }

    /// The servers ping, and the tunnel hears it.
    fn keep_alive(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tunnel.heard(self.now);
            self.run(SECOND.min(end.since(self.now)));
        }
    }
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|ip| ip.parse().unwrap()).collect()
}

#[test]
fn the_first_address_that_answers_wins_and_no_other_server_ever_sees_a_login() {
    let mut scene = Scene::new("remote a.example 1194 udp");
    scene.names.insert("a.example".to_owned(), ips(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    for (last, way) in [(1, 400), (2, 100), (3, 30)] {
        let at = format!("192.0.2.{last}:1194");
        scene = scene.serve(&at, good());
        scene.length.insert(address(&at), Duration::from_millis(way));
    }
    let mut scene = scene.dial();
    scene.run(3 * SECOND);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
    assert_eq!(scene.tunnel.remote().unwrap().0, address("192.0.2.2:1194"));
    let at: Vec<u128> = scene.dialled.iter().map(|(_, at)| at.as_millis()).collect();
    assert_eq!(at, [0, 250], "and the third was not needed");
    assert!(scene.servers.values().all(|server| server.sessions() <= 1));
    assert_eq!(scene.logins(), 1, "one key exchange in all");
    assert_eq!(scene.server("192.0.2.2:1194").exchanges(), 1);
    assert_eq!(scene.sockets.len(), 1, "the other sockets are closed");
}

// proves: F-13
#[test]
fn both_families_are_tried_ipv6_first_and_one_that_has_no_way_costs_no_time() {
    let mut scene = Scene::new("remote a.example 1194 udp").serve("192.0.2.1:1194", good());
    scene.names.insert("a.example".to_owned(), ips(&["192.0.2.1", "2001:db8::1"]));
    scene.closed.insert(address("[2001:db8::1]:1194"), ErrorKind::NetworkUnreachable);
    let mut scene = scene.dial();
    scene.run(SECOND);
    assert_eq!(scene.hosts(), ["2001:db8::1", "192.0.2.1"]);
    assert_eq!(scene.dialled[1].1, Duration::ZERO);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
}

// proves: F-13
#[test]
fn dead_entries_of_a_list_are_passed_one_after_the_other() {
    let lines = "remote 192.0.2.1 1194 udp\nremote 192.0.2.2 443 tcp\nremote 192.0.2.3 1194 udp\nremote no.example";
    let mut scene = Scene::new(lines).serve("192.0.2.3:1194", good());
    scene.closed.insert(address("192.0.2.2:443"), ErrorKind::ConnectionRefused);
    let mut scene = scene.dial();
    scene.run(9 * SECOND);
    assert_eq!(scene.code(), "", "not given up yet");
    scene.run(SECOND);
    assert_eq!(scene.code(), "no-answer");
    scene.run(2 * SECOND);
    assert_eq!(scene.hosts(), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(scene.tunnel.remote_name(), Some("192.0.2.3"));
    let at: Vec<u128> = scene.dialled.iter().map(|(_, at)| at.as_millis()).collect();
    assert_eq!(at, [0, 10_000, 10_500]);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
    assert_eq!(scene.code(), "");
}

#[test]
fn a_list_of_dead_remotes_is_paced_and_backs_off_once_a_round() {
    let mut scene = Scene::new("remote 192.0.2.1 1 tcp\nremote 192.0.2.2 1 tcp");
    for host in ["192.0.2.1:1", "192.0.2.2:1"] {
        scene.closed.insert(address(host), ErrorKind::ConnectionRefused);
    }
    let mut scene = scene.dial();
    scene.run(600 * SECOND);
    assert!(scene.dialled.len() < 60, "{} tries in ten minutes", scene.dialled.len());
    let gaps = scene.dialled.windows(4).map(|four| four[3].1.saturating_sub(four[0].1));
    assert!(gaps.min().unwrap() >= SECOND, "two tries a second at most");
    assert_eq!(scene.code(), "no-answer");
    assert!(scene.tunnel.error().unwrap().message.contains("refuses"));
}

#[test]
fn the_profile_s_connect_timeout_counts_and_silence_is_shown_after_ten_seconds_all_the_same() {
    for (lines, moves_on) in [("connect-timeout 3", 3), ("connect-timeout 25", 25), ("", 10)] {
        let scene = Scene::new(&format!("remote 192.0.2.1\nremote 192.0.2.2\n{lines}"));
        let mut scene = scene.serve("192.0.2.2:1194", good()).dial();
        scene.run(SECOND * moves_on - SECOND / 10);
        assert_eq!(scene.hosts(), ["192.0.2.1"], "{lines}");
        assert_eq!(scene.code(), if moves_on > 10 { "no-answer" } else { "" });
        scene.run(SECOND);
        assert_eq!(scene.hosts(), ["192.0.2.1", "192.0.2.2"], "{lines}");
        assert_eq!(scene.tunnel.state(), TunnelState::Up);
    }
}

// proves: F-13
#[test]
fn a_reconnect_asks_again_and_uses_the_last_good_address_where_nobody_answers() {
    let mut scene = Scene::new("remote a.example").serve("192.0.2.1:1194", good()).serve("192.0.2.9:1194", good());
    scene.names.insert("a.example".to_owned(), ips(&["192.0.2.1"]));
    let mut scene = scene.dial();
    scene.run(SECOND);
    scene.dns_is_dead = true;
    scene.run(6 * SECOND);
    assert_eq!(scene.hosts(), ["192.0.2.1", "192.0.2.1"]);
    assert_eq!(scene.tunnel.state(), TunnelState::Up, "with no resolver at all");
    scene.dns_is_dead = false;
    scene.names.insert("a.example".to_owned(), ips(&["192.0.2.9"]));
    scene.run(8 * SECOND);
    assert_eq!(scene.hosts().last(), Some(&"192.0.2.9"));
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
}

// proves: F-05
#[test]
fn a_server_that_vanishes_without_a_word_is_missed_by_its_pings_in_both_transports() {
    for transport in ["udp", "tcp"] {
        let scene = Scene::new(&format!("remote 192.0.2.1 1194 {transport}")).serve("192.0.2.1:1194", good());
        let mut scene = scene.dial();
        scene.keep_alive(20 * SECOND);
        assert_eq!(scene.tunnel.state(), TunnelState::Up);
        scene.servers.clear();
        scene.run(6 * SECOND);
        assert_eq!(scene.tunnel.state(), TunnelState::Reconnecting, "{transport}");
        assert_eq!(scene.code(), "ping-timeout");
    }
}

#[test]
fn a_stream_that_ends_is_named_and_dialled_again_and_an_old_one_s_end_changes_nothing() {
    let mut scene = Scene::new("remote 192.0.2.1 443 tcp").serve("192.0.2.1:443", good()).dial();
    scene.run(SECOND);
    let first = scene.carried.unwrap();
    scene.tunnel.handle_stream_ended(first, ErrorKind::UnexpectedEof, scene.now);
    scene.settle();
    assert_eq!((scene.tunnel.state(), scene.code()), (TunnelState::Reconnecting, "connection-lost"));
    scene.run(SECOND);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
    assert_ne!(scene.carried, Some(first));
    scene.tunnel.handle_stream_ended(first, ErrorKind::ConnectionReset, scene.now);
    scene.tunnel.handle_peer_exit(first, scene.now);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
}

#[test]
fn a_stream_that_ends_before_anything_was_said_is_a_server_that_hangs_up() {
    let mut scene = Scene::new("remote 192.0.2.1 443 tcp\nremote 192.0.2.2 443 tcp");
    scene = scene.serve("192.0.2.2:443", good()).dial();
    scene.tunnel.handle_stream_ended(Attempt::new(1), ErrorKind::ConnectionReset, scene.now);
    scene.settle();
    assert_eq!(scene.code(), "connection-lost");
    scene.run(SECOND);
    assert_eq!(scene.tunnel.state(), TunnelState::Up, "by the next remote");
}

// proves: T-06
#[test]
fn thirty_thousand_forged_port_refusals_end_nothing_and_send_nothing() {
    let mut scene = Scene::new("remote 192.0.2.1").serve("192.0.2.1:1194", good()).dial();
    scene.run(SECOND);
    let attempt = scene.carried.unwrap();
    for _ in 0..30 {
        for _ in 0..1_000 {
            scene.tunnel.handle_port_refused(attempt, scene.now);
        }
        assert!(scene.tunnel.poll_ask().is_none(), "no probe");
        scene.keep_alive(SECOND);
    }
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
    assert_eq!(scene.dialled.len(), 1);
}

// proves: T-06
#[test]
fn a_forged_port_refusal_while_dialling_only_lets_the_next_address_begin_sooner() {
    let mut scene = Scene::new("remote a.example").serve("192.0.2.1:1194", good());
    scene.names.insert("a.example".to_owned(), ips(&["192.0.2.1", "192.0.2.2"]));
    scene.length.insert(address("192.0.2.1:1194"), Duration::from_millis(50));
    let mut scene = scene.dial();
    scene.tunnel.handle_port_refused(Attempt::new(1), scene.now);
    scene.settle();
    assert_eq!(scene.hosts(), ["192.0.2.1", "192.0.2.2"]);
    scene.run(SECOND);
    assert_eq!(scene.tunnel.remote().unwrap().0, address("192.0.2.1:1194"), "it was there after all");
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
}

// proves: F-29
#[test]
fn a_refused_password_is_final_unless_the_profile_says_nointeract_which_tries_three_times() {
    for (lines, tries) in [("", vec![0]), ("auth-retry nointeract", vec![0, 10, 70])] {
        let refuse = ServerLogin::Refuse("AUTH_FAILED".to_owned());
        let mut scene = Scene::new(&format!("remote 192.0.2.1\n{lines}")).serve("192.0.2.1:1194", refuse).dial();
        scene.run(600 * SECOND);
        let at: Vec<u64> = scene.dialled.iter().map(|(_, at)| at.as_secs()).collect();
        assert_eq!(at, tries, "{lines}");
        assert_eq!((scene.tunnel.state(), scene.code()), (TunnelState::Failed, "auth-refused"));
        assert!(scene.logins_open.iter().all(|open| !open), "no other tunnel of the account tries meanwhile");
    }
}

#[test]
fn a_temporary_refusal_waits_as_long_as_the_server_asks_and_obeys_where_to() {
    for (advance, next) in [("no", "192.0.2.1"), ("addr", "192.0.2.2"), ("remote", "192.0.2.3")] {
        let refuse = ServerLogin::Refuse(format!("AUTH_FAILED,TEMP[backoff 42,advance {advance}]:later"));
        let mut scene = Scene::new("remote a.example\nremote 192.0.2.3").serve("192.0.2.1:1194", refuse);
        scene.names.insert("a.example".to_owned(), ips(&["192.0.2.1", "192.0.2.2"]));
        let mut scene = scene.dial();
        scene.run(40 * SECOND);
        assert_eq!(scene.code(), "auth-temporary");
        assert_eq!(scene.hosts(), ["192.0.2.1"], "{advance}");
        scene.run(3 * SECOND);
        assert_eq!(scene.hosts().get(1), Some(&next), "{advance}");
    }
}

#[test]
fn a_server_that_sends_us_on_is_left_for_the_next_remote() {
    let scene = Scene::new("remote 192.0.2.1\nremote 192.0.2.2").serve("192.0.2.1:1194", good());
    let mut scene = scene.serve("192.0.2.2:1194", good()).dial();
    scene.run(SECOND);
    let now = scene.now;
    scene.server("192.0.2.1:1194").say("RESTART,[N]", now);
    scene.run(SECOND);
    assert_eq!(scene.hosts(), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
}

// proves: F-29
#[test]
fn a_token_is_used_at_the_next_login_and_where_it_is_refused_the_password_is_tried_at_once() {
    let mut scene = Scene::new("remote 192.0.2.1");
    scene.servers.insert(address("192.0.2.1:1194"), server(ServerLogin::Any, ",auth-token tok-en"));
    let mut scene = scene.dial();
    scene.run(SECOND);
    let at = "192.0.2.1:1194";
    let password = |scene: &mut Scene| {
        scene.server(at).client_message().map(|message| String::from_utf8(message.password.clone()).unwrap()).unwrap()
    };
    assert_eq!(password(&mut scene), "secret");
    let now = scene.now;
    scene.server(at).say("RESTART", now);
    scene.run(SECOND);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
    assert_eq!(password(&mut scene), "tok-en");
    scene.server(at).set_login(good());
    scene.server(at).say("RESTART", now);
    scene.run(2 * SECOND);
    assert_eq!(scene.tunnel.state(), TunnelState::Up, "{:?}", scene.tunnel.error());
    assert_eq!(password(&mut scene), "secret");
}

/// How a server ends a session.
type End = fn(&mut Scene);

/// Ends each session as soon as it is up, until so many were begun; returns when each was.
fn storm(sessions: usize, push: &str, end: End) -> Vec<Duration> {
    let mut scene = Scene::new("remote 192.0.2.1");
    scene.servers.insert(address("192.0.2.1:1194"), server(ServerLogin::Any, push));
    let mut scene = scene.dial();
    while scene.dialled.len() < sessions {
        scene.now = scene.due().expect("it never gives up").max(scene.now);
        scene.step();
        if scene.tunnel.state() == TunnelState::Up && scene.server("192.0.2.1:1194").is_up() {
            end(&mut scene);
            scene.settle();
        }
    }
    scene.dialled.iter().map(|(_, at)| *at).collect()
}

// proves: T-35, T-41
#[test]
fn a_storm_of_sessions_that_end_at_once_is_one_attempt_a_second_at_most_after_the_first_minute() {
    fn say(scene: &mut Scene, text: &str) {
        let now = scene.now;
        scene.server("192.0.2.1:1194").say(text, now);
    }
    let ends: [(&str, &str, End); 4] = [
        ("RESTART", "", |scene| say(scene, "RESTART")),
        ("RESTART to the next", "", |scene| say(scene, "RESTART,[N]")),
        ("leaves in the data channel", "", |scene| {
            let attempt = scene.carried.unwrap();
            scene.tunnel.handle_peer_exit(attempt, scene.now);
        }),
        ("refuses the token that it gave", ",auth-token tok-en", |scene| say(scene, "AUTH_FAILED,SESSION: expired")),
    ];
    for (what, push, end) in ends {
        let begun = storm(2_500, push, end);
        let late: Vec<_> = begun.iter().filter(|at| **at >= 60 * SECOND).collect();
        assert!(late.len() > 2_400, "{what}: {} in the first minute", begun.len() - late.len());
        assert!(late.windows(2).all(|pair| *pair[1] - *pair[0] >= SECOND), "{what}: {:?}", &begun[..20]);
    }
}

// proves: T-48, T-23
#[test]
fn a_server_that_answers_once_and_then_drips_has_a_minute_whatever_it_drips() {
    let mut scene = Scene::new("remote 192.0.2.1 443 tcp").serve("192.0.2.1:443", good()).dial();
    scene.length.insert(address("192.0.2.1:443"), Duration::from_millis(100));
    // The answer to the first packet arrives; after it there is only rubbish.
    while !matches!(scene.tunnel.phase, Phase::Running(_)) {
        scene.now = scene.due().unwrap();
        scene.step();
    }
    let attempt = *scene.sockets.keys().next().unwrap();
    scene.servers.clear();
    let begun = scene.now;
    while matches!(scene.tunnel.phase, Phase::Running(_)) {
        scene.tunnel.handle_datagram(attempt, &[0x20], scene.now);
        scene.tunnel.handle_datagram(attempt, &[0; 9_000], scene.now);
        scene.settle();
        scene.run(SECOND);
        assert!(scene.now.since(begun) <= 61 * SECOND, "it waits for longer than a minute");
    }
    assert!(scene.sockets.len() <= 1, "its socket is closed");
    assert!(scene.tunnel.error().is_some());
}

// proves: T-41
#[test]
fn a_server_that_says_halt_is_not_asked_again() {
    let mut scene = Scene::new("remote 192.0.2.1").serve("192.0.2.1:1194", good()).dial();
    scene.run(SECOND);
    let now = scene.now;
    scene.server("192.0.2.1:1194").say("HALT,closed for good", now);
    scene.run(3_600 * SECOND);
    assert!(scene.dialled.len() < 70, "{} tries in an hour", scene.dialled.len());
    assert!(
        matches!(scene.tunnel.state(), TunnelState::Failed | TunnelState::Reconnecting),
        "{:?}",
        scene.tunnel.state()
    );
}

#[test]
fn a_worn_key_is_renewed_and_the_tunnel_stays_up() {
    let mut scene = Scene::new("remote 192.0.2.1").serve("192.0.2.1:1194", good()).dial();
    scene.run(SECOND);
    let attempt = scene.carried.unwrap();
    for round in 1..=3 {
        scene.tunnel.handle_key_worn(attempt, scene.now);
        scene.settle();
        scene.keep_alive(2 * SECOND);
        assert_eq!((scene.tunnel.state(), scene.installed), (TunnelState::Up, round));
    }
    assert!(scene.retired >= 1, "keys before the last two are gone");
    assert_eq!((scene.dialled.len(), scene.server("192.0.2.1:1194").exchanges()), (1, 4));
}

#[test]
fn what_the_lane_has_carried_renews_keys_by_bytes() {
    let mut scene = Scene::new("remote 192.0.2.1\nreneg-bytes 1000000").serve("192.0.2.1:1194", good()).dial();
    scene.run(SECOND);
    for step in 0..30_u64 {
        scene.tunnel.carried(Carried { bytes: step * 100_000, packets: step * 80 }, scene.now);
        scene.settle();
        assert!(scene.tunnel.poll_timeout().unwrap() <= scene.now + SECOND, "it is looked at again");
        scene.keep_alive(SECOND);
    }
    assert_eq!((scene.tunnel.state(), scene.installed), (TunnelState::Up, 2));
}

// proves: F-09
#[test]
fn a_wall_clock_that_jumps_ends_no_session_and_changes_no_deadline() {
    let mut scene = Scene::new("remote 192.0.2.1\nreneg-sec 20").serve("192.0.2.1:1194", good()).dial();
    scene.run(SECOND);
    // The tunnel is told the calendar time when a socket is opened and never again.
    scene.keep_alive(60 * SECOND);
    assert_eq!(scene.tunnel.state(), TunnelState::Up);
    assert_eq!(scene.dialled.len(), 1);
    assert!(scene.installed >= 2);
}

#[test]
fn a_tunnel_that_is_closed_while_it_dials_leaves_nothing_open() {
    let mut scene = Scene::new("remote a.example");
    scene.names.insert("a.example".to_owned(), ips(&["192.0.2.1", "192.0.2.2"]));
    let mut scene = scene.dial();
    scene.run(SECOND);
    assert_eq!(scene.sockets.len(), 2);
    scene.tunnel.close(scene.now);
    scene.settle();
    assert!(scene.sockets.is_empty());
    assert_eq!((scene.tunnel.state(), scene.tunnel.poll_timeout()), (TunnelState::Stopped, None));
}
