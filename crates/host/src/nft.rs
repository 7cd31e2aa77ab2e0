//! nftables over netlink: the tables of an engine are set, replaced, changed and removed at once, in one batch, and it is
//! told whether they are still as they were set. A table of the same name that is not ours is never touched. What the tables
//! say is `netplan`'s ([`Firewall`]), how they say it [`tables`]'s.

use std::collections::BTreeSet;
use std::io;

use mrvpn_netplan::{Firewall, FourTuple};
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::raw::{Attributes, Message, RawNetlink, Refused, attribute};

mod expression; // what rules are made of
mod leaving; // what may leave by no card
mod message; // kinds, families, tables
mod ranges; // elements of sets of address ranges
mod tables; // a firewall as messages

use message::{ARP, INET, Kind, Owner, Table, attributes, brackets};
use ranges::Range;

/// NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE.
const OF_TABLE: u16 = 1;
/// NFTA_SET_NAME, NFTA_SET_ELEM_LIST_SET.
const SET: u16 = 2;
/// NFTA_SET_ELEM_LIST_ELEMENTS.
const ELEMENTS: u16 = 3;

/// How often tables are read until two readings are the same.
const READ_TRIES: u32 = 8;

/// The kernel's nftables, of the network namespace of the thread that opened it.
pub(crate) struct Nft {
    socket: RawNetlink,
}

/// Everything that the kernel says of an engine's tables, in an order that only depends on what they are. Handles are part
/// of it: what was deleted and made again is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Vec<u8>>);

/// Why the tables are not as asked.
#[derive(Debug)]
pub(crate) enum NftError {
    /// A table of the name is there and not ours.
    Foreign,
    /// The system's own error.
    System(io::Error),
}

impl From<io::Error> for NftError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Nft {
    /// Opens nftables in this thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: RawNetlink::open(NETLINK_NETFILTER)? })
    }

    /// Sets the tables; those of an engine that have the name are replaced at once. `asked` are UDP flows that this host
    /// began.
    pub(crate) fn set(&mut self, firewall: &Firewall, asked: &[FourTuple]) -> Result<(), NftError> {
        let mut inner = Vec::new();
        for table in both(&firewall.table) {
            match self.owner(table)? {
                Some(Owner::Foreign) => return Err(NftError::Foreign),
                Some(Owner::Ours) => inner.push(table.delete_message()),
                None => {}
            }
        }
        inner.extend(tables::messages(firewall, asked));
        self.carry_out(inner).map_err(NftError::System)
    }

    /// Makes the destinations that are refused those of `to`, at once; all else stays as it was made from `from`.
    pub(crate) fn set_held(&mut self, from: &Firewall, to: &Firewall) -> io::Result<()> {
        let table = Table { family: INET, name: &to.table };
        let mut inner = Vec::new();
        for (set, v6) in leaving::HELD.into_iter().zip([false, true]) {
            let [old, new] = [from, to].map(|firewall| ranges::of_family(&firewall.fence.held, v6));
            let without = |one: &[Range], other: &[Range]| -> Vec<Range> {
                let other: BTreeSet<&Range> = other.iter().collect();
                one.iter().filter(|range| !other.contains(range)).copied().collect()
            };
            inner.extend(ranges::messages(Kind::DeleteElements, table, set, &without(&old, &new)));
            inner.extend(ranges::messages(Kind::NewElements, table, set, &without(&new, &old)));
        }
        if inner.is_empty() { Ok(()) } else { self.carry_out(inner) }
    }

    /// Removes the tables of this name, if they are ours; whether there were any.
    pub(crate) fn remove(&mut self, name: &str) -> io::Result<bool> {
        let mut inner = Vec::new();
        for table in both(name) {
            if self.owner(table)? == Some(Owner::Ours) {
                inner.push(table.delete_message());
            }
        }
        let any = !inner.is_empty();
        if any {
            self.carry_out(inner)?;
        }
        Ok(any)
    }

    /// Names of all tables of engines, each once.
    pub(crate) fn names(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for family in [INET, ARP] {
            let answers = self.ask(Kind::GetTable, family, &Attributes::default())?;
            names.extend(answers.iter().filter_map(message::name_of_ours));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// What the kernel says of the tables of this name; `None` where one of them is not there. Asked until it says the same
    /// twice: while others change their tables, the kernel (6.18) may leave out part of a list and not say so.
    pub(crate) fn fingerprint(&mut self, name: &str) -> io::Result<Option<Fingerprint>> {
        let mut last = self.described(name)?;
        for _ in 0..READ_TRIES {
            let next = self.described(name)?;
            if next == last {
                return Ok(next);
            }
            last = next;
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the kernel's tables changed each time they were read"))
    }

    fn described(&mut self, name: &str) -> io::Result<Option<Fingerprint>> {
        let mut all = Vec::new();
        for table in both(name) {
            let described = self.of_table(Kind::GetTable, table)?;
            if described.is_empty() {
                return Ok(None);
            }
            all.extend(described);
            all.extend(self.of_table(Kind::GetChain, table)?);
            all.extend(self.of_table(Kind::GetRule, table)?);
            all.extend(self.sets(table)?);
        }
        Ok(Some(Fingerprint(all)))
    }

    fn owner(&mut self, table: Table<'_>) -> io::Result<Option<Owner>> {
        let answers = self.ask(Kind::GetTable, table.family, &Attributes::default())?;
        Ok(answers.iter().find_map(|answer| table.owner(answer)))
    }

    /// Tables, chains or rules that belong to a table, as they are. Rules come in their order, the others in that in
    /// which they were made.
    fn of_table(&mut self, kind: Kind, table: Table<'_>) -> io::Result<Vec<Vec<u8>>> {
        // The kernel leaves out the rules and sets of other tables when it is given the name.
        let answers = self.ask(kind, table.family, &Attributes::default().name(OF_TABLE, table.name))?;
        let belongs = |answer: &&Message| attribute::is_name(attributes(answer), OF_TABLE, table.name);
        Ok(answers.iter().filter(belongs).map(|answer| attributes(answer).to_vec()).collect())
    }

    /// Sets with their elements, these sorted: the kernel gives them in the order of a hash that it may change.
    fn sets(&mut self, table: Table<'_>) -> io::Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        for set in self.of_table(Kind::GetSet, table)? {
            if let Some(name) = attribute::find(&set, SET) {
                let asked = Attributes::default().name(OF_TABLE, table.name).with(SET, name);
                let answers = self.ask(Kind::GetElements, table.family, &asked)?;
                let lists = answers.iter().filter_map(|answer| attribute::find(attributes(answer), ELEMENTS));
                let mut elements: Vec<_> =
                    lists.flat_map(attribute::read).map(|(_, element)| element.to_vec()).collect();
                elements.sort();
                all.extend(elements);
            }
            all.push(set);
        }
        Ok(all)
    }

    /// A kernel without nf_tables (EINVAL, EOPNOTSUPP) or without the family has nothing of it.
    fn ask(&mut self, kind: Kind, family: u8, asked: &Attributes) -> io::Result<Vec<Message>> {
        const ABSENT: [i32; 4] = [libc::EINVAL, libc::EOPNOTSUPP, libc::EAFNOSUPPORT, libc::ENOENT];
        match self.socket.dump(&message::message(kind, family, asked)) {
            Err(error) if error.raw_os_error().is_some_and(|code| ABSENT.contains(&code)) => Ok(Vec::new()),
            other => other,
        }
    }

    fn carry_out(&mut self, inner: Vec<Message>) -> io::Result<()> {
        let (begin, end) = brackets();
        let batch: Vec<Message> = std::iter::once(begin).chain(inner).chain([end]).collect();
        self.socket.batch(&batch).map_err(|Refused { place, source }| {
            tracing::debug!(?place, %source, "nftables refused a batch");
            source
        })
    }
}

/// The two tables of a name.
fn both(name: &str) -> [Table<'_>; 2] {
    [Table { family: INET, name }, Table { family: ARP, name }]
}
