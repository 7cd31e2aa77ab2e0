//! The corpora of the fuzz targets (fuzz/README.md), replayed: what once was worth keeping stays answered. Needs no root.

#[expect(unreachable_pub, reason = "the crate of the fuzzer exports them")]
#[path = "../../../fuzz/src/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// The files of one corpus, in the order of their names.
fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(corpus().join(name)).expect("each target has a corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

// proves: T-01, T-53, I-6
#[test]
fn every_input_of_every_corpus_is_taken_without_a_fault() {
    for (name, target) in targets::ALL {
        let inputs = inputs(name);
        assert!(inputs.len() >= 10, "the corpus of {name} has {} inputs", inputs.len());
        for (path, bytes) in inputs {
            eprintln!("{}", path.display());
            target(&bytes);
        }
    }
}

#[test]
fn every_beginning_of_every_input_is_taken_without_a_fault() {
    for (name, target) in targets::ALL {
        for (_, bytes) in inputs(name) {
            let step = (bytes.len() / 64).max(1);
            (0..bytes.len()).step_by(step).for_each(|len| target(&bytes[..len]));
        }
    }
}

#[test]
fn every_corpus_belongs_to_a_target() {
    let mut found: Vec<String> = fs::read_dir(corpus())
        .expect("the corpora are in the repository")
        .map(|entry| entry.expect("a folder").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    let mut expected: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
