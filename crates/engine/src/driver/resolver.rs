//! Asks the resolvers of `bootstrap.rs` over marked sockets: the hosts file first, then each resolver in turn, IPv4 and
//! IPv6 at once.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::socket;
use crate::bootstrap::{self, Answer, Question};

/// 2 s: how long one resolver has for one question.
const PATIENCE: Duration = Duration::from_secs(2);
/// 50 ms: how long one family waits for the other once it has an address (RFC 8305, section 3, "Resolution Delay").
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Each resolver is asked twice: a datagram may be lost.
const ROUNDS: usize = 2;

/// Files that name resolvers, the usual one first; the others stand where it names only a stub on this machine.
const RESOLVER_FILES: [&str; 5] = [
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/NetworkManager/resolv.conf",
    "/run/resolvconf/resolv.conf",
];

/// What this machine's programs ask, for the warning that `up` prints.
pub(super) fn system_resolvers() -> Vec<IpAddr> {
    bootstrap::in_resolv_conf(&std::fs::read_to_string(RESOLVER_FILES[0]).unwrap_or_default())
}

/// The addresses of `host`, IPv4 before IPv6.
///
/// # Errors
/// A text for the user: no such name, or no resolver answered.
pub(super) async fn resolve(host: &str, mark: u32) -> Result<Vec<IpAddr>, String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = bootstrap::in_hosts_file(&hosts, host);
    if !known.is_empty() {
        return Ok(known);
    }
    let files: Vec<String> = RESOLVER_FILES.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let resolvers = bootstrap::real_resolvers(&files);
    if resolvers.is_empty() {
        return Err("cannot be looked up: /etc/resolv.conf names no resolver".to_owned());
    }
    for _ in 0..ROUNDS {
        for resolver in &resolvers {
            match both_families(host, *resolver, mark).await {
                Answer::Addresses(found) if !found.is_empty() => return Ok(found),
                Answer::Addresses(_) => return Err("has no address".to_owned()),
                Answer::NoSuchName => return Err("does not exist (the resolver knows no such name)".to_owned()),
                Answer::Failed => {}
            }
        }
    }
    let asked: Vec<String> = resolvers.iter().map(ToString::to_string).collect();
    Err(format!("cannot be looked up: no answer from {}", asked.join(", ")))
}

/// Asks for both families at once. Once one has an address, the other has only a moment more.
async fn both_families(host: &str, resolver: IpAddr, mark: u32) -> Answer {
    let v4 = ask(host, Question::Ipv4, resolver, mark);
    let v6 = ask(host, Question::Ipv6, resolver, mark);
    tokio::pin!(v4, v6);
    let (v4, v6) = tokio::select! {
        first = &mut v4 => {
            let other = second(&first, v6).await;
            (first, other)
        }
        first = &mut v6 => {
            let other = second(&first, v4).await;
            (other, first)
        }
    };
    join(v4, v6)
}

/// The answer for the second family: only a moment is waited for it where the first has an address.
async fn second(first: &Answer, other: impl Future<Output = Answer>) -> Answer {
    match first {
        Answer::Addresses(found) if !found.is_empty() => {
            timeout(RESOLUTION_DELAY, other).await.unwrap_or(Answer::Failed)
        }
        Answer::Addresses(_) | Answer::NoSuchName | Answer::Failed => other.await,
    }
}

fn join(v4: Answer, v6: Answer) -> Answer {
    match (v4, v6) {
        (Answer::Addresses(mut found), Answer::Addresses(more)) => {
            found.extend(more);
            Answer::Addresses(found)
        }
        (Answer::Addresses(found), Answer::Failed | Answer::NoSuchName)
        | (Answer::Failed | Answer::NoSuchName, Answer::Addresses(found)) => Answer::Addresses(found),
        (Answer::NoSuchName, Answer::NoSuchName | Answer::Failed) | (Answer::Failed, Answer::NoSuchName) => {
            Answer::NoSuchName
        }
        (Answer::Failed, Answer::Failed) => Answer::Failed,
    }
}

async fn ask(host: &str, family: Question, resolver: IpAddr, mark: u32) -> Answer {
    timeout(PATIENCE, exchange(host, family, resolver, mark)).await.ok().flatten().unwrap_or(Answer::Failed)
}

/// One question and its answer; `None` where the resolver cannot be asked.
async fn exchange(host: &str, family: Question, resolver: IpAddr, mark: u32) -> Option<Answer> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).ok()?;
    let id = u16::from_be_bytes(id);
    let question = bootstrap::question(host, family, id).ok()?;
    let socket = UdpSocket::from_std(socket::open(bootstrap::resolver_address(resolver), mark).ok()?).ok()?;
    socket.send(&question).await.ok()?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await.ok()?;
        if let Some(answer) = bootstrap::answer(&buffer[..length], host, family, id) {
            return Some(answer);
        }
    }
}
