//! Megabytes each way over one TCP connection a direction, compared byte by byte at the receiver.

use std::{
    io::{BufRead, BufReader, Write},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{arguments::Arguments, ask, serve};

/// A transfer that stands still this long has failed.
const STALL: Duration = Duration::from_secs(20);

/// Sends `--up` bytes to `--to`, then fetches `--down` bytes from it.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let begin = Instant::now();
    let (up, down): (u64, u64) = (arguments.get("up")?.unwrap_or(0), arguments.get("down")?.unwrap_or(0));
    let outcome = transfer(arguments, up, down)?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(match outcome {
        Ok(region) => json!({"region": region, "error": null, "seconds": seconds}),
        Err(error) => json!({"region": null, "error": error, "seconds": seconds}),
    })
}

fn transfer(arguments: &Arguments, up: u64, down: u64) -> Result<Result<String, String>, String> {
    let (to, from) = arguments.ends()?;
    let seed = u64::from(std::process::id());
    let both = || -> std::io::Result<Result<String, String>> {
        let (mut stream, answer) = ask::connect(to, from, STALL)?;
        stream.set_write_timeout(Some(STALL))?;
        writeln!(stream, "up {up} {seed}")?;
        serve::send(&mut stream, up, seed)?;
        let mut verdict = String::new();
        BufReader::new(&stream).read_line(&mut verdict)?;
        if verdict.trim() != "ok" {
            return Ok(Err(format!("up: {verdict}")));
        }
        let (mut stream, _) = ask::connect(to, from, STALL)?;
        writeln!(stream, "down {down} {seed}")?;
        let verdict = serve::receive(&mut stream, down, seed)?;
        Ok(if verdict == "ok" { Ok(answer.region) } else { Err(format!("down: {verdict}")) })
    };
    Ok(both().unwrap_or_else(|error| Err(ask::name(&error))))
}
