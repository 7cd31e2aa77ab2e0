//! What was said against what is expected to be: files beside the tests. With `MRVPN_WRITE_EXPECTED=1` they are written
//! anew: read what changed as the user who gets it would.

use std::fs;
use std::path::Path;

/// What differs, or nothing; writes the file where it is asked for.
pub(crate) fn compare(file: &Path, got: &str) -> Option<String> {
    if std::env::var_os("MRVPN_WRITE_EXPECTED").is_some() {
        fs::write(file, got).expect("it can be written");
        return None;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    (expected != got).then(|| format!("{}\n{}", file.display(), difference(&expected, got)))
}

/// The lines between the first and the last that differ: expected ones with `-`, those that came with `+`.
fn difference(expected: &str, got: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let before = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let lines = |mark: char, lines: &[&str]| {
        let part = &lines[before..lines.len() - after];
        part.iter().map(|line| format!("  {mark} {line}\n")).collect::<String>()
    };
    format!("  from line {}:\n{}{}", before + 1, lines('-', &old), lines('+', &new))
}
