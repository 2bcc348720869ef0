//! Whether scans are the shards of one plan: all of them, and each once.

use std::collections::BTreeMap;

use super::check::Scan;
use super::faults::{Kind, Report};
use crate::companions::metadata::Metadata;

/// The shards that are not there, ascending. All of these scans are of one plan.
pub(in crate::companions) fn missing(scans: &[Scan]) -> Vec<u32> {
    let total = scans.first().map_or(0, |scan| scan.metadata.total_shards);
    let is_there = |number: &u32| scans.iter().any(|scan| scan.metadata.shard_num == *number);
    (0..total).filter(|number| !is_there(number)).collect()
}

/// Checks that each scan has done its work and, if they have to be a `whole`, that together they are all shards of one
/// plan.
pub(in crate::companions) fn check(scans: &[Scan], whole: bool, report: &mut Report) {
    for Scan { metadata, .. } in scans {
        let has_failed = metadata.exit_code != 0 || whole && !metadata.is_whole();
        if has_failed {
            let what = || {
                let Metadata { end_reason, exit_code, .. } = metadata;
                format!("ended by {end_reason} with exit code {exit_code}, {}", metadata.left())
            };
            report.fault(Kind::IncompleteScan, what, || metadata.name());
        } else if !metadata.is_whole() {
            let (name, end_reason, left) = (metadata.name(), &metadata.end_reason, metadata.left());
            report.unchecked(format!("{name}: what is missing: the scan ended by {end_reason}, {left}"));
        }
        if metadata.dryrun == 1 {
            report.fault(
                Kind::IncompleteScan,
                || "a dry run, which sends nothing".to_owned(),
                || metadata.name(),
            );
        }
    }
    let [first, others @ ..] = scans else { return };
    if !whole {
        return;
    }
    let of_other_plan = |scan: &&Scan| difference(&first.metadata, &scan.metadata).is_some();
    if others.iter().any(|scan| of_other_plan(&scan)) {
        for scan in others {
            if let Some(what) = difference(&first.metadata, &scan.metadata) {
                report.fault(Kind::OtherPlan, || what, || scan.metadata.name());
            }
        }
        return;
    }
    let mut known: BTreeMap<u32, &Metadata> = BTreeMap::new();
    for Scan { metadata, .. } in scans {
        let number = metadata.shard_num;
        if let Some(other) = known.insert(number, metadata) {
            let what = || format!("shard {number} of {}, also in {}", metadata.total_shards, other.name());
            report.fault(Kind::ShardTwice, what, || metadata.name());
        }
    }
    for number in missing(scans) {
        let total = first.metadata.total_shards;
        report.fault(
            Kind::MissingShard,
            || format!("shard {number} of {total}"),
            || format!("{} of them are there", known.len()),
        );
    }
}

/// Why `other` is no shard of the same plan as `one`; `None` if it is one.
fn difference(one: &Metadata, other: &Metadata) -> Option<String> {
    let name = one.name();
    // Another seed makes another hash of the targets, and says more.
    if one.seed != other.seed {
        let (seed, other_seed) = (one.seed, other.seed);
        return Some(format!(
            "seed {other_seed} is not that of {name} ({seed}); give all shards the same --seed"
        ));
    }
    let differs = [
        ("targets_hash", one.targets_hash != other.targets_hash),
        ("total_shards", one.total_shards != other.total_shards),
        ("probe_module", one.probe_module != other.probe_module),
        ("probe_args", one.probe_args != other.probe_args),
        ("packet_streams", one.packet_streams != other.packet_streams),
    ];
    differs.into_iter().find(|(_, differs)| *differs).map(|(key, _)| format!("{key} is not that of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32, total: u32) -> Scan {
        let metadata = Metadata {
            shard_num: number,
            total_shards: total,
            targets_hash: "ab".to_owned(),
            end_reason: "complete".to_owned(),
            ..Metadata::default()
        };
        Scan { metadata, stored: vec![] }
    }

    fn report(scans: &[Scan]) -> Report {
        let mut report = Report::default();
        check(scans, scans.len() > 1, &mut report);
        report
    }

    #[test]
    fn all_and_each_once() {
        assert!(report(&[shard(1, 3), shard(0, 3), shard(2, 3)]).is_well());
        assert!(report(&[shard(1, 3)]).is_well(), "one shard alone is no fault");
        let mut alone = Report::default();
        check(&[shard(1, 3)], true, &mut alone);
        assert_eq!(alone.count(Kind::MissingShard), 2, "but it is no whole");
        let scans = [shard(1, 4), shard(0, 4), shard(1, 4)];
        assert_eq!(
            (report(&scans).count(Kind::ShardTwice), report(&scans).count(Kind::MissingShard)),
            (1, 2)
        );
        assert_eq!(missing(&scans), [2, 3]);
        assert_eq!(report(&[shard(0, 1), shard(0, 1)]).count(Kind::ShardTwice), 1);
    }

    #[test]
    fn other_plans() {
        let other = |change: fn(&mut Metadata)| {
            let mut scan = shard(1, 2);
            change(&mut scan.metadata);
            report(&[shard(0, 2), scan]).count(Kind::OtherPlan)
        };
        assert_eq!(other(|_| {}), 0);
        assert_eq!(other(|metadata| metadata.targets_hash.push('c')), 1);
        let mut with_seed = shard(1, 2);
        (with_seed.metadata.seed, with_seed.metadata.targets_hash) = (8, "cd".to_owned());
        let text = report(&[shard(0, 2), with_seed]).for_people();
        assert!(text.contains("seed 8 is not that of") && text.contains("--seed"), "{text}");
        assert_eq!(other(|metadata| metadata.total_shards = 3), 1);
        assert_eq!(other(|metadata| metadata.probe_args = Some("rtt".to_owned())), 1);
        assert_eq!(other(|metadata| metadata.packet_streams = 2), 1);
    }

    #[test]
    fn work_that_is_not_done() {
        let ended = |reason: &str, exit_code, targets_left| {
            let mut scan = shard(1, 2);
            scan.metadata.end_reason = reason.to_owned();
            (scan.metadata.exit_code, scan.metadata.targets_left) = (exit_code, targets_left);
            scan
        };
        assert_eq!(report(&[ended("interrupted", 130, 5)]).count(Kind::IncompleteScan), 1);
        // A limit that was asked for is no fault of one scan, but a part of the whole is missing.
        let limited = report(&[ended("max-runtime", 0, 5)]);
        assert!(limited.is_well() && limited.for_people().contains("5 targets left"));
        assert_eq!(report(&[shard(0, 2), ended("max-runtime", 0, 5)]).count(Kind::IncompleteScan), 1);
        let mut lacks_second_probes = shard(1, 2);
        lacks_second_probes.metadata.second_intervals_left = vec![[5, 9], [20, 21]];
        let lacking = report(&[shard(0, 2), lacks_second_probes]);
        assert_eq!(lacking.count(Kind::IncompleteScan), 1);
        assert!(
            lacking.for_people().contains("0 targets left, second probes left at 5 places"),
            "{lacking:?}"
        );
    }
}
