//! Sessions like ssh into a machine: opened before the program under test runs, led by the test from outside (silent now,
//! speaking again), and asked at the end whether a byte was lost. Questions that end at once are [`crate::ask`]'s.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::{
    netns::Netns,
    probe::helper,
    process::Process,
    scratch::{Scratch, unique_name},
};

/// Port of the listener, as ssh has it.
pub const SESSION_PORT: u16 = 22;

/// How long a message of a session that lives may take. TCP's own retransmissions within that are no loss.
const ALIVE: Duration = Duration::from_secs(5);

/// Which end of a session speaks; the other one echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The end that dialled: the peer outside.
    Dialler,
    /// The end that was dialled: the machine's own side.
    Listener,
}

/// A listener with the sessions to it.
#[derive(Debug)]
pub struct Sessions {
    dialled: Vec<Dialled>,
    listener: Process,
    pause: PathBuf,
    stop: PathBuf,
    pauses: u32,
    paused: bool,
}

#[derive(Debug)]
struct Dialled {
    id: String,
    speaker: Speaker,
    process: Process,
}

/// How one end of a session ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The session and its end: `lan-peer speaker`.
    pub name: String,
    /// Messages that came back, or were sent back.
    pub rounds: u64,
    /// The longest time that one took, in milliseconds; 0 at the end that echoes.
    pub longest_ms: u64,
    /// What broke it, if anything did: a wrong byte is `InvalidData`.
    pub error: Option<String>,
}

impl Sessions {
    /// Starts the listener.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    #[track_caller]
    pub fn listen(netns: &Netns, scratch: &Scratch) -> Self {
        let name = unique_name();
        let file = |ending: &str| scratch.path().join(format!("{name}-{ending}"));
        let (pause, stop) = (file("pause"), file("stop"));
        let mut command = netns.command(helper());
        command.args(["session-listen", "--port", &SESSION_PORT.to_string()]);
        command.arg("--pause").arg(&pause).arg("--stop").arg(&stop);
        let mut listener = Process::start(&format!("listener-{name}"), command, scratch.path());
        listener.wait_for("ready", Duration::from_secs(5));
        Self { dialled: Vec::new(), listener, pause, stop, pauses: 0, paused: false }
    }

    /// Opens a session from `netns` (bound to `from`) to the listener's machine at `to`; `id` is one word.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn open(&mut self, id: &str, netns: &Netns, from: &str, to: &str, speaker: Speaker, scratch: &Scratch) {
        let mut command = netns.command(helper());
        let target = if to.contains(':') { format!("[{to}]:{SESSION_PORT}") } else { format!("{to}:{SESSION_PORT}") };
        let who = if speaker == Speaker::Dialler { "here" } else { "there" };
        command.args(["session", "--id", id, "--to", &target, "--from", from, "--speaker", who]);
        command.arg("--pause").arg(&self.pause).arg("--stop").arg(&self.stop);
        let process = Process::start(&format!("session-{id}-{}", unique_name()), command, scratch.path());
        self.dialled.push(Dialled { id: String::from(id), speaker, process });
    }

    /// From now on nobody speaks. What is under way arrives.
    #[track_caller]
    pub fn pause(&mut self) {
        fs::write(&self.pause, "").unwrap_or_else(|error| panic!("{}: {error}", self.pause.display()));
        self.pauses += 1;
        self.paused = true;
        // Longer than the time between two messages, so that each speaker has seen it.
        std::thread::sleep(Duration::from_millis(150));
    }

    /// The speakers go on, and each has had an answer.
    ///
    /// # Panics
    /// When one has none within 5 s, with what it said.
    #[track_caller]
    pub fn resume(&mut self) {
        let _ = fs::remove_file(&self.pause);
        self.paused = false;
        for session in &mut self.dialled {
            let word = format!("{} resumed {}\n", session.id, self.pauses);
            match session.speaker {
                Speaker::Dialler => session.process.wait_for(&word, ALIVE),
                Speaker::Listener => self.listener.wait_for(&word, ALIVE),
            }
        }
    }

    /// A pause without a length: proves that each session lives now.
    #[track_caller]
    pub fn prove_alive(&mut self) {
        self.pause();
        self.resume();
    }

    /// Lets all say goodbye; both ends of each, in the order of opening.
    ///
    /// # Panics
    /// When one does not end.
    #[must_use]
    #[track_caller]
    pub fn finish(mut self) -> Vec<Ended> {
        fs::write(&self.stop, "").unwrap_or_else(|error| panic!("{}: {error}", self.stop.display()));
        let mut all = Vec::new();
        for session in &mut self.dialled {
            let status = session.process.wait_end(ALIVE * 2);
            assert!(status.success(), "{}", session.process.log());
            all.extend(ends(&session.process.stdout()));
            let id = format!("\"id\":\"{}\"", session.id);
            self.listener.wait_for(&id, ALIVE);
        }
        all.extend(ends(&self.listener.stdout()));
        assert_eq!(all.len(), 2 * self.dialled.len(), "{all:?}\n{}", self.listener.log());
        all
    }
}

fn ends(stdout: &str) -> Vec<Ended> {
    let ended = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        let name = format!("{} {}", value["id"].as_str()?, value["role"].as_str()?);
        let error = value["error"].as_str().map(String::from);
        Some(Ended { name, rounds: value["rounds"].as_u64()?, longest_ms: value["longest_ms"].as_u64()?, error })
    };
    stdout.lines().filter_map(ended).collect()
}
