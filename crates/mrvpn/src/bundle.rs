//! What a command sends to an engine instead of paths: by what it has read, every file's contents or why there were none,
//! and what was typed at the prompt (design.md, decision 15). In bytes it is a line of JSON that says what follows and how
//! long it is, then the contents one after the other: secrets pass through no formatter, and every buffer that held one is
//! zeroed. Files are read in `load/reader.rs`; who may send a bundle is the control server's to judge.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

mod header; // the line of JSON
pub(crate) mod limits; // how much of each there may be

use std::collections::BTreeMap;
use std::path::PathBuf;

use mrvpn_profile::{Credentials, Secret, TunnelName};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::load::arguments::Arguments;
use crate::load::reader::{Contents, Outcome, Recorded, Unreadable};
use header::{Answer, File, Header, Read};

/// All that an engine needs to run what a command was told to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// By what it was read.
    pub(crate) arguments: Arguments,
    /// What was read.
    pub(crate) files: Recorded,
    /// What was typed, by name of the tunnel.
    pub(crate) answers: BTreeMap<String, Credentials>,
}

impl Bundle {
    /// As bytes.
    ///
    /// # Errors
    /// A path that is not UTF-8; more or longer files than an engine takes.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let header = self.header()?;
        let mut line = serde_json::to_vec(&header).map_err(|error| Failure::failed(error.to_string()))?;
        line.push(b'\n');
        let total = header.contents_length().and_then(|length| length.checked_add(line.len()));
        let fits = total.is_some_and(|total| total <= limits::BUNDLE) && line.len() <= limits::HEADER;
        let Some(total) = total.filter(|_| fits && header.files.len() <= limits::FILES) else {
            return Err(Failure::usage("the configuration and its files come to more than 64 MiB")
                .hint("run it as several instances: `--instance NAME`"));
        };
        // As large as it gets: it does not grow, so that no copy of a secret stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(total));
        bytes.extend_from_slice(&line);
        for contents in self.files.0.values().flatten() {
            bytes.extend_from_slice(contents.bytes.expose());
        }
        for given in self.answers.values() {
            bytes.extend_from_slice(given.user.as_bytes());
            bytes.extend_from_slice(given.password.expose().as_bytes());
        }
        Ok(bytes)
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no bundle of this version, or hold more than an engine takes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.len() > limits::BUNDLE {
            return Err(no_bundle("it is longer than 64 MiB"));
        }
        let head = bytes.get(..limits::HEADER.min(bytes.len())).unwrap_or_default();
        let end = head.iter().position(|byte| *byte == b'\n').ok_or_else(|| no_bundle("its first line has no end"))?;
        let (line, rest) = bytes.split_at_checked(end).ok_or_else(|| no_bundle("it is cut off"))?;
        let header: Header = serde_json::from_slice(line).map_err(|_| no_bundle("its first line is not known"))?;
        if header.version != header::VERSION {
            return Err(no_bundle("it is of another version"));
        }
        if header.files.len() > limits::FILES || header.answers.len() > limits::ANSWERS {
            return Err(no_bundle("it holds too many files"));
        }
        let mut contents = Parts(rest.get(1..).unwrap_or_default());
        let bundle = Self {
            files: Recorded(header.files.into_iter().map(|file| contents.file(file)).collect::<Result<_, Failure>>()?),
            answers: header.answers.iter().map(|answer| contents.answer(answer)).collect::<Result<_, Failure>>()?,
            arguments: header.arguments,
        };
        if contents.0.is_empty() { Ok(bundle) } else { Err(no_bundle("more follows than it says")) }
    }

    fn header(&self) -> Result<Header, Failure> {
        let files = self.files.0.iter().map(|(path, outcome)| {
            let path = path.to_str().ok_or_else(|| {
                Failure::usage("the path is not UTF-8").at(&path.display().to_string(), None).hint("rename it")
            })?;
            Ok(File { path: path.to_owned(), read: Read::of(outcome) })
        });
        let answers = self.answers.iter().map(|(tunnel, given)| Answer {
            tunnel: tunnel.clone(),
            user: given.user.len(),
            password: given.password.expose().len(),
        });
        Ok(Header {
            version: header::VERSION,
            arguments: self.arguments.clone(),
            files: files.collect::<Result<_, Failure>>()?,
            answers: answers.collect(),
        })
    }
}

/// What is left of the contents.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (part, rest) = self.0.split_at_checked(length).ok_or_else(|| no_bundle("it is cut off"))?;
        self.0 = rest;
        Ok(part)
    }

    fn file(&mut self, file: File) -> Result<(PathBuf, Outcome), Failure> {
        let outcome = match file.read {
            Read::Contents { length, open_to_others } if length <= mrvpn_profile::limits::NAMED_FILE => {
                Ok(Contents { bytes: Secret::new(self.next(length)?.to_vec()), open_to_others })
            }
            Read::Contents { .. } => return Err(no_bundle("a file in it is larger than 1 MiB")),
            Read::Unreadable { why, missing } => Err(Unreadable { why, missing }),
        };
        Ok((PathBuf::from(file.path), outcome))
    }

    fn answer(&mut self, answer: &Answer) -> Result<(String, Credentials), Failure> {
        let name = TunnelName::parse(&answer.tunnel).map_err(|_| no_bundle("a tunnel in it has no name"))?;
        let user = self.text(answer.user)?.to_owned();
        let password = Secret::new(self.text(answer.password)?.to_owned());
        Ok((name.to_string(), Credentials { user, password }))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Failure> {
        str::from_utf8(self.next(length)?).map_err(|_| no_bundle("user or password is not UTF-8"))
    }
}

fn no_bundle(why: &str) -> Failure {
    Failure::usage(format!("what was sent is no configuration: {why}"))
        .hint("command and engine must be of the same version")
}

#[cfg(test)]
mod tests;
