//! The protocol: requests and answers, one JSON object per line.

use serde::{Deserialize, Serialize};
use targets::AddressRange;

use super::details::Details;
use super::status::Status;
use crate::checkpoint::BlocklistChange;
use crate::engine::{RATE_MAX_PPS, RATE_MIN_PPS};

/// Longest line in bytes, without its line feed. Lower: status objects do not fit. Higher: more memory for what a peer
/// sends without a line feed.
pub const LINE_MAX: usize = 4096;

/// What a peer asks of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// How the scan stands.
    Status {},
    /// Send nothing until `resume`.
    Pause {},
    /// Go on sending.
    Resume {},
    /// Send at this rate from now on.
    Rate {
        /// Probes per second; 0 is no limit.
        pps: f64,
    },
    /// Send at the rate at which probes and resets fill this bandwidth.
    Bandwidth {
        /// Bits per second on the wire.
        bps: u64,
    },
    /// End sending; a second time: skip the cooldown and all other waits.
    Stop {},
    /// The status once per second until the end of the scan.
    Watch {},
    /// The same, and what a screen shows in addition.
    Details {},
    /// Read the block list again, and leave out what it has gained.
    Reload {},
    /// Leave out this network from now on.
    Exclude {
        /// An address, a prefix or a range.
        #[serde(with = "network")]
        network: AddressRange,
    },
}

/// A network as text.
mod network {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use targets::AddressRange;
    use targets::list::parse_range;

    pub(super) fn serialize<S: Serializer>(network: &AddressRange, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(network)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AddressRange, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_range(&text).map_err(|problem| D::Error::custom(format!("{text:?} {problem}")))
    }
}

impl Request {
    /// Reads a request from a line without its line feed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        if line.len() > LINE_MAX {
            return Err(too_long());
        }
        let request: Self =
            serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))?;
        match request {
            Self::Rate { pps } if pps != 0.0 && !(RATE_MIN_PPS..=RATE_MAX_PPS).contains(&pps) => {
                Err(format!("pps: give a number from {RATE_MIN_PPS} to {RATE_MAX_PPS}, or 0 for no limit"))
            }
            Self::Bandwidth { bps: 0 } => Err("bps: give a number above 0".to_owned()),
            // -0 is a number as well.
            Self::Rate { pps } => Ok(Self::Rate { pps: pps.abs() }),
            request => Ok(request),
        }
    }

    /// The request as a line, with its line feed.
    pub fn to_line(&self) -> String {
        line(self)
    }
}

/// What a scan answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the request was carried out.
    pub ok: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The change of the block list that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<BlocklistChange>,
    /// How the scan stands after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

impl Answer {
    /// The request was carried out.
    pub fn done(status: Status) -> Self {
        Self { ok: true, error: None, change: None, status: Some(status), details: None }
    }

    /// The block list was changed.
    pub fn changed(change: BlocklistChange, status: Status) -> Self {
        Self { change: Some(change), ..Self::done(status) }
    }

    /// The status and more.
    pub fn detailed(status: Status, details: Details) -> Self {
        Self { details: Some(details), ..Self::done(status) }
    }

    /// It was not.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { ok: false, error: Some(why.into()), change: None, status: None, details: None }
    }

    /// Reads an answer from a line without its line feed. Fields that a later version may add are ignored.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| format!("not an answer of a scan: {error}"))
    }

    /// The answer as a line, with its line feed.
    pub fn to_line(&self) -> String {
        line(self)
    }
}

fn line(value: &impl Serialize) -> String {
    // Structs of numbers and text: this cannot fail.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

fn too_long() -> String {
    format!("a line may have {LINE_MAX} bytes")
}

/// Splits what a peer sends into lines. What always holds: at most [`LINE_MAX`] bytes and a line feed are kept.
#[derive(Debug, Default)]
pub struct Lines {
    kept: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes, and calls `take` with each line that is complete, without its line feed. Empty lines are
    /// left out.
    ///
    /// # Errors
    /// A line is too long. Nothing more can be read from such a peer.
    pub fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), String> {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            if self.kept.len() + line.len() > LINE_MAX {
                return Err(too_long());
            }
            self.kept.extend(line);
            if !self.kept.trim_ascii().is_empty() {
                take(&self.kept);
            }
            self.kept.clear();
            bytes = rest;
        }
        if self.kept.len() + bytes.len() > LINE_MAX {
            return Err(too_long());
        }
        self.kept.extend(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::details::{LINES_MAX, LossLine, NAME_LEN_MAX, PortLine, WorkerLine};
    use super::*;

    /// A network, by its text.
    fn network(text: &str) -> AddressRange {
        targets::list::parse_range(text).unwrap()
    }

    fn all() -> [(&'static str, Request); 13] {
        [
            (r#"{"command":"status"}"#, Request::Status {}),
            (r#"{"command":"pause"}"#, Request::Pause {}),
            (r#"{"command":"resume"}"#, Request::Resume {}),
            (r#"{"command":"rate","pps":1000.0}"#, Request::Rate { pps: 1000.0 }),
            (r#"{"command":"rate","pps":0.5}"#, Request::Rate { pps: 0.5 }),
            (r#"{"command":"bandwidth","bps":10000000}"#, Request::Bandwidth { bps: 10_000_000 }),
            (r#"{"command":"stop"}"#, Request::Stop {}),
            (r#"{"command":"watch"}"#, Request::Watch {}),
            (r#"{"command":"details"}"#, Request::Details {}),
            (r#"{"command":"reload"}"#, Request::Reload {}),
            (
                r#"{"command":"exclude","network":"192.0.2.0/24"}"#,
                Request::Exclude { network: network("192.0.2.0/24") },
            ),
            (
                r#"{"command":"exclude","network":"192.0.2.7"}"#,
                Request::Exclude { network: network("192.0.2.7/32") },
            ),
            (
                r#"{"command":"exclude","network":"192.0.2.7-192.0.2.9"}"#,
                Request::Exclude { network: network("192.0.2.7-192.0.2.9") },
            ),
        ]
    }

    /// Details with as much in them as there may be.
    fn full() -> Details {
        let worker = WorkerLine {
            interface: "enp129s0f0np0.4094".to_owned(),
            queue: Some(127),
            sent_pps: 14_880_952.380_952_38,
            received_pps: 123_456.789_012_345_67,
        };
        let loss = LossLine { name: "x".repeat(NAME_LEN_MAX), count: u64::MAX };
        Details {
            workers: vec![worker; LINES_MAX],
            losses: vec![loss; LINES_MAX],
            ports: vec![PortLine { port: 65_535, successes: u64::MAX }; LINES_MAX],
        }
    }

    #[test]
    fn details_fit_a_line() {
        let status = Status { paused_by: vec!["suspension".to_owned(); 3], ..Status::default() };
        let line = Answer::detailed(status, full()).to_line();
        assert!(line.len() <= LINE_MAX, "{}", line.len());
    }

    #[test]
    fn requests_as_documented() {
        for (line, request) in all() {
            assert_eq!(Request::parse(line.as_bytes()), Ok(request), "{line}");
            assert_eq!(request.to_line(), format!("{line}\n"));
        }
        assert_eq!(Request::parse(br#" {"pps": 7, "command": "rate"} "#), Ok(Request::Rate { pps: 7.0 }));
        assert_eq!(Request::parse(br#"{"command":"rate","pps":-0.0}"#), Ok(Request::Rate { pps: 0.0 }));
    }

    #[test]
    fn what_is_no_request() {
        for (line, words) in [
            ("", "not a request"),
            ("status", "not a request"),
            ("[]", "not a request"),
            ("{}", "command"),
            (r#"{"command":"explode"}"#, "explode"),
            (r#"{"command":"status","command":"stop"}"#, "command"),
            (r#"{"command":"status","now":true}"#, "now"),
            (r#"{"command":"rate"}"#, "pps"),
            (r#"{"command":"rate","pps":"10"}"#, "10"),
            (r#"{"command":"rate","pps":-5}"#, "pps"),
            (r#"{"command":"rate","pps":0.00001}"#, "0.0001"),
            (r#"{"command":"rate","pps":2e9}"#, "1000000000"),
            (r#"{"command":"rate","pps":1e999}"#, "range"),
            (r#"{"command":"bandwidth","bps":0}"#, "above 0"),
            (r#"{"command":"bandwidth","bps":-1}"#, "-1"),
            (r#"{"command":"reload","file":"other"}"#, "file"),
            (r#"{"command":"exclude"}"#, "network"),
            (r#"{"command":"exclude","network":7}"#, "7"),
            (r#"{"command":"exclude","network":"192.0.2.0/33"}"#, "prefix length"),
            (r#"{"command":"exclude","network":"192.0.2.9-192.0.2.7"}"#, "backwards"),
            (r#"{"command":"exclude","network":"example.org"}"#, "host name"),
            (r#"{"command":"exclude","network":"2001:db8::/32"}"#, "not an IPv4 address"),
        ] {
            let error = Request::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
        assert!(Request::parse(&[b' '; LINE_MAX + 1]).unwrap_err().contains("4096"));
        assert!(Request::parse("[".repeat(LINE_MAX).as_bytes()).is_err());
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let change = BlocklistChange { what: Some("a\nfile".to_owned()), ..BlocklistChange::default() };
        for answer in [
            Answer::done(Status::default()),
            Answer::detailed(Status::default(), full()),
            Answer::changed(change, Status::default()),
            Answer::refused("no\n\"reason\""),
        ] {
            let line = answer.to_line();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(Answer::parse(line.trim_end().as_bytes()), Ok(answer));
        }
        assert_eq!(Answer::refused("why").to_line(), "{\"ok\":false,\"error\":\"why\"}\n", "as documented");
        assert!(Answer::parse(br#"{"ok":true,"later":[1]}"#).unwrap().ok);
    }

    proptest! {
        /// Whatever a peer sends, it is a request within its bounds, which is written and read as the same, or an
        /// error.
        #[test]
        fn any_line(line in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "\\{\"command\":\"(rate|bandwidth)\",\"(pps|bps)\":-?[0-9]{1,12}(\\.[0-9]{1,4})?(e-?[0-9]{1,3})?\\}"
                .prop_map(String::into_bytes),
            "\\{\"command\":\"exclude\",\"network\":\"[0-9./-]{1,30}\"\\}".prop_map(String::into_bytes),
        ]) {
            if let Ok(request) = Request::parse(&line) {
                let again = Request::parse(request.to_line().trim_end().as_bytes());
                match (request, again) {
                    // The reader of numbers may be wrong by one bit in the last place.
                    (Request::Rate { pps }, Ok(Request::Rate { pps: again })) => {
                        prop_assert!(pps == 0.0 || (RATE_MIN_PPS..=RATE_MAX_PPS).contains(&pps));
                        prop_assert!((pps - again).abs() <= pps * f64::EPSILON);
                    }
                    (request, again) => prop_assert_eq!(again, Ok(request)),
                }
            }
        }

        /// Lines are the same in whatever pieces they arrive, and no more than a line is kept.
        #[test]
        fn any_pieces(text in "[a-c \\n]{0,300}", piece_len in 1usize..40) {
            let expected: Vec<&str> = text.split('\n').collect();
            let (complete, _) = expected.split_at(expected.len() - 1);
            let complete: Vec<&str> = complete.iter().copied().filter(|line| !line.trim().is_empty()).collect();
            let (mut lines, mut found) = (Lines::default(), vec![]);
            for piece in text.as_bytes().chunks(piece_len) {
                lines.feed(piece, |line| found.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
                prop_assert!(lines.kept.len() <= LINE_MAX);
            }
            prop_assert_eq!(found, complete);
        }
    }

    #[test]
    fn a_line_without_an_end() {
        let mut lines = Lines::default();
        for _ in 0..4 {
            lines.feed(&[b'x'; LINE_MAX / 4], |_| panic!("there is no line")).unwrap();
        }
        assert!(lines.feed(b"x", |_| panic!("there is no line")).is_err());
        let mut whole = Lines::default();
        let mut taken = 0;
        whole.feed(&[&[b'x'; LINE_MAX][..], b"\n"].concat(), |line| taken = line.len()).unwrap();
        assert_eq!(taken, LINE_MAX);
        assert!(whole.feed(&[&[b'x'; LINE_MAX + 1][..], b"\n"].concat(), |_| {}).is_err());
    }
}
