//! One `<connection>` block: a server with a protocol, a port and a wrapping of its own (openvpn-protocol.md section
//! 11.4). What was said before the block is its default; what holds for all servers is not taken here.

use super::ciphers::Ciphers;
use super::directives;
use super::judgement::{Fate, Judgement};
use super::material::{Files, Materials};
use super::remotes::Remotes;
use super::wrapping::{Wrapping, is_wrapping};
use crate::{Remote, Secret, Wrap};

/// What a block said so far.
#[derive(Debug)]
pub(super) struct Connection {
    line: u32,
    remotes: Remotes,
    wrapping: Wrapping,
    materials: Materials,
}

impl Connection {
    /// A block that begins in `line`, after what `remotes` and `wrapping` have taken.
    pub(super) fn new(line: u32, remotes: &Remotes, wrapping: &Wrapping) -> Self {
        Self { line, remotes: remotes.defaults(), wrapping: wrapping.clone(), materials: Materials::default() }
    }

    /// Takes a line of the block.
    pub(super) fn take(&mut self, name: &str, parameters: &[&str], line: u32) -> Fate {
        if name == "remote" && self.remotes.count() > 0 {
            return Fate::wrong("a block names one server", "write a block for each server");
        }
        match name {
            "remote-random" | "proto-force" => return misplaced(),
            "tun-mtu" => return Fate::ignored("a tunnel has one MTU; write the line outside of the block"),
            _ => {}
        }
        self.remotes
            .take(name, parameters, line)
            .or_else(|| self.wrapping.take(name, parameters, line, &mut self.materials))
            .or_else(|| directives::fate(name))
            .unwrap_or_else(misplaced)
    }

    /// Takes an inline block inside of the block.
    pub(super) fn take_inline(&mut self, name: &str, content: Secret<Vec<u8>>, line: u32) -> Fate {
        let taken = if is_wrapping(name) { self.materials.take_inline(name, content, line) } else { None };
        taken.unwrap_or_else(misplaced)
    }

    /// The server; `None` if something is refused, which is entered then.
    pub(super) fn finish(
        mut self,
        files: &mut dyn Files,
        ciphers: &Ciphers,
        judgement: &mut Judgement,
    ) -> Option<Remote> {
        let wrap = self.wrapping.finish(&mut self.materials, files, ciphers, judgement)?;
        let Some(mut remote) = self.remotes.first() else {
            if !judgement.has_refused("remote") {
                judgement.refuse(self.line, "connection", "the block names no server", "add a line `remote HOST PORT`");
            }
            return None;
        };
        remote.wrap = Some(wrap).filter(|wrap| *wrap != Wrap::None);
        Some(remote)
    }
}

fn misplaced() -> Fate {
    Fate::wrong("it has no place in a <connection> block", "write it outside of the block")
}
