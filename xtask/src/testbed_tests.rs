//! Which test files of testbed need a kernel: all but those that simulate, which anybody can run and which may run side by
//! side.

use std::fs;

use crate::sources::root;

/// The beginnings of the names of files that simulate.
const SIMULATED: [&str; 2] = ["sim_", "hostile"];

/// Test files by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestFiles {
    pub(crate) simulated: Vec<String>,
    pub(crate) kernel: Vec<String>,
}

/// Those that there are.
///
/// # Errors
/// Why the directory cannot be read.
pub(crate) fn find() -> Result<TestFiles, String> {
    let place = root().join("crates/testbed/tests");
    let entries = fs::read_dir(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(String::from)).collect();
    names.sort();
    Ok(split(names))
}

fn split(names: Vec<String>) -> TestFiles {
    let simulates = |name: &String| SIMULATED.iter().any(|begin| name.starts_with(begin));
    let (simulated, kernel) = names.into_iter().partition(simulates);
    TestFiles { simulated, kernel }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_simulate_are_told_from_those_that_need_a_kernel() {
        let names = ["crash", "hostile_push", "hosts", "sim_pair", "simple"].map(String::from).to_vec();
        let files = split(names);
        assert_eq!(files.simulated, ["hostile_push", "sim_pair"]);
        assert_eq!(files.kernel, ["crash", "hosts", "simple"]);
    }
}
