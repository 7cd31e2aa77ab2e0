//! User and password from the terminal, where no file has them. Tunnels with the same CA are asked for once. Without a
//! terminal nothing is asked; the tunnel then says that it needs them, and the others go on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use mrvpn_engine::TunnelConfig;
use mrvpn_profile::{AuthUserPass, Credentials, Secret};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// 4,096 bytes: the kernel hands no longer line from a terminal.
const LINE: usize = 4096;

/// Ctrl-C.
const INTERRUPT: char = '\x03';

/// Whether a tunnel has to be asked for.
pub(crate) fn is_missing(tunnel: &TunnelConfig) -> bool {
    matches!(tunnel.profile.auth_user_pass, AuthUserPass::Ask) && tunnel.credentials.is_none()
}

/// Asks for what is missing and was not `answered` before. By name of the tunnel.
pub(super) fn ask(tunnels: &[TunnelConfig], answered: &[String]) -> Result<BTreeMap<String, Credentials>, Failure> {
    let mut answers = BTreeMap::new();
    for group in accounts(tunnels, answered) {
        let Some(given) = ask_one(&group.join(", "))? else { return Ok(answers) };
        answers.extend(group.into_iter().map(|name| (name.to_owned(), given.clone())));
    }
    Ok(answers)
}

/// Names of tunnels that are asked for, those of one account together.
fn accounts<'a>(tunnels: &'a [TunnelConfig], answered: &[String]) -> Vec<Vec<&'a str>> {
    let asked = tunnels.iter().filter(|tunnel| is_missing(tunnel) && !answered.contains(&tunnel.name));
    let mut groups: Vec<Vec<&TunnelConfig>> = Vec::new();
    for tunnel in asked {
        let same = |group: &&mut Vec<&TunnelConfig>| group.first().is_some_and(|first| is_one_account(first, tunnel));
        match groups.iter_mut().find(same) {
            Some(group) => group.push(tunnel),
            None => groups.push(vec![tunnel]),
        }
    }
    groups.iter().map(|group| group.iter().map(|tunnel| tunnel.name.as_str()).collect()).collect()
}

/// Whether one user and password are for both: the same authority, or the same server, vouches for whoever is told them.
pub(crate) fn is_one_account(one: &TunnelConfig, other: &TunnelConfig) -> bool {
    let (one, other) = (&one.profile.tls, &other.profile.tls);
    one.ca == other.ca && one.peer_fingerprints == other.peer_fingerprints
}

/// One question; `None` without a terminal.
fn ask_one(names: &str) -> Result<Option<Credentials>, Failure> {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    let failed = |error: std::io::Error| Failure::failed(format!("the terminal: {error}"));
    let user = line(&terminal, &format!("User for {names}: ")).map_err(failed)?;
    let password = hidden_line(&terminal, &format!("Password for {names}: ")).map_err(failed)?;
    if user.expose().is_empty() || password.expose().is_empty() {
        return Err(Failure::failed(format!("no user and password for {names}"))
            .hint("give them with `--credentials FILE` (two lines, mode 0600)"));
    }
    Ok(Some(Credentials { user: user.expose().clone(), password }))
}

/// A terminal hands a line at a time; it is read into a buffer that is zeroed and never grows.
fn line(mut terminal: &File, question: &str) -> std::io::Result<Secret<String>> {
    terminal.write_all(question.as_bytes())?;
    let mut buffer = Zeroizing::new([0; LINE]);
    let length = terminal.read(&mut *buffer)?;
    let bytes = buffer.get(..length).unwrap_or_default();
    let text = str::from_utf8(bytes).map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "that is not UTF-8"))?;
    if text.ends_with(INTERRUPT) {
        return Err(std::io::Error::new(ErrorKind::Interrupted, "given up"));
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A line that does not show while it is typed. Ctrl-C ends the line instead of the program, so that the terminal shows
/// again what is typed in any case.
fn hidden_line(mut terminal: &File, question: &str) -> std::io::Result<Secret<String>> {
    let before = tcgetattr(terminal)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT as u8;
    tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
    let typed = line(terminal, question);
    tcsetattr(terminal, OptionalActions::Flush, &before)?;
    terminal.write_all(b"\n")?;
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(name: &str, ca: &[u8]) -> TunnelConfig {
        let text = "client\ndev tun\nremote 192.0.2.1\nauth-user-pass\npeer-fingerprint \
                    00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff\n";
        let mut profile =
            mrvpn_profile::ovpn::parse(text.as_bytes(), &mut mrvpn_profile::ovpn::NoFiles).unwrap().profile;
        profile.tls.ca = vec![ca.to_vec()];
        TunnelConfig {
            name: name.to_owned(),
            file: String::new(),
            profile,
            credentials: None,
            default: false,
            strict_server: false,
            accept: Vec::new(),
            bypass: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn tunnels_of_one_account_are_asked_for_once() {
        let tunnels = [tunnel("uk", b"a"), tunnel("work", b"b"), tunnel("fr", b"a")];
        assert_eq!(accounts(&tunnels, &[]), [vec!["uk", "fr"], vec!["work"]]);
    }

    #[test]
    fn a_tunnel_that_needs_no_answer_or_has_one_is_not_asked_for() {
        let given = Credentials { user: String::from("ann"), password: Secret::new(String::from("secret")) };
        let mut tunnels = [tunnel("uk", b"a"), tunnel("fr", b"a"), tunnel("de", b"a")];
        tunnels[0].credentials = Some(given);
        tunnels[1].profile.auth_user_pass = AuthUserPass::No;
        assert_eq!(accounts(&tunnels, &[]), [["de"]]);
        assert!(accounts(&tunnels, &[String::from("de")]).is_empty());
    }

    #[test]
    fn two_servers_known_by_fingerprint_alone_are_two_accounts() {
        let (mut one, mut other) = (tunnel("uk", b""), tunnel("fr", b""));
        (one.profile.tls.ca, other.profile.tls.ca) = (Vec::new(), Vec::new());
        other.profile.tls.peer_fingerprints = vec![[1; 32]];
        assert_eq!(accounts(&[one, other], &[]).len(), 2);
    }
}
