//! The project's Rust files, for checks that read text.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every `.rs` file below `crates`, as its path from the root and its text, in order.
pub(crate) fn crates() -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join("crates"), &mut files);
    files.sort();
    files
}

fn collect(directory: &Path, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            files.push((name, fs::read_to_string(&path).unwrap_or_default()));
        }
    }
}
