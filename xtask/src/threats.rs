//! Threats and faults that bind: each row must be named by at least one test, in a comment `// proves: T-05, I-3` above it.
//! What the rows say is in docs/threats.md; here is which of them a test must exist for, and whether it does.

use std::collections::{BTreeMap, BTreeSet};

use crate::{sources, step::Reasons};

/// Rows that bind in this version.
const BOUND: [&str; 92] = [
    "T-01", "T-02", "T-03", "T-04", "T-05", "T-06", "T-07", "T-08", "T-09", "T-12", "T-14", "T-15", "T-20", "T-21",
    "T-22", "T-23", "T-24", "T-30", "T-31", "T-32", "T-33", "T-34", "T-35", "T-36", "T-37", "T-39", "T-40", "T-41",
    "T-42", "T-43", "T-44", "T-45", "T-46", "T-48", "T-50", "T-51", "T-52", "T-53", "T-54", "T-55", "T-60", "T-62",
    "T-64", "T-70", "T-72", "T-73", "T-74", "T-75", "T-76", "T-77", "T-78", "T-79", "T-80", "T-81", "T-82", "T-83",
    "T-84", "F-05", "F-06", "F-07", "F-09", "F-13", "F-14", "F-15", "F-16", "F-17", "F-18", "F-19", "F-20", "F-21",
    "F-22", "F-23", "F-24", "F-25", "F-26", "F-27", "F-28", "F-29", "F-34", "I-1", "I-2", "I-3", "I-4", "I-5", "I-6",
    "I-7", "I-8", "I-9", "I-10", "I-11", "I-12", "I-13",
];

/// How a test names rows.
const MARK: &str = "// proves: ";

/// So many lines after the comment its function must begin: attributes stand between.
const NEAR: usize = 6;

/// What makes a function a test.
const TEST: &str = "#[test]";

/// Finds the tests of each row; a bound row without one, and a comment that names no row or no test, fail.
pub(crate) fn check() -> Result<String, Reasons> {
    let mut proofs: BTreeMap<String, usize> = BTreeMap::new();
    let mut reasons = Vec::new();
    for (file, text) in sources::crates() {
        reasons.extend(read(&file, &text, &mut proofs));
    }
    let known: BTreeSet<&str> = proofs.keys().map(String::as_str).collect();
    for row in BOUND.into_iter().filter(|row| !known.contains(row)) {
        reasons.push(format!("{row} binds and no test proves it (`{MARK}{row}` above the test)"));
    }
    let tests: usize = proofs.values().sum();
    if reasons.is_empty() {
        Ok(format!("{} rows bound, {} proved, {tests} proofs", BOUND.len(), proofs.len()))
    } else {
        Err(reasons)
    }
}

fn read(file: &str, text: &str, proofs: &mut BTreeMap<String, usize>) -> Reasons {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut reasons = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(rows) = line.strip_prefix(MARK) else { continue };
        // Above a test, or inside one beside the line that proves it.
        let above = lines.iter().skip(number + 1).take(NEAR).any(|line| line.contains("fn "));
        let inside = lines.iter().take(number).any(|line| *line == TEST);
        if !above && !inside {
            reasons.push(format!("{file}:{}: no test follows this comment", number + 1));
        }
        for row in rows.split(',').map(str::trim) {
            if is_row(row) {
                *proofs.entry(String::from(row)).or_default() += 1;
            } else {
                reasons.push(format!("{file}:{}: {row:?} is not the id of a row", number + 1));
            }
        }
    }
    reasons
}

/// `T-01` to `T-84`, `F-01` to `F-36`, `I-1` to `I-13`.
fn is_row(text: &str) -> bool {
    let limits = [("T-", 2, 84), ("F-", 2, 36), ("I-", 1, 13)];
    limits.iter().any(|(prefix, digits, last)| {
        let number = text.strip_prefix(prefix).filter(|number| number.len() >= *digits);
        number.and_then(|number| number.parse().ok()).is_some_and(|number: u8| (1..=*last).contains(&number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_above_a_test_counts_for_each_of_its_rows() {
        let mut proofs = BTreeMap::new();
        let text = format!("    {MARK}T-05, I-3\n    #[test]\n    fn each_flipped_bit_is_refused() {{}}\n");
        assert!(read("a.rs", &text, &mut proofs).is_empty());
        assert_eq!(proofs.into_iter().collect::<Vec<_>>(), [(String::from("I-3"), 1), (String::from("T-05"), 1)]);
    }

    #[test]
    fn a_comment_that_names_no_row_or_no_test_is_an_error() {
        let mut proofs = BTreeMap::new();
        assert_eq!(read("a.rs", &format!("{MARK}T-99\nfn a() {{}}"), &mut proofs).len(), 1);
        assert_eq!(read("a.rs", &format!("{MARK}T-01\n"), &mut proofs).len(), 1);
    }
}
