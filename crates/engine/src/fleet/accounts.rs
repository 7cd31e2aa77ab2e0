//! Tunnels of one account: the same user name and the same CA. A password not yet seen accepted is tried by one of them
//! alone; the others wait and share the outcome (threats-and-faults.md, F-29), so that a wrong one costs one login.

use std::collections::BTreeMap;

use mrvpn_router::TunnelId;

use crate::config::TunnelConfig;

/// Who belongs together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AccountKey {
    user: String,
    ca: Vec<Vec<u8>>,
}

/// What is known of an account's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Password {
    /// Not tried yet.
    New,
    /// This tunnel is trying it.
    Tried(TunnelId),
    /// A server accepted it.
    Good,
    /// A server refused it.
    Refused,
}

/// All accounts of a fleet.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    accounts: Vec<(Vec<TunnelId>, Password)>,
}

/// Whether a tunnel may dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may.
    Go,
    /// Another tunnel of its account is trying the password.
    Wait,
    /// The password was refused.
    Refused,
}

impl Accounts {
    pub(super) fn new(tunnels: &[TunnelConfig]) -> Self {
        let mut groups: BTreeMap<AccountKey, Vec<TunnelId>> = BTreeMap::new();
        for (place, tunnel) in tunnels.iter().enumerate() {
            let (Some(credentials), Ok(place)) = (&tunnel.credentials, u16::try_from(place)) else { continue };
            let key = AccountKey { user: credentials.user.clone(), ca: tunnel.profile.tls.ca.clone() };
            groups.entry(key).or_default().push(TunnelId::new(place));
        }
        Self { accounts: groups.into_values().map(|members| (members, Password::New)).collect() }
    }

    /// Whether `tunnel` may dial now; if so, and nobody knows its password yet, it is the one who tries.
    pub(super) fn ask(&mut self, tunnel: TunnelId) -> Turn {
        let Some((_, password)) = self.account(tunnel) else { return Turn::Go };
        match *password {
            Password::Good => Turn::Go,
            Password::Tried(who) if who == tunnel => Turn::Go,
            Password::Tried(_) => Turn::Wait,
            Password::Refused => Turn::Refused,
            Password::New => {
                *password = Password::Tried(tunnel);
                Turn::Go
            }
        }
    }

    /// The server of `tunnel` accepted the password.
    pub(super) fn accepted(&mut self, tunnel: TunnelId) {
        if let Some((_, password)) = self.account(tunnel) {
            *password = Password::Good;
        }
    }

    /// The server of `tunnel` refused the password. Where another server has accepted it, only this tunnel is concerned.
    pub(super) fn refused(&mut self, tunnel: TunnelId) {
        if let Some((_, password)) = self.account(tunnel)
            && *password != Password::Good
        {
            *password = Password::Refused;
        }
    }

    /// `tunnel` did not get so far as to ask: another may try.
    pub(super) fn undecided(&mut self, tunnel: TunnelId) {
        if let Some((_, password)) = self.account(tunnel)
            && *password == Password::Tried(tunnel)
        {
            *password = Password::New;
        }
    }

    fn account(&mut self, tunnel: TunnelId) -> Option<&mut (Vec<TunnelId>, Password)> {
        self.accounts.iter_mut().find(|(members, _)| members.contains(&tunnel))
    }
}
