//! The results of the older file, by their targets, in bounded memory; and how the newer ones differ from them.
//!
//! The table has a budget. Results that do not fit are left for another pass: a pass has the targets whose number is
//! in one class modulo a power of two, and a class that is too large is split into two. So every target is in exactly
//! one pass, and each pass reads both files once.

use std::collections::HashMap;
use std::io;

use super::columns::Columns;
use crate::companions::stored::{Item, Row, StoredFile, address, is_true, place};

/// What a result takes in the table beside its values, and a value beside its text, in bytes: measured with a million
/// results of two values each. Lower: tables exceed their budget. Higher: more passes.
const ENTRY_LEN: usize = 96;
const VALUE_LEN: usize = 56;

/// A target: its address, and its port plus 1; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(address: u32, port: Option<u16>) -> Self {
        Self(u64::from(address) << 17 | port.map_or(0, |port| u64::from(port) + 1))
    }

    /// Its address.
    pub(super) fn address(self) -> std::net::Ipv4Addr {
        std::net::Ipv4Addr::from_bits((self.0 >> 17) as u32)
    }

    /// Its port.
    pub(super) fn port(self) -> Option<u16> {
        (self.0 as u32 & 0x1_ffff).checked_sub(1).map(|port| port as u16)
    }

    /// A number that spreads neighbours.
    fn spread(self) -> u64 {
        // The golden ratio's bits, as for Fibonacci hashing (D. Knuth, TAOCP 3, section 6.4).
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
    }
}

/// The values of a result that are compared, in the order of the columns.
pub(super) type Values = Box<[Option<String>]>;

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Only the newer file has the target.
    New(Key, Values),
    /// Only the older file has it.
    Gone(Key, Values),
    /// Both have it, with other values: the older and the newer ones.
    Changed(Key, Values, Values),
}

/// How many targets there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Targets of the newer file alone.
    pub(super) new: u64,
    /// Targets of the older file alone.
    pub(super) gone: u64,
    /// Targets whose values differ.
    pub(super) changed: u64,
    /// Targets without a difference.
    pub(super) same: u64,
}

impl Tally {
    /// Whether there is no difference.
    pub(super) fn is_same(self) -> bool {
        self.new + self.gone + self.changed == 0
    }
}

/// The targets of one pass: those whose number is `rest` modulo `modulus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    modulus: u64,
    rest: u64,
}

impl Class {
    fn has(self, key: Key) -> bool {
        key.spread() & (self.modulus - 1) == self.rest
    }

    fn halves(self) -> [Self; 2] {
        let modulus = self.modulus * 2;
        [Self { modulus, rest: self.rest }, Self { modulus, rest: self.rest + self.modulus }]
    }
}

/// A target of the table.
struct Entry {
    values: Values,
    /// Whether the result is a success, which counts more than one that is none.
    is_success: bool,
}

type Table = HashMap<Key, Entry>;

/// The differences between two files.
pub(super) struct Comparison<'a> {
    pub(super) old: &'a StoredFile,
    pub(super) new: &'a StoredFile,
    pub(super) columns: &'a Columns,
    /// Most bytes that the table may take.
    pub(super) memory: u64,
}

/// A table has no room.
struct Full;

impl Comparison<'_> {
    /// Gives each difference to `take`, and returns how many there are.
    ///
    /// # Errors
    /// A file cannot be read or understood, or the error of `take`.
    pub(super) fn run(&self, take: &mut dyn FnMut(&Change) -> io::Result<()>) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut left = vec![Class { modulus: 1, rest: 0 }];
        while let Some(class) = left.pop() {
            // Both tables of a pass together have the memory.
            let tables = match self.table(self.old, class, self.memory / 2)? {
                Ok(old) => self.table(self.new, class, self.memory / 2)?.map(|new| (old, new)),
                Err(full) => Err(full),
            };
            match tables {
                Ok((old, new)) => compare(old, new, &mut tally, take)?,
                Err(Full) => left.extend(class.halves()),
            }
        }
        Ok(tally)
    }

    /// The results of a file that are in a class, if they fit into `memory` bytes. Of several results of a target, the
    /// first success counts, or else the first.
    fn table(&self, file: &StoredFile, class: Class, memory: u64) -> io::Result<Result<Table, Full>> {
        let (mut table, mut bytes) = (Table::new(), 0);
        // A class of one target cannot be split further.
        let may_split = class.modulus < 1 << 32;
        let mut wanted = self.columns.all();
        let compared = 1 + usize::from(self.columns.port.is_some())..wanted.len();
        let success = wanted.iter().position(|name| *name == "success").unwrap_or(wanted.len());
        if success == wanted.len() {
            wanted.push("success");
        }
        let mut is_full = false;
        let end = file.read(&wanted, &mut |item| {
            let row = match item {
                Item::Row(_) if is_full => return Ok(()),
                Item::Header(_) => return Ok(()),
                Item::Row(row) => row,
                Item::Bad { line, what } => return Err(bad(file, line, &what)),
            };
            let key = self.key(file, &row)?;
            if !class.has(key) {
                return Ok(());
            }
            let is_success = row.cells[success].as_deref().is_none_or(is_true);
            if table.get(&key).is_some_and(|known| known.is_success || !is_success) {
                return Ok(());
            }
            let values: Values = row.cells[compared.clone()].into();
            let len_of = |value: &Option<String>| VALUE_LEN + value.as_ref().map_or(0, String::len);
            bytes += (ENTRY_LEN + values.iter().map(len_of).sum::<usize>()) as u64;
            table.insert(key, Entry { values, is_success });
            // A single result has to fit.
            is_full = may_split && bytes > memory && table.len() > 1;
            Ok(())
        })?;
        match end.cut {
            Some(why) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", file.name))),
            None if is_full => Ok(Err(Full)),
            None => Ok(Ok(table)),
        }
    }

    fn key(&self, file: &StoredFile, row: &Row<'_>) -> io::Result<Key> {
        let host = row.cells[0].as_deref().and_then(address);
        let host = host.ok_or_else(|| bad(file, row.line, "it has no IPv4 address"))?;
        let port = self.columns.port.as_ref().and(row.cells[1].as_deref()).map(str::parse).transpose();
        let port = port.map_err(|_| bad(file, row.line, "its port is not a number up to 65535"))?;
        Ok(Key::new(host.to_bits(), port))
    }
}

fn bad(file: &StoredFile, line: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", place(&file.name, line)))
}

/// The differences of a pass, by the numbers of the targets.
fn compare(
    mut old: Table,
    new: Table,
    tally: &mut Tally,
    take: &mut dyn FnMut(&Change) -> io::Result<()>,
) -> io::Result<()> {
    let mut changes = Vec::new();
    for (key, Entry { values: now, .. }) in new {
        match old.remove(&key) {
            None => changes.push(Change::New(key, now)),
            Some(Entry { values: then, .. }) if then != now => changes.push(Change::Changed(key, then, now)),
            Some(_) => tally.same += 1,
        }
    }
    changes.extend(old.into_iter().map(|(key, entry)| Change::Gone(key, entry.values)));
    changes.sort_by_key(Change::key);
    for change in &changes {
        *match change {
            Change::New(..) => &mut tally.new,
            Change::Gone(..) => &mut tally.gone,
            Change::Changed(..) => &mut tally.changed,
        } += 1;
        take(change)?;
    }
    Ok(())
}

impl Change {
    /// The target.
    pub(super) fn key(&self) -> Key {
        match self {
            Self::New(key, _) | Self::Gone(key, _) | Self::Changed(key, ..) => *key,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// The differences between two files with this memory, ordered by their targets.
    fn differences(old: &str, new: &str, memory: u64) -> (Vec<Change>, Tally) {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            StoredFile::open(&path, None).unwrap()
        };
        let (old, new) = (open("old", old), open("new", new));
        let columns = Columns::of(&old.columns().unwrap(), &new.columns().unwrap(), None).unwrap();
        let mut changes = vec![];
        let comparison = Comparison { old: &old, new: &new, columns: &columns, memory };
        let tally = comparison.run(&mut |change| {
            changes.push(change.clone());
            Ok(())
        });
        changes.sort_by_key(Change::key);
        (changes, tally.unwrap())
    }

    #[test]
    fn new_gone_changed() {
        let old = "saddr,sport,classification,success,seqnum\n192.0.2.1,80,synack,1,5\n192.0.2.2,80,synack,1,6\n\
                   192.0.2.3,80,rst,0,7\n192.0.2.3,,icmp,0,8\n";
        let new = "seqnum,saddr,sport,classification,success\n1,192.0.2.1,80,synack,1\n2,192.0.2.3,80,synack,1\n\
                   3,192.0.2.3,,icmp,0\n4,192.0.2.1,443,synack,1\n";
        let (changes, tally) = differences(old, new, 1 << 20);
        assert_eq!(tally, Tally { new: 1, gone: 1, changed: 1, same: 2 });
        let cell = |text: &str| Some(text.to_owned());
        let shown: Vec<(String, Option<u16>)> =
            changes.iter().map(|change| (change.key().address().to_string(), change.key().port())).collect();
        assert_eq!(
            shown,
            [("192.0.2.1".into(), Some(443)), ("192.0.2.2".into(), Some(80)), ("192.0.2.3".into(), Some(80))]
        );
        let Change::Changed(_, then, now) = &changes[2] else { panic!("{changes:?}") };
        assert_eq!((&then[..], &now[..]), (&[cell("rst"), cell("0")][..], &[cell("synack"), cell("1")][..]));
    }

    /// A second SYN-ACK or a RST behind the success changes nothing; a success behind a RST counts.
    #[test]
    fn the_first_success_of_a_target_counts() {
        let one = "saddr,classification,success\n192.0.2.1,rst,0\n192.0.2.1,synack,1\n192.0.2.1,rst,0\n";
        let other = "saddr,classification,success\n192.0.2.1,synack,1\n192.0.2.1,synack,1\n";
        assert_eq!(differences(one, other, 1 << 20).1, Tally { same: 1, ..Tally::default() });
    }

    fn text(results: &BTreeMap<(u8, u16), u8>) -> String {
        results.iter().fold("saddr,sport,classification\n".to_owned(), |mut text, ((host, port), value)| {
            let _ = writeln!(text, "192.0.2.{host},{port},c{value}");
            text
        })
    }

    fn results() -> impl Strategy<Value = BTreeMap<(u8, u16), u8>> {
        prop::collection::btree_map((0u8..12, prop_oneof![0u16..4, Just(u16::MAX)]), 0u8..3, 0..40)
    }

    proptest! {
        /// However little memory there is, the differences are those of two maps.
        #[test]
        fn as_two_maps(old in results(), new in results(), memory in prop_oneof![Just(300), Just(2_000), Just(1 << 20)]) {
            let (changes, tally) = differences(&text(&old), &text(&new), memory);
            let key = |(host, port): &(u8, u16)| Key::new(0xc000_0200 + u32::from(*host), Some(*port));
            let values = |value: &u8| -> Values { vec![Some(format!("c{value}"))].into() };
            let mut expected = vec![];
            for (target, value) in &new {
                match old.get(target) {
                    None => expected.push(Change::New(key(target), values(value))),
                    Some(then) if then != value => {
                        expected.push(Change::Changed(key(target), values(then), values(value)));
                    }
                    Some(_) => {}
                }
            }
            let gone = old.iter().filter(|(target, _)| !new.contains_key(target));
            expected.extend(gone.map(|(target, value)| Change::Gone(key(target), values(value))));
            expected.sort_by_key(Change::key);
            prop_assert_eq!(&changes, &expected);
            prop_assert_eq!(tally.same as usize, new.len() - expected.iter().filter(|change| !matches!(change, Change::Gone(..))).count());
            prop_assert_eq!(tally.is_same(), old == new);
        }

        #[test]
        fn keys_hold_their_parts(address: u32, port: Option<u16>) {
            let key = Key::new(address, port);
            prop_assert_eq!((key.address().to_bits(), key.port()), (address, port));
        }
    }
}
