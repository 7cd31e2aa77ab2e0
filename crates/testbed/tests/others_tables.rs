//! Tables of two engines that change at one time, and of one that someone else has changed: what the host says that stands
//! is what stands, so that what is to be removed is removed. Whole engines beside each other are in `others.rs`.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::thread;

use mrvpn_host::{LinuxHost, Places};
use mrvpn_netplan::{Firewall, Host, Plan, Scope, Setting, Step, diff};
use mrvpn_testbed::{Netns, Scratch, unique_name};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How often each engine sets its tables.
const ROUNDS: u8 = 120;

#[test]
fn two_engines_that_set_their_tables_at_one_time_each_read_their_own_as_they_are() {
    let netns = Netns::new(&unique_name());
    thread::scope(|scope| {
        for slot in 0..2 {
            let netns = &netns;
            scope.spawn(move || {
                enter(netns);
                let (scope, mut host) = engine(slot);
                let mut standing = None;
                for round in 0..ROUNDS {
                    let wanted = firewall(&scope, 3 + round % 5, round % 4);
                    set(&mut host, standing.as_ref(), &wanted);
                    for _ in 0..2 {
                        let found = host.standing(&scope).expect("it can be read").firewall;
                        assert_eq!(found.as_ref(), Some(&wanted), "slot {slot}, round {round}");
                    }
                    standing = Some(wanted);
                }
            });
        }
    });
}

#[test]
fn tables_that_someone_has_changed_are_removed_all_the_same() {
    let netns = Netns::new(&unique_name());
    let before = netns.run("nft", &["list", "ruleset"]);
    let inside = || {
        enter(&netns);
        let (scope, mut host) = engine(0);
        let wanted = firewall(&scope, 3, 1);
        set(&mut host, None, &wanted);
        netns.run("nft", &["flush", "chain", "inet", &scope.firewall, "output"]);
        let standing = host.standing(&scope).expect("it can be read");
        assert_ne!(standing.firewall, Some(wanted), "it is not as it was set");
        for step in diff(&standing, &Plan::empty(&scope)) {
            host.apply(&step).expect("what is ours can be removed");
        }
    };
    if let Err(panic) = thread::scope(|scope| scope.spawn(inside).join()) {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(netns.run("nft", &["list", "ruleset"]), before);
}

// proves: I-10
#[test]
fn what_was_held_in_a_namespace_that_is_gone_is_nobodys_in_one_that_has_its_number_again() {
    let scratch = Scratch::new(&unique_name());
    let held = |netns: &Netns, instance: &str, release: bool| {
        let inside = || {
            enter(netns);
            let scope = Scope::new(0, instance, 5300, None);
            let places = Places { journal: scratch.path().join(instance), shared: scratch.path().to_path_buf() };
            let host = LinuxHost::new().and_then(|host| host.with_journal(&scope, &places));
            let mut host = host.expect("the journal can be written");
            host.apply(&Step::HoldSetting(Setting::SourceValidMark)).expect("it can be held");
            if release {
                host.apply(&Step::ReleaseSetting(Setting::SourceValidMark)).expect("it can be released");
            }
        };
        thread::scope(|scope| scope.spawn(inside).join()).expect("nothing panics");
    };
    let number = |netns: &Netns| fs::metadata(format!("/run/netns/{}", netns.name())).expect("it is there").ino();
    let first = Netns::new(&unique_name());
    let gone = number(&first);
    held(&first, "killed", false);
    drop(first);
    // The kernel gives the lowest free number; others on this machine make namespaces too.
    let others: Vec<Netns> = (0..20).map(|_| Netns::new(&unique_name())).collect();
    let again = others.iter().find(|netns| number(netns) == gone).unwrap_or(&others[0]);
    held(again, "next", true);
    assert_eq!(again.run("sysctl", &["-n", "net.ipv4.conf.all.src_valid_mark"]).trim(), "0", "given back");
}

/// Moves the thread into the namespace.
fn enter(netns: &Netns) {
    let file = File::open(format!("/run/netns/{}", netns.name())).expect("the namespace is there");
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("tests run as root");
}

fn engine(slot: u8) -> (Scope, LinuxHost) {
    let scope = Scope::new(slot, &format!("tables{slot}"), 5300, None);
    let host = LinuxHost::new().expect("there is a routing socket").with_scope(&scope);
    (scope, host)
}

fn firewall(scope: &Scope, addresses: u8, others: u8) -> Firewall {
    Firewall {
        table: scope.firewall.clone(),
        device: scope.device.clone(),
        others: (0..others).map(|other| format!("mrvpn{}", other + 2)).collect(),
        mark: (0x4d00_0000, 0xff00_0000),
        addresses: (0..addresses).map(|last| [198, 18, 1, last].into()).collect(),
        inbound: Vec::new(),
        fence: mrvpn_netplan::Fence::default(),
    }
}

fn set(host: &mut LinuxHost, from: Option<&Firewall>, to: &Firewall) {
    let step = Step::SetFirewall { from: from.cloned().map(Box::new), to: Some(Box::new(to.clone())) };
    host.apply(&step).expect("tables can be set");
}
