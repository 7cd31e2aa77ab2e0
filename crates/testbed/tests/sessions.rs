//! What a session leaves behind and lives on: tokens instead of passwords, goodbyes that servers understand, connections
//! accepted from the far side, outer errors that are only hints, a name server that is gone.

use std::time::Duration;

use mrvpn_testbed::{
    ACCOUNT, Background, FR, Farm, Mrvpn, PROTOS, Process, Proto, ServerOptions, Transport, UK, US, World, Wrapping,
    ask, helper, mrvpn::tunnel, run_helper, usual_wrapping, wait_until,
};

// proves: T-39
#[test]
fn a_token_renews_keys_in_place_of_the_password_and_a_refused_one_falls_back_to_it() {
    let mut world = World::new(0);
    let options = ServerOptions::new(Wrapping::None).with_password().line("auth-gen-token 0 600").line("reneg-sec 4");
    world.start_server(UK, options);
    let path = world.write_profile("uk", &world.profile(UK).account(ACCOUNT).line("reneg-sec 4"));
    let mut engine = Mrvpn::up(&world, &[format!("uk={}", path.display())]);
    let probe = Background::probe(&world.client, UK.inner, None, 200, Duration::from_secs(11), &world.scratch);
    let seen = probe.finish(Duration::from_secs(20));
    assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{seen}\n{}", world.server(UK).log());
    let made = world.server(UK).log().matches("Control Channel: TLS").count();
    assert!(made >= 3, "keys were made {made} times");
    assert_eq!(world.server(UK).logins(), 1, "the password was shown once");

    // The new server has another secret, and so it refuses the token of the old one.
    world.kill_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    world.restart_server(UK);
    engine.wait_tunnel("uk", "up", Duration::from_secs(20));
    assert_eq!(world.server(UK).logins(), 2, "{}", world.server(UK).log());
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
    engine.down();
}

#[test]
fn an_ended_session_is_gone_at_its_server_at_once() {
    let world = World::new(0);
    let all = Transport::ALL.iter().flat_map(|transport| {
        Wrapping::ALL.iter().map(|wrapping| ServerOptions::new(*wrapping).transport(*transport).with_password())
    });
    let farm = Farm::new(&world, all.collect());
    let engine = Mrvpn::up(&world, &farm.arguments());
    std::thread::sleep(Duration::from_secs(1));
    engine.down();
    for field in farm.fields() {
        let gone = format!("{}: {} by {}", field.name, field.options.wrapping, field.options.transport.word());
        wait_until(&format!("the end of {gone}"), Duration::from_secs(2), || {
            // What the server says of a goodbye within the session, and of a closed connection; it counts the client no more.
            let log = field.server.log();
            ["exit message received", "Connection reset, restarting"]
                .iter()
                .any(|word| log.contains(word))
                .then_some(())
        });
        assert_eq!(field.server.logins(), 1, "{gone}");
    }
}

// proves: T-45
#[test]
fn what_accept_names_is_reached_from_its_own_far_side_and_nothing_else() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let listening = listener(&world);
    // The last tunnel of the file.
    let engine = Mrvpn::up(&world, &world.write_config("accept = [\"tcp/7100\", \"udp/7100\"]\n"));
    for proto in ["tcp", "udp"] {
        let asked = |region: mrvpn_testbed::Region, port: u16| {
            let to = format!("{}:{port}", region.client);
            let words = ["--proto", proto, "--to", &to, "--from", region.inner, "--timeout-ms", "700"];
            run_helper(world.region(region), "ask", &words)
        };
        let answer = asked(US, 7100);
        assert_eq!(answer["region"], "client", "{proto}: {answer}\n{:#}", engine.status());
        assert!(answer["peer"].as_str().is_some_and(|peer| peer.starts_with(US.inner)), "{answer}");
        assert_eq!(asked(US, 7200)["error"], "TimedOut", "another port");
        for region in [UK, FR] {
            assert_eq!(asked(region, 7100)["error"], "TimedOut", "another tunnel");
        }
    }
    drop(listening);
    engine.down();
}

// proves: T-06
#[test]
fn forged_errors_towards_the_outer_socket_end_nothing() {
    for transport in Transport::ALL {
        let mut world = World::new(0);
        world.start_server(UK, ServerOptions::new(Wrapping::None).transport(transport));
        let path = world.write_profile("uk", &world.profile(UK).transport(transport));
        let engine = Mrvpn::up(&world, &[format!("uk={}", path.display())]);
        let since = tunnel(&engine.status(), "uk")["since"].clone();
        let port = engine.outer_port(&world, UK.outer).to_string();
        let probe = Background::probe(&world.client, UK.inner, None, 500, Duration::from_secs(6), &world.scratch);
        let words = ["--to", "192.168.1.2", "--from-port", &port, "--server", UK.outer, "--proto", transport.word()];
        let sent = run_helper(&world.internet, "forge", &[&words[..], &["--count", "5000"]].concat());
        assert_eq!(sent["sent"], 5000, "{sent}");
        let seen = probe.finish(Duration::from_secs(15));
        assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{transport:?}: {seen}");
        let uk = tunnel(&engine.status(), "uk");
        assert_eq!((&uk["state"], &uk["since"]), (&"up".into(), &since), "{uk:#}");
        engine.down();
    }
}

// proves: F-13
#[test]
fn a_tunnel_comes_back_while_the_name_server_is_dead() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(usual_wrapping(UK)));
    let path = world.write_profile("uk", &world.profile(UK).remote(&UK.host_name()));
    let mut engine = Mrvpn::up(&world, &[format!("uk={}", path.display())]);
    let silence = "table inet nodns { chain c { type filter hook prerouting priority -400; udp dport 53 drop\n}\n}\n";
    world.internet.nft(&world.scratch.write("nodns.nft", silence));
    world.kill_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    world.restart_server(UK);
    engine.wait_tunnel("uk", "up", Duration::from_secs(20));
    assert!(ask(&world.client, Proto::Tcp, UK.inner, None).is("uk", UK.client));
    engine.down();
}

fn listener(world: &World) -> Process {
    let mut command = world.client.command(helper());
    command.args(["serve", "--name", "client", "--port", "7100"]);
    for address in [US.client, "127.0.0.1"] {
        command.args(["--udp", address]);
    }
    world.client.sysctl("net.ipv4.ip_nonlocal_bind", "1");
    let mut process = Process::start("listener", command, world.scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}
