//! The ledger as it is stored in the metadata and in status updates, and as it is read from them.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::facts::{EndFacts, Facts, OutputFacts};
use super::{Account, Equation, Ledger, Row};
use crate::engine::{Counts, RepeatPolicy};
use crate::nic::InterfaceCounts;
use crate::results::counts::Counts as ResultCounts;

/// A ledger, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredLedger {
    /// The accounts by their names.
    pub accounts: IndexMap<String, StoredAccount>,
    /// Pairs of numbers that are equal, by their names.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub equations: IndexMap<String, [u64; 2]>,
    /// What the kernel and the drivers counted meanwhile, for all programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceCounts>,
}

/// An account, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredAccount {
    /// The whole.
    pub total: u64,
    /// What became of it.
    pub parts: IndexMap<String, u64>,
    /// Other counts about it.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub notes: IndexMap<String, u64>,
    /// Present, and false, if the parts need not add up to the whole.
    #[serde(skip_serializing_if = "is_true")]
    pub exact: bool,
}

impl Default for StoredAccount {
    fn default() -> Self {
        Self { total: 0, parts: IndexMap::new(), notes: IndexMap::new(), exact: true }
    }
}

fn is_true(yes: &bool) -> bool {
    *yes
}

impl StoredLedger {
    /// What does not add up, one line each.
    pub fn faults(&self) -> Vec<String> {
        let sums = self.accounts.iter().filter(|(_, account)| account.exact).filter_map(|(name, account)| {
            let sum = account.parts.values().fold(0u64, |sum, count| sum.saturating_add(*count));
            let total = account.total;
            (sum != total).then(|| format!("{name}: the parts make {sum}, and the whole is {total}"))
        });
        let unequal = self.equations.iter().filter(|(_, [left, right])| left != right);
        let unequal = unequal.map(|(name, [left, right])| format!("{name}: {left} is not {right}"));
        sums.chain(unequal).collect()
    }

    /// The ledger in the words of this version. What it does not know is left out. `places` are the outputs, for
    /// people, and `repeats` is what the workers did with repeats.
    pub fn described(&self, places: &[String], repeats: RepeatPolicy) -> Ledger {
        let output = |place: &String| OutputFacts { place: place.clone(), ..OutputFacts::default() };
        let end = EndFacts {
            packet_sockets: Some([0; 2]),
            outputs: Some(places.iter().map(output).collect()),
            interfaces: self.interfaces.clone(),
            ..EndFacts::default()
        };
        let mut ledger = Ledger::of(&Facts {
            counts: &Counts::default(),
            results: &ResultCounts::default(),
            verdicts: &[],
            copies: 1,
            has_resets: true,
            repeats,
            end: Some(end),
        });
        ledger.equations.clear();
        ledger.accounts.retain_mut(|account| {
            let Some(stored) = self.accounts.get(&*account.name) else { return false };
            (account.total, account.is_exact) = (stored.total, stored.exact);
            for row in &mut account.parts {
                row.count = stored.parts.get(row.name).copied().unwrap_or_default();
            }
            for row in &mut account.notes {
                row.count = stored.notes.get(row.name).copied().unwrap_or_default();
            }
            true
        });
        ledger
    }

    /// Adds another one: that of another part of the same scan.
    pub fn add(&mut self, other: Self) {
        for (name, account) in other.accounts {
            let own = self.accounts.entry(name).or_default();
            own.total = own.total.saturating_add(account.total);
            add(&mut own.parts, account.parts);
            add(&mut own.notes, account.notes);
            own.exact &= account.exact;
        }
        for (name, [left, right]) in other.equations {
            let own = self.equations.entry(name).or_default();
            *own = [own[0].saturating_add(left), own[1].saturating_add(right)];
        }
        self.interfaces.extend(other.interfaces);
    }
}

/// Adds counts to those of the same names.
fn add(own: &mut IndexMap<String, u64>, others: IndexMap<String, u64>) {
    for (name, count) in others {
        let own = own.entry(name).or_default();
        *own = own.saturating_add(count);
    }
}

impl From<&Ledger> for StoredLedger {
    fn from(ledger: &Ledger) -> Self {
        let account = |account: &Account| (account.name.to_string(), StoredAccount::from(account));
        let equation = |known: &Equation| (known.name.to_owned(), [known.left, known.right]);
        Self {
            accounts: ledger.accounts.iter().map(account).collect(),
            equations: ledger.equations.iter().map(equation).collect(),
            interfaces: ledger.interfaces.clone(),
        }
    }
}

impl From<&Account> for StoredAccount {
    fn from(account: &Account) -> Self {
        let named = |rows: &[Row]| rows.iter().map(|row| (row.name.to_owned(), row.count)).collect();
        Self {
            total: account.total,
            parts: named(&account.parts),
            notes: named(&account.notes),
            exact: account.is_exact,
        }
    }
}
