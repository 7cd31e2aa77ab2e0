//! Every code that a tunnel's error can have stands in docs/errors.md, with what to do.

use std::{collections::BTreeSet, fs};

use crate::{sources::root, step::Reasons};

/// Where codes are made: in the functions whose name begins like this, and in fields `code`.
const PLACES: [&str; 2] = ["crates/proto/src/session/end.rs", "crates/engine/src/error.rs"];

/// Compares the codes in the sources with the first column of the page.
pub(crate) fn check() -> Result<String, Reasons> {
    let read = |file: &str| fs::read_to_string(root().join(file)).map_err(|error| vec![format!("{file}: {error}")]);
    let page = read("docs/errors.md")?;
    let documented: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(code, _)| code).collect();
    let mut made = BTreeSet::new();
    for file in PLACES {
        made.extend(codes(&read(file)?));
    }
    let reasons: Reasons = made
        .iter()
        .filter(|code| !documented.contains(code.as_str()))
        .map(|code| format!("docs/errors.md does not have `{code}`"))
        .chain(
            documented
                .iter()
                .filter(|code| !made.contains(**code))
                .map(|code| format!("no error has the code `{code}`")),
        )
        .collect();
    if reasons.is_empty() { Ok(format!("{} codes", made.len())) } else { Err(reasons) }
}

/// The literals after `code:` and inside functions whose name ends in `code`.
fn codes(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut codes = BTreeSet::new();
    for line in text.lines() {
        if line.contains("fn ") {
            inside = line.contains("code(");
        }
        if inside || line.contains("code: \"") {
            codes.extend(line.split('"').nth(1).map(String::from));
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_fields_and_in_functions_named_code() {
        let text =
            "Self { code: \"a-b\", stage: \"x\" }\nfn code(&self) {\n Self::A => \"c-d\",\n}\nfn hint() { \"no\" }";
        assert_eq!(codes(text).into_iter().collect::<Vec<_>>(), ["a-b", "c-d"]);
    }
}
