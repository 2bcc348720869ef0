//! The ledger: what became of every target, probe, frame and reply, from the order to the output.
//!
//! It owns the declaration of the accounts and their rows (`accounts`), the equations between them, what a loss means
//! and what to do about it (`losses`), the table for people (`table`), and the form in which the ledger is stored
//! (`stored`). It is a pure function of counters that others keep ([`Facts`]).
//!
//! What always holds: at the end of a scan each account's total is the sum of its parts, and both sides of each
//! equation are equal. Totals and parts come from different counters, often of different threads, so that a frame that
//! nobody counts is found. An account of which a part is unknown, because the thread that counted it panicked, says so
//! ([`Account::is_exact`]). What the kernel and the driver count for the whole interface is beside the accounts: as it
//! is of all programs, it is only a bound.

mod accounts;
mod facts;
mod losses;
mod stored;
mod table;

use std::borrow::Cow;

pub use facts::{EndFacts, Facts, OutputFacts, SocketFacts, handed_over};
pub use losses::{Level, OutputTrouble, Remark};
pub use stored::{StoredAccount, StoredLedger};

use crate::nic::InterfaceCounts;

/// The row of what is in no other part of an account while the scan runs. It is the only one that may fall.
pub const UNDER_WAY: &str = "under_way";

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Part of an ordinary scan.
    Usual,
    /// As [`Self::Usual`], but the table for people leaves it out while it is 0.
    Rare,
    /// Something was lost.
    Loss,
}

/// A count with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name for programs.
    pub name: &'static str,
    /// Its name for people.
    pub text: Cow<'static, str>,
    /// How many.
    pub count: u64,
    /// What it is.
    pub kind: RowKind,
}

/// Something that is counted as a whole, and in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name for programs.
    pub name: Cow<'static, str>,
    /// What is counted, for people.
    pub text: Cow<'static, str>,
    /// The whole.
    pub total: u64,
    /// What became of it. The sum is the whole.
    pub parts: Vec<Row>,
    /// Counts about it that are no parts of it, such as how often something was tried again.
    pub notes: Vec<Row>,
    /// Whether the sum has to be the whole: all who counted have reported.
    pub is_exact: bool,
}

/// Two counts that have to be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equation {
    /// Its name.
    pub name: &'static str,
    /// One side.
    pub left: u64,
    /// The other side.
    pub right: u64,
}

/// What became of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The accounts, in the order in which a scan goes through them.
    pub accounts: Vec<Account>,
    /// The equations between them, as far as they have to hold.
    pub equations: Vec<Equation>,
    /// What the kernel and the drivers counted meanwhile, for all programs.
    pub interfaces: Vec<InterfaceCounts>,
}

impl Ledger {
    /// The ledger of a scan, by these facts. While the scan runs, what is in no other part of an account is under way,
    /// and counts of different threads are of slightly different moments.
    pub fn of(facts: &Facts<'_>) -> Self {
        Self {
            accounts: accounts::of(facts),
            equations: facts.end.as_ref().map(|end| accounts::equations(facts, end)).unwrap_or_default(),
            interfaces: facts.end.as_ref().map(|end| end.interfaces.clone()).unwrap_or_default(),
        }
    }

    /// A count by the names of its account and its row, among parts and notes; 0 if there is none.
    pub fn count(&self, account: &str, row: &str) -> u64 {
        let account = self.accounts.iter().find(|known| known.name == account);
        let rows = account.into_iter().flat_map(|account| account.parts.iter().chain(&account.notes));
        rows.filter(|known| known.name == row).map(|known| known.count).sum()
    }

    /// The same with no count below what it was in an earlier ledger of the scan, except what is under way. A count
    /// that is the difference of two others may seem to fall while the scan runs, because they are read one after the
    /// other.
    #[must_use]
    pub fn not_below(mut self, earlier: &Self) -> Self {
        for account in &mut self.accounts {
            let Some(before) = earlier.accounts.iter().find(|before| before.name == account.name) else {
                continue;
            };
            account.total = account.total.max(before.total);
            let rows = account.parts.iter_mut().chain(&mut account.notes);
            for row in rows.filter(|row| row.name != UNDER_WAY) {
                row.count = row.count.max(earlier.count(&account.name, row.name));
            }
        }
        self
    }

    /// What does not add up, one line each. There is nothing, unless the program has a fault.
    pub fn faults(&self) -> Vec<String> {
        StoredLedger::from(self).faults()
    }
}

#[cfg(test)]
mod tests;
