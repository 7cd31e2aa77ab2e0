//! `explain` says of a flow what then happens to it: each answer is compared with a question that is really asked.

use std::time::Duration;

use mrvpn_testbed::{Background, FR, Mrvpn, PROTOS, ServerOptions, UK, US, World, ask, mrvpn::tunnel};
use serde_json::Value;

const RULES: &str = r#"
[[rule]]
name = "films"
to = ["203.0.113.10/32"]
proto = ["tcp"]
port = ["7000-7010"]
via = "us"

[[rule]]
to = ["203.0.113.20/32"]
via = "direct"

[[rule]]
name = "never"
to = ["198.51.100.10/32"]
proto = ["udp"]
via = "block"
"#;

/// A flow.
struct Way<'a> {
    /// As it is asked about.
    words: &'a [&'a str],
    /// Who carries it.
    via: &'a str,
    /// What decided: words of the answer.
    by: &'a str,
    /// Who answers a question that is really asked, and as whom the client is seen there.
    answer: (&'a str, &'a str),
}

const fn way<'a>(words: &'a [&'a str], via: &'a str, by: &'a str, answer: (&'a str, &'a str)) -> Way<'a> {
    Way { words, via, by, answer }
}

#[test]
fn each_way_is_explained_as_it_is_gone() {
    let mut world = World::new(0);
    world.start_servers(|region, options| match region.name {
        "fr" => options.push("redirect-gateway def1"),
        "uk" => options.push("route 198.51.100.0 255.255.255.0"),
        _ => options,
    });
    let mut engine = Mrvpn::up(&world, &world.write_config(RULES));
    let status = engine.wait(|status| status["default"]["via"] == "fr");
    let bind = tunnel(&status, "uk")["bind"][0].as_str().unwrap_or_default().to_owned();

    let bound = ["203.0.113.10:7000", "--proto", "udp", "--from", &bind];
    let cases = [
        way(&["203.0.113.10:7000"], "us", "rule films", ("us", US.client)),
        way(&["203.0.113.20:7000"], "direct", "rule", ("internet", "192.168.1.2")),
        way(&["198.51.100.10:7000"], "uk", "claim 198.51.100.0/24", ("uk", UK.client)),
        way(&["10.101.0.1:7000"], "fr", "claim 10.101.0.0/16", ("fr", FR.client)),
        way(&["203.0.113.10:7000", "--proto", "udp"], "fr", "default", ("fr", FR.client)),
        way(&["203.0.113.10:7000", "--from", UK.client], "us", "rule films", ("us", US.client)),
        way(&bound, "uk", "source", ("uk", UK.client)),
    ];
    for Way { words, via, by, answer: (region, seen) } in cases {
        let explained = explain(&engine, words);
        let of = |key: &str| explained["by"][key].as_str().unwrap_or_default().to_owned();
        assert_eq!(explained["via"], via, "{words:?}: {explained:#}");
        let because = format!("{} {} {}", of("kind"), of("name"), of("what"));
        assert!(by.split(' ').all(|word| because.contains(word)), "{words:?}: {because}");
        assert_eq!(explained["flow"]["to"], words[0].split(':').next().unwrap_or_default());
        let proto = if words.contains(&"udp") { PROTOS[1] } else { PROTOS[0] };
        let from = words.iter().skip_while(|word| **word != "--from").nth(1).copied();
        let answer = ask(&world.client, proto, words[0].trim_end_matches(":7000"), from);
        assert!(answer.is(region, seen), "{words:?}: {answer:?}");
        if via != "direct" {
            assert_eq!(
                (&explained["state"], &explained["source"]["sent"]),
                (&"up".into(), &seen.into()),
                "{explained:#}"
            );
            let others: Vec<&str> =
                explained["not"].as_array().unwrap().iter().filter_map(|not| not["why"].as_str()).collect();
            assert!(!others.is_empty() && others.iter().all(|why| why.len() > 10), "why not elsewhere: {explained:#}");
        }
        let read = text(&engine.run(&[&["explain"], words].concat()).stdout);
        assert!((2..=10).contains(&read.lines().count()), "{words:?}:\n{read}");
        assert!(read.contains(via) || via == "direct", "{words:?}:\n{read}");
    }
    let blocked = explain(&engine, &["198.51.100.10:7000", "--proto", "udp"]);
    assert_eq!((&blocked["via"], &blocked["state"]), (&"block".into(), &"refused".into()), "{blocked:#}");
    assert_eq!(ask(&world.client, PROTOS[1], "198.51.100.10", None).region, None);

    // A flow that is there is shown with both of its sources.
    let stream = Background::stream(&world.client, UK.inner, None, Duration::from_secs(2), &world.scratch);
    std::thread::sleep(Duration::from_millis(500));
    let live = explain(&engine, &["10.100.0.1:7000"]);
    let flow = &live["live"][0];
    assert_eq!((&flow["via"], &flow["proto"]), (&"uk".into(), &"tcp".into()), "{live:#}");
    let starts = |key: &str, with: &str| flow[key].as_str().is_some_and(|text| text.starts_with(with));
    assert!(
        starts("seen", "198.18.0.1:") && starts("sent", UK.client) && starts("remote", "10.100.0.1:7000"),
        "{flow:#}"
    );
    assert_eq!(stream.finish(Duration::from_secs(5))["error"], Value::Null);

    // A name is each of its addresses; one that is refused says why.
    let named = engine.run(&["explain", "uk.test:443"]);
    assert_eq!(named.status.code(), Some(0), "{named:?}");
    assert!(text(&named.stdout).contains("uk.test is 192.0.2.2"), "{named:?}");
    let stopped = engine.run(&["tunnel", "stop", "us"]);
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    engine.wait_tunnel("us", "stopped", Duration::from_secs(3));
    let refused = explain(&engine, &["203.0.113.10:7000"]);
    assert_eq!((&refused["via"], &refused["state"]), (&"us".into(), &"refused".into()), "{refused:#}");
    let read = text(&engine.run(&["explain", "203.0.113.10:7000"]).stdout);
    let why = "belongs to us and is refused: us is stopped (`mrvpn tunnel start us`); it goes no other way";
    assert!(read.contains(why), "{read}");
    let answer = ask(&world.client, PROTOS[0], "203.0.113.10", None);
    assert_eq!((answer.region, answer.error.as_deref()), (None, Some("ConnectionRefused")));

    for (words, code) in [
        (&["explain", "no-such-name.invalid"][..], 1),
        (&["explain", "203.0.113.10:70000"], 2),
        (&["explain", "203.0.113.10", "--proto", "icmp", "--from", "2001:db8::1"], 2),
        (&["explain"], 2),
    ] {
        let output = engine.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{words:?}: {output:?}");
    }
    engine.down_for_now();
    let output = engine.run(&["explain", "203.0.113.10"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("no engine runs"), "{output:?}");
}

#[test]
fn a_held_flow_is_said_to_be_held_while_its_tunnel_connects() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(mrvpn_testbed::Wrapping::None));
    let path = world.write_profile("uk", &world.profile(UK));
    let mut engine = Mrvpn::up(&world, &[format!("uk={}", path.display())]);
    world.kill_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    let explained = explain(&engine, &["10.100.0.1:7000"]);
    assert_eq!(explained["via"], "uk", "{explained:#}");
    assert!(["held", "refused"].contains(&explained["state"].as_str().unwrap_or_default()), "{explained:#}");
    let answer = ask(&world.client, PROTOS[0], UK.inner, None);
    assert_eq!(answer.region, None, "{answer:?}");
    engine.down();
}

/// What `explain --json` says.
#[track_caller]
fn explain(engine: &Mrvpn, words: &[&str]) -> Value {
    let output = engine.run(&[&["explain"], words, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
