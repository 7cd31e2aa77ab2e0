//! User and password from the terminal, where no file has them. Tunnels with the same CA are asked for once. Without a
//! terminal nothing is asked; the tunnel then says that it needs them, and the others go on.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use mrvpn_engine::TunnelConfig;
use mrvpn_profile::{AuthUserPass, Credentials, Secret};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Asks for what is missing.
pub(super) fn fill(tunnels: &mut [TunnelConfig]) -> Result<(), Failure> {
    let needs = |tunnel: &TunnelConfig| {
        matches!(tunnel.profile.auth_user_pass, AuthUserPass::Ask) && tunnel.credentials.is_none()
    };
    while let Some(first) = tunnels.iter().find(|tunnel| needs(tunnel)) {
        let ca = first.profile.tls.ca.clone();
        let same = |tunnel: &TunnelConfig| needs(tunnel) && tunnel.profile.tls.ca == ca;
        let names: Vec<&str> = tunnels.iter().filter(|t| same(t)).map(|tunnel| tunnel.name.as_str()).collect();
        let Some(given) = ask(&names.join(", "))? else { return Ok(()) };
        for tunnel in tunnels.iter_mut().filter(|tunnel| same(tunnel)) {
            tunnel.credentials = Some(given.clone());
        }
    }
    Ok(())
}

/// One question; `None` without a terminal.
fn ask(names: &str) -> Result<Option<Credentials>, Failure> {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    let failed = |error: std::io::Error| Failure::failed(format!("the terminal: {error}"));
    let user = line(&terminal, &format!("User for {names}: ")).map_err(failed)?;
    let password = hidden_line(&terminal, &format!("Password for {names}: ")).map_err(failed)?;
    if user.is_empty() || password.expose().is_empty() {
        return Err(Failure::failed(format!("no user and password for {names}"))
            .hint("give them with `--credentials FILE` (two lines, mode 0600)"));
    }
    Ok(Some(Credentials { user, password }))
}

fn line(mut terminal: &File, question: &str) -> std::io::Result<String> {
    terminal.write_all(question.as_bytes())?;
    let mut text = String::new();
    BufReader::new(terminal).read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A line that does not show while it is typed.
fn hidden_line(mut terminal: &File, question: &str) -> std::io::Result<Secret<String>> {
    let before = tcgetattr(terminal)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
    let typed = line(terminal, question);
    tcsetattr(terminal, OptionalActions::Flush, &before)?;
    terminal.write_all(b"\n")?;
    Ok(Secret::new(typed?))
}
