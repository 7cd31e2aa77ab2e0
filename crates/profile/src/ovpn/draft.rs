//! All that a file said, and the profile that is made of it. Each part of a profile has its own neighbour here, which
//! takes its directives one by one and is asked for its share at the end; what no part takes is in `directives.rs`.

use super::ciphers::Ciphers;
use super::connection::Connection;
use super::credentials::Login;
use super::directives;
use super::environment::Environment;
use super::judgement::{Fate, Judgement};
use super::material::{Files, Materials};
use super::mode::Mode;
use super::pull::Pull;
use super::remotes::{Remotes, too_many, warn_of_loopback};
use super::tls::Tls;
use super::wrapping::Wrapping;
use crate::syntax::{self, Statement};
use crate::{AuthUserPass, Profile, Remote, Secret, TlsOptions, limits};

/// What a file said so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    materials: Materials,
    mode: Mode,
    remotes: Remotes,
    tls: Tls,
    wrapping: Wrapping,
    login: Login,
    ciphers: Ciphers,
    pull: Pull,
    environment: Environment,
    connections: Vec<Connection>,
}

impl Draft {
    /// Takes one line or inline block and enters what became of it.
    pub(super) fn take(&mut self, statement: Statement, judgement: &mut Judgement) {
        let Statement { line, words, block } = statement;
        let Some(name) = words.first().cloned() else { return };
        let fate = match block {
            Some(content) if name == "connection" => self.connection(content, line, judgement),
            Some(content) => {
                let taken = self.materials.take_inline(&name, content, line);
                taken.unwrap_or_else(|| block_fate(&name))
            }
            None => self.directive(&words, line),
        };
        let fate = if self.environment.may_be_unknown(&name) { fate.optional() } else { fate };
        judgement.enter(line, shown_name(&words), fate);
    }

    /// A block that holds lines of its own; the fate is that of its first line.
    fn connection(&mut self, content: Secret<Vec<u8>>, line: u32, judgement: &mut Judgement) -> Fate {
        if self.connections.len() >= limits::REMOTES {
            return too_many();
        }
        let mut connection = Connection::new(line, &self.remotes, &self.wrapping);
        for statement in syntax::statements(content.expose()) {
            match statement {
                Ok(statement) => self.connection_line(&mut connection, statement, line, judgement),
                Err(bad) => judgement.refuse(line.saturating_add(bad.line), &bad.what, &bad.why, bad.hint),
            }
        }
        self.connections.push(connection);
        Fate::Used
    }

    fn connection_line(
        &mut self,
        connection: &mut Connection,
        statement: Statement,
        before: u32,
        judgement: &mut Judgement,
    ) {
        let line = before.saturating_add(statement.line);
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        let Some((name, parameters)) = words.split_first() else { return };
        let fate = match (statement.block, *name) {
            (Some(content), name) => connection.take_inline(name, content, line),
            // Told to any server that can be told: to those by TCP it is nothing.
            (None, "explicit-exit-notify") => self.pull.take(name, &words).unwrap_or(Fate::Unknown),
            (None, name) => connection.take(name, parameters, line),
        };
        let fate = if self.environment.may_be_unknown(name) { fate.optional() } else { fate };
        judgement.enter(line, name, fate);
    }

    fn directive(&mut self, words: &[String], line: u32) -> Fate {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.split_first() {
            Some((&"setenv", ["opt", optional @ ..])) if !optional.is_empty() => self.named(optional, line).optional(),
            Some((&"setenv", ["SERVER_POLL_TIMEOUT", time, ..])) => self.named(&["server-poll-timeout", time], line),
            Some(_) => self.named(&words, line),
            None => Fate::Unknown,
        }
    }

    /// Asks the parts in turn; none takes a directive of another.
    fn named(&mut self, words: &[&str], line: u32) -> Fate {
        let Some((name, parameters)) = words.split_first() else { return Fate::Unknown };
        self.environment
            .take(name, parameters)
            .or_else(|| self.mode.take(name, parameters))
            .or_else(|| self.remotes.take(name, parameters, line))
            .or_else(|| self.login.take(name, parameters, line, &mut self.materials))
            .or_else(|| self.wrapping.take(name, parameters, line, &mut self.materials))
            .or_else(|| self.tls.take(name, parameters, line, &mut self.materials))
            .or_else(|| self.ciphers.take(name, parameters, line))
            .or_else(|| self.pull.take(name, words))
            .or_else(|| directives::fate(name))
            .unwrap_or(Fate::Unknown)
    }

    /// The profile; `None` if something is refused, which is entered then.
    pub(super) fn finish(mut self, files: &mut dyn Files, judgement: &mut Judgement) -> Option<Profile> {
        self.mode.finish(judgement);
        let connect_timeout = self.remotes.connect_timeout();
        let blocks = self.connections(files, judgement);
        let (remotes, remote_random) = self.remotes.finish(blocks, judgement);
        if !self.pull.keeps_something_outside() {
            warn_of_loopback(&remotes, judgement);
        }
        let auth_retry = self.login.retry();
        let auth_user_pass = self.login.finish(&mut self.materials, files, judgement);
        let wrap = self.wrapping.finish(&mut self.materials, files, &self.ciphers, judgement);
        let tls = self.tls.finish(&mut self.materials, files, judgement);
        check_own_proof(&tls, &auth_user_pass, judgement);
        let auth = self.ciphers.digest();
        let (data_ciphers, data_ciphers_fallback) = self.ciphers.finish(judgement);
        let explicit_exit_notify = self.pull.explicit_exit_notify();
        let hand_window = self.pull.hand_window();
        let renewal = self.pull.renewal();
        Some(Profile {
            remotes,
            remote_random,
            wrap: wrap?,
            tls,
            auth_user_pass,
            data_ciphers,
            data_ciphers_fallback,
            auth,
            pull: self.pull.finish(),
            hand_window,
            connect_timeout,
            renewal,
            auth_retry,
            explicit_exit_notify,
            push_peer_info: self.environment.push_peer_info(),
        })
    }

    /// The servers of the `<connection>` blocks; `None` where there is no block.
    fn connections(&mut self, files: &mut dyn Files, judgement: &mut Judgement) -> Option<Vec<Remote>> {
        let blocks = std::mem::take(&mut self.connections);
        let servers = |block: Connection| block.finish(files, &self.ciphers, judgement);
        (!blocks.is_empty()).then(|| blocks.into_iter().filter_map(servers).collect())
    }
}

/// What a line is called in the judgement: `setenv opt` stands before another directive, which is meant.
fn shown_name(words: &[String]) -> &str {
    let plain: Vec<&str> = words.iter().take(3).map(String::as_str).collect();
    match plain.as_slice() {
        ["setenv", "opt", optional] => optional,
        [name, ..] => name,
        [] => "",
    }
}

/// An inline block of a name that has no contents here.
fn block_fate(name: &str) -> Fate {
    match directives::fate(name) {
        Some(fate) => fate,
        None if directives::is_used(name) => {
            Fate::wrong("this directive has no inline block", format!("write `{name}` in a line of its own"))
        }
        None => Fate::Unknown,
    }
}

/// A client proves who it is by a certificate or by a password.
fn check_own_proof(tls: &TlsOptions, login: &AuthUserPass, judgement: &mut Judgement) {
    if tls.cert.is_empty() && *login == AuthUserPass::No && judgement.refused.is_empty() {
        let why = "the profile has neither `cert` and `key` nor `auth-user-pass`";
        judgement.refuse(0, "cert", why, "add `auth-user-pass`, or `cert` and `key`, as the provider gave them");
    }
}
