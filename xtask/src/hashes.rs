//! Maps by hash are keyed by what strangers choose, so each is given a hash whose key is drawn at random (T-76): one that is
//! made without is found here. Which key that is, and that it helps, is tested in `router/src/names.rs`.

use crate::{sources, step::Reasons};

/// Maps by hash.
const MAPS: [&str; 2] = ["HashMap", "HashSet"];

/// How a map or its type names the hash that it was given.
const GIVEN: [&str; 2] = ["RandomState", "with_hasher"];

/// Hashes whose key everyone knows, or that come from somewhere else than the engine's seed.
const UNKEYED: [&str; 5] =
    ["DefaultHasher", "BuildHasherDefault", "RandomState::new(", "RandomState::default(", "RandomState::with_seed("];

/// Reads the sources of the program; tests hash what they like.
pub(crate) fn check() -> Result<String, Reasons> {
    let program = |file: &str| file.contains("/src/") && !file.starts_with("crates/testbed/");
    let reasons: Reasons =
        sources::crates().iter().filter(|(file, _)| program(file)).flat_map(|(file, text)| read(file, text)).collect();
    if reasons.is_empty() { Ok(String::from("every map by hash has a key")) } else { Err(reasons) }
}

fn read(file: &str, text: &str) -> Reasons {
    let code = |line: &str| !line.starts_with("use ") && !line.starts_with("//");
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| code(line));
    let bad = lines.filter(|(_, line)| {
        let map = MAPS.iter().any(|map| line.contains(map)) && !GIVEN.iter().any(|given| line.contains(given));
        map || UNKEYED.iter().any(|hash| line.contains(hash))
    });
    bad.map(|(number, _)| format!("{file}:{}: a hash without a random key: `with_hasher`", number + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_without_a_hash_of_its_own_is_found() {
        for (line, found) in [
            ("use std::collections::HashMap;", 0),
            ("    ports: HashMap<Key, u32, RandomState>,", 0),
            ("    let map = HashMap::with_hasher(keyed.clone());", 0),
            ("    let keyed = RandomState::with_seeds(a, b, c, d);", 0),
            ("    ports: HashMap<Key, u32>,", 1),
            ("    let set = HashSet::new();", 1),
            ("    let mut hash = DefaultHasher::new();", 1),
            ("    let keyed = RandomState::new();", 1),
            ("// a HashMap has a key", 0),
        ] {
            assert_eq!(read("a.rs", line).len(), found, "{line}");
        }
    }
}
