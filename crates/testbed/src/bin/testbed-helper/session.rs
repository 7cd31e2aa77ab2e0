//! Sessions like ssh: a TCP connection that lives as long as the test wants, with small messages both ways, each compared.
//! One end speaks and the other echoes; which of the two dialled is another matter. Not a connection that is meant to
//! break: see [`mod@crate::stream`].
//!
//! The ends are led by files, so that a test can say when: while `--pause` exists nobody speaks, and when `--stop` exists
//! the speaker says goodbye. A speaker prints `ID resumed N` when the first message after the Nth pause has come back,
//! and one JSON object a session at its end.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{arguments::Arguments, ask, pattern::Pattern};

/// Time between two messages.
const PAUSE: Duration = Duration::from_millis(20);

/// How long one message may take there and back.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the goodbye of a speaker that was told to stop may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// What leads the ends of a session.
#[derive(Clone)]
struct Lead {
    pause: PathBuf,
    stop: PathBuf,
}

/// What a speaker has seen.
#[derive(Default)]
struct Tally {
    rounds: u64,
    pauses: u64,
    longest: Duration,
}

/// Waits for sessions at `--port` of every address until killed. The first line of each says who speaks: `here ID` (this
/// end) or `there ID`.
pub(crate) fn listen(arguments: &Arguments) -> Result<(), String> {
    let lead = Lead::new(arguments)?;
    let port: u16 = arguments.need("port")?;
    let listener = TcpListener::bind(("::", port)).map_err(|error| error.to_string())?;
    say("ready");
    for stream in listener.incoming().flatten() {
        let lead = lead.clone();
        thread::spawn(move || {
            if let Err(error) = take(&stream, &lead) {
                say(&format!("a session that said nothing of itself: {error}"));
            }
        });
    }
    Ok(())
}

/// Opens the session `--id` to `--to`; `--speaker` is `here` or `there`.
pub(crate) fn dial(arguments: &Arguments) -> Result<(), String> {
    let lead = Lead::new(arguments)?;
    let (to, from) = arguments.ends()?;
    let (id, speaker): (String, String) = (arguments.need("id")?, arguments.need("speaker")?);
    let stream = connect(to, from).map_err(|error| error.to_string())?;
    let here = speaker == "here";
    writeln!(&stream, "{} {id}", if here { "there" } else { "here" }).map_err(|error| error.to_string())?;
    run(&id, here, &stream, &lead);
    Ok(())
}

impl Lead {
    fn new(arguments: &Arguments) -> Result<Self, String> {
        Ok(Self { pause: arguments.need("pause")?, stop: arguments.need("stop")? })
    }
}

fn connect(to: SocketAddr, from: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(3))?;
    Ok(TcpStream::from(socket))
}

fn take(stream: &TcpStream, lead: &Lead) -> io::Result<()> {
    let mut line = String::new();
    // A buffer of one byte: what follows belongs to the session.
    BufReader::with_capacity(1, stream).read_line(&mut line)?;
    let (speaker, id) = line.trim_end().split_once(' ').ok_or(ErrorKind::InvalidData)?;
    run(id, speaker == "here", stream, lead);
    Ok(())
}

fn run(id: &str, speaks: bool, stream: &TcpStream, lead: &Lead) {
    let mut tally = Tally::default();
    let outcome = match speaks {
        true => speak(id, stream, lead, &mut tally),
        false => echo(stream, lead, &mut tally),
    };
    let role = if speaks { "speaker" } else { "echo" };
    let error = outcome.err().map_or(Value::Null, |error| Value::from(ask::name(&error)));
    let longest = u64::try_from(tally.longest.as_millis()).unwrap_or(u64::MAX);
    say(&json!({"id": id, "role": role, "rounds": tally.rounds, "longest_ms": longest, "error": error}).to_string());
}

/// Speaks until it is told to stop, then closes and waits for the other end to close too.
fn speak(id: &str, stream: &TcpStream, lead: &Lead, tally: &mut Tally) -> io::Result<()> {
    prepare(stream)?;
    let (mut pattern, mut reader) = (Pattern::new(1), BufReader::new(stream));
    let mut paused = false;
    while !lead.stop.exists() {
        if lead.pause.exists() {
            tally.pauses += u64::from(!paused);
            paused = true;
        } else {
            exchange(&message(tally.rounds, &mut pattern), stream, &mut reader, tally)?;
            if paused {
                say(&format!("{id} resumed {}", tally.pauses));
            }
            paused = false;
        }
        thread::sleep(PAUSE);
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    match reader.read_until(b'\n', &mut Vec::new())? {
        0 => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// One message there and back.
fn exchange(message: &[u8], mut stream: &TcpStream, reader: &mut impl BufRead, tally: &mut Tally) -> io::Result<()> {
    let begin = Instant::now();
    stream.write_all(message)?;
    let mut back = Vec::new();
    match reader.read_until(b'\n', &mut back)? {
        0 => return Err(ErrorKind::UnexpectedEof.into()),
        _ if back != message => return Err(ErrorKind::InvalidData.into()),
        _ => tally.rounds += 1,
    }
    tally.longest = tally.longest.max(begin.elapsed());
    Ok(())
}

/// Sends back what comes until the other end closes; the messages are numbered and none may be missing.
fn echo(mut stream: &TcpStream, lead: &Lead, tally: &mut Tally) -> io::Result<()> {
    prepare(stream)?;
    stream.set_read_timeout(Some(GOODBYE))?;
    let (mut pattern, mut reader, mut line) = (Pattern::new(1), BufReader::new(stream), Vec::new());
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Part of a line may have come: it stays. A silence is nothing, but for a goodbye that does not come.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !lead.stop.exists() => continue,
            Err(error) => return Err(error),
        }
        if line != message(tally.rounds, &mut pattern) {
            return Err(ErrorKind::InvalidData.into());
        }
        tally.rounds += 1;
        stream.write_all(&line)?;
        line.clear();
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// The numbered message that both ends know: as long as a few keystrokes with their answer.
fn message(number: u64, pattern: &mut Pattern) -> Vec<u8> {
    let mut bytes = [0; 24];
    pattern.fill(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{number} {hex}\n").into_bytes()
}

/// One line to standard output, whole, whichever thread says it.
fn say(line: &str) {
    // Nobody may be left to read it: then it is of no use either.
    let _ = writeln!(io::stdout(), "{line}");
}
