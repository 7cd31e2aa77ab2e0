//! Many clients of one region at once, and one client with several workers: nobody is mixed up, nothing is lost between
//! workers, and a restart brings all back.

mod region_support;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use mrvpn_region::{Farewell, Region, RegionSpec};
use mrvpn_testbed::{Mrvpn, PROTOS, Process, ask, helper, mrvpn, stock_client, wait_until};
use region_support::{FIRST, GATEWAY, Lab, wait_up};

/// Tunnels of one engine.
const MANY: usize = 200;

fn arguments(lab: &Lab, spec: &RegionSpec) -> Vec<String> {
    let argument = |number: usize| {
        let profile = spec.profile(&format!("user{number}")).expect("a name that fits");
        format!("t{number}={}", lab.scratch.write(&format!("t{number}.ovpn"), &profile).display())
    };
    (0..MANY).map(argument).collect()
}

/// Waits until all are in, each with an address and a name of its own.
#[track_caller]
fn wait_for_all(region: &Region) {
    let clients = wait_until("all clients", Duration::from_secs(60), || {
        let clients = region.clients();
        (clients.len() == MANY).then_some(clients)
    });
    let addresses: BTreeSet<_> = clients.iter().map(|client| client.address).collect();
    let names: BTreeSet<_> = clients.iter().map(|client| &client.common_name).collect();
    assert_eq!((addresses.len(), names.len()), (MANY, MANY));
}

#[test]
fn two_hundred_tunnels_of_one_engine_are_up_and_come_back_together() {
    let lab = Lab::new();
    let mut spec = lab.spec();
    (spec.ping, spec.ping_restart) = (Duration::from_secs(5), Duration::from_secs(20));
    let region = lab.start(&spec);
    let mut engine = Mrvpn::start_in(&lab.client, &arguments(&lab, &spec), &lab.scratch);
    engine.wait_for(Duration::from_secs(60), |status| {
        mrvpn::tunnels(status).iter().all(|tunnel| tunnel["state"] == "up")
    });
    wait_for_all(&region);
    lab.wait_ping(GATEWAY);
    region.stop(Farewell::Restart(String::new()));
    let region = lab.start(&spec);
    wait_for_all(&region);
    lab.wait_ping(GATEWAY);
    engine.down();
    wait_until("nobody is left", Duration::from_secs(20), || region.clients().is_empty().then_some(()));
}

#[test]
fn whichever_worker_reads_a_packet_it_reaches_its_client() {
    let lab = Lab::new();
    let mut spec = lab.spec();
    spec.workers = NonZeroUsize::new(4);
    let region = lab.start(&spec);
    let profile = lab.scratch.write("stock.ovpn", &region.profile("alice").unwrap());
    let _client = stock_client::start(&lab.client, &profile, "tun0", &lab.scratch);
    wait_up(&region);
    let mut command = lab.client.command(helper());
    command.args(["serve", "--name", "client", "--port", "7000", "--udp", FIRST]);
    let mut service = Process::start("service", command, lab.scratch.path());
    service.wait_for("ready", Duration::from_secs(5));
    for round in 0..20 {
        for proto in PROTOS {
            let answer = ask(&lab.far, proto, FIRST, None);
            assert!(answer.is("client", GATEWAY), "{round} {proto:?}: {answer:?}");
        }
    }
    assert_eq!(region.lost().handed, 0);
}
