//! The small programs that run inside the namespaces of a test: a service that says which region answered, a name server,
//! and the probes that ask them. Each probe prints one JSON object. They use std and socket2 alone, so that what they
//! observe is the kernel's behaviour and not a library's.

mod arguments; // `--key value` pairs
mod ask; // one question by TCP or UDP
mod dns; // the name server
mod flows; // a thousand flows at once
mod forge; // ICMP errors about a connection that is fine
mod forward; // a local wrapper
mod half_open; // control clients that never finish
mod knock; // claimed flows that never rest
mod lan; // multicast and broadcast, heard and sent
mod pattern; // bytes that both sides can make and compare
mod probe; // many questions a second, and the longest silence
mod region; // a region server of ours
mod scan; // what answers where nothing should
mod serve; // the service of a region
mod session; // a connection that lives as long as it is wanted
mod stream; // one TCP connection kept busy until it breaks
mod trace; // who says that a time to live is over
mod transfer; // megabytes each way, compared byte by byte

use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    match run(&command, &Arguments::parse(words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed-helper {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, arguments: &Arguments) -> Result<(), String> {
    match command {
        "serve" => serve::run(arguments),
        "dns" => dns::run(arguments),
        "ask" => say(&ask::run(arguments)?),
        "probe" => say(&probe::run(arguments)?),
        "transfer" => say(&transfer::run(arguments)?),
        "flows" => say(&flows::run(arguments)?),
        "session-listen" => session::listen(arguments),
        "session" => session::dial(arguments),
        "forward" => forward::run(arguments),
        "half-open" => say(&half_open::run(arguments)?),
        "knock" => say(&knock::run(arguments)?),
        "hear" => lan::hear(arguments),
        "tell" => say(&lan::tell(arguments)?),
        "region" => region::run(arguments),
        "stream" => say(&stream::run(arguments)?),
        "scan" => say(&scan::run(arguments)?),
        "trace" => say(&trace::run(arguments)?),
        "forge" => say(&forge::run(arguments)?),
        "send" => say(&scan::send(arguments)?),
        other => Err(format!("no such command: {other:?}")),
    }
}

/// Writes an answer to standard output, one line.
fn say(answer: &serde_json::Value) -> Result<(), String> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{answer}").map_err(|error| error.to_string())
}
