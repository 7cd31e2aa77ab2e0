//! The known word that a misspelt one was probably meant to be: a key or value of mrvpn.toml, a directive of a profile.
//! Which words are known is with those who ask.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

/// The candidate with the fewest edits from `word`, if they are few for its length.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let allowed = word.len().div_euclid(3).max(1);
    let ranked = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    ranked.filter(|(edits, _)| *edits <= allowed).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in bytes, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (done, l) in left.bytes().enumerate() {
        let mut diagonal = done;
        let mut before = done.saturating_add(1);
        for (cell, r) in row.iter_mut().zip(std::iter::once(None).chain(right.bytes().map(Some))) {
            let above = *cell;
            if let Some(r) = r {
                let replaced = diagonal.saturating_add(usize::from(l != r));
                before = replaced.min(above.saturating_add(1)).min(before.saturating_add(1));
            }
            *cell = before;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// 64 bytes: no key or name is longer, and the work grows with the square.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (left, right, edits) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("uk", "uk", 0)]
        {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }

    #[test]
    fn a_misspelt_word_finds_its_neighbour_and_a_strange_one_none() {
        assert_eq!(nearest("inteface", ["interface", "strategy"]), Some("interface"));
        assert_eq!(nearest("zzzzzzzz", ["interface", "strategy"]), None);
    }
}
