//! Tunnels of one account: the same user name and the same CA. A password not yet seen accepted is tried by one of them
//! alone; the others wait and share the outcome (threats-and-faults.md, F-29), so that a wrong one costs one login.

use std::collections::{BTreeMap, BTreeSet};

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
    accounts: BTreeMap<AccountKey, Account>,
}

#[derive(Clone, Debug)]
struct Account {
    members: Vec<TunnelId>,
    password: Password,
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
    /// Follows the tunnels of the configuration; what is known of an account's password stays, unless one of `fresh` belongs
    /// to it, which log in by another one now.
    pub(super) fn follow<'a>(
        &mut self,
        tunnels: impl Iterator<Item = (TunnelId, &'a TunnelConfig)>,
        fresh: &BTreeSet<TunnelId>,
    ) {
        let before = std::mem::take(&mut self.accounts);
        for (id, tunnel) in tunnels {
            let Some(credentials) = &tunnel.credentials else { continue };
            let key = AccountKey { user: credentials.user.clone(), ca: tunnel.profile.tls.ca.clone() };
            let known = before.get(&key).map_or(Password::New, |account| account.password);
            let new = || Account { members: Vec::new(), password: known };
            let account = self.accounts.entry(key).or_insert_with(new);
            account.members.push(id);
            if fresh.contains(&id) {
                account.password = Password::New;
            }
        }
        for account in self.accounts.values_mut() {
            if matches!(account.password, Password::Tried(who) if !account.members.contains(&who)) {
                account.password = Password::New;
            }
        }
    }

    /// A refused password of this tunnel's account is to be tried once more.
    pub(super) fn forgive(&mut self, tunnel: TunnelId) {
        if let Some(password) = self.password(tunnel)
            && *password == Password::Refused
        {
            *password = Password::New;
        }
    }

    /// Whether `tunnel` may dial now; if so, and nobody knows its password yet, it is the one who tries.
    pub(super) fn ask(&mut self, tunnel: TunnelId) -> Turn {
        let Some(password) = self.password(tunnel) else { return Turn::Go };
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
        if let Some(password) = self.password(tunnel) {
            *password = Password::Good;
        }
    }

    /// The server of `tunnel` refused the password. Where another server has accepted it, only this tunnel is concerned.
    pub(super) fn refused(&mut self, tunnel: TunnelId) {
        if let Some(password) = self.password(tunnel)
            && *password != Password::Good
        {
            *password = Password::Refused;
        }
    }

    /// `tunnel` did not get so far as to ask: another may try.
    pub(super) fn undecided(&mut self, tunnel: TunnelId) {
        if let Some(password) = self.password(tunnel)
            && *password == Password::Tried(tunnel)
        {
            *password = Password::New;
        }
    }

    fn password(&mut self, tunnel: TunnelId) -> Option<&mut Password> {
        let mut accounts = self.accounts.values_mut();
        accounts.find(|account| account.members.contains(&tunnel)).map(|account| &mut account.password)
    }
}
