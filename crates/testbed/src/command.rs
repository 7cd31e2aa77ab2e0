//! Running a program to its end and reading what it said. Not for programs that stay: those are a [`crate::Process`].

use std::process::Command;

/// Runs a program and returns its standard output.
///
/// # Panics
/// When it cannot be started or ends with an error: a world that cannot be built is a failed test, with the reason.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    match try_run(program, arguments) {
        Ok(text) => text,
        Err(error) => panic!("{error}"),
    }
}

/// Runs a program and returns its standard output, or what went wrong as one text.
///
/// # Errors
/// The command line with the reason why it could not start, or with its exit status and both outputs.
pub(crate) fn try_run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", arguments.join(" "));
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("cannot start `{line}`: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{line}` ended with {}\n{text}{error}", output.status))
}
