//! `xdpmap merge --vantages`: how many hosts two scans of the same targets, from two places, have both missed.
//!
//! Owns the comparison of their results, and the conditions under which it means something. What always holds: only
//! successes count, each target once; the memory is 8 bytes for each result of the larger scan and of the smaller one.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::companions::metadata::Metadata;
use crate::companions::metadata::allowed::Allowed;
use crate::companions::metadata::outputs::outputs;
use crate::companions::stored::{Item, Row, StoredFile, address, is_true, place};
use crate::companions::verify::{Report, Scan, check, check_shards};
use crate::engine::EndReason;
use crate::estimate::{
    CONFIDENCE, Dispersion, Estimate, Estimates, Evidence, Interval, Missed, Networks, Probed, Second, Twice,
};
use crate::plan::place_of_file;
use crate::printable::printable;

/// The columns that are read: the first two have the address, the next two the port.
const WANTED: [&str; 5] = ["target", "saddr", "target_port", "sport", "success"];

/// What two scans of the same targets found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Vantages {
    /// The scans.
    vantages: [Vantage; 2],
    /// Targets that answered both.
    found_by_both: u64,
    /// Targets that answered one or both.
    found: u64,
    /// At least so many targets answer, and did not answer either.
    missed_by_both: Estimate,
    /// The hit rate with the targets that both missed, and what it is made of; absent if the metadata have no
    /// estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimates: Option<Estimates>,
    /// How often an interval contains the truth.
    confidence: f64,
    /// Whether targets are told apart by their ports.
    has_ports: bool,
}

/// One of the scans.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Vantage {
    /// Its metadata.
    metadata: String,
    /// Targets that answered.
    found: u64,
    /// The share that it missed, in percent.
    missed_percent: Estimate,
}

/// Compares two scans. `None` if something is wrong with one of them, which the report has.
///
/// # Errors
/// They are not of the same targets, or their results cannot be read, in one line.
pub(super) fn compared(scans: &[Scan], report: &mut Report) -> Result<Option<Vantages>, String> {
    let [one, other] = scans else {
        let count = scans.len();
        return Err(format!("--vantages: give the metadata of two scans; these are {count}"));
    };
    // A scan agrees with itself, and says nothing about what it has missed.
    let files: Vec<PathBuf> = one.paths().filter_map(place_of_file).collect();
    let is_of_one = |path: &&Path| place_of_file(path).is_some_and(|path| files.contains(&path));
    if let Some(shared) = other.paths().find(is_of_one) {
        let name = printable(shared);
        return Err(format!(
            "--vantages: {name} is a file of both scans; give two scans with files of their own"
        ));
    }
    refuse_other_targets(&one.metadata, &other.metadata)?;
    for scan in scans {
        let scan = std::slice::from_ref(scan);
        check_shards(scan, false, report);
        check(scan, report)?;
    }
    if !report.is_well() {
        return Ok(None);
    }
    let has_ports = has_ports(&one.metadata) || has_ports(&other.metadata);
    let hosts = [successes(one, has_ports)?, successes(other, has_ports)?];
    let networks = seen([&hosts[0], &hosts[1]]);
    let (twice, dispersion) = (networks.total(), networks.dispersion());
    let missed = |twice: Twice| {
        let missed = Missed::estimate(twice, 0, &dispersion);
        missed.ok_or_else(|| "--vantages: no target answered both scans, so there is no estimate".to_owned())
    };
    let (first, second) = (missed(twice)?, missed(twice.reversed())?);
    let vantage = |scan: &Scan, hosts: &[u64], missed: &Missed| Vantage {
        metadata: scan.metadata.name(),
        found: hosts.len() as u64,
        missed_percent: Estimate { value: 100.0 * missed.share, interval: missed.share_interval.percent() },
    };
    Ok(Some(Vantages {
        vantages: [vantage(one, &hosts[0], &first), vantage(other, &hosts[1], &second)],
        found_by_both: twice.both,
        found: twice.found(),
        missed_by_both: Estimate { value: first.hosts, interval: first.hosts_interval },
        estimates: estimates([&one.metadata, &other.metadata], twice, dispersion),
        confidence: CONFIDENCE,
        has_ports,
    }))
}

impl Vantages {
    /// For people, in a few lines.
    pub(super) fn for_people(&self) -> String {
        let what = if self.has_ports { "targets" } else { "hosts" };
        let mut text = format!("{} {what} found, {} of them by both scans\n", self.found, self.found_by_both);
        // Writing to a string cannot fail.
        for Vantage { metadata, found, missed_percent: Estimate { value, interval } } in &self.vantages {
            let Interval { lower, upper } = interval;
            let _ = writeln!(
                text,
                "{metadata}: found {found}, missed at least {value:.2} % ({lower:.2} to {upper:.2} %)"
            );
        }
        let Estimate { value, interval: Interval { lower, upper } } = self.missed_by_both;
        let _ = writeln!(
            text,
            "both missed at least {value:.1} {what} ({lower:.1} to {upper:.1}; intervals of 95 %); more, if what one place \
             does not see is hidden from the other as well"
        );
        if let Some(Estimates { hit_rate_percent: Estimate { value, interval }, .. }) = &self.estimates {
            let Interval { lower, upper } = interval;
            let _ = writeln!(text, "hit rate with those {value:.4} % ({lower:.4} to {upper:.4} %)");
        }
        text
    }
}

/// The hit rate of targets that both scans have probed.
fn estimates(scans: [&Metadata; 2], hosts: Twice, networks: Dispersion) -> Option<Estimates> {
    let [one, other] = scans.map(|metadata| metadata.estimates.as_ref().map(|stored| stored.evidence));
    let (one, other) = (one?, other?);
    Estimates::of(Evidence {
        probed: Probed { found: hosts.found(), ..one.probed },
        stretches: Dispersion::pooled(&[one.stretches, other.stretches]),
        second: Some(Second { hosts, once: 0, networks }),
    })
}

/// Whether the targets of a scan differ in their ports.
fn has_ports(metadata: &Metadata) -> bool {
    metadata.target_ports.len() > 1
}

/// Refuses scans of which one has probed what the other has not.
fn refuse_other_targets(one: &Metadata, other: &Metadata) -> Result<(), String> {
    let refused = |what: &str| {
        let (one, other) = (one.name(), other.name());
        Err(format!(
            "--vantages: {one} and {other} {what}; the same targets have to be scanned from both places"
        ))
    };
    if (&one.probe_module, &one.probe_args) != (&other.probe_module, &other.probe_args) {
        return refused("sent other probes");
    }
    if let Some(part) = [one, other].into_iter().find(|metadata| !metadata.is_whole()) {
        let (name, reason) = (part.name(), &part.end_reason);
        return Err(format!(
            "--vantages: {name} is of a scan that is not complete ({reason}); resume it first"
        ));
    }
    if one.targets_hash == other.targets_hash {
        let part = |metadata: &Metadata| (metadata.shard_num, metadata.total_shards, metadata.targets());
        return if part(one) == part(other) { Ok(()) } else { refused("scanned other parts of the order") };
    }
    let is_part = |metadata: &Metadata| {
        metadata.total_shards > 1 || metadata.end_reason == EndReason::MaxTargets.name()
    };
    if is_part(one) || is_part(other) {
        return refused("scanned a part of the targets each, in another order");
    }
    // Whatever the seeds, the same targets have the same hash with the same seed.
    let targets = |metadata: &Metadata| {
        let allowed = Allowed::of(metadata, None).map_err(|what| format!("{}: {what}", metadata.name()))?;
        Ok::<_, String>(allowed.order_hash(0).filter(|_| allowed.is_exact))
    };
    match (targets(one)?, targets(other)?) {
        (Some(one), Some(other)) if one == other => Ok(()),
        (Some(_), Some(_)) => refused("have other targets"),
        _ => refused("have a list of hosts and another seed, so that their targets cannot be compared"),
    }
}

/// The targets that answered a scan, in ascending order: the address, and behind it the port if it has to be known.
fn successes(scan: &Scan, has_ports: bool) -> Result<Vec<u64>, String> {
    let (metadata, outputs) = (&scan.metadata, outputs(&scan.metadata));
    let stored = scan.stored.iter().find(|stored| outputs[stored.output].module != "pcap");
    let Some(stored) = stored else {
        let name = metadata.name();
        return match metadata.results() {
            0 => Ok(Vec::new()),
            _ => Err(format!("--vantages: the results of {name} are not there; put them beside it")),
        };
    };
    let mut found = Vec::new();
    for path in &stored.files {
        let file = StoredFile::open(path, outputs[stored.output].fields.as_deref())?;
        if !metadata.has_successes_only() && !file.may_have("success") {
            return Err(format!(
                "--vantages: {} has no column success, and its scan did not write successes alone; write that field as well \
                 (-f)",
                file.name
            ));
        }
        let end = file.read(&WANTED, &mut |item| {
            if let Item::Row(row) = item
                && row.cells[4].as_deref().is_none_or(is_true)
            {
                found.push(target(&file, &row, has_ports)?);
            }
            Ok(())
        });
        if let Some(cut) = end.map_err(|error| error.to_string())?.cut {
            return Err(format!("{}: {cut}", file.name));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The target of a result.
fn target(file: &StoredFile, row: &Row<'_>, has_ports: bool) -> std::io::Result<u64> {
    let bad = |what: &str| std::io::Error::other(format!("{}: {what}", place(&file.name, row.line)));
    let host = row.cells[..2].iter().flatten().next().and_then(|cell| address(cell));
    let host = host.ok_or_else(|| bad("it has no IPv4 address"))?;
    let port = row.cells[2..4].iter().flatten().next().filter(|_| has_ports);
    let port = port.map_or(Ok(0), |cell| cell.parse::<u16>()).map_err(|_| bad("it has no port"))?;
    Ok(u64::from(host.to_bits()) << 16 | u64::from(port))
}

/// Which scans saw each target, of two lists in ascending order.
fn seen(found: [&[u64]; 2]) -> Networks {
    let mut networks = Networks::default();
    let [mut one, mut other] = found;
    loop {
        let order = match (one.first(), other.first()) {
            (None, None) => return networks,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(first), Some(second)) => first.cmp(second),
        };
        let target = if order == Ordering::Greater { other[0] } else { one[0] };
        let twice = networks.of((target >> 16) as u32);
        match order {
            Ordering::Less => twice.first_only += 1,
            Ordering::Greater => twice.second_only += 1,
            Ordering::Equal => twice.both += 1,
        }
        one = &one[usize::from(order != Ordering::Greater)..];
        other = &other[usize::from(order != Ordering::Less)..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_sets(one in prop::collection::btree_set(0u64..100, 0..60), other in prop::collection::btree_set(0u64..100, 0..60)) {
            let lists = [&one, &other].map(|set| set.iter().map(|target| target << 20).collect::<Vec<_>>());
            let twice = seen([&lists[0], &lists[1]]).total();
            prop_assert_eq!(twice.both as usize, one.intersection(&other).count());
            prop_assert_eq!(twice.first_only as usize, one.difference(&other).count());
            prop_assert_eq!(twice.second_only as usize, other.difference(&one).count());
        }
    }
}
