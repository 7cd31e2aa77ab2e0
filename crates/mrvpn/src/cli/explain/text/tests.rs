use super::*;
use mrvpn_engine::explained::FlowShown;

fn by(kind: &str, name: Option<&str>, what: &str) -> Because {
    Because { kind: kind.to_owned(), name: name.map(str::to_owned), what: what.to_owned() }
}

fn explained(via: Option<&str>, by: Because, state: &str) -> Explained {
    Explained {
        flow: FlowShown { proto: String::from("tcp"), to: [203, 0, 113, 10].into(), port: Some(443), from: None },
        via: via.map(str::to_owned),
        by,
        state: state.to_owned(),
        source: None,
        refused: (state == "refused").then(|| String::from("uk is not up")),
        not: Vec::new(),
        live: Vec::new(),
    }
}

fn rejected(via: Option<&str>, by: Because, why: &str) -> NotShown {
    NotShown { via: via.map(str::to_owned), by, why: why.to_owned() }
}

#[test]
fn a_rule_with_its_translation_and_all_others() {
    let mut explained = explained(Some("fr"), by("rule", Some("intranet"), "rule 2 of the file"), "up");
    explained.source = Some(SourceShown { seen: [198, 18, 0, 1].into(), sent: Some([10, 101, 0, 2].into()) });
    explained.not = vec![
        rejected(Some("direct"), by("rule", None, "rule 1 of the file"), "its `port` does not match"),
        rejected(Some("uk"), by("claim", None, "203.0.113.0/24"), "a rule decides first"),
        rejected(Some("uk"), by("default", None, "first in the file"), "a rule decides first"),
    ];
    explained.live = vec![LiveShown {
        proto: String::from("tcp"),
        seen: String::from("198.18.0.1:40000"),
        sent: String::from("10.101.0.2:40000"),
        remote: String::from("203.0.113.10:443"),
        via: String::from("fr"),
    }];
    let expected = "\
tcp to 203.0.113.10 port 443 goes through fr, which is up.
Why: rule 2 of the file, `intranet`, names it.
Source: 198.18.0.1 for the program, 10.101.0.2 for the server of fr.
Not direct (rule 1 of the file): its `port` does not match.
Not uk (its claim of 203.0.113.0/24): a rule decides first.
Not uk (the default tunnel): a rule decides first.
There now: tcp 198.18.0.1:40000 to 203.0.113.10:443 through fr, as 10.101.0.2:40000.";
    assert_eq!(text(&explained), expected);
}

#[test]
fn each_reason_and_each_state_has_its_sentence() {
    let default = by("default", None, "first in the file whose server offers it");
    let unknown = by("default", None, "the default tunnel is not known yet");
    let fallback = by("fallback", None, "left to this host: nothing claims it");
    let cases = [
        (
            explained(Some("uk"), default, "held"),
            "belongs to uk, which is not up: it is held for a moment, and refused if that lasts.",
            "Why: uk is the default tunnel, first in the file whose server offers it.",
        ),
        (
            explained(Some("uk"), by("claim", None, "203.0.113.0/24"), "refused"),
            "belongs to uk and is refused: uk is not up; it goes no other way.",
            "Why: it is in 203.0.113.0/24, which is claimed for uk.",
        ),
        (
            explained(Some("uk"), by("source", None, "the address that the program bound to"), "up"),
            "goes through uk, which is up.",
            "Why: the address that the program bound to is of uk.",
        ),
        (
            explained(Some("block"), by("rule", None, "rule 1 of the file"), "refused"),
            "is blocked: programs are refused at once.",
            "Why: rule 1 of the file names it.",
        ),
        (
            explained(Some("direct"), by("rule", None, "rule 1 of the file"), "up"),
            "goes direct, outside of all tunnels.",
            "Why: rule 1 of the file names it.",
        ),
        (
            explained(None, fallback, "up"),
            "is left to this machine, as if mrvpn did not run.",
            "Why: nothing claims it.",
        ),
        (explained(None, unknown, "refused"), "is refused: uk is not up.", "Why: the default tunnel is not known yet."),
    ];
    for (explained, fate, why) in cases {
        assert_eq!(text(&explained), format!("tcp to 203.0.113.10 port 443 {fate}\n{why}"));
    }
}

#[test]
fn eight_lines_are_the_most() {
    let mut explained = explained(Some("fr"), by("rule", None, "rule 1 of the file"), "held");
    explained.source = Some(SourceShown { seen: [198, 18, 0, 1].into(), sent: None });
    explained.not = vec![rejected(None, by("fallback", None, ""), "there is a default tunnel"); 20];
    let live = LiveShown {
        proto: String::from("udp"),
        seen: String::new(),
        sent: String::new(),
        remote: String::new(),
        via: String::from("fr"),
    };
    explained.live = vec![live; 20];
    let text = text(&explained);
    assert_eq!(text.lines().count(), 8, "{text}");
    assert!(text.contains("And 18 more of these") && text.contains("And 19 more of these"), "{text}");
    assert!(text.contains("fr has no address for it yet."), "{text}");
}
