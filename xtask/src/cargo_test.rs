//! Runs `cargo test`, shows what it says, and adds up its results.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use crate::{sources::root, step::say};

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Count {
    /// One failure that is no test's: something that could not run.
    pub(crate) const CANNOT_RUN: Self = Self { passed: 0, failed: 1 };

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// Runs `cargo test --no-fail-fast ARGUMENTS`; the program under test is `program`.
pub(crate) fn run(arguments: &[&str], program: &Path) -> Count {
    let child = Command::new("cargo")
        .args(["test", "--no-fail-fast"])
        .args(arguments)
        .env("MRVPN_BIN", program)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            say(&format!("cannot start cargo: {error}"));
            return Count::CANNOT_RUN;
        }
    };
    let mut count = Count::default();
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok)
    {
        count = count.plus(result(&line));
        say(&line);
    }
    let fine = child.wait().is_ok_and(|status| status.success());
    // A build that fails, or a test program that dies, says nothing of failed tests.
    if !fine && count.failed == 0 { count.plus(Count::CANNOT_RUN) } else { count }
}

/// Reads `test result: ok. 3 passed; 0 failed; ...`; nothing for other lines. An ignored test counts as failed.
fn result(line: &str) -> Count {
    let Some(rest) = line.strip_prefix("test result: ") else { return Count::default() };
    let before = |word: &str| {
        let text = rest.split(word).next().filter(|text| text.len() < rest.len()).unwrap_or_default();
        text.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Count { passed: before(" passed"), failed: before(" failed") + before(" ignored") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_and_an_ignored_test_counts_as_failed() {
        let line = "test result: FAILED. 12 passed; 3 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(result(line), Count { passed: 12, failed: 5 });
        assert_eq!(result("test a_name ... ok"), Count::default());
    }
}
