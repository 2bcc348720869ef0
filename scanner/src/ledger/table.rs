//! The ledger as a table for people, for terminals of 80 columns.

use std::fmt;

use super::{Account, Ledger, Row, RowKind};
use crate::nic::InterfaceCounts;
use crate::units::grouped;

/// Columns of a name, without its indentation.
const NAME_LEN: usize = 54;
/// Columns of a count with its marks: 18 digits in groups of three, and two more.
const COUNT_LEN: usize = 21;

/// A line of the table. A name that is too long is cut.
struct Line<'a> {
    indent: usize,
    name: &'a str,
    count: u64,
    mark: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { indent, name, count, mark } = *self;
        let len = NAME_LEN - indent;
        let name: String = match name.chars().count() > len {
            true => name.chars().take(len - 3).chain("...".chars()).collect(),
            false => name.to_owned(),
        };
        writeln!(f, "{:indent$}{name:len$} {:>COUNT_LEN$}{mark}", "", grouped(count))
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Ledger: each whole, and what became of it (! is a loss)")?;
        // A scan without canaries has nothing to say about them, nor one without second probes.
        let is_shown = |account: &&Account| {
            account.total > 0 || account.parts.iter().any(|row| row.kind != RowKind::Rare)
        };
        for account in self.accounts.iter().filter(is_shown) {
            let mark = if account.is_exact { "" } else { " ~" };
            write!(f, "{}", Line { indent: 0, name: &account.text, count: account.total, mark })?;
            let is_shown = |row: &&Row| row.kind != RowKind::Rare || row.count > 0;
            for row in account.parts.iter().filter(is_shown) {
                let mark = if row.kind == RowKind::Loss && row.count > 0 { " !" } else { "" };
                write!(f, "{}", Line { indent: 2, name: &row.text, count: row.count, mark })?;
            }
            for row in account.notes.iter().filter(|row| row.count > 0) {
                write!(
                    f,
                    "{}",
                    Line { indent: 4, name: &format!("({})", row.text), count: row.count, mark: "" }
                )?;
            }
        }
        for interface in &self.interfaces {
            write_interface(f, interface)?;
        }
        let faults = self.faults();
        for fault in &faults {
            writeln!(f, "DOES NOT ADD UP: {fault}")?;
        }
        let checked = self.accounts.iter().filter(|account| account.is_exact).count() + self.equations.len();
        if faults.is_empty() {
            writeln!(f, "{checked} sums and equations checked: all hold")?;
        }
        if self.accounts.iter().any(|account| !account.is_exact) {
            writeln!(f, "~ not checked: a thread that counted has ended early")?;
        }
        Ok(())
    }
}

fn write_interface(f: &mut fmt::Formatter<'_>, counts: &InterfaceCounts) -> fmt::Result {
    writeln!(f, "Beside it, what {} counted of all programs", counts.interface)?;
    for (name, count, is_shown) in [
        ("frames received", counts.rx_packets, true),
        ("frames sent", counts.tx_packets, true),
        ("dropped on receipt", counts.rx_dropped, false),
        ("no room in the device", counts.rx_missed, false),
        ("damaged", counts.rx_errors, false),
        ("dropped on transmission", counts.tx_dropped, false),
        ("errors on transmission", counts.tx_errors, false),
        ("dropped by the queueing discipline", counts.qdisc_drops, false),
    ] {
        if is_shown || count > 0 {
            write!(f, "{}", Line { indent: 2, name, count, mark: "" })?;
        }
    }
    for (name, count) in &counts.driver {
        write!(f, "{}", Line { indent: 2, name: &format!("driver: {name}"), count: *count, mark: "" })?;
    }
    Ok(())
}
