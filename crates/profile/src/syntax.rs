//! The one lexer for lines of `.ovpn` files and for pushed options (openvpn-protocol.md section 11.1), and the division
//! of a file into statements with their inline blocks (section 11.2). It knows words, not what they mean: that is
//! `ovpn/` and `option.rs`. Every byte is looked at a bounded number of times.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use crate::{Secret, escape::escape, limits};

/// Divides one line, or one pushed option, into words: quotes and escapes resolved, a comment left out, at most 16.
/// A leading `--` stays.
///
/// # Errors
///
/// A quote that is not closed, a backslash before anything but `\`, `"` or a blank, a word of more than 256 bytes, a
/// control byte or bad UTF-8 in a word.
pub fn words(line: &[u8]) -> Result<Vec<String>, WordError> {
    words_up_to(line, limits::WORD)
}

/// As [`words`], with words of up to `longest` bytes.
pub(crate) fn words_up_to(line: &[u8], longest: usize) -> Result<Vec<String>, WordError> {
    let mut rest = line;
    let mut found = Vec::new();
    while let Some((word, after)) = next_word(rest)? {
        rest = after;
        if found.len() < limits::WORDS {
            found.push(checked(word, longest)?);
        }
    }
    Ok(found)
}

/// Why a line has no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// `'` or `"` without its end.
    #[error("a quote is not closed")]
    OpenQuote,
    /// A single backslash.
    #[error("a backslash stands before something else than a backslash, a double quote or a blank")]
    Backslash,
    /// More than 256 bytes.
    #[error("a word is longer than 256 bytes")]
    LongWord,
    /// NUL, an escape code and their like.
    #[error("a word holds a control character")]
    Control,
    /// Not UTF-8.
    #[error("a word is not UTF-8 text")]
    NotUtf8,
}

impl WordError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::OpenQuote => "close the quote, or write a quote inside a word as \\\"",
            Self::Backslash => "write each backslash twice, or put the word in single quotes",
            Self::LongWord => "shorten the word; keys and certificates belong in an inline block",
            Self::Control => "remove the character",
            Self::NotUtf8 => "save the file as UTF-8",
        }
    }
}

/// One line with words, or one inline block.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Where it begins, from 1.
    pub(crate) line: u32,
    /// The option without a leading `--`, then its parameters; a block has its name alone.
    pub(crate) words: Vec<String>,
    /// The block's content as it stands.
    pub(crate) block: Option<Secret<Vec<u8>>>,
}

/// A line that is no statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) line: u32,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) hint: &'static str,
}

/// What is wrong with a file as a whole, before any line is looked at.
pub(crate) fn fault_of_file(text: &[u8]) -> Option<BadLine> {
    let utf16 = text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff");
    match text {
        _ if text.len() > limits::CONFIG_FILE => {
            Some(bad(0, b"", "the file is larger than 256 KiB", "a profile is rarely larger than 16 KiB"))
        }
        _ if utf16 => Some(bad(0, b"", "the file is UTF-16 text", "save it as UTF-8")),
        _ => None,
    }
}

/// All statements of a file in order; a line that is none is an `Err` in its place and the rest is still read.
pub(crate) fn statements(text: &[u8]) -> Vec<Result<Statement, BadLine>> {
    let mut lines = Lines::new(text);
    let mut found = Vec::new();
    while let Some((line, content)) = lines.next_line() {
        match statement(line, content, &mut lines) {
            Ok(None) => {}
            Ok(Some(statement)) => found.push(Ok(statement)),
            Err(bad) => found.push(Err(bad)),
        }
    }
    found
}

fn statement(line: u32, content: &[u8], lines: &mut Lines<'_>) -> Result<Option<Statement>, BadLine> {
    if content.len() > limits::LINE {
        return Err(bad(line, content, "the line is longer than 4 KiB", "put keys and certificates in inline blocks"));
    }
    let mut words = words(content).map_err(|error| bad(line, content, &error.to_string(), error.hint()))?;
    let Some(first) = words.first_mut() else { return Ok(None) };
    if let Some(name) = first.strip_prefix("--") {
        *first = name.to_owned();
    }
    let Some(name) = tag(&words) else { return Ok(Some(Statement { line, words, block: None })) };
    if name.starts_with('/') {
        return Err(bad(
            line,
            content,
            "this end tag has no beginning",
            "remove the line, or add the missing begin tag",
        ));
    }
    let Some(block) = lines.block(&name) else {
        return Err(bad(line, content, "this inline block has no end", "add the end tag, as in </ca>"));
    };
    Ok(Some(Statement { line, words: vec![name], block: Some(block) }))
}

/// The name in a line that is `<name>` and nothing else.
fn tag(words: &[String]) -> Option<String> {
    let [only] = words else { return None };
    let name = only.strip_prefix('<')?.strip_suffix('>')?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn bad(line: u32, content: &[u8], why: &str, hint: &'static str) -> BadLine {
    // The first word alone: the rest of a broken line may hold a secret.
    let what = content.split(|byte| blank(*byte)).find(|word| !word.is_empty()).unwrap_or_default();
    BadLine { line, what: escape(what), why: why.to_owned(), hint }
}

/// The lines of a file, numbered, without their ends and without a UTF-8 mark before the first.
struct Lines<'a> {
    rest: &'a [u8],
    line: u32,
}

impl<'a> Lines<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { rest: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text), line: 0 }
    }

    fn next_line(&mut self) -> Option<(u32, &'a [u8])> {
        if self.rest.is_empty() {
            return None;
        }
        let (content, rest) = self.split();
        self.rest = rest;
        self.line = self.line.saturating_add(1);
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        Some((self.line, content.strip_suffix(b"\r").unwrap_or(content)))
    }

    /// The next line with its end, and what follows.
    fn split(&self) -> (&'a [u8], &'a [u8]) {
        let end = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |at| at.saturating_add(1));
        self.rest.split_at_checked(end).unwrap_or((self.rest, &[]))
    }

    /// Everything up to the line that begins with `</name>`; `None` if there is none, and then all is used up.
    fn block(&mut self, name: &str) -> Option<Secret<Vec<u8>>> {
        let end = format!("</{name}>");
        let start = self.rest;
        let mut len = 0_usize;
        while !self.rest.is_empty() {
            let (raw, _) = self.split();
            let (_, line) = self.next_line()?;
            if line.trim_ascii_start().starts_with(end.as_bytes()) {
                return Some(Secret::new(start.get(..len)?.to_vec()));
            }
            len = len.saturating_add(raw.len());
        }
        None
    }
}

/// The next word and what follows it; `None` at the end of the line or before a comment.
fn next_word(line: &[u8]) -> Result<Option<Word<'_>>, WordError> {
    let line = skip_blanks(line);
    match line.split_first() {
        None | Some((b'#' | b';', _)) => Ok(None),
        Some((b'\'', rest)) => literal(rest).map(Some),
        Some((b'"', rest)) => escaped(rest, |byte| byte == b'"', Closing::Needed).map(Some),
        Some(_) => escaped(line, blank, Closing::OrEnd).map(Some),
    }
}

/// A word and what follows it.
type Word<'a> = (Vec<u8>, &'a [u8]);

fn literal(text: &[u8]) -> Result<Word<'_>, WordError> {
    let end = text.iter().position(|byte| *byte == b'\'').ok_or(WordError::OpenQuote)?;
    let (word, rest) = text.split_at_checked(end).ok_or(WordError::OpenQuote)?;
    Ok((word.to_vec(), rest.strip_prefix(b"'").unwrap_or(rest)))
}

/// Whether a word may end with the line.
#[derive(Clone, Copy)]
enum Closing {
    Needed,
    OrEnd,
}

fn escaped(text: &[u8], ends: impl Fn(u8) -> bool, closing: Closing) -> Result<Word<'_>, WordError> {
    let mut word = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => {
                let (&next, after) = rest.split_first().ok_or(WordError::Backslash)?;
                if !matches!(next, b'\\' | b'"') && !blank(next) {
                    return Err(WordError::Backslash);
                }
                word.push(next);
                rest = after;
            }
            _ if ends(byte) => return Ok((word, rest)),
            _ => word.push(byte),
        }
    }
    match closing {
        Closing::Needed => Err(WordError::OpenQuote),
        Closing::OrEnd => Ok((word, rest)),
    }
}

fn checked(word: Vec<u8>, longest: usize) -> Result<String, WordError> {
    if word.len() > longest {
        return Err(WordError::LongWord);
    }
    let word = String::from_utf8(word).map_err(|_| WordError::NotUtf8)?;
    if word.chars().any(|c| c.is_control() && c != '\t') {
        return Err(WordError::Control);
    }
    Ok(word)
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !blank(*byte)).unwrap_or(line.len());
    line.get(start..).unwrap_or_default()
}

const fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_file_becomes_the_statements_that_openvpn_makes_of_it() {
        let vectors: Value = serde_json::from_str(include_str!("../tests/vectors/openvpn.json")).unwrap();
        let cases = vectors["parse_line"]["config"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let got = statements(case["in"].as_str().unwrap().as_bytes());
            let got: Vec<Vec<String>> = got.into_iter().map(|line| flat(line.unwrap())).collect();
            let expected: Vec<Vec<String>> = serde_json::from_value(case["out"].clone()).unwrap();
            assert_eq!(got.iter().map(|words| words.join("|")).collect::<Vec<_>>(), names(&expected));
        }
    }

    #[test]
    fn lines_count_on_through_blocks_carriage_returns_and_a_utf8_mark() {
        let text = b"\xef\xbb\xbfa\r\n<ca>\r\n x\r\n  </ca>\r\n\r\nb";
        let got: Vec<Statement> = statements(text).into_iter().map(Result::unwrap).collect();
        assert_eq!(got.iter().map(|statement| statement.line).collect::<Vec<_>>(), [1, 2, 6]);
        assert_eq!(got[1].block.as_ref().unwrap().expose(), b" x\r\n");
        assert_eq!(got[0].words, ["a"]);
    }

    #[test]
    fn a_broken_line_shows_its_first_word_alone() {
        let got = statements(b"auth-user-pass 'secret\n").remove(0).unwrap_err();
        assert_eq!((got.line, got.what.as_str()), (1, "auth-user-pass"));
    }

    /// Words, then a block's content as one more.
    fn flat(statement: Statement) -> Vec<String> {
        let content = statement.block.map(|block| String::from_utf8(block.expose().clone()).unwrap());
        statement.words.into_iter().chain(content).collect()
    }

    /// The vectors keep a leading `--`, which is removed here.
    fn names(expected: &[Vec<String>]) -> Vec<String> {
        expected.iter().map(|words| words.join("|").trim_start_matches("--").to_owned()).collect()
    }
}
