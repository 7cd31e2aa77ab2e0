//! The order of all tests: first those without a kernel, the simulations among them, then, one after another, those with
//! namespaces and real servers, which run the released program as a user would have it.

use std::path::Path;

use crate::{
    cargo,
    cargo_test::{self, Count},
    machine, metadata,
    step::say,
    testbed_tests,
};

/// Runs everything and ends with one line; whether nothing failed.
pub(crate) fn run() -> bool {
    let count = match metadata::released_program() {
        Ok(program) => all(&program),
        Err(reason) => cannot_run("tests", &reason),
    };
    say(&format!("{} passed, {} failed", count.passed, count.failed));
    count.failed == 0
}

fn all(program: &Path) -> Count {
    let pure = cargo_test::run(&["--workspace", "--exclude", "mrvpn-testbed"], program);
    let files = match testbed_tests::find() {
        Ok(files) => files,
        Err(reason) => return pure.plus(cannot_run("tests of testbed", &reason)),
    };
    let simulated = testbed(&["--lib", "--bins"], &files.simulated, &[], program);
    let kernel = kernel_tests(&files.kernel, program).unwrap_or_else(|reason| cannot_run("kernel tests", &reason));
    pure.plus(simulated).plus(kernel)
}

/// Runs test files of testbed.
fn testbed(before: &[&str], files: &[String], behind: &[&str], program: &Path) -> Count {
    let files = files.iter().flat_map(|name| ["--test", name]);
    let words = ["--package", "mrvpn-testbed"].into_iter().chain(before.iter().copied()).chain(files);
    cargo_test::run(&words.chain(behind.iter().copied()).collect::<Vec<_>>(), program)
}

fn kernel_tests(files: &[String], program: &Path) -> Result<Count, String> {
    machine::prepare(machine::FOR_TESTS)?;
    if !cargo(&["build", "--release", "--package", "mrvpn", "--bins"], program) {
        return Err(String::from("mrvpn does not build"));
    }
    Ok(testbed(&[], files, &["--", "--test-threads=1"], program))
}

fn cannot_run(what: &str, reason: &str) -> Count {
    say(&format!("the {what} cannot run: {reason}"));
    Count::CANNOT_RUN
}
