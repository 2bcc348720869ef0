//! What a file of results says of its scan, if its format has room for that: enough to tell two scans apart, and to
//! find the metadata that say all the rest.
//!
//! What always holds: names and values are those of the metadata, and it is short however large the lists are, since
//! each file has it, and each checkpoint of one.

use serde::Serialize;

use super::{Kept, ProbePlan, ReportPlan, TargetPlan};
use crate::printable::printable;

/// Most ports that are named. More would only repeat what the hashes tell.
const PORTS_MAX: usize = 100;
/// Most lists that are named.
const LISTS_MAX: usize = 20;

/// What a file says of its scan.
#[derive(Serialize)]
struct Scan<'a> {
    version: &'static str,
    probe_module: &'static str,
    /// Absent if there are more than [`PORTS_MAX`].
    #[serde(skip_serializing_if = "Option::is_none")]
    target_ports: Option<&'a [u16]>,
    packet_streams: u32,
    seed: u64,
    shard_num: u32,
    total_shards: u32,
    targets_hash: String,
    plan_hash: &'a str,
    /// The first [`LISTS_MAX`].
    lists: Vec<List>,
}

/// A list that was read.
#[derive(Serialize)]
struct List {
    flag: &'static str,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// That of a plan, as a JSON object.
pub(super) fn scan(targets: &TargetPlan, probe: &ProbePlan, kept: &Kept, report: &ReportPlan) -> String {
    let ports = targets.space.ports().as_slice();
    let lists = report.lists.iter().take(LISTS_MAX).map(|list| List {
        flag: list.flag,
        file: printable(&list.file),
        sha256: list.content.as_ref().map(|content| content.sha256.clone()),
    });
    let scan = Scan {
        version: env!("CARGO_PKG_VERSION"),
        probe_module: probe.module.info().name,
        target_ports: Some(ports).filter(|ports| ports.len() <= PORTS_MAX),
        packet_streams: probe.copies.probes(),
        seed: targets.permutation.seed(),
        shard_num: targets.shard,
        total_shards: targets.shards,
        targets_hash: targets.order_hash.to_string(),
        plan_hash: kept.hash(),
        lists: lists.collect(),
    };
    serde_json::to_string(&scan).unwrap_or_default()
}
