//! What the program asks of a running engine, and when it is answered.

mod driver_support;

use std::time::Duration;

use driver_support::*;
use mrvpn_engine::{Command, EventKind, FlowQuery, TunnelVerb};
use mrvpn_netplan::Scope;

const QUERY: FlowQuery = FlowQuery {
    to: std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 10)),
    port: Some(443),
    proto: 6,
    from: None,
};

#[tokio::test]
async fn a_reload_is_answered_with_the_steps_once_they_are_done() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, config(&["uk", "fr"])).await;
    let mut other = config(&["uk", "de"]);
    other.rules = vec![rule("203.0.113.0/24", 1)];
    let (before, log) = (world.standing(&scope), world.state().model.log.len());
    world.state().pace = Duration::from_millis(2);

    let preview = engine.reload(other.clone(), true).await.unwrap();
    assert!(routes(&preview.steps).contains_key("203.0.113.0/24"));
    assert_eq!((world.standing(&scope), world.state().model.log.len()), (before, log), "a dry run changes nothing");

    let reloaded = engine.reload(other, false).await.unwrap();
    assert_eq!(world.state().model.log[log..], reloaded.steps, "those and no others");
    assert_eq!((&reloaded.added, &reloaded.removed), (&vec!["de".to_owned()], &vec!["fr".to_owned()]));
    assert!(reloaded.rules);
    assert_eq!(routes(&preview.steps), routes(&reloaded.steps));
    let names: Vec<String> = engine.status().await.tunnels.into_iter().map(|tunnel| tunnel.name).collect();
    assert_eq!(names, ["uk", "de"]);
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

#[tokio::test]
async fn a_reload_that_changes_nothing_is_answered_at_once() {
    let world = World::new();
    let engine = Engine::standing(&world, config(&["uk"])).await;
    let reloaded = engine.reload(config(&["uk"]), false).await.unwrap();
    assert_eq!((reloaded.steps.len(), reloaded.notes.len()), (0, 0));
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn a_reload_that_is_refused_changes_nothing() {
    let world = World::new();
    let engine = Engine::standing(&world, config(&["uk"])).await;
    let log = world.state().model.log.len();
    let refused = engine.reload(config(&["fr", "fr"]), false).await.unwrap_err();
    assert!(refused.message.contains("fr"), "{refused}");
    assert_eq!(world.state().model.log.len(), log);
    assert_eq!(engine.status().await.tunnels[0].name, "uk");
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn a_verb_is_answered_when_the_host_is_as_it_says() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, config(&["uk"])).await;
    let claims = || world.standing(&scope).routes.iter().any(|route| route.prefix.to_string() == "10.77.0.0/16");
    assert!(claims());
    let sentence = engine.tunnel("uk", TunnelVerb::Stop).await.unwrap();
    assert!(sentence.starts_with("uk is stopped"), "{sentence}");
    assert!(!claims(), "what it says is so already");
    assert!(engine.tunnel("nobody", TunnelVerb::Start).await.is_err());
    engine.tunnel("uk", TunnelVerb::Start).await.unwrap();
    assert!(claims());
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn an_explanation_comes_with_the_lane_s_word_and_without_it() {
    let world = World::new();
    let mut with_rule = config(&["uk", "fr"]);
    with_rule.rules = vec![rule("203.0.113.0/24", 1)];
    world.state().pace = Duration::from_millis(20);
    let mut engine = Engine::start(&world, with_rule);
    let explain = |answer| Command::Explain { query: QUERY, answer };
    let early = engine.ask(explain).await.unwrap();
    assert_eq!(early.via.as_deref(), Some("fr"), "before there is a lane");
    engine.planned().await;
    let explained = engine.ask(explain).await.unwrap();
    assert_eq!((explained.via.as_deref(), explained.live.len()), (Some("fr"), 0));
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn events_are_numbered_without_gaps_and_the_interface_is_among_them() {
    let world = World::new();
    let mut engine = Engine::standing(&world, config(&["uk"])).await;
    let (mut events, mut established) = (Vec::new(), 0);
    while let Ok(event) = engine.events.try_recv() {
        established += u32::from(matches!(event.what, EventKind::InterfaceEstablished { .. }));
        events.push(event.n);
        assert!(event.at.ends_with('Z') && event.at.starts_with("20"), "{}", event.at);
    }
    assert!(!events.is_empty());
    assert!(events.iter().copied().eq(1..=events.len() as u64), "{events:?}");
    assert_eq!(established, 1);
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn an_engine_that_ends_shows_itself_and_refuses_the_rest() {
    let world = World::new();
    let engine = Engine::standing(&world, config(&["uk"])).await;
    world.state().pace = Duration::from_millis(5);
    let (first, last) = (engine.commands.clone(), engine.commands.clone());
    first.send(Command::Shutdown).await.unwrap();
    let (answer, refused) = tokio::sync::oneshot::channel();
    let name = "uk".to_owned();
    let sent = last.send(Command::Tunnel { name, verb: TunnelVerb::Stop, answer }).await;
    engine.task.await.unwrap().unwrap();
    // It may be over before it reads the command, which is no answer as well.
    if let (Ok(()), Ok(answer)) = (sent, refused.await) {
        assert_eq!(answer.unwrap_err().message, "the engine is ending");
    }
    assert!(world.is_clean());
}
