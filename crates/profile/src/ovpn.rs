//! An `.ovpn` file becomes a [`Profile`], with a judgement of every line: used, ignored with what holds instead, or
//! refused with the mend (openvpn-protocol.md section 11). Nothing named in a file is ever run, and no file is opened
//! here: the caller reads what a profile names, with its own rights. What a server pushes is `push.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

mod ciphers; // data ciphers and digest
mod connection; // one <connection> block
mod credentials; // user and password
mod directives; // directives that are ignored or refused, with the reason
mod draft; // all that a file said, and the profile made of it
mod environment; // setenv and options that may be unknown
mod judgement; // what became of each line
mod material; // contents that stand inline or in a file
mod mode; // client, pull, dev and their like
mod pem; // certificates and keys out of PEM
mod pull; // addresses, routes, DNS and timers of the file
mod remotes; // where to connect
mod tls; // certificates and what is asked of the server's
mod wrapping; // tls-auth, tls-crypt, tls-crypt-v2

pub use credentials::credentials;
pub use judgement::{Judgement, Noted, ProfileError};
pub use material::{FileWanted, Files, NoFiles};
pub use remotes::ON_THIS_MACHINE;

use crate::{Profile, syntax};
use draft::Draft;

/// A profile, and what became of each line of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The profile.
    pub profile: Profile,
    /// Used, ignored and warned of; `refused` is empty.
    pub judgement: Judgement,
}

/// Reads a whole `.ovpn` file. `files` gives the contents of the files that it names.
///
/// # Errors
///
/// [`ProfileError`] if anything in the file is refused; it carries the judgement of the whole file.
pub fn parse(text: &[u8], files: &mut dyn Files) -> Result<Parsed, ProfileError> {
    let mut judgement = Judgement::default();
    if let Some(fault) = syntax::fault_of_file(text) {
        judgement.refuse(fault.line, &fault.what, &fault.why, fault.hint);
        return Err(ProfileError::of(judgement));
    }
    let mut draft = Draft::default();
    for statement in syntax::statements(text) {
        match statement {
            Ok(statement) => draft.take(statement, &mut judgement),
            Err(bad) => judgement.refuse(bad.line, &bad.what, &bad.why, bad.hint),
        }
    }
    let profile = draft.finish(files, &mut judgement);
    judgement.settle();
    match profile {
        Some(profile) if judgement.refused.is_empty() => Ok(Parsed { profile, judgement }),
        Some(_) | None => Err(ProfileError::of(judgement)),
    }
}
