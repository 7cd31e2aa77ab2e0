//! The order of all tests: first those without a kernel, then, one after another, those with namespaces and real servers,
//! which run the released program as a user would have it.

use std::path::Path;

use crate::{
    cargo,
    cargo_test::{self, Count},
    machine, metadata,
    step::say,
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
    let kernel = kernel_tests(program).unwrap_or_else(|reason| cannot_run("kernel tests", &reason));
    pure.plus(kernel)
}

fn kernel_tests(program: &Path) -> Result<Count, String> {
    machine::prepare(machine::FOR_TESTS)?;
    if !cargo(&["build", "--release", "--package", "mrvpn", "--bins"], program) {
        return Err(String::from("mrvpn does not build"));
    }
    Ok(cargo_test::run(&["--package", "mrvpn-testbed", "--", "--test-threads=1"], program))
}

fn cannot_run(what: &str, reason: &str) -> Count {
    say(&format!("the {what} cannot run: {reason}"));
    Count::CANNOT_RUN
}
