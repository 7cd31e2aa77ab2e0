//! `auth-user-pass` and `auth-retry`: whether user and password are asked for, and whether the profile has them. Asking itself is the
//! program's.

use super::judgement::{Fate, Judgement};
use super::material::{Files, Materials};
use crate::{AuthRetry, AuthUserPass, Credentials, Secret};

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Login {
    asked: bool,
    retry: AuthRetry,
}

impl Login {
    pub(super) fn take(
        &mut self,
        name: &str,
        parameters: &[&str],
        line: u32,
        materials: &mut Materials,
    ) -> Option<Fate> {
        match (name, parameters) {
            ("auth-user-pass", ["username-only", ..]) => Some(Fate::refused(
                "signing in by a web page is not in this version",
                "write `auth-user-pass` if the server takes a password too",
            )),
            ("auth-user-pass", []) => {
                self.asked = true;
                Some(Fate::Used)
            }
            ("auth-user-pass", [path, ..]) => {
                self.asked = true;
                materials.take_file(name, Some(path), line)
            }
            ("auth-retry", [kind, ..]) => Some(self.auth_retry(kind)),
            ("auth-retry", []) => Some(wrong_retry()),
            _ => None,
        }
    }

    fn auth_retry(&mut self, kind: &str) -> Fate {
        self.retry = match kind {
            "none" => AuthRetry::None,
            "nointeract" => AuthRetry::NoInteract,
            "interact" => AuthRetry::Interact,
            _ => return wrong_retry(),
        };
        Fate::Used
    }

    pub(super) const fn retry(&self) -> AuthRetry {
        self.retry
    }

    pub(super) fn finish(
        &self,
        materials: &mut Materials,
        files: &mut dyn Files,
        judgement: &mut Judgement,
    ) -> AuthUserPass {
        let Some(material) = materials.take(NAME) else {
            return if self.asked { AuthUserPass::Ask } else { AuthUserPass::No };
        };
        let line = material.line;
        let read = material.contents(NAME, files).and_then(|content| credentials(&content));
        read.map_or_else(
            |why| {
                judgement.warn(line, NAME, &why, "user and password are asked for");
                AuthUserPass::Ask
            },
            AuthUserPass::Given,
        )
    }
}

/// User in the first line, password in the second; only line ends are stripped, for blanks may belong to either.
///
/// # Errors
///
/// In words for the user: one of the two is missing, or the text is not UTF-8.
pub fn credentials(content: &Secret<Vec<u8>>) -> Result<Credentials, String> {
    let text = content.expose();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = str::from_utf8(text).map_err(|_| String::from("user and password are not UTF-8 text"))?;
    let mut lines = text.lines();
    let user = lines.next().unwrap_or_default();
    let password = lines.next().unwrap_or_default();
    if user.is_empty() {
        return Err(String::from("the first line has no user"));
    }
    if password.is_empty() {
        return Err(String::from("the second line has no password"));
    }
    if user.contains('\0') || password.contains('\0') {
        return Err(String::from("user or password holds a NUL"));
    }
    Ok(Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) })
}

fn wrong_retry() -> Fate {
    Fate::wrong("it is none, nointeract or interact", "write `auth-retry none`")
}

const NAME: &str = "auth-user-pass";
