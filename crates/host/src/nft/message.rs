//! Messages of nftables: kinds, families, tables and how ours are told from others. What is in a table is
//! [`super::tables`]'s.

use crate::raw::{Attributes, Message, attribute};

/// NFNL_SUBSYS_NFTABLES.
const SUBSYSTEM: u16 = 10;
/// NLM_F_CREATE, NLM_F_APPEND: each rule goes to the end of its chain.
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// NFPROTO_INET, NFPROTO_ARP.
pub(crate) const INET: u8 = 1;
pub(crate) const ARP: u8 = 3;
/// Bytes of `struct nfgenmsg` in front of the attributes.
const GENERIC: usize = 4;
/// NFTA_TABLE_NAME, NFTA_TABLE_USERDATA.
const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;
/// By this a table is known as ours; `nft` shows it as the table's comment (its type 0: a zero-closed text).
const COMMENT: &str = "made by mrvpn";

/// Kinds of messages (NFT_MSG_...).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NewTable,
    GetTable,
    DeleteTable,
    NewChain,
    GetChain,
    NewRule,
    GetRule,
    NewSet,
    GetSet,
    NewElements,
    GetElements,
    DeleteElements,
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Self::NewTable => 0,
            Self::GetTable => 1,
            Self::DeleteTable => 2,
            Self::NewChain => 3,
            Self::GetChain => 4,
            Self::NewRule => 6,
            Self::GetRule => 7,
            Self::NewSet => 9,
            Self::GetSet => 10,
            Self::NewElements => 12,
            Self::GetElements => 13,
            Self::DeleteElements => 14,
        }
    }

    const fn flags(self) -> u16 {
        match self {
            Self::NewTable | Self::NewChain | Self::NewSet | Self::NewElements => CREATE,
            Self::NewRule => CREATE | APPEND,
            Self::GetTable
            | Self::DeleteTable
            | Self::GetChain
            | Self::GetRule
            | Self::GetSet
            | Self::GetElements
            | Self::DeleteElements => 0,
        }
    }
}

/// A table by family and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table<'a> {
    pub(crate) family: u8,
    pub(crate) name: &'a str,
}

/// Whose a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An engine made it.
    Ours,
    /// Somebody else did.
    Foreign,
}

impl Table<'_> {
    /// Makes it.
    pub(crate) fn new_message(self) -> Message {
        let mut comment = vec![0, COMMENT.len() as u8 + 1];
        comment.extend(COMMENT.bytes().chain([0]));
        let table = Attributes::default().name(TABLE_NAME, self.name).with(TABLE_USERDATA, &comment);
        message(Kind::NewTable, self.family, &table)
    }

    /// Deletes it with all that is in it.
    pub(crate) fn delete_message(self) -> Message {
        message(Kind::DeleteTable, self.family, &Attributes::default().name(TABLE_NAME, self.name))
    }

    /// Whose it is, if `answer` describes it.
    pub(crate) fn owner(self, answer: &Message) -> Option<Owner> {
        let attributes = attributes(answer);
        if !attribute::is_name(attributes, TABLE_NAME, self.name) {
            return None;
        }
        Some(if is_ours(attributes) { Owner::Ours } else { Owner::Foreign })
    }
}

/// The name of the table that `answer` describes, if it is ours.
pub(crate) fn name_of_ours(answer: &Message) -> Option<String> {
    let attributes = attributes(answer);
    let name = attribute::find(attributes, TABLE_NAME).and_then(|name| name.strip_suffix(&[0]))?;
    is_ours(attributes).then(|| String::from_utf8_lossy(name).into_owned())
}

fn is_ours(attributes: &[u8]) -> bool {
    let userdata = attribute::find(attributes, TABLE_USERDATA).unwrap_or_default();
    userdata.get(2..).and_then(|text| text.strip_suffix(&[0])) == Some(COMMENT.as_bytes())
}

/// A message about something of a family.
pub(crate) fn message(kind: Kind, family: u8, attributes: &Attributes) -> Message {
    let body = [&[family, 0, 0, 0], attributes.bytes()].concat();
    Message { kind: SUBSYSTEM << 8 | kind.number(), flags: kind.flags(), body }
}

/// The attributes of an answer.
pub(crate) fn attributes(answer: &Message) -> &[u8] {
    answer.body.get(GENERIC..).unwrap_or_default()
}

/// The opening and closing bracket of a batch (NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END).
pub(crate) fn brackets() -> (Message, Message) {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let bracket = |kind| Message { kind, flags: 0, body: vec![0, 0, high, low] };
    (bracket(16), bracket(17))
}
