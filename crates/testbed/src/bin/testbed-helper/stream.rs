//! One TCP connection kept busy with short lines until it breaks or the time is up: how long it lived and what ended it.

use std::{
    io::{BufRead, BufReader, Write},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{arguments::Arguments, ask};

/// Time between two lines.
const PAUSE: Duration = Duration::from_millis(20);

/// Talks to `--to` for `--ms`. `ended_unix_ms` is the wall clock when it broke, to be compared with other events.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let (to, from) = arguments.ends()?;
    let limit = Duration::from_millis(arguments.need("ms")?);
    let begin = Instant::now();
    let mut rounds = 0_u64;
    let outcome = ask::connect(to, from, limit).and_then(|(stream, answer)| {
        let mut reader = BufReader::new(stream.try_clone()?);
        writeln!(&stream, "echo")?;
        while begin.elapsed() < limit {
            writeln!(&stream, "{rounds}")?;
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            rounds += 1;
            thread::sleep(PAUSE);
        }
        Ok(answer.region)
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let ended = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Ok(match outcome {
        Ok(region) => json!({"region": region, "rounds": rounds, "error": null, "ended_unix_ms": ended}),
        Err(error) => json!({"region": null, "rounds": rounds, "error": ask::name(&error), "ended_unix_ms": ended}),
    })
}
