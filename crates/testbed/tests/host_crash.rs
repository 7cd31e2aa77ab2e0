//! What a killed engine leaves on the real kernel: it keeps everything closed, it is known by its journal, taken over or
//! removed, and nothing else is touched. An engine is killed here by dropping all that it has open.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mrvpn_host::{LinuxHost, LinuxQueue, Places, clean, held_slots, leftover, lock_namespace, sweep};
use mrvpn_netplan::slot::{SlotInput, choose};
use mrvpn_netplan::{DeviceSpec, Host, HostError, Plan, Queue, Scope, Setting, Step, apply, diff};
use mrvpn_testbed::{HostSnapshot, Scratch, unique_name, wait_until};

use crate::host_support::{FAR, MARK, Street, device, inside, wanted_of};

mod host_support;

fn places(scratch: &Scratch, instance: &str) -> Places {
    let shared = scratch.path().join("run");
    Places { journal: shared.join(instance).join("journal"), shared }
}

/// The instance `default`, which comes first, and `work`.
fn scopes() -> [Scope; 2] {
    [Scope::first(), Scope::new(1, "work", 5300, None)]
}

fn persistent(scope: &Scope) -> DeviceSpec {
    DeviceSpec { name: scope.device.clone(), persistent: true, ..device(true) }
}

/// An engine with everything that it has on the host.
struct Engine {
    host: LinuxHost,
    queues: Vec<LinuxQueue>,
    wanted: Plan,
}

impl Engine {
    fn up(scope: &Scope, places: &Places) -> Self {
        let mut host = LinuxHost::new().unwrap().with_journal(scope, places).unwrap();
        let queues = host.open(&persistent(scope)).unwrap();
        let wanted = wanted_of(&mut host, scope);
        let standing = host.standing(scope).unwrap();
        apply(&mut host, &diff(&standing, &wanted)).unwrap();
        Self { host, queues, wanted }
    }

    fn down(mut self, scope: &Scope) {
        apply(&mut self.host, &diff(&self.wanted, &Plan::empty(scope))).unwrap();
        self.host.close(&scope.device).unwrap();
    }

    /// Whether a datagram for a far place comes out of the device.
    fn carries(&mut self) -> bool {
        send_far();
        let mut buffer = vec![0; 65_536];
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            match self.queues[0].read(&mut buffer).unwrap() {
                Some(_) if buffer[0] >> 4 == 4 && buffer[16..20] == [203, 0, 113, 1] => return true,
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        false
    }
}

/// Sends a datagram to a far place; whether the kernel took it.
fn send_far() -> bool {
    UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"hello", (FAR[0], 7)).is_ok()
}

// proves: F-19, I-10
#[test]
fn after_a_kill_claims_stay_closed_and_the_next_engine_takes_over_and_leaves_the_host_as_it_was() {
    for (rp_filter, ignore_linkdown) in [(0, "0"), (1, "0"), (2, "0"), (0, "1")] {
        let street = Street::new(rp_filter);
        for scope in ["all", "default", "eth0"] {
            street.host.sysctl(&format!("net.ipv4.conf.{scope}.ignore_routes_with_linkdown"), ignore_linkdown);
            street.host.sysctl(&format!("net.ipv6.conf.{scope}.ignore_routes_with_linkdown"), ignore_linkdown);
        }
        let before = HostSnapshot::take(&street.host);
        let scratch = Scratch::new(&unique_name());
        let (scope, places) = (Scope::first(), places(&scratch, "default"));
        inside(&street.host, || {
            let mut engine = Engine::up(&scope, &places);
            assert!(engine.carries());
            let wanted = engine.wanted.clone();
            drop(engine);
            let answers = street.answers();
            // The packet is swallowed. Where routes of devices without carrier are not used, which the kernel notices
            // within a second, the twin of the route refuses it.
            assert!(send_far());
            wait_until("the route has no carrier", Duration::from_secs(5), || {
                street.host.run("ip", &["route", "show", "table", "19713"]).contains("linkdown").then_some(())
            });
            assert_eq!(send_far(), ignore_linkdown == "0");
            assert_eq!(street.answers(), answers);
            assert!(street.host.run("ip", &["route", "show", "table", "19713"]).contains("default dev mrvpn0"));
            let left = leftover(&places).unwrap().unwrap();
            assert_eq!(left.scope, scope);
            let mut host = LinuxHost::new().unwrap().with_journal(&left.scope, &places).unwrap();
            let standing = host.standing(&scope).unwrap();
            // The firewall may have been changed meanwhile; it is set anew.
            assert_eq!(standing, Plan { firewall: None, ..wanted });
            drop(host);
            let mut engine = Engine::up(&scope, &places);
            assert!(engine.carries());
            assert_eq!(engine.host.standing(&scope).unwrap(), engine.wanted);
            engine.down(&scope);
            assert!(!places.journal.exists() && leftover(&places).unwrap().is_none());
        });
        assert_eq!(before.difference(&HostSnapshot::take(&street.host)), "");
    }
}

// proves: I-10
#[test]
fn cleaning_up_removes_what_the_killed_engine_left_and_nothing_else() {
    let street = Street::new(1);
    let foreign = |netns: &mrvpn_testbed::Netns| {
        netns.ip("rule add priority 5350 to 10.9.0.0/16 lookup 99
            rule add priority 5440 nop protocol 77
            route add 10.9.0.0/16 via 192.168.7.1 table 99
            route add throw 10.8.0.0/16 table 19715 proto 77");
        netns.run("nft", &["add table inet other; add table inet mrvpn_work"]);
    };
    foreign(&street.host);
    let before = HostSnapshot::take(&street.host);
    let scratch = Scratch::new(&unique_name());
    let (scope, places) = (Scope::first(), places(&scratch, "default"));
    inside(&street.host, || {
        let engine = Engine::up(&scope, &places);
        let (rules, routes) = (engine.wanted.rules.len(), engine.wanted.routes.len());
        drop(engine);
        let left = leftover(&places).unwrap().unwrap();
        let cleaned = clean(&places, &left).unwrap();
        assert_eq!((cleaned.rules, cleaned.routes, cleaned.settings), (rules, routes, 1));
        assert!(cleaned.firewall && cleaned.device);
        assert!(leftover(&places).unwrap().is_none());
        assert_eq!(fs::read_dir(&places.shared).unwrap().count(), 1, "only the instance's own directory is there");
    });
    assert_eq!(before.difference(&HostSnapshot::take(&street.host)), "");
}

#[test]
fn an_engine_killed_at_any_step_is_cleaned_up() {
    let street = Street::new(1);
    let before = HostSnapshot::take(&street.host);
    let scratch = Scratch::new(&unique_name());
    let (scope, places) = (Scope::first(), places(&scratch, "default"));
    inside(&street.host, || {
        let steps = {
            let engine = Engine::up(&scope, &places);
            let steps = diff(&Plan::empty(&scope), &engine.wanted);
            engine.down(&scope);
            steps
        };
        for killed_after in 0..=steps.len() {
            let mut host = LinuxHost::new().unwrap().with_journal(&scope, &places).unwrap();
            let queues = host.open(&persistent(&scope)).unwrap();
            for step in steps.iter().take(killed_after) {
                host.apply(step).unwrap();
            }
            drop((host, queues));
            clean(&places, &leftover(&places).unwrap().unwrap()).unwrap();
            assert_eq!(street.host.run("ip", &["rule"]).matches("53").count(), 0);
        }
    });
    assert_eq!(before.difference(&HostSnapshot::take(&street.host)), "");
}

#[test]
fn a_journal_of_another_boot_or_namespace_is_void_and_removed() {
    let (street, other) = (Street::new(0), Street::new(0));
    let scratch = Scratch::new(&unique_name());
    let (scope, places) = (Scope::first(), places(&scratch, "default"));
    inside(&street.host, || {
        drop(Engine::up(&scope, &places));
        assert_eq!(fs::metadata(&places.journal).map(|file| mode(&file)).unwrap(), 0o600);
        let text = fs::read_to_string(&places.journal).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::write(&places.journal, text.replace(boot.trim(), "another")).unwrap();
        assert!(leftover(&places).unwrap().is_none() && !places.journal.exists());
        fs::write(&places.journal, text).unwrap();
    });
    inside(&other.host, || {
        assert_eq!(held_slots(&self::places(&scratch, "work")), [0_u8; 0]);
        assert!(leftover(&places).unwrap().is_none() && !places.journal.exists());
    });
}

fn mode(file: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777
}

#[test]
fn two_engines_have_places_of_their_own_and_hold_a_setting_together() {
    let street = Street::new(1);
    let before = HostSnapshot::take(&street.host);
    let scratch = Scratch::new(&unique_name());
    let [first, second] = scopes();
    let (of_first, of_second) = (places(&scratch, "default"), places(&scratch, "work"));
    let valid = || street.host.run("sysctl", &["-n", "net.ipv4.conf.all.src_valid_mark"]).trim() == "1";
    inside(&street.host, || {
        let one = Engine::up(&first, &of_first);
        let lock = lock_namespace(&of_second.shared).unwrap();
        let mut looking = LinuxHost::new().unwrap();
        let facts = looking.facts().unwrap();
        let seen: Vec<_> = facts.engines.iter().map(|engine| (engine.slot, engine.device.as_deref())).collect();
        assert_eq!(seen, [(0, Some("mrvpn0"))]);
        assert!(!facts.on_link.iter().any(|on| on.device == "mrvpn0"));
        assert!(!facts.addresses.contains(&"198.18.0.1".parse().unwrap()), "{facts:?}");
        let held = held_slots(&of_second);
        assert_eq!((held.as_slice(), held_slots(&of_first)), ([0].as_slice(), vec![]));
        let devices = looking.device_names().unwrap();
        let input = SlotInput {
            instance: "work",
            rule_priority: 5300,
            device: None,
            mark: MARK,
            held: &held,
            facts: &facts,
            devices: &devices,
        };
        assert_eq!(choose(&input).unwrap().scope, second);
        let two = Engine::up(&second, &of_second);
        drop(lock);
        assert_eq!(two.wanted.firewall.as_ref().unwrap().others, ["mrvpn0"]);
        assert!(valid());
        // The first is killed and cleaned up; the second holds on.
        drop(one);
        assert_eq!(sweep(&of_first.shared).unwrap(), 0, "what a journal knows of is no sweep's");
        clean(&of_first, &leftover(&of_first).unwrap().unwrap()).unwrap();
        assert!(valid());
        assert_eq!(sweep(&of_second.shared).unwrap(), 0);
        let mut two = two;
        assert_eq!(two.host.standing(&second).unwrap(), two.wanted);
        two.down(&second);
        assert!(!valid());
    });
    assert_eq!(before.difference(&HostSnapshot::take(&street.host)), "");
}

#[test]
fn a_setting_that_someone_else_has_changed_since_is_left_to_him() {
    let street = Street::new(1);
    let scratch = Scratch::new(&unique_name());
    let [first, second] = scopes();
    let set = |value: &str| street.host.sysctl("net.ipv4.conf.all.src_valid_mark", value);
    let value = || street.host.run("sysctl", &["-n", "net.ipv4.conf.all.src_valid_mark"]);
    inside(&street.host, || {
        let host = |scope: &Scope, instance: &str| {
            LinuxHost::new().unwrap().with_journal(scope, &places(&scratch, instance)).unwrap()
        };
        let (mut one, mut two) = (host(&first, "default"), host(&second, "work"));
        let (hold, release) =
            (Step::HoldSetting(Setting::SourceValidMark), Step::ReleaseSetting(Setting::SourceValidMark));
        one.apply(&hold).unwrap();
        one.apply(&hold).unwrap();
        two.apply(&hold).unwrap();
        set("0");
        assert_eq!(one.standing(&first).unwrap().settings, [], "it is not as it has to be");
        one.apply(&hold).unwrap();
        assert_eq!(one.standing(&first).unwrap().settings, [Setting::SourceValidMark]);
        one.apply(&release).unwrap();
        one.apply(&release).unwrap();
        assert_eq!(value().trim(), "1");
        set("0");
        two.apply(&release).unwrap();
        assert_eq!(value().trim(), "0");
        // One who had it on before has it on after.
        set("1");
        two.apply(&hold).unwrap();
        two.apply(&release).unwrap();
        assert_eq!(value().trim(), "1");
    });
}

#[test]
fn without_any_journal_what_is_left_is_swept_and_a_running_engine_is_not() {
    let street = Street::new(0);
    let before = HostSnapshot::take(&street.host);
    let scratch = Scratch::new(&unique_name());
    let [first, second] = scopes();
    let nowhere = PathBuf::from("/nonexistent");
    inside(&street.host, || {
        let one = Engine::up(&first, &places(&scratch, "default"));
        let mut two = Engine::up(&second, &places(&scratch, "work"));
        drop(one);
        assert!(sweep(&nowhere).unwrap() > 0);
        assert_eq!(sweep(&nowhere).unwrap(), 0);
        assert!(two.carries());
        assert_eq!(two.host.standing(&second).unwrap(), two.wanted);
        two.down(&second);
    });
    assert_eq!(before.difference(&HostSnapshot::take(&street.host)), "");
}

#[test]
fn a_device_that_is_not_this_instances_is_named_and_left_alone() {
    let street = Street::new(0);
    let scratch = Scratch::new(&unique_name());
    let (scope, places) = (Scope::first(), places(&scratch, "default"));
    inside(&street.host, || {
        let mut host = LinuxHost::new().unwrap().with_journal(&scope, &places).unwrap();
        for (make, of_instance) in [
            ("tuntap add mrvpn0 mode tun multi_queue vnet_hdr", false),
            ("tuntap add mrvpn0 mode tun", true), // of another kind
            ("link add mrvpn0 type veth peer name other0", true),
        ] {
            street.host.ip(make);
            if of_instance {
                street.host.run("ip", &["link", "set", "mrvpn0", "alias", "mrvpn default"]);
            } else {
                street.host.ip("link set mrvpn0 alias someone's");
            }
            let error = host.open(&persistent(&scope)).unwrap_err();
            assert!(matches!(&error, HostError::Taken { what } if what.contains("mrvpn0")), "{make}: {error}");
            street.host.ip("link show mrvpn0");
            if !of_instance {
                host.close("mrvpn0").unwrap();
                street.host.ip("link show mrvpn0");
            }
            street.host.ip("link del mrvpn0");
        }
    });
}
