//! No tunnel fills the log alone: each has 20 lines a second and 100 at once; what is beyond is counted and told in one
//! line. Tunnels beyond a number that no configuration reaches share one account.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// 100 lines at once.
const BURST: u32 = 100;
/// 50 ms: 20 lines a second.
const PER_LINE: Duration = Duration::from_millis(50);
/// 2,048 accounts: twice as many as a configuration has tunnels.
const ACCOUNTS: usize = 2048;

/// The accounts of all tunnels; that of no tunnel has no name.
#[derive(Debug, Default)]
pub(super) struct Pace {
    accounts: BTreeMap<Option<String>, Account>,
    /// Whether any account has something suppressed: nearly never.
    owing: bool,
}

#[derive(Debug)]
struct Account {
    left: u32,
    /// Until when `left` is filled up.
    filled: Instant,
    suppressed: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Whether a tunnel may say one line more.
    pub(super) fn admit(&mut self, tunnel: Option<&str>, now: Instant) -> bool {
        let mut key = tunnel.map(str::to_owned);
        if self.accounts.len() >= ACCOUNTS && !self.accounts.contains_key(&key) {
            key = None;
        }
        let account = self.accounts.entry(key).or_insert(Account { left: BURST, filled: now, suppressed: 0 });
        account.fill(now);
        if account.left == 0 {
            account.suppressed += 1;
            self.owing = true;
            return false;
        }
        account.left -= 1;
        true
    }

    /// A tunnel that may speak again, and how many of its lines were suppressed.
    pub(super) fn suppressed(&mut self, now: Instant) -> Option<(Option<String>, u64)> {
        if !self.owing {
            return None;
        }
        for (tunnel, account) in &mut self.accounts {
            account.fill(now);
            if account.suppressed > 0 && account.left > 0 {
                account.left -= 1;
                return Some((tunnel.clone(), std::mem::take(&mut account.suppressed)));
            }
        }
        self.owing = self.accounts.values().any(|account| account.suppressed > 0);
        None
    }
}

impl Account {
    fn fill(&mut self, now: Instant) {
        let lines = now.saturating_duration_since(self.filled).as_nanos() / PER_LINE.as_nanos();
        match u32::try_from(lines) {
            Ok(lines) if lines < BURST => {
                self.left = (self.left + lines).min(BURST);
                self.filled += PER_LINE * lines;
            }
            Ok(_) | Err(_) => (self.left, self.filled) = (BURST, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_at_once_then_twenty_a_second() {
        let (mut pace, start) = (Pace::new(), Instant::now());
        let taken = |pace: &mut Pace, at: Instant| (0..500).filter(|_| pace.admit(Some("uk"), at)).count();
        assert_eq!(taken(&mut pace, start), 100);
        assert_eq!(pace.suppressed(start), None, "it may not speak");
        assert_eq!(taken(&mut pace, start + Duration::from_secs(1)), 20);
        let later = start + Duration::from_millis(1050);
        assert_eq!(pace.suppressed(later), Some((Some(String::from("uk")), 880)));
        assert_eq!(pace.suppressed(later), None);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(60)), 100);
        assert!(pace.admit(None, start) && pace.admit(Some("fr"), start));
    }

    #[test]
    fn accounts_are_bounded() {
        let (mut pace, now) = (Pace::new(), Instant::now());
        for number in 0..5000 {
            pace.admit(Some(&number.to_string()), now);
        }
        assert!(pace.accounts.len() <= ACCOUNTS + 1);
    }
}
