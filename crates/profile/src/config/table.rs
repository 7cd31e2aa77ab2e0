//! One table of mrvpn.toml: its keys against those that exist, its values by type, each with its line. What a value
//! means is in the neighbours.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Located};
use crate::escape::escape;
use crate::nearest::nearest;

/// How a key stands.
#[derive(Clone, Copy)]
pub(super) enum Key {
    /// Known and acted upon.
    Built,
    /// Known, not acted upon yet, with what holds instead.
    NotYet(&'static str),
}

/// Where the lines of a text end.
pub(super) struct Lines {
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self { ends: text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect() }
    }

    /// The line, from 1, of the byte at `at`.
    fn line(&self, at: usize) -> u32 {
        let before = self.ends.partition_point(|end| *end < at);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The text as TOML.
    pub(super) fn document<'i>(&self, text: &'i str) -> Result<Spanned<DeTable<'i>>, ConfigError> {
        DeTable::parse(text).map_err(|error| ConfigError {
            line: error.span().map(|span| self.line(span.start)),
            message: format!("this is not TOML: {}", escape(error.message().as_bytes())),
            hint: String::from("strings stand in double quotes, lists in [ ], and each key once in its table"),
        })
    }
}

/// A table with its name for messages, as in `[engine]`.
pub(super) struct Table<'a, 'i> {
    map: &'a DeTable<'i>,
    lines: &'a Lines,
    name: &'static str,
    pub(super) line: u32,
}

impl<'a, 'i> Table<'a, 'i> {
    pub(super) const fn root(map: &'a DeTable<'i>, lines: &'a Lines) -> Self {
        Self { map, lines, name: "mrvpn.toml", line: 1 }
    }

    /// Every key of the table must be one of `known` and built; the first in the file that is not is the error.
    pub(super) fn check_keys(&self, known: &[(&str, Key)]) -> Result<(), ConfigError> {
        let faults = self.map.iter().filter_map(|(key, _)| {
            let line = self.lines.line(key.span().start);
            self.fault(key.get_ref(), known).map(|(message, hint)| ConfigError { line: Some(line), message, hint })
        });
        faults.min_by_key(|fault| fault.line).map_or(Ok(()), Err)
    }

    fn fault(&self, key: &str, known: &[(&str, Key)]) -> Option<(String, String)> {
        let shown = escape(key.as_bytes());
        match known.iter().find(|(name, _)| *name == key) {
            Some((_, Key::Built)) => None,
            Some((_, Key::NotYet(instead))) => {
                Some((format!("`{shown}` is not in this version"), format!("remove it: {instead}")))
            }
            None => {
                let hint = nearest(key, known.iter().map(|(name, _)| *name)).map_or_else(
                    || format!("keys of {} are {}", self.name, listed(known)),
                    |near| format!("did you mean `{near}`?"),
                );
                Some((format!("unknown key `{shown}` in {}", self.name), hint))
            }
        }
    }

    /// The table under `key`.
    pub(super) fn table(&self, key: &str, name: &'static str) -> Result<Option<Self>, ConfigError> {
        let Some(found) = self.value(key) else { return Ok(None) };
        self.as_table(&found, name).map(Some)
    }

    /// The array of tables under `key`; empty where there is none.
    pub(super) fn tables(&self, key: &str, name: &'static str) -> Result<Vec<Self>, ConfigError> {
        let Some(found) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = found.value else { return Err(not_a_table(&found, name)) };
        array.iter().map(|item| self.as_table(&self.located(item), name)).collect()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<Located<&'a str>>, ConfigError> {
        self.typed(key, "a string in double quotes", text_of)
    }

    pub(super) fn truth(&self, key: &str) -> Result<Option<Located<bool>>, ConfigError> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<Located<u64>>, ConfigError> {
        self.typed(key, "a number", number_of)
    }

    /// A single value or a list of them; a list that is there but empty is an error, for it would match anything.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Located<&'a DeValue<'i>>>, ConfigError> {
        let Some(found) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = found.value else { return Ok(vec![found]) };
        if array.is_empty() {
            return Err(error(
                found.line,
                format!("`{key}` is an empty list"),
                "remove the key, or name what it matches",
            ));
        }
        Ok(array.iter().map(|item| self.located(item)).collect())
    }

    fn typed<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl Fn(&'a DeValue<'i>) -> Option<T>,
    ) -> Result<Option<Located<T>>, ConfigError> {
        let Some(Located { value, line }) = self.value(key) else { return Ok(None) };
        let value =
            read(value).ok_or_else(|| error(line, format!("`{key}` is not {kind}"), format!("write {kind}")))?;
        Ok(Some(Located { value, line }))
    }

    fn value(&self, key: &str) -> Option<Located<&'a DeValue<'i>>> {
        self.map.get(key).map(|value| self.located(value))
    }

    fn located(&self, value: &'a Spanned<DeValue<'i>>) -> Located<&'a DeValue<'i>> {
        Located { value: value.get_ref(), line: self.lines.line(value.span().start) }
    }

    fn as_table(&self, found: &Located<&'a DeValue<'i>>, name: &'static str) -> Result<Self, ConfigError> {
        let DeValue::Table(map) = found.value else { return Err(not_a_table(found, name)) };
        Ok(Self { map, lines: self.lines, name, line: found.line })
    }
}

fn not_a_table(found: &Located<&DeValue<'_>>, name: &str) -> ConfigError {
    error(found.line, format!("{name} is not written as a table"), format!("begin it with the line {name}"))
}

/// An error at `line`.
pub(super) fn error(line: u32, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
    ConfigError { line: Some(line), message: message.into(), hint: hint.into() }
}

pub(super) fn text_of<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    value.as_str()
}

pub(super) fn number_of(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn listed(known: &[(&str, Key)]) -> String {
    let built = known.iter().filter(|(_, key)| matches!(key, Key::Built)).map(|(name, _)| *name);
    built.collect::<Vec<_>>().join(", ")
}
