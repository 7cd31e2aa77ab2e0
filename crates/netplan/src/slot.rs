//! Which place is free for an engine: a namespace has room for a few, each with priorities, tables and a device of its
//! own. What others have there already is passed over and said. Names and numbers of a place are [`mod@crate::scope`]'s.

use thiserror::Error;

use crate::host::HostFacts;
use crate::scope::{SLOTS, Scope};

/// A place, and why not an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotChoice {
    /// The place with its names and numbers.
    pub scope: Scope,
    /// Sentences for the user: what of others was in the way.
    pub passed_over: Vec<String>,
}

/// No place is free, or what the user chose is taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SlotError {
    /// Every place is taken.
    #[error("no place is free for another engine in this network namespace: {}", .0.join("; "))]
    NoneFree(Vec<String>),
    /// The interface that the user named is there.
    #[error(
        "a device {device} is there already, {}; name another with `interface` under [engine], or leave it out", if *.ours { "the interface of another engine" } else { "and it is not mrvpn's" }
    )]
    DeviceTaken {
        /// Its name.
        device: String,
        /// Whether another engine has it.
        ours: bool,
    },
    /// Policy rules of others use bits of the mark.
    #[error(
        "mark {:#x}/{:#x} of mrvpn's own sockets is in use: a policy rule that is not mrvpn's matches {:#x}/{:#x}; set `mark` under [engine] to bits that nobody uses", .ours.0, .ours.1, .theirs.0, .theirs.1
    )]
    MarkTaken {
        /// Mark and mask of the engine.
        ours: (u32, u32),
        /// Mark and mask of the other's rule.
        theirs: (u32, u32),
    },
}

/// What the choice follows from.
#[derive(Clone, Copy, Debug)]
pub struct SlotInput<'a> {
    /// Name of the instance.
    pub instance: &'a str,
    /// Base of the priorities: that of slot 0.
    pub rule_priority: u32,
    /// The interface, where the user named one.
    pub device: Option<&'a str>,
    /// Mark and mask of the engine's own sockets.
    pub mark: (u32, u32),
    /// Slots that other instances hold, dead or alive.
    pub held: &'a [u8],
    /// What the host looks like.
    pub facts: &'a HostFacts,
    /// Names of all devices of the namespace.
    pub devices: &'a [String],
}

/// The lowest free place.
///
/// # Errors
/// None is free, or the mark or the interface that the user named is another's.
pub fn choose(input: &SlotInput<'_>) -> Result<SlotChoice, SlotError> {
    if let Some(theirs) = input.facts.foreign_marks.iter().find(|theirs| marks_meet(input.mark, **theirs)) {
        return Err(SlotError::MarkTaken { ours: input.mark, theirs: *theirs });
    }
    if let Some(device) = input.device.filter(|device| input.devices.iter().any(|there| there == device)) {
        let ours = input.facts.engines.iter().any(|engine| engine.device.as_deref() == Some(device));
        return Err(SlotError::DeviceTaken { device: device.to_owned(), ours });
    }
    let mut passed_over = Vec::new();
    for slot in 0..SLOTS {
        let scope = Scope::new(slot, input.instance, input.rule_priority, input.device);
        match in_the_way(input, &scope) {
            Obstacle::None => return Ok(SlotChoice { scope, passed_over }),
            Obstacle::Engine => {}
            Obstacle::Foreign(what) => passed_over.push(what),
        }
    }
    Err(SlotError::NoneFree(passed_over))
}

/// What keeps an engine from a place.
enum Obstacle {
    None,
    /// Another engine: nothing to be said.
    Engine,
    Foreign(String),
}

fn in_the_way(input: &SlotInput<'_>, scope: &Scope) -> Obstacle {
    let facts = input.facts;
    if input.held.contains(&scope.slot) || facts.engines.iter().any(|engine| engine.slot == scope.slot) {
        return Obstacle::Engine;
    }
    if let Some(priority) = facts.foreign_priorities.iter().find(|priority| scope.has_priority(**priority)) {
        let (first, last) = (scope.rule_priority, scope.nop());
        return Obstacle::Foreign(format!(
            "a policy rule at {priority} is not mrvpn's, so priorities {first} to {last} are left to it (`rule_priority` under [engine] moves mrvpn's)"
        ));
    }
    if let Some(table) = facts.foreign_tables.iter().find(|table| scope.has_table(**table)) {
        return Obstacle::Foreign(format!("table {table} has routes that are not mrvpn's"));
    }
    if input.devices.contains(&scope.device) {
        return Obstacle::Foreign(format!("a device {} is there already", scope.device));
    }
    Obstacle::None
}

/// Whether one packet's mark could match both.
const fn marks_meet(ours: (u32, u32), theirs: (u32, u32)) -> bool {
    let common = ours.1 & theirs.1;
    common != 0 && ours.0 & common == theirs.0 & common
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::EngineSeen;
    use crate::scope::RULE_PRIORITY;

    fn input<'a>(facts: &'a HostFacts, held: &'a [u8], devices: &'a [String]) -> SlotInput<'a> {
        let mark = (0x4d00_0000, 0xff00_0000);
        SlotInput { instance: "default", rule_priority: RULE_PRIORITY, device: None, mark, held, facts, devices }
    }

    #[test]
    fn the_lowest_place_that_no_engine_has_is_taken() {
        let facts = HostFacts {
            engines: vec![EngineSeen { device: Some(String::from("mrvpn0")), ..EngineSeen::default() }],
            ..HostFacts::default()
        };
        let choice = choose(&input(&facts, &[1], &[String::from("mrvpn0")])).unwrap();
        assert_eq!((choice.scope.slot, choice.passed_over), (2, vec![]));
    }

    #[test]
    fn what_is_not_ours_is_passed_over_and_said() {
        let facts = HostFacts { foreign_priorities: vec![5305], foreign_tables: vec![0x4d02], ..HostFacts::default() };
        let choice = choose(&input(&facts, &[], &[String::from("mrvpn2")])).unwrap();
        assert_eq!((choice.scope.slot, choice.passed_over.len()), (3, 3));
        assert!(choice.passed_over[0].contains("5305") && choice.passed_over[0].contains("rule_priority"));
    }

    #[test]
    fn an_interface_that_the_user_named_means_that_name_and_no_other() {
        let facts = HostFacts {
            engines: vec![EngineSeen { device: Some(String::from("mrvpn0")), ..EngineSeen::default() }],
            ..HostFacts::default()
        };
        let devices = ["lo", "mrvpn0", "vpn"].map(String::from);
        let named = |device| choose(&SlotInput { device: Some(device), ..input(&facts, &[], &devices) });
        let error = named("mrvpn0").unwrap_err();
        assert_eq!(error, SlotError::DeviceTaken { device: String::from("mrvpn0"), ours: true });
        assert!(error.to_string().contains("another engine") && error.to_string().contains("`interface`"), "{error}");
        assert!(named("vpn").unwrap_err().to_string().contains("not mrvpn's"));
        assert_eq!(named("vpn1").unwrap().scope.device, "vpn1");
        assert_eq!(choose(&input(&facts, &[], &devices)).unwrap().scope.device, "mrvpn1");
    }

    #[test]
    fn a_mark_in_use_is_an_error_with_the_way_out_and_other_bits_are_none() {
        let taken = HostFacts { foreign_marks: vec![(0x4d00_0001, 0xff00_00ff)], ..HostFacts::default() };
        let error = choose(&input(&taken, &[], &[])).unwrap_err();
        assert!(error.to_string().contains("`mark`"), "{error}");
        let apart = HostFacts { foreign_marks: vec![(0xca6c, 0xffff), (0x4e00_0000, 0xff00_0000)], ..taken };
        assert!(choose(&input(&apart, &[], &[])).is_ok());
    }

    #[test]
    fn nine_engines_are_one_too_many() {
        let facts = HostFacts::default();
        let all: Vec<u8> = (0..SLOTS).collect();
        assert!(matches!(choose(&input(&facts, &all, &[])), Err(SlotError::NoneFree(_))));
        assert!(choose(&input(&facts, &all[..7], &[])).is_ok());
    }
}
