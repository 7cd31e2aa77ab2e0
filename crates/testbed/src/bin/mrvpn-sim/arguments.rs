//! The command line.

/// How it is used.
pub(crate) const USAGE: &str = "usage: mrvpn-sim [--seeds N] [--pair N] [--world N] [--hostile N] [--tls N] [--from S]
    --seeds N   so many seeds of one client and one server, a tenth of that of worlds, and a thousandth of that of
                rounds of all hostile scripts
    --pair N    so many seeds of one client and one server
    --world N   so many seeds of many tunnels in one world
    --hostile N so many rounds of all scripts of hostile servers and strangers
    --tls N     the same over real TLS: it does not repeat exactly
    --from S    the first seed, 0 unless said otherwise";

/// What to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Seeds of [`mrvpn_testbed::sim::Pair`].
    pub(crate) pair: u64,
    /// Seeds of [`mrvpn_testbed::sim::WorldScenario`].
    pub(crate) world: u64,
    /// Rounds of [`mrvpn_testbed::sim::hostile::HostileScenario`].
    pub(crate) hostile: u64,
    /// Seeds of [`mrvpn_testbed::sim::pair::PairOverTls`].
    pub(crate) tls: u64,
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
                "--seeds" => {
                    arguments.pair = number()?;
                    arguments.world = arguments.pair.div_ceil(10);
                    arguments.hostile = arguments.pair.div_ceil(1_000);
                }
                "--pair" => arguments.pair = number()?,
                "--world" => arguments.world = number()?,
                "--hostile" => arguments.hostile = number()?,
                "--tls" => arguments.tls = number()?,
                "--from" => arguments.from = number()?,
                _ => return Err(format!("unknown: {word}")),
            }
        }
        let runs = [arguments.pair, arguments.world, arguments.hostile, arguments.tls];
        if runs == [0; 4] { Err(String::from("nothing to run")) } else { Ok(arguments) }
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
        assert_eq!(parse("--pair 10 --from 7"), Ok(Arguments { pair: 10, from: 7, ..Arguments::default() }));
        assert_eq!(parse("--seeds 10 --tls 3"), Ok(Arguments { pair: 10, world: 1, hostile: 1, tls: 3, from: 0 }));
        assert_eq!(parse(""), Err(String::from("nothing to run")));
        assert_eq!(parse("--pair"), Err(String::from("--pair needs a number")));
        assert_eq!(parse("--pair x"), Err(String::from("--pair needs a number, not \"x\"")));
        assert_eq!(parse("--what"), Err(String::from("unknown: --what")));
    }
}
