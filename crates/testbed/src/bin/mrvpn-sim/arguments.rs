//! The command line.

/// How it is used.
pub(crate) const USAGE: &str = "usage: mrvpn-sim [--pair N] [--from S]";

/// What to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Seeds of [`mrvpn_testbed::sim::Pair`].
    pub(crate) pair: u64,
    /// The first seed.
    pub(crate) from: u64,
}

impl Arguments {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut number = || {
                let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
                text.parse().map_err(|_| format!("{word} needs a number, not {text:?}"))
            };
            match word.as_str() {
                "--pair" => arguments.pair = number()?,
                "--from" => arguments.from = number()?,
                _ => return Err(format!("unknown: {word}")),
            }
        }
        if arguments.pair == 0 { Err(String::from("nothing to run")) } else { Ok(arguments) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn numbers_are_read_and_anything_else_is_named() {
        assert_eq!(parse("--pair 10 --from 7"), Ok(Arguments { pair: 10, from: 7 }));
        assert_eq!(parse(""), Err(String::from("nothing to run")));
        assert_eq!(parse("--pair"), Err(String::from("--pair needs a number")));
        assert_eq!(parse("--pair x"), Err(String::from("--pair needs a number, not \"x\"")));
        assert_eq!(parse("--what"), Err(String::from("unknown: --what")));
    }
}
