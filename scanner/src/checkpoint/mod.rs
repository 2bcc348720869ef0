//! Checkpoints: what a scan needs to go on after an interruption, in one file beside its results.
//!
//! This file is what a checkpoint says; `file` is where it is, and who holds it. Two files may be beside it:
//! `blocklist` has the block list as read at the start, which does not change, and the journal of repeats is kept by
//! the outputs. What always holds: an interval that is not among the open ones was probed, its answers have had the
//! time to come, and those that came are in the part of the outputs that the checkpoint counts. The cookie key is in
//! it, so nobody else may read the file; a finished scan's checkpoint has none.

mod blocklist;
mod change;
pub mod file;
mod request;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use targets::{Interval, RangeSet};
use wire::proof::Key;

pub use change::{BlocklistChange, ChangeKind};
pub use request::{Decision, InputFile, Request};

use crate::results::output::Reach;
use crate::results::sink::Partitions;

const FORMAT: &str = "xdpmap checkpoint";
/// Raised with every change of what is in a checkpoint or of what it means. No other version is read: a scan that is
/// half done is finished by the xdpmap that began it.
const VERSION: u32 = 2;

/// The part of a checkpoint that all versions have.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
    program: String,
}

/// A scan, as of one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    format: String,
    version: u32,
    /// The version of xdpmap that wrote it.
    pub program: String,
    /// Whether anything is left to do.
    pub state: State,
    /// What was asked for.
    pub request: Request,
    /// The exponents that are not done: pairs of the first one, and the one after the last.
    pub open: Vec<[u64; 2]>,
    /// Those whose second probes are not done, if the scan has second probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_open: Option<Vec<[u64; 2]>>,
    /// The outputs, in the order of the flags.
    pub outputs: Vec<SavedOutput>,
    /// How many bytes of the journal of repeats count; none if there is no journal.
    pub seen_bytes: Option<u64>,
    /// The counts of all runs together.
    pub counts: SavedCounts,
    /// When each run started (RFC 3339), the first one first.
    pub runs: Vec<String>,
    /// Networks that are left out in addition to the block list as read at the start: what it has gained, and what was
    /// excluded by hand.
    #[serde(default)]
    pub withdrawn: Vec<String>,
    /// What changed the block list while the scan ran, in all runs.
    #[serde(default)]
    pub blocklist_changes: Vec<BlocklistChange>,
    /// The rate from which on more was lost, in probes per second, if `--rate auto` has found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee_pps: Option<u64>,
}

/// Whether anything is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something is.
    Unfinished,
    /// Nothing is.
    Finished,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedOutput {
    /// Its path, or the server; `-` is standard output. Of a series it is the first file.
    pub file: PathBuf,
    /// Whether it is a server, a pipe or a device: what was written to it stays, and may be written again.
    pub is_stream: bool,
    /// Which file of a series results go to: 1 if there is only one.
    pub number: u32,
    /// How many bytes of that file count.
    pub bytes: u64,
    /// What makes a whole file of these bytes, in hexadecimal digits, if its format cannot be continued. Then results
    /// go on in the next file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// How results are parted into folders, if they are: of its files those before this number count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Partitions>,
}

impl SavedOutput {
    /// An output without results.
    pub fn empty(file: PathBuf, is_stream: bool) -> Self {
        Self { file, is_stream, number: 1, bytes: 0, footer: None, partitions: None }
    }

    /// It is this far.
    pub fn set_reach(&mut self, reach: &Reach) {
        (self.number, self.bytes) = (reach.number, reach.bytes);
        self.footer = (!reach.footer.is_empty()).then(|| digits(&reach.footer));
    }

    /// Where results go on; `None` if nothing of it can be taken back.
    pub fn reach(&self) -> Option<Reach> {
        let footer = self.footer.as_deref().map_or(Some(vec![]), bytes)?;
        (!self.is_stream).then_some(Reach { number: self.number, bytes: self.bytes, footer })
    }
}

/// Counts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedCounts {
    /// Targets that were probed, some of them in several runs.
    pub targets: u64,
    /// Probes that were sent.
    pub probes_sent: u64,
    /// Results in the outputs.
    pub results: u64,
    /// Canaries that were sent. They are among the probes.
    #[serde(default)]
    pub canaries: u64,
    /// Canaries that got an answer.
    #[serde(default)]
    pub canaries_replied: u64,
}

impl SavedCounts {
    /// These and the other ones.
    pub fn plus(self, other: Self) -> Self {
        Self {
            targets: self.targets + other.targets,
            probes_sent: self.probes_sent + other.probes_sent,
            results: self.results + other.results,
            canaries: self.canaries + other.canaries,
            canaries_replied: self.canaries_replied + other.canaries_replied,
        }
    }
}

impl Checkpoint {
    /// The checkpoint of a scan that has not sent anything.
    pub fn new(request: Request, open: &[Interval], outputs: Vec<SavedOutput>, started: String) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            state: State::Unfinished,
            request,
            open: pairs(open),
            second_open: None,
            outputs,
            seen_bytes: None,
            counts: SavedCounts::default(),
            runs: vec![started],
            withdrawn: Vec::new(),
            blocklist_changes: Vec::new(),
            knee_pps: None,
        }
    }

    /// Parses a checkpoint's text.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        // The message may quote the text, which may contain anything.
        Self::read(text).map_err(|what| what.replace(char::is_control, " "))
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        let Head { format, version, program } =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err("it is not a checkpoint".to_owned());
        }
        if version != VERSION {
            return Err(format!(
                "it is of version {version}, by xdpmap {program}, and this xdpmap reads version {VERSION}; finish that \
                 scan with the xdpmap that began it, or start a new one"
            ));
        }
        let checkpoint: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let is_in_order = |open: &[[u64; 2]]| {
            open.iter().all(|[start, end]| start < end)
                && open.windows(2).all(|pair| pair[0][1] <= pair[1][0])
        };
        if !is_in_order(&checkpoint.open) || !checkpoint.second_open.as_deref().is_none_or(is_in_order) {
            return Err("its intervals are out of order".to_owned());
        }
        if checkpoint.state == State::Unfinished && checkpoint.key().is_none() {
            return Err("it has no cookie key of 32 hexadecimal digits".to_owned());
        }
        checkpoint.withdrawn()?;
        if checkpoint.outputs.iter().any(|output| output.footer.as_deref().is_some_and(is_odd)) {
            return Err("the footer of an output is not in hexadecimal digits".to_owned());
        }
        Ok(checkpoint)
    }

    /// Its text.
    ///
    /// # Errors
    /// A path in it is not UTF-8.
    pub fn to_text(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The exponents that are not done.
    pub fn open(&self) -> Vec<Interval> {
        intervals(&self.open)
    }

    /// Those whose second probes are not done; `None` if the scan has no second probes.
    pub fn second_open(&self) -> Option<Vec<Interval>> {
        self.second_open.as_deref().map(intervals)
    }

    /// Replaces the exponents that are not done; `second` are those of second probes, if the scan has them.
    pub fn set_open(&mut self, first: &[Interval], second: Option<&[Interval]>) {
        self.open = pairs(first);
        self.second_open = second.map(pairs);
    }

    /// The cookie key.
    pub fn key(&self) -> Option<Key> {
        let key: [u8; 16] = bytes(self.request.key.as_deref()?)?.try_into().ok()?;
        Some(Key::from_bytes(key))
    }

    /// The networks that are left out in addition.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn withdrawn(&self) -> Result<RangeSet, String> {
        let network =
            |text: &String| blocklist::range(text).ok_or_else(|| format!("'{text}' is not a network"));
        self.withdrawn.iter().map(network).collect()
    }

    /// Replaces the networks that are left out in addition.
    pub fn set_withdrawn(&mut self, withdrawn: &RangeSet) {
        self.withdrawn = withdrawn.ranges().iter().map(ToString::to_string).collect();
    }

    /// Marks it as finished: nothing in it is secret any more.
    pub fn finish(&mut self) {
        self.state = State::Finished;
        self.request.key = None;
        self.open.clear();
        self.second_open.iter_mut().for_each(Vec::clear);
    }
}

fn intervals(open: &[[u64; 2]]) -> Vec<Interval> {
    open.iter().map(|&[start, end]| Interval { start, end }).collect()
}

fn pairs(open: &[Interval]) -> Vec<[u64; 2]> {
    open.iter().map(|interval| [interval.start, interval.end]).collect()
}

/// A key, or a hash, as hexadecimal digits.
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that [`digits`] makes this text of.
fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.contains('+') {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn is_odd(text: &str) -> bool {
    bytes(text).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::{Origin, SetOption};

    fn set(flag: &str, origin: Origin) -> SetOption {
        SetOption { flag: flag.to_owned(), origin }
    }

    pub(super) fn checkpoint() -> Checkpoint {
        let request = Request {
            options: "blocklist-file b\ntarget-ports 80\nrate 10000\n".to_owned(),
            origins: vec![
                set("blocklist-file", Origin::ConfigFile("/etc/xdpmap/xdpmap.conf:3".to_owned())),
                set("target-ports", Origin::Environment("XDPMAP_TARGET_PORTS".to_owned())),
            ],
            targets: vec!["198.18.0.0/16".to_owned()],
            folder: PathBuf::from("/"),
            inputs: vec![InputFile {
                flag: "blocklist-file".to_owned(),
                file: PathBuf::from("b"),
                sha256: Some(digits(&[7; 32])),
                bytes: Some(1_234),
            }],
            blocked: RangeSet::default(),
            blocked_sha256: Some(digits(&[2; 32])),
            targets_hash: digits(&[1; 32]),
            plan_hash: digits(&[3; 32]),
            plan: vec![Decision { flag: "probes".to_owned(), value: "1".to_owned() }],
            seed: u64::MAX,
            key: Some(digits(&[0xa5; 16])),
            timestamp: 7,
        };
        let mut parquet = SavedOutput::empty(PathBuf::from("r.parquet"), false);
        parquet.set_reach(&Reach { number: 3, bytes: 100, footer: b"PAR1".to_vec() });
        let outputs = vec![
            SavedOutput { bytes: 100, ..SavedOutput::empty(PathBuf::from("r.csv"), false) },
            parquet,
            SavedOutput::empty(PathBuf::from("-"), true),
        ];
        let open = [Interval { start: 0, end: 7 }, Interval { start: 9, end: u64::MAX }];
        let mut checkpoint = Checkpoint::new(request, &open, outputs, "2026-01-31T12:00:00Z".to_owned());
        checkpoint.set_withdrawn(&blocklist::range("198.51.100.0/24").into_iter().collect());
        checkpoint.set_open(&open, Some(&open[1..]));
        checkpoint.blocklist_changes.push(BlocklistChange {
            time: "2026-01-31T12:00:01Z".to_owned(),
            command: ChangeKind::Exclude,
            by: "user 0".to_owned(),
            what: Some("198.51.100.0/24".to_owned()),
            entries: 1,
            addresses: 256,
            addresses_taken_out: 256,
        });
        checkpoint
    }

    #[test]
    fn what_is_written_is_read() {
        let mut checkpoint = checkpoint();
        assert_eq!(Checkpoint::parse(&checkpoint.to_text().unwrap()), Ok(checkpoint.clone()));
        assert_eq!(checkpoint.key(), Some(Key::from_bytes([0xa5; 16])));
        assert_eq!(checkpoint.withdrawn().unwrap().len(), 256);
        let reach = checkpoint.outputs[1].reach();
        assert_eq!(reach, Some(Reach { number: 3, bytes: 100, footer: b"PAR1".to_vec() }));
        assert_eq!(checkpoint.outputs[2].reach(), None);
        checkpoint.finish();
        let text = String::from_utf8(checkpoint.to_text().unwrap()).unwrap();
        assert!(!text.contains("a5a5"), "{text}");
        assert_eq!(Checkpoint::parse(text.as_bytes()), Ok(checkpoint));
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        use std::os::unix::ffi::OsStringExt as _;
        let mut checkpoint = checkpoint();
        checkpoint.request.folder = PathBuf::from(std::ffi::OsString::from_vec(vec![b'/', 0xff]));
        assert!(checkpoint.to_text().unwrap_err().to_string().contains("UTF-8"));
    }

    /// Each of these makes nonsense of a good checkpoint.
    #[test]
    fn nonsense_is_refused() {
        let good = serde_json::to_value(checkpoint()).unwrap();
        for (place, bad) in [
            ("/format", "a checkpoint".into()),
            ("/version", 1.into()),
            ("/version", 3.into()),
            ("/request/origins/0/origin", "a guess".into()),
            ("/state", "half".into()),
            ("/open", serde_json::json!([[0, 7], [6, 9]])),
            ("/open", serde_json::json!([[7, 7]])),
            ("/second_open", serde_json::json!([[0, 7], [6, 9]])),
            ("/request/key", serde_json::Value::Null),
            ("/request/key", "a5".into()),
            ("/request/key", "x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5".into()),
            ("/withdrawn", serde_json::json!(["localhost"])),
            ("/request/key", "+5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5".into()),
            ("/outputs/1/footer", "5".into()),
            ("/outputs/1/footer", "xx".into()),
        ] {
            let mut value = good.clone();
            *value.pointer_mut(place).unwrap() = bad;
            let error = Checkpoint::parse(&serde_json::to_vec(&value).unwrap()).expect_err(place);
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    /// A checkpoint of the version before this one has other fields. It is refused for its version, and not for one of
    /// these, with what to do.
    #[test]
    fn other_versions_are_refused_as_such() {
        let mut before = serde_json::to_value(checkpoint()).unwrap();
        let request = before["request"].as_object_mut().unwrap();
        for name in ["origins", "plan", "plan_hash"] {
            request.remove(name).unwrap();
        }
        request["inputs"][0].as_object_mut().unwrap().remove("bytes").unwrap();
        before["version"] = 1.into();
        before["program"] = "0.0.9".into();
        let error = Checkpoint::parse(&serde_json::to_vec(&before).unwrap()).unwrap_err();
        for words in ["of version 1, by xdpmap 0.0.9", "reads version 2", "start a new one"] {
            assert!(error.contains(words), "{error}");
        }
        let later = br#"{"format":"xdpmap checkpoint","version":3,"program":"9","scan":{}}"#;
        assert!(Checkpoint::parse(later).unwrap_err().contains("of version 3, by xdpmap 9"));
        let other = br#"{"format":"xdpmap metadata","version":2,"program":"0.1.0"}"#;
        assert_eq!(Checkpoint::parse(other).unwrap_err(), "it is not a checkpoint");
    }

    proptest! {
        /// A good checkpoint with some of its bytes changed or cut off.
        #[test]
        fn damaged(at in 0usize..2500, byte in any::<u8>(), cut in 0usize..2500) {
            let mut text = checkpoint().to_text().unwrap();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            text.truncate(text.len().saturating_sub(cut.saturating_sub(1250)));
            match Checkpoint::parse(&text) {
                Ok(checkpoint) => prop_assert_eq!(Checkpoint::parse(&checkpoint.to_text().unwrap()), Ok(checkpoint)),
                Err(error) => prop_assert_eq!(error.lines().count(), 1),
            }
        }
    }
}
