//! `--key value` pairs; a key may come several times.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// The pairs in the order in which they were given.
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Takes words two by two.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            pairs.push((String::from(key.trim_start_matches("--")), value));
        }
        Self(pairs)
    }

    /// Every value of a key.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a key that must be there.
    pub(crate) fn need<T: FromStr>(&self, key: &str) -> Result<T, String> {
        self.get(key)?.ok_or_else(|| format!("--{key} is missing"))
    }

    /// The value of a key, if given.
    pub(crate) fn get<T: FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        let Some(text) = self.all(key).next() else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("--{key}: cannot read {text:?}"))
    }

    /// `--to` and the local address to use for it: `--from`, an address with or without a port, else any.
    pub(crate) fn ends(&self) -> Result<(SocketAddr, SocketAddr), String> {
        let to: SocketAddr = self.need("to")?;
        let from = match self.all("from").next() {
            None => SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() }, 0),
            Some(text) => text
                .parse()
                .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)))
                .map_err(|_| format!("--from: cannot read {text:?}"))?,
        };
        Ok((to, from))
    }
}
