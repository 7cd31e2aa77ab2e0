//! A tunnel whose server is reached through a local wrapper, such as stunnel, and whose server then claims the wrapper's own
//! way out: the tunnel would carry itself. That is found and stopped; with `bypass` it works.

use std::time::Duration;

use mrvpn_testbed::{
    Background, Counters, FR, Mrvpn, PROTOS, Process, ServerOptions, UK, World, Wrapping, ask, helper, mrvpn::tunnel,
};

/// The wrapper's port on the client's loopback.
const WRAPPER: &str = "127.0.0.1:5000";

/// Until it is stopped (threats-and-faults.md, T-54).
const PACKETS: u64 = 100;

// proves: T-54
#[test]
fn a_tunnel_that_would_carry_itself_is_stopped_soon_and_works_with_bypass() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(Wrapping::None).push("redirect-gateway def1"));
    world.start_server(FR, ServerOptions::new(Wrapping::TlsAuth));
    let wrapper = wrapper(&world);
    world.client.nft(&world.scratch.write("wrapped.nft", WRAPPED));
    let profile = world.profile(UK).remotes(&[("127.0.0.1", 5000)]);
    let (uk, fr) = (world.write_profile("uk", &profile), world.write_profile("fr", &world.profile(FR)));
    let config = |bypass: &str| {
        let (uk, fr) = (uk.display(), fr.display());
        let text = format!(
            "[[tunnel]]\nname = \"uk\"\nprofile = \"{uk}\"\n{bypass}[[tunnel]]\nname = \"fr\"\nprofile = \"{fr}\"\n"
        );
        vec![String::from("-c"), world.scratch.write("mrvpn.toml", &text).display().to_string()]
    };

    let mut engine = Mrvpn::start(&world, &config(""));
    let uk = engine.wait_error("uk", Duration::from_secs(10));
    assert_eq!((&uk["error"]["code"], &uk["state"]), (&"loop".into(), &"failed".into()), "{uk:#}\n{}", engine.log());
    let hint = uk["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("bypass"), "{hint}");
    let returned = wrapped(&world, "returned");
    assert!((1..=PACKETS).contains(&returned), "{returned} packets came back before it was stopped");
    let sent = wrapped(&world, "sent");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(wrapped(&world, "sent"), sent, "it stays stopped");
    engine.wait_tunnel("fr", "up", Duration::from_secs(5));
    assert!(ask(&world.client, PROTOS[0], FR.inner, None).is("fr", FR.client), "the other tunnel works");
    engine.down();

    let mut engine = Mrvpn::up(&world, &config(&format!("bypass = [\"{}\"]\n", UK.outer)));
    let status = engine.wait(|status| status["default"]["via"] == "uk");
    assert_eq!(tunnel(&status, "uk")["error"], serde_json::Value::Null);
    let probe = Background::probe(&world.client, UK.inner, None, 500, Duration::from_secs(3), &world.scratch);
    for proto in PROTOS {
        assert!(ask(&world.client, proto, "203.0.113.10", None).is("uk", UK.client), "{}", wrapper.log());
    }
    let seen = probe.finish(Duration::from_secs(10));
    assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{seen}");
    engine.down();
}

/// Counts at the client what the engine says to the wrapper, and what the wrapper says to the interface of the engine.
const WRAPPED: &str = "table inet wrapped {
    counter sent { }
    counter returned { }
    chain out { type filter hook output priority 0; policy accept;
        oifname \"lo\" udp dport 5000 counter name sent
    }
    chain post { type filter hook postrouting priority 0; policy accept;
        oifname \"mrvpn*\" ip daddr 192.0.2.2 udp dport 1194 counter name returned
    }
}
";

fn wrapped(world: &World, counter: &str) -> u64 {
    Counters::read_table(&world.client, "wrapped").packets(counter)
}

fn wrapper(world: &World) -> Process {
    let mut command = world.client.command(helper());
    command.args(["forward", "--listen", WRAPPER, "--to", &format!("{}:1194", UK.outer)]);
    let mut process = Process::start("wrapper", command, world.scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}
