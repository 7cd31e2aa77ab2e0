//! The lexer against known answers (`vectors/README.md`).

use mrvpn_profile::syntax::{WordError, words};
use serde_json::Value;

#[test]
fn a_line_becomes_the_words_that_openvpn_makes_of_it() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/openvpn.json")).unwrap();
    let cases = vectors["parse_line"]["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let line = spelled_out(case["in"].as_str().unwrap());
        let expected: Option<Vec<String>> =
            case["out"].as_array().map(|words| words.iter().map(|word| spelled_out(word.as_str().unwrap())).collect());
        assert_eq!(words(line.as_bytes()).ok(), expected, "{line}");
    }
}

#[test]
fn a_broken_line_says_what_is_wrong() {
    for (line, error) in [
        (&b"a 'b"[..], WordError::OpenQuote),
        (b"a \"b", WordError::OpenQuote),
        (b"log C:\\temp", WordError::Backslash),
        (b"a\\", WordError::Backslash),
        (b"a \x1b[0m", WordError::Control),
        (b"a \0", WordError::Control),
        (b"a \xff", WordError::NotUtf8),
    ] {
        assert_eq!(words(line), Err(error), "{line:?}");
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn comments_begin_at_a_word_and_may_hold_any_bytes() {
    assert_eq!(words(b"# \xff \0 'x").unwrap(), Vec::<String>::new());
    assert_eq!(words(b"a b;c ; d").unwrap(), ["a", "b;c"]);
    assert_eq!(words("é ü".as_bytes()).unwrap(), ["é", "ü"]);
    assert_eq!(words(b"a \"\" b").unwrap(), ["a", "", "b"]);
}

/// `<256 characters>` stands for that many.
fn spelled_out(text: &str) -> String {
    text.replace("<256 characters>", &"x".repeat(256)).replace("<257 characters>", &"x".repeat(257))
}
