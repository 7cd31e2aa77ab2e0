//! `pull-filter`: which pushed options are taken, decided on parsed words, so that neither blanks nor quotes nor case
//! get past a filter that means them. Which options exist at all is `option.rs`.

use crate::profile::{PullFilter, PullFilterAction};
use crate::syntax::{WordError, words};

impl PullFilter {
    /// Reads the text of a filter as a file has it. A blank at its end means that the last word is whole and another
    /// follows: `"route "` is not for `route-ipv6`.
    ///
    /// # Errors
    ///
    /// As [`words`].
    pub fn parse(action: PullFilterAction, text: &str) -> Result<Self, WordError> {
        let mut parsed = words(text.as_bytes())?;
        if !parsed.is_empty() && text.ends_with([' ', '\t']) {
            parsed.push(String::new());
        }
        Ok(Self { action, text: parsed })
    }

    /// Whether the option begins with this filter's words.
    #[must_use]
    pub fn fits(&self, option: &[String]) -> bool {
        let Some((last, whole)) = self.text.split_last() else { return true };
        let Some(prefixed) = option.get(whole.len()) else { return false };
        whole.iter().zip(option).all(|(filter, word)| filter.eq_ignore_ascii_case(word)) && begins(prefixed, last)
    }
}

/// What the filters say of an option: the first that fits decides, and none means that it is taken.
#[must_use]
pub fn verdict(filters: &[PullFilter], option: &[String]) -> PullFilterAction {
    filters.iter().find(|filter| filter.fits(option)).map_or(PullFilterAction::Accept, |filter| filter.action)
}

fn begins(word: &str, prefix: &str) -> bool {
    word.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(filter: &str, option: &str) -> bool {
        let filter = PullFilter::parse(PullFilterAction::Ignore, filter).unwrap();
        filter.fits(&words(option.as_bytes()).unwrap())
    }

    #[test]
    fn the_last_word_of_a_filter_is_a_prefix_and_the_others_are_whole() {
        assert!(fits("route", "route-ipv6 fd00::/8"));
        assert!(fits("route ", "route 10.0.0.0"));
        assert!(!fits("route ", "route-ipv6 fd00::/8"));
        assert!(!fits("route ", "route"));
        assert!(fits("dhcp-option DNS", "dhcp-option DNS6 fd00::1"));
        assert!(!fits("dhcp-option DNS6", "dhcp-option DNS 10.0.0.1"));
        assert!(fits("", "anything at all"));
    }

    // proves: T-43
    #[test]
    fn blanks_quotes_and_case_do_not_get_past_a_filter() {
        for option in ["dhcp-option DNS 1.1.1.1", "  dhcp-option   DNS 1.1.1.1", "'dhcp-option' \"DNS\" 1.1.1.1"] {
            assert!(fits("dhcp-option DNS", option), "{option}");
        }
        assert!(fits("route-ipv6 fd00", "route-ipv6 FD00::/8"));
    }
}
