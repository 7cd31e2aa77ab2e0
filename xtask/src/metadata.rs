//! What cargo says of the workspace: `cargo metadata`, asked each time.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::sources::root;

/// The packages of the workspace as cargo reads them.
///
/// # Errors
/// What cargo said instead.
pub(crate) fn read() -> Result<Value, String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// Where a release build puts the program.
///
/// # Errors
/// What cargo said instead.
pub(crate) fn released_program() -> Result<PathBuf, String> {
    let metadata = read()?;
    let target = metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
    Ok(PathBuf::from(target).join("release").join("mrvpn"))
}
