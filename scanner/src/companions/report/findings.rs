//! What the results of a scan say, counted while they are read: ports, kinds of answers, round-trip times, and where
//! the hits are.

use std::collections::BTreeMap;

use crate::companions::answers::{self, Answer};
use crate::companions::hilbert::{Grid, Marks, View};
use crate::companions::metadata::outputs::{self, Stored};
use crate::companions::stored::StoredFile;
use crate::units::several;

/// Most kinds of answers that are told apart: a file may have been written by anybody.
const KINDS_MAX: usize = 64;
/// Columns of the histogram for each factor of ten.
pub(super) const PER_DECADE: usize = 10;
/// From a microsecond to a thousand seconds.
const DECADES: usize = 9;

/// What was counted.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    /// Where the successes are.
    pub(super) hits: Grid,
    /// Where hosts are of which somebody on the way said that they cannot be reached.
    pub(super) unreachable: Marks,
    /// Rows that were counted as hits.
    pub(super) successes: u64,
    /// Successes by their ports.
    pub(super) ports: BTreeMap<u16, u64>,
    /// Results by the kind of answer.
    pub(super) kinds: BTreeMap<String, u64>,
    /// Round-trip times: how many in each column.
    pub(super) rtt: Vec<u64>,
    /// What was wrong with the files, a line each.
    pub(super) faults: Vec<String>,
    /// The files.
    pub(super) names: Vec<String>,
}

impl Findings {
    /// Those of no result yet, for this view of the map.
    pub(super) fn new(view: View) -> Self {
        Self {
            hits: Grid::new(view),
            unreachable: Marks::new(view),
            successes: 0,
            ports: BTreeMap::new(),
            kinds: BTreeMap::new(),
            rtt: vec![0; PER_DECADE * DECADES],
            faults: vec![],
            names: vec![],
        }
    }

    /// Reads one output of a scan: the first of `stored` whose files can be read. `None` if there is none.
    ///
    /// # Errors
    /// A file cannot be read, in one line that names it.
    pub(super) fn read(
        subject: &super::Subject,
        stored: &[Stored],
        view: View,
    ) -> Result<Option<Self>, String> {
        let outputs = outputs::outputs(&subject.metadata);
        let mut refusals = vec![];
        for Stored { output, files } in stored {
            let fields = outputs.get(*output).and_then(|output| output.fields.as_deref());
            let opened =
                files.iter().map(|file| StoredFile::open(file, fields)).collect::<Result<Vec<_>, _>>();
            match opened {
                Ok(opened) => {
                    let mut findings = Self::new(view);
                    for file in &opened {
                        findings.add_file(file)?;
                    }
                    return Ok(Some(findings));
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        // pcap, for example.
        refusals.into_iter().next().map_or(Ok(None), Err)
    }

    fn add_file(&mut self, file: &StoredFile) -> Result<(), String> {
        let tally = answers::read(file, &mut |answer| self.add(&answer))?;
        self.names.push(file.name.clone());
        if let Some(cut) = tally.cut {
            self.faults.push(format!("{}: {cut}", file.name));
        }
        if tally.not_understood > 0 {
            self.faults.push(format!(
                "{}: no address is understood in {}",
                file.name,
                several(tally.not_understood, "row")
            ));
        }
        Ok(())
    }

    fn add(&mut self, answer: &Answer<'_>) {
        if let Some(kind) = answer.classification {
            let is_new = !self.kinds.contains_key(kind);
            let kind = if is_new && self.kinds.len() >= KINDS_MAX { "others" } else { kind };
            *self.kinds.entry(kind.to_owned()).or_default() += 1;
        }
        if let Some(rtt_us) = answer.rtt_us {
            self.rtt[column_of(rtt_us)] += 1;
        }
        if answer.is_success && !answer.is_repeat {
            self.successes += 1;
            self.hits.add(answer.address);
            if let Some(port) = answer.port {
                *self.ports.entry(port).or_default() += 1;
            }
        } else if answer.is_unreachable {
            self.unreachable.add(answer.address);
        }
    }

    /// The columns of the histogram that are not empty, and those between them: where the first begins, in powers of
    /// ten of a microsecond times [`PER_DECADE`], and the counts.
    pub(super) fn rtt_columns(&self) -> Option<(usize, &[u64])> {
        let first = self.rtt.iter().position(|count| *count > 0)?;
        let last = self.rtt.iter().rposition(|count| *count > 0)?;
        Some((first, &self.rtt[first..=last]))
    }
}

/// The column of a round-trip time.
fn column_of(rtt_us: u64) -> usize {
    let column = (rtt_us.max(1) as f64).log10() * PER_DECADE as f64;
    (column as usize).min(PER_DECADE * DECADES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use targets::AddressRange;

    #[test]
    fn answers_are_counted() {
        let mut findings = Findings::new(View::new(AddressRange::ALL, 4).unwrap());
        let answer = Answer {
            address: 1,
            port: Some(80),
            is_success: true,
            is_repeat: false,
            is_unreachable: false,
            classification: Some("synack"),
            rtt_us: Some(100),
        };
        findings.add(&answer);
        findings.add(&Answer { is_repeat: true, rtt_us: Some(1_000), ..answer });
        for number in 0..100 {
            let kind = format!("k{number}");
            findings.add(&Answer { is_success: false, classification: Some(&kind), rtt_us: None, ..answer });
        }
        assert_eq!((findings.successes, findings.hits.total(), findings.ports[&80]), (1, 1, 1));
        assert_eq!((findings.kinds["synack"], findings.kinds.len()), (2, KINDS_MAX + 1));
        let (first, columns) = findings.rtt_columns().unwrap();
        assert_eq!((first, columns.len(), columns[0], columns[10]), (20, 11, 1, 1));
        assert_eq!((column_of(0), column_of(u64::MAX)), (0, PER_DECADE * DECADES - 1));
    }
}
