//! `mrvpn status --watch`: as JSON a line for each change; for people a picture that is drawn again, with rates, or where
//! stdout is no terminal a block for each change. It ends with the engine, or with whoever reads it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use mrvpn_engine::Status;

use super::rates::{Rate, Readings};
use super::{nothing, read, written};
use crate::cli::{summary, terminal};
use crate::control::client::{Answers, Connection, Next, unexpected};
use crate::control::{Request, Response};
use crate::failure::Failure;
use crate::instance::Instance;

/// 1 s: how often a picture is drawn again for its rates.
const REDRAW: Duration = Duration::from_secs(1);

pub(super) fn run(json: bool, instance: &Instance, named: Option<&str>) -> Result<u8, Failure> {
    let Some(connection) = Connection::open(&instance.socket())? else { return Ok(nothing(json, named)) };
    let answers = connection.follow(&Request::Watch)?;
    let terminal = std::io::stdout().is_terminal();
    let shown = match (json, terminal) {
        (true, _) => lines(answers),
        (false, true) => picture(answers, instance),
        (false, false) => blocks(answers),
    };
    Ok(match shown? {
        Until::EngineEnded => nothing(json, named),
        Until::NobodyReads => 0,
    })
}

/// Why it has ended.
enum Until {
    EngineEnded,
    NobodyReads,
}

fn lines(mut answers: Answers) -> Result<Until, Failure> {
    while let Some(status) = changed(&mut answers, None)? {
        let Change::To(status) = status else { continue };
        if !print(&format!("{}\n", written(&status)?)) {
            return Ok(Until::NobodyReads);
        }
    }
    Ok(Until::EngineEnded)
}

fn blocks(mut answers: Answers) -> Result<Until, Failure> {
    let mut readings = Readings::default();
    while let Some(status) = changed(&mut answers, None)? {
        let Change::To(status) = status else { continue };
        let rates = readings.take(&status, Instant::now());
        if !print(&format!("{}\n\n", summary::status(&status, &rates))) {
            return Ok(Until::NobodyReads);
        }
    }
    Ok(Until::EngineEnded)
}

fn picture(mut answers: Answers, instance: &Instance) -> Result<Until, Failure> {
    let mut readings = Readings::default();
    let mut rates: Vec<Rate> = Vec::new();
    while let Some(change) = changed(&mut answers, Some(REDRAW))? {
        let status = match change {
            Change::To(status) => status,
            Change::None => match read(instance)? {
                Some(status) => {
                    rates = readings.take(&status, Instant::now());
                    Box::new(status)
                }
                None => break,
            },
        };
        let (rows, columns) = terminal::size();
        if !print(&drawn(&terminal::fitted(&summary::status(&status, &rates), rows, columns))) {
            return Ok(Until::NobodyReads);
        }
    }
    Ok(Until::EngineEnded)
}

/// The text from the top of the terminal; each line and all below is wiped first, so that nothing flickers.
fn drawn(text: &str) -> String {
    format!("\x1b[H{}\x1b[K\n\x1b[J", text.replace('\n', "\x1b[K\n"))
}

enum Change {
    To(Box<Status>),
    None,
}

/// The next document; `None` where the engine is gone.
fn changed(answers: &mut Answers, limit: Option<Duration>) -> Result<Option<Change>, Failure> {
    match answers.next(limit)? {
        Next::Answer(response) => {
            let Response::Status { status } = *response else { return Err(unexpected()) };
            Ok(Some(Change::To(status)))
        }
        Next::Quiet => Ok(Some(Change::None)),
        Next::End => Ok(None),
    }
}

/// Prints; `false` where nobody reads any longer.
fn print(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_wipes_what_it_is_drawn_over() {
        assert_eq!(drawn("a\nb"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
