//! The metadata of a scan, read back: what was scanned, how it ended, and which files have its results.
//!
//! Owns the keys that a later reader needs (`survey/metadata` writes them). Nothing here looks a host name up or opens
//! a socket: the networks that were scanned are in the metadata as addresses.

pub mod allowed;
pub mod lists;
pub mod outputs;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::engine::EndReason;
use crate::estimate::Evidence;
use crate::input;
use crate::ledger::StoredLedger;
use crate::plan::batch::number_of_folder;
use crate::printable::printable;
use crate::probe::{MODULES, ModuleInfo};
use crate::results::sink::PartitionBy;
use crate::units::counted;

/// Keys of metadata that no result has: the first one, as ZMap and xdpmap write it, and one that is among the first
/// where another program has put the keys into the order of the alphabet.
const KEYS: [&str; 2] = ["\"local_hostname\"", "\"bandwidth\""];
/// How much of a file is looked at to find out whether it is metadata.
const SNIFF_LEN: u64 = 1 << 14;
/// Most shards that a scan may have.
const SHARDS_MAX: u32 = 65_535;
/// How deep a folder is searched for metadata. Less: layouts of batch systems are not found. More: a wrong folder, such
/// as `/`, takes long.
const DEPTH_MAX: usize = 4;

/// What a scan wrote about itself. Keys that are not needed are left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Its file.
    #[serde(skip)]
    pub path: PathBuf,
    /// Target ports; 0 where probes have none.
    pub target_ports: Vec<u16>,
    /// Results that were written.
    pub output_results: u64,
    /// Seed of the order.
    pub seed: u64,
    /// This shard, from 0.
    pub shard_num: u32,
    /// Shards of the scan.
    pub total_shards: u32,
    /// Whether only unique successes were written because nothing else was requested: 0 or 1.
    pub default_mode: u8,
    /// Probes for each target.
    pub packet_streams: u32,
    /// Probe module.
    pub probe_module: String,
    /// Its arguments.
    pub probe_args: Option<String>,
    /// Output modules, with commas between them.
    pub output_module: String,
    /// Where results went, with commas between them.
    pub output_filename: Option<String>,
    /// When receiving began.
    pub recv_start_time: Option<String>,
    /// When receiving ended.
    pub recv_end_time: Option<String>,
    /// Targets of the command line.
    pub cli_cidr_destinations: Vec<String>,
    /// Allow list.
    pub allowlist_filename: Option<String>,
    /// List of addresses, or of pairs.
    pub list_of_ips_filename: Option<String>,
    /// Whether no packet was sent: 0 or 1.
    pub dryrun: u8,
    /// `full`, `window` or `none`.
    pub deduplication_method: String,
    /// Networks that were not probed.
    pub blocklisted_networks: Vec<String>,
    /// Networks that the targets were chosen from; none: all of IPv4.
    pub allowlisted_networks: Vec<String>,
    /// The command line, one string per argument, the program's name first.
    pub command_line: Vec<String>,
    /// Arguments from the environment and from config files.
    pub config_arguments: Vec<String>,
    /// The folder that relative paths start from.
    pub folder: Option<String>,
    /// The lists that were read; `None` if an older xdpmap wrote the metadata.
    pub lists: Option<Vec<ReadList>>,
    /// The outputs; `None` if an older xdpmap wrote the metadata.
    pub outputs: Option<Vec<OutputFile>>,
    /// Whether only successes were written, each once.
    pub successes_only: bool,
    /// Whether replies had to come from the probed port; `None` if an older xdpmap wrote the metadata.
    pub source_port_validated: Option<bool>,
    /// Networks that were left out only after the scan had started.
    pub networks_excluded_late: Vec<String>,
    /// The scan's checkpoint.
    pub checkpoint_file: Option<String>,
    /// What was done before the last interruption.
    pub earlier_runs: Option<EarlierRuns>,
    /// Results that an output did not accept.
    pub output_lost: u64,
    /// Successes whose repeats were looked up in a window.
    pub deduplicated_by_window: u64,
    /// What became of every target, probe, frame and reply; `None` if an older xdpmap wrote the metadata.
    pub ledger: Option<StoredLedger>,
    /// What is estimated of what was not seen; `None` if nothing was, or an older xdpmap wrote the metadata.
    pub estimates: Option<StoredEstimates>,
    /// Changes of the block list while the scan ran.
    pub blocklist_changes: Vec<ListChange>,
    /// Targets that were probed.
    pub targets_scanned: u64,
    /// Targets that were never probed.
    pub targets_left: u64,
    /// Exponents that were not probed, or may have to be again.
    pub intervals_left: Vec<[u64; 2]>,
    /// Exponents whose second probes were not sent, or may have to be again.
    pub second_intervals_left: Vec<[u64; 2]>,
    /// Why the scan ended.
    pub end_reason: String,
    /// Exit code of the process.
    pub exit_code: i32,
    /// Hash of the targets and their order.
    pub targets_hash: String,
}

/// A list, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ReadList {
    /// The flag that names it, without dashes.
    pub flag: String,
    /// Its path; `-` is standard input.
    pub file: String,
    /// SHA-256 of its content in hexadecimal digits, if it is a regular file.
    pub sha256: Option<String>,
    /// Its length.
    pub bytes: Option<u64>,
    /// Its lines.
    pub lines: Option<u64>,
}

/// An output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OutputFile {
    /// Its format.
    pub module: String,
    /// Its path, of a series that of the first file; `-` is standard output; or the server.
    pub file: String,
    /// Its columns, if they are known and the format has any.
    pub fields: Option<Vec<String>>,
    /// Whether the columns' names come first.
    pub header_row: bool,
    /// Whether it may be a series of files.
    pub is_series: bool,
    /// Whether results followed those of another scan.
    pub appended: bool,
    /// Whether the last file has `.part` behind its name, because the scan was not whole.
    pub is_part: bool,
    /// What results are parted into folders by, if they are.
    pub partitioned_by: Option<PartitionBy>,
}

/// What was done before the run that wrote the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct EarlierRuns {
    /// When each of them started (RFC 3339).
    pub started: Vec<String>,
    /// Targets that were probed.
    pub targets: u64,
    /// Probes that were sent.
    pub probes_sent: u64,
    /// Results in the outputs.
    pub results: u64,
}

/// What the estimates of a scan are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StoredEstimates {
    /// The counts.
    pub evidence: Evidence,
}

/// A change of the block list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ListChange {
    /// `reload` or `exclude`.
    pub command: String,
}

impl Metadata {
    /// Reads the metadata in a file.
    ///
    /// # Errors
    /// It cannot be read, or is not the metadata of a scan, in one line that names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = printable(path);
        let bytes = input::read(path).map_err(|error| format!("cannot read {name} ({error})"))?;
        let metadata = Self::parse(&bytes).map_err(|what| format!("{name}: {what}"))?;
        Ok(Self { path: path.to_owned(), ..metadata })
    }

    /// Parses the text of metadata.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let metadata: Self = serde_json::from_slice(text).map_err(|error| {
            // The message may quote the text, which may contain anything.
            let error = error.to_string().replace(char::is_control, " ");
            format!("it is not the whole metadata of a scan ({error})")
        })?;
        let needed = [("targets_hash", &metadata.targets_hash), ("end_reason", &metadata.end_reason)];
        match needed.iter().find(|(_, value)| value.is_empty()) {
            Some((key, _)) => {
                Err(format!("it has no {key}, so it is not the metadata of an xdpmap scan that has ended"))
            }
            None if !(1..=SHARDS_MAX).contains(&metadata.total_shards)
                || metadata.shard_num >= metadata.total_shards =>
            {
                Err(format!(
                    "it is of shard {} of {}, which cannot be",
                    metadata.shard_num, metadata.total_shards
                ))
            }
            None => Ok(metadata),
        }
    }

    /// Whether a file seems to hold metadata.
    pub fn is_in(path: &Path) -> bool {
        let mut begins = Vec::new();
        let read = File::open(path).and_then(|file| file.take(SNIFF_LEN).read_to_end(&mut begins));
        let has = |key: &&str| memchr::memmem::find(&begins, key.as_bytes()).is_some();
        read.is_ok() && begins.trim_ascii_start().starts_with(b"{") && KEYS.iter().any(has)
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        printable(&self.path)
    }

    /// Its probe module, if this version has it.
    pub fn module(&self) -> Option<&'static ModuleInfo> {
        MODULES.iter().copied().find(|module| module.name == self.probe_module)
    }

    /// Whether only successes were written, each once.
    pub fn has_successes_only(&self) -> bool {
        self.successes_only || self.default_mode == 1
    }

    /// How many results the outputs have, of all runs.
    pub fn results(&self) -> u64 {
        self.output_results.saturating_add(self.earlier_runs.as_ref().map_or(0, |earlier| earlier.results))
    }

    /// How many targets were probed, in all runs.
    pub fn targets(&self) -> u64 {
        self.targets_scanned.saturating_add(self.earlier_runs.as_ref().map_or(0, |earlier| earlier.targets))
    }

    /// Whether every target of the shard was probed, and a second time if it had to be.
    pub fn is_whole(&self) -> bool {
        let reasons = [EndReason::Complete, EndReason::MaxTargets].map(EndReason::name);
        reasons.contains(&self.end_reason.as_str())
            && self.targets_left == 0
            && self.intervals_left.is_empty()
            && self.second_intervals_left.is_empty()
    }

    /// Whether all that is missing of the shard are second probes.
    pub fn lacks_second_probes_alone(&self) -> bool {
        self.targets_left == 0 && self.intervals_left.is_empty() && !self.second_intervals_left.is_empty()
    }

    /// What is missing of the shard, in words.
    pub fn left(&self) -> String {
        let targets = format!("{} left", counted(self.targets_left, "target"));
        let lengths = self.second_intervals_left.iter().map(|[start, end]| end.saturating_sub(*start));
        match lengths.fold(0, u64::saturating_add) {
            0 => targets,
            places => format!("{targets}, second probes left at {} of the order", counted(places, "place")),
        }
    }

    /// The second in which receiving began, in the first run, and the one behind that in which it ended; `None` if
    /// unknown.
    pub fn run_time(&self) -> Option<(Timestamp, Timestamp)> {
        let last = time(self.recv_start_time.as_deref()?)?;
        let first = self.earlier_runs.as_ref().and_then(|earlier| earlier.started.first());
        // Of merged shards, those that ran once may have started before the one that was interrupted.
        let start = first
            .map_or(Some(last), |started| started.parse().ok().map(|first: Timestamp| first.min(last)))?;
        // The metadata has whole seconds.
        let end = time(self.recv_end_time.as_deref()?)?.checked_add(SignedDuration::from_secs(1)).ok()?;
        Some((start, end))
    }
}

/// A time as the metadata writes it, or as results do (`timestamp_str`).
pub fn time(text: &str) -> Option<Timestamp> {
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok()
}

/// The metadata that `paths` name, in their order: files, and folders, which are searched. What is not metadata is
/// given back as the second.
///
/// # Errors
/// Something cannot be read, or a folder has no metadata.
pub fn gather(paths: &[PathBuf]) -> Result<(Vec<Metadata>, Vec<PathBuf>), String> {
    let (mut scans, mut others) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            search(path, 0, &mut found)
                .map_err(|error| format!("cannot read {} ({error})", printable(path)))?;
            if found.is_empty() {
                return Err(format!("{} has no metadata of a scan (-m FILE writes it)", printable(path)));
            }
            for file in found {
                scans.push(Metadata::read(&file)?);
            }
        } else if Metadata::is_in(path) {
            scans.push(Metadata::read(path)?);
        } else {
            others.push(path.clone());
        }
    }
    Ok((scans, others))
}

/// Why this file cannot be used where metadata are needed, in one line.
pub fn no_metadata(path: &Path) -> String {
    let name = printable(path);
    match std::fs::metadata(path) {
        Err(error) => format!("cannot read {name} ({error})"),
        Ok(_) => {
            format!("{name} is not the metadata of a scan; name what -m has written, or a folder with it")
        }
    }
}

/// Whether this is the folder of a shard.
fn is_of_shard(entry: &std::fs::DirEntry) -> bool {
    number_of_folder(&entry.path()).is_some() && entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// Adds the files below `folder` that seem to hold metadata, in the order of their names. Links are not followed.
fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    // What lies beside the folders of shards, such as what was made of them, is none of their metadata.
    if entries.iter().any(is_of_shard) {
        entries.retain(is_of_shard);
    }
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() && depth + 1 < DEPTH_MAX {
            search(&entry.path(), depth + 1, found)?;
        } else if kind.is_file() && Metadata::is_in(&entry.path()) {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "{\"local_hostname\":\"h\",\"seed\":7,\"shard_num\":1,\"total_shards\":3,\
        \"target_ports\":[80],\"recv_start_time\":\"2026-01-31T12:00:00+0100\",\
        \"recv_end_time\":\"2026-01-31T12:00:09+0100\",\"output_results\":5,\"other\":{\"a\":[1]},\
        \"earlier_runs\":{\"started\":[\"2026-01-31T10:00:00Z\"],\"targets\":9,\"probes_sent\":9,\"results\":2},\
        \"end_reason\":\"complete\",\"targets_hash\":\"ab\"}";

    #[test]
    fn keys_are_read() {
        let metadata = Metadata::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((metadata.seed, metadata.shard_num, metadata.results()), (7, 1, 7));
        assert!(metadata.is_whole() && metadata.outputs.is_none());
        let (start, end) = metadata.run_time().unwrap();
        assert_eq!(
            (start.to_string(), end.to_string()),
            ("2026-01-31T10:00:00Z".into(), "2026-01-31T11:00:10Z".into())
        );
        assert_eq!(time("2026-01-31T12:00:00.042+0100").unwrap().to_string(), "2026-01-31T11:00:00.042Z");
        let later = GOOD.replace("2026-01-31T10:00:00Z", "2026-01-31T11:00:05Z");
        let (start, _) = Metadata::parse(later.as_bytes()).unwrap().run_time().unwrap();
        assert_eq!(start.to_string(), "2026-01-31T11:00:00Z", "a shard that ran once came first");
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn what_is_no_metadata_says_so() {
        for (text, words) in [
            ("", "not the whole metadata"),
            (&GOOD[..GOOD.len() - 9], "not the whole metadata"),
            ("{\"local_hostname\":\"h\",\"targets_hash\":\"ab\"}", "no end_reason"),
            ("{\"local_hostname\":\"h\",\"end_reason\":\"complete\"}", "no targets_hash"),
            (&GOOD.replace("\"total_shards\":3", "\"total_shards\":1"), "shard 1 of 1"),
            (&GOOD.replace("\"total_shards\":3", "\"total_shards\":4000000000"), "shard 1 of 4000000000"),
        ] {
            let what = Metadata::parse(text.as_bytes()).unwrap_err();
            assert!(what.contains(words) && what.lines().count() == 1, "{what}");
        }
    }

    #[test]
    fn folders_are_searched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("b/m.json", GOOD), ("a/m", GOOD), ("a/r.jsonl", "{\"saddr\":\"1.1.1.1\"}\n")] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), text).unwrap();
        }
        let (scans, others) = gather(&[folder.path().to_owned(), at("a/r.jsonl")]).unwrap();
        let names: Vec<&Path> = scans.iter().map(|scan| scan.path.as_path()).collect();
        assert_eq!((names, others), (vec![at("a/m").as_path(), &at("b/m.json")], vec![at("a/r.jsonl")]));
        std::fs::remove_file(at("a/m")).unwrap();
        assert!(gather(&[at("a")]).unwrap_err().contains("no metadata"));
    }

    proptest! {
        /// Good metadata with some of its bytes changed or cut off.
        #[test]
        fn damaged(at in 0usize..600, byte in any::<u8>(), len in 0usize..1200) {
            let mut text = GOOD.as_bytes().to_vec();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            text.truncate(len);
            match Metadata::parse(&text) {
                Ok(metadata) => prop_assert!(metadata.shard_num < metadata.total_shards),
                Err(what) => prop_assert_eq!(what.lines().count(), 1),
            }
        }
    }
}
