//! Contents that a profile has inline or in a file that it names: certificates, keys, passwords. The file itself is
//! read by the caller with its own rights; this module only asks for it.

use std::collections::BTreeMap;

use super::judgement::{Fate, Judgement};
use crate::escape::escape;
use crate::{Secret, limits};

/// Reads the files that a profile names. The caller decides what may be read: with its own rights, regular files, once.
pub trait Files {
    /// The contents of the wanted file, up to 1 MiB.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in words for the user.
    fn read(&mut self, wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String>;
}

/// A file that a profile names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWanted {
    /// The directive that names it, as in `ca`.
    pub directive: &'static str,
    /// The path as written: foreign text.
    pub path: String,
    /// Line in the profile, from 1.
    pub line: u32,
}

/// Refuses every file: for profiles that must have everything inline.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, _wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String> {
        Err(String::from("files are not read here; put the content in an inline block"))
    }
}

/// The contents said so far, by directive.
#[derive(Debug, Default)]
pub(super) struct Materials(BTreeMap<&'static str, Material>);

/// One content.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) line: u32,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Inline(Secret<Vec<u8>>),
    File(String),
}

impl Materials {
    /// Takes an inline block; `None` if `name` is not a directive with such contents.
    pub(super) fn take_inline(&mut self, name: &str, content: Secret<Vec<u8>>, line: u32) -> Option<Fate> {
        let name = known(name)?;
        self.0.insert(name, Material { line, source: Source::Inline(content) });
        Some(Fate::Used)
    }

    /// Takes the name of a file. The last one counts, but what stands inline is nearer than any file, for profiles
    /// name files that were later put inline.
    pub(super) fn take_file(&mut self, name: &str, path: Option<&str>, line: u32) -> Option<Fate> {
        let name = known(name)?;
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Some(Fate::wrong("it needs the name of a file", "name the file, or use an inline block"));
        };
        if path == "[inline]" {
            return Some(Fate::Used);
        }
        if self.0.get(name).is_some_and(|material| matches!(material.source, Source::Inline(_))) {
            return Some(Fate::ignored("its content stands inline, and that is taken"));
        }
        self.0.insert(name, Material { line, source: Source::File(path.to_owned()) });
        Some(Fate::Used)
    }

    /// The content of `name` and its line; a file that cannot be read is refused. `None` where there is none.
    pub(super) fn read(
        &mut self,
        name: &'static str,
        files: &mut dyn Files,
        judgement: &mut Judgement,
    ) -> Option<Content> {
        let material = self.0.remove(name)?;
        let line = material.line;
        match material.contents(name, files) {
            Ok(bytes) => Some(Content { line, bytes: Some(bytes) }),
            Err(why) => {
                let hint = format!("put the file where the profile says, or its content into an inline block <{name}>");
                judgement.refuse(line, name, &why, &hint);
                Some(Content { line, bytes: None })
            }
        }
    }

    /// The material of `name` itself, for those to whom a missing file is no error.
    pub(super) fn take(&mut self, name: &str) -> Option<Material> {
        self.0.remove(name)
    }
}

/// A content that was read, or whose refusal is entered already.
pub(super) struct Content {
    pub(super) line: u32,
    pub(super) bytes: Option<Secret<Vec<u8>>>,
}

impl Material {
    pub(super) fn contents(self, directive: &'static str, files: &mut dyn Files) -> Result<Secret<Vec<u8>>, String> {
        match self.source {
            Source::Inline(content) => Ok(content),
            Source::File(path) => {
                let wanted = FileWanted { directive, path, line: self.line };
                let read = files.read(&wanted).and_then(checked_length);
                read.map_err(|why| format!("`{}`: {why}", escape(wanted.path.as_bytes())))
            }
        }
    }
}

fn checked_length(content: Secret<Vec<u8>>) -> Result<Secret<Vec<u8>>, String> {
    if content.expose().len() > limits::NAMED_FILE {
        return Err(String::from("the file is larger than 1 MiB"));
    }
    Ok(content)
}

fn known(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|known| **known == name).copied()
}

const NAMES: [&str; 9] =
    ["ca", "cert", "extra-certs", "key", "tls-auth", "tls-crypt", "tls-crypt-v2", "auth-user-pass", "peer-fingerprint"];
