//! What belongs to one engine of a network namespace: its slot and all names and numbers that follow from it. By these
//! an engine finds its own again after a crash, and leaves alone what another engine made. Which slot is free is
//! [`mod@crate::slot`]'s.

use serde::{Deserialize, Serialize};

use crate::capture::PRIORITIES;

/// Engines that one network namespace has room for.
pub const SLOTS: u8 = 8;

/// First of the priorities of slot 0, where the user names no other.
pub const RULE_PRIORITY: u32 = 5300;

/// Table ALL of slot 0, even; CLAIMS is the next number, further slots follow.
const FIRST_TABLE: u32 = 0x4d00;

/// Names and numbers of one engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Which engine of this network namespace: below [`SLOTS`].
    pub slot: u8,
    /// Name of the interface, 15 bytes at most.
    pub device: String,
    /// First of the [`PRIORITIES`] priorities of its policy rules.
    pub rule_priority: u32,
    /// Name of its nftables tables, of families `inet` and `arp`.
    pub firewall: String,
}

impl Scope {
    /// The engine of `slot` and `instance`, with `rule_priority` as the base of slot 0; its device is `mrvpnK` where
    /// `device` names no other.
    #[must_use]
    pub fn new(slot: u8, instance: &str, rule_priority: u32, device: Option<&str>) -> Self {
        Self {
            slot,
            device: device.map_or_else(|| format!("mrvpn{slot}"), String::from),
            rule_priority: rule_priority.saturating_add(PRIORITIES.saturating_mul(u32::from(slot))),
            firewall: format!("mrvpn_{instance}"),
        }
    }

    /// The only engine of a network namespace, with nothing said by the user.
    #[must_use]
    pub fn first() -> Self {
        Self::new(0, "default", RULE_PRIORITY, None)
    }

    /// Table with nothing but the way into the device.
    #[must_use]
    pub fn table_all(&self) -> u32 {
        FIRST_TABLE + 2 * u32::from(self.slot)
    }

    /// Table with claims, default and LAN.
    #[must_use]
    pub fn table_claims(&self) -> u32 {
        self.table_all() + 1
    }

    /// Priority of the `nop` behind all lines.
    #[must_use]
    pub fn nop(&self) -> u32 {
        self.rule_priority.saturating_add(PRIORITIES - 1)
    }

    /// Whether a policy rule's priority is one of this engine's.
    #[must_use]
    pub fn has_priority(&self, priority: u32) -> bool {
        (self.rule_priority..=self.nop()).contains(&priority)
    }

    /// Whether a table is one of this engine's two.
    #[must_use]
    pub fn has_table(&self, table: u32) -> bool {
        table == self.table_all() || table == self.table_claims()
    }

    /// The slot that a table belongs to, if it is one of an engine.
    #[must_use]
    pub fn slot_of_table(table: u32) -> Option<u8> {
        let slot = table.checked_sub(FIRST_TABLE)? / 2;
        u8::try_from(slot).ok().filter(|slot| *slot < SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_names_and_numbers_of_its_own() {
        let first = Scope::first();
        assert_eq!((first.device.as_str(), first.rule_priority, first.nop()), ("mrvpn0", 5300, 5399));
        let third = Scope::new(2, "work", RULE_PRIORITY, None);
        assert_eq!((third.device.as_str(), third.rule_priority, third.nop()), ("mrvpn2", 5500, 5599));
        assert_eq!(third.firewall, "mrvpn_work");
        assert!(!first.has_priority(5400) && third.has_priority(5500));
        assert!(!first.has_table(third.table_all()) && third.has_table(third.table_claims()));
        assert_eq!(Scope::slot_of_table(third.table_claims()), Some(2));
        assert_eq!(Scope::slot_of_table(254), None);
        assert_eq!(Scope::slot_of_table(0x4d00 + 16), None);
    }

    #[test]
    fn the_user_may_name_device_and_priorities() {
        let scope = Scope::new(1, "default", 7000, Some("vpn"));
        assert_eq!((scope.device.as_str(), scope.rule_priority), ("vpn", 7100));
    }
}
