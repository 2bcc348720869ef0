//! What is wrong with results, counted by its kind, with the first example of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::printable::printable;
use crate::units::counted;

/// A kind of fault, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::companions) enum Kind {
    OtherPlan,
    ShardTwice,
    MissingShard,
    IncompleteScan,
    Unbalanced,
    OtherTargets,
    ChangedList,
    MissingFile,
    CutFile,
    BadRow,
    WrongCount,
    ForeignAddress,
    Repeat,
    OutsideTheRun,
}

impl Kind {
    /// Its name, for programs.
    pub(in crate::companions) fn name(self) -> &'static str {
        match self {
            Self::OtherPlan => "other-plan",
            Self::ShardTwice => "shard-twice",
            Self::MissingShard => "missing-shard",
            Self::IncompleteScan => "incomplete-scan",
            Self::Unbalanced => "unbalanced-ledger",
            Self::OtherTargets => "other-targets",
            Self::ChangedList => "changed-list",
            Self::MissingFile => "missing-file",
            Self::CutFile => "cut-file",
            Self::BadRow => "bad-row",
            Self::WrongCount => "wrong-count",
            Self::ForeignAddress => "foreign-address",
            Self::Repeat => "repeat",
            Self::OutsideTheRun => "outside-the-run",
        }
    }

    /// What it means.
    fn meaning(self) -> &'static str {
        match self {
            Self::OtherPlan => "scans that are not shards of one plan",
            Self::ShardTwice => "shards that are there more than once",
            Self::MissingShard => "shards that are not there",
            Self::IncompleteScan => "scans that did not do all of their work",
            Self::Unbalanced => "sums of the ledger that are wrong",
            Self::OtherTargets => {
                "scans whose networks, ports and seed do not give the hash of their targets"
            }
            Self::ChangedList => "lists that are not what they were",
            Self::MissingFile => "outputs whose file is not there",
            Self::CutFile => "files that are cut or damaged",
            Self::BadRow => "rows that are not understood",
            Self::WrongCount => "outputs with another number of results than were written",
            Self::ForeignAddress => "results that are not about a target of the scan",
            Self::Repeat => "results whose target has one already",
            Self::OutsideTheRun => "results from before or after the scan",
        }
    }
}

/// How often a kind of fault was found, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Faults {
    count: u64,
    first: String,
    place: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::companions) struct Report {
    faults: BTreeMap<Kind, Faults>,
    /// What was not checked, and of which file if it is about one.
    unchecked: Vec<(Option<String>, String)>,
    /// Scans whose metadata were read.
    pub(in crate::companions) scans: u64,
    /// Files of results that were read.
    pub(in crate::companions) files: u64,
    /// Results in them.
    pub(in crate::companions) results: u64,
}

/// A fault, for programs.
#[derive(Serialize)]
struct ShownFault {
    kind: &'static str,
    count: u64,
    meaning: &'static str,
    first: String,
    place: String,
}

/// A report, for programs.
#[derive(Serialize)]
struct Shown {
    ok: bool,
    scans: u64,
    files: u64,
    results: u64,
    faults: Vec<ShownFault>,
    unchecked: Vec<String>,
}

impl Report {
    /// A fault: `what` it is and the `place` where it is. Both are made only if it is the first of its kind.
    pub(in crate::companions) fn fault(
        &mut self,
        kind: Kind,
        what: impl FnOnce() -> String,
        place: impl FnOnce() -> String,
    ) {
        // What files say may contain anything.
        let first = || Faults { count: 0, first: printable(what()), place: printable(place()) };
        let faults = self.faults.entry(kind).or_insert_with(first);
        faults.count += 1;
    }

    /// Something that could not be checked.
    pub(in crate::companions) fn unchecked(&mut self, what: impl Into<String>) {
        self.add_unchecked(None, what.into());
    }

    /// The same about a file. Of many files it is one line.
    pub(in crate::companions) fn unchecked_in(&mut self, file: &str, what: impl Into<String>) {
        self.add_unchecked(Some(printable(file)), what.into());
    }

    fn add_unchecked(&mut self, file: Option<String>, what: String) {
        let entry = (file, printable(what));
        if !self.unchecked.contains(&entry) {
            self.unchecked.push(entry);
        }
    }

    /// What was not checked, in the order in which it was found: each thing once, with the first of its files.
    fn unchecked_lines(&self) -> Vec<String> {
        let mut known: Vec<(&str, Option<&str>, u64)> = Vec::new();
        for (file, what) in &self.unchecked {
            match known.iter_mut().find(|(other, ..)| other == what) {
                Some((.., count)) => *count += 1,
                None => known.push((what, file.as_deref(), 1)),
            }
        }
        let line = |(what, file, count): (&str, Option<&str>, u64)| match (file, count - 1) {
            (None, _) => what.to_owned(),
            (Some(file), 0) => format!("{file}: {what}"),
            (Some(file), more) => format!("{what} ({file} and {})", counted(more, "other file")),
        };
        known.into_iter().map(line).collect()
    }

    /// Whether nothing is wrong.
    pub(in crate::companions) fn is_well(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether this kind of fault was found.
    #[cfg(test)]
    pub(in crate::companions) fn count(&self, kind: Kind) -> u64 {
        self.faults.get(&kind).map_or(0, |faults| faults.count)
    }

    /// One line per kind of fault, one for each thing that was not checked, and a last one that sums up.
    pub(in crate::companions) fn for_people(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for (kind, Faults { count, first, place }) in &self.faults {
            let _ = writeln!(text, "{}: {count} {}; first: {first} ({place})", kind.name(), kind.meaning());
        }
        for what in self.unchecked_lines() {
            let _ = writeln!(text, "not checked: {what}");
        }
        let verdict = match self.faults.len() {
            0 => "all is well".to_owned(),
            1 => "1 kind of fault".to_owned(),
            kinds => format!("{kinds} kinds of faults"),
        };
        let Self { scans, files, results, .. } = self;
        let _ = writeln!(
            text,
            "{verdict}: {} in {}, {}",
            counted(*results, "result"),
            counted(*files, "file"),
            counted(*scans, "scan")
        );
        text
    }

    /// One line of JSON.
    pub(in crate::companions) fn for_programs(&self) -> String {
        let fault = |(kind, faults): (&Kind, &Faults)| ShownFault {
            kind: kind.name(),
            count: faults.count,
            meaning: kind.meaning(),
            first: faults.first.clone(),
            place: faults.place.clone(),
        };
        let named = |(file, what): &(Option<String>, String)| match file {
            Some(file) => format!("{file}: {what}"),
            None => what.clone(),
        };
        let shown = Shown {
            ok: self.is_well(),
            scans: self.scans,
            files: self.files,
            results: self.results,
            faults: self.faults.iter().map(fault).collect(),
            unchecked: self.unchecked.iter().map(named).collect(),
        };
        serde_json::to_string(&shown).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_kind() {
        let mut report = Report { scans: 1, files: 2, results: 9, ..Report::default() };
        assert_eq!(report.for_people(), "all is well: 9 results in 2 files, 1 scan\n");
        for number in 1..=3 {
            report.fault(Kind::Repeat, || format!("192.0.2.{number}"), || format!("r.csv:{number}"));
        }
        report.fault(Kind::CutFile, || "it ends early".to_owned(), || "r.csv".to_owned());
        report.unchecked("the times");
        report.unchecked("the times");
        report.unchecked_in("a.csv", "the ports");
        for file in ["a.csv", "b.csv", "c.csv", "c.csv"] {
            report.unchecked_in(file, "repeats");
        }
        let text = report.for_people();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("cut-file: 1 files") && lines[0].ends_with("first: it ends early (r.csv)"),
            "{text}"
        );
        assert!(
            lines[1].starts_with("repeat: 3 ") && lines[1].ends_with("first: 192.0.2.1 (r.csv:1)"),
            "{text}"
        );
        assert_eq!(
            lines[2..],
            [
                "not checked: the times",
                "not checked: a.csv: the ports",
                "not checked: repeats (a.csv and 2 other files)",
                "2 kinds of faults: 9 results in 2 files, 1 scan"
            ]
        );
        let json: serde_json::Value = serde_json::from_str(&report.for_programs()).unwrap();
        assert_eq!(
            (&json["ok"], &json["faults"][1]["count"], &json["faults"][0]["kind"]),
            (&false.into(), &3.into(), &"cut-file".into())
        );
        assert_eq!((report.count(Kind::Repeat), report.is_well()), (3, false));
    }
}
