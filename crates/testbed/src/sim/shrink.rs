//! From a list of actions that fails to the shortest one that still does: parts of it are left out, large ones first, as
//! long as that helps (delta debugging, Zeller and Hildebrandt 2002).

/// Runs that are tried at most.
const TRIES: usize = 600;

/// The shortest list found, in the same order, for which `fails` still holds. It holds for `actions`, or they are
/// returned as they are.
pub(super) fn shrink<A: Clone>(actions: &[A], fails: impl Fn(&[A]) -> bool) -> Vec<A> {
    let mut left = actions.to_vec();
    let (mut tries, mut size) = (0, left.len().max(1));
    while size > 0 {
        let (mut begin, mut helped) = (0, false);
        while begin < left.len() {
            if tries == TRIES {
                return left;
            }
            tries += 1;
            let shorter = without(&left, begin, size);
            if fails(&shorter) {
                left = shorter;
                helped = true;
            } else {
                begin += size;
            }
        }
        size = if helped && size == 1 { 1 } else { size / 2 };
    }
    left
}

fn without<A: Clone>(actions: &[A], begin: usize, size: usize) -> Vec<A> {
    actions.iter().take(begin).chain(actions.iter().skip(begin + size)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left_in_its_order() {
        let actions: Vec<u32> = (0..200).collect();
        let fails = |left: &[u32]| [17, 18, 150].iter().all(|needed| left.contains(needed));
        assert_eq!(shrink(&actions, fails), [17, 18, 150]);
    }

    #[test]
    fn a_failure_that_needs_nothing_is_empty_and_one_that_needs_all_stays() {
        let actions: Vec<u32> = (0..9).collect();
        assert_eq!(shrink(&actions, |_| true), Vec::<u32>::new());
        assert_eq!(shrink(&actions, |left| left.len() == 9), actions);
    }

    #[test]
    fn actions_that_only_help_each_other_are_left_out_too() {
        // 5 may go only once 4 has gone: a second round finds it.
        let fails = |left: &[u32]| left.contains(&1) && (left.contains(&5) || !left.contains(&6));
        assert_eq!(shrink(&[1, 5, 6], fails), [1]);
    }
}
