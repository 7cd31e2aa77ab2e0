//! A region server of ours as a process: `region --name uk --listen udp:192.0.2.2:1194 --network 10.100.0.0/16`, with
//! whatever else is wanted of it. It writes a profile for each `--profile USER=PATH`, says `ready`, then each event as one
//! line; lines on its input ask for more. It ends with its input, or, where that is empty from the start, by a signal.

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    num::NonZeroUsize,
    time::Duration,
};

use mrvpn_profile::{Cipher, Secret};
use mrvpn_region::{Authority, Farewell, Listen, Region, RegionSpec, Transport, Wrapping};
use serde_json::json;

use crate::arguments::Arguments;

pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let spec = spec(arguments)?;
    for profile in arguments.all("profile") {
        let (user, path) = profile.split_once('=').ok_or("--profile: USER=PATH")?;
        let text = spec.profile(user).map_err(|error| error.to_string())?;
        std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))?;
    }
    let mut running = Some(start(&spec)?);
    let mut asked = false;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        asked = true;
        let Some(region) = &running else { return Ok(()) };
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("clients", _) => say(&clients(region))?,
            ("renegotiate", _) => region.renegotiate(),
            ("restart", word) => {
                stop(running.take(), farewell(word)?);
                running = Some(start(&spec)?);
            }
            ("stop", word) => {
                stop(running.take(), farewell(word)?);
                return Ok(());
            }
            (other, _) => return Err(format!("no such request: {other:?}")),
        }
    }
    if asked {
        return Ok(());
    }
    // Its input was empty from the start: a signal ends it.
    loop {
        std::thread::park();
    }
}

fn start(spec: &RegionSpec) -> Result<Region, String> {
    let region = Region::start(spec.clone()).map_err(|error| error.to_string())?;
    let events = region.events();
    std::thread::spawn(move || {
        // Who does not listen misses nothing.
        events.for_each(|event| drop(say(&format!("{event:?}"))));
    });
    say("ready")?;
    Ok(region)
}

fn stop(region: Option<Region>, farewell: Farewell) {
    if let Some(region) = region {
        region.stop(farewell);
    }
}

fn farewell(word: &str) -> Result<Farewell, String> {
    match word {
        "" | "silent" => Ok(Farewell::Silent),
        "restart" => Ok(Farewell::Restart(String::new())),
        "halt" => Ok(Farewell::Halt(String::new())),
        "exit" => Ok(Farewell::Exit),
        other => Err(format!("no such farewell: {other:?}")),
    }
}

fn clients(region: &Region) -> String {
    let shown = region.clients().into_iter().map(|client| {
        json!({
            "user": client.user, "name": client.common_name, "from": client.from.to_string(),
            "address": client.address.to_string(), "cipher": client.cipher.map(Cipher::name), "keys": client.keys,
            "received": client.traffic.received, "received_bytes": client.traffic.received_bytes,
            "sent": client.traffic.sent, "sent_bytes": client.traffic.sent_bytes, "dropped": client.traffic.dropped,
        })
    });
    let lost = region.lost();
    let lost = json!({"device": lost.device, "handed": lost.handed, "stranger": lost.stranger});
    json!({"clients": shown.collect::<Vec<_>>(), "lost": lost}).to_string()
}

fn spec(arguments: &Arguments) -> Result<RegionSpec, String> {
    let listen: Vec<Listen> = arguments.all("listen").map(listen).collect::<Result<_, _>>()?;
    let first = *listen.first().ok_or("--listen is missing")?;
    let authority = Authority::new().map_err(|error| error.to_string())?;
    let name: String = arguments.need("name")?;
    let mut spec = RegionSpec::new(&name, first.address, arguments.need("network")?, authority);
    spec.listen = listen;
    spec.network6 = arguments.get("network6")?;
    if let Some(word) = arguments.get::<String>("wrapping")? {
        spec.wrapping = wrapping(&word)?;
    }
    let cipher = |name: &str| Cipher::by_name(name).ok_or_else(|| format!("no such cipher: {name:?}"));
    let ciphers: Vec<Cipher> = arguments.all("cipher").map(cipher).collect::<Result<_, _>>()?;
    if !ciphers.is_empty() {
        spec.ciphers = ciphers;
    }
    spec.users = users(arguments)?;
    spec.push = arguments.all("push").map(String::from).collect();
    let seconds = |key: &str| Ok::<_, String>(arguments.get(key)?.map(Duration::from_secs));
    spec.ping = seconds("ping")?.unwrap_or(spec.ping);
    spec.ping_restart = seconds("ping-restart")?.unwrap_or(spec.ping_restart);
    spec.renewal = seconds("renewal")?.or(spec.renewal);
    spec.clients = arguments.get("clients")?.unwrap_or(spec.clients);
    spec.workers = arguments.get::<NonZeroUsize>("workers")?;
    spec.device = arguments.get("device")?.unwrap_or(spec.device);
    spec.shared_certificates = arguments.get("shared-certificates")?.unwrap_or(spec.shared_certificates);
    spec.between_clients = arguments.get("between-clients")?.unwrap_or(spec.between_clients);
    Ok(spec)
}

fn users(arguments: &Arguments) -> Result<Option<BTreeMap<String, Secret<String>>>, String> {
    let mut users = BTreeMap::new();
    for user in arguments.all("user") {
        let (name, password) = user.split_once(':').ok_or("--user: NAME:PASSWORD")?;
        users.insert(String::from(name), Secret::new(String::from(password)));
    }
    Ok((!users.is_empty()).then_some(users))
}

fn listen(text: &str) -> Result<Listen, String> {
    let (word, address) = text.split_once(':').ok_or("--listen: udp:ADDRESS:PORT or tcp:ADDRESS:PORT")?;
    let address = address.parse().map_err(|_| format!("--listen: cannot read {address:?}"))?;
    match word {
        "udp" => Ok(Listen { address, transport: Transport::Udp }),
        "tcp" => Ok(Listen { address, transport: Transport::Tcp }),
        other => Err(format!("--listen: no such transport: {other:?}")),
    }
}

fn wrapping(word: &str) -> Result<Wrapping, String> {
    match word {
        "none" => Ok(Wrapping::None),
        "tls-auth" => Ok(Wrapping::TlsAuth),
        "tls-crypt" => Ok(Wrapping::TlsCrypt),
        "tls-crypt-v2" => Ok(Wrapping::TlsCryptV2),
        other => Err(format!("--wrapping: no such: {other:?}")),
    }
}

fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}
