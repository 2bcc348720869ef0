//! What reads stored results: verify, merge, diff, report and map. Metadata are those of real dry runs, and results are
//! written by the real writers.

mod diff;
mod merge;
mod pictures;
mod vantages;
mod verify;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use serde_json::Value;
use support::sandbox::dry;
use support::scanner::xdpmap;
use wire::packet::LinkHeader;
use xdpmap::probe::tcp_synscan;
use xdpmap::reply::Reply;
use xdpmap::reply::fields::{Extractor, FieldSet};
use xdpmap::reply::record::{Header, ReplyKind, SUCCESS};
use xdpmap::results::sink::{Module, Rotation, SinkConfig};
use zerocopy::FromZeros as _;

/// All that can be checked of a result.
pub(crate) const FIELDS: &str = "saddr,sport,classification,success,repeat,timestamp_ts,timestamp_us";

/// A result to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) host: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) kind: ReplyKind,
    pub(crate) repeat: bool,
}

impl Answer {
    pub(crate) fn syn_ack(host: Ipv4Addr, port: u16) -> Self {
        Self { host, port, kind: ReplyKind::SynAck, repeat: false }
    }
}

/// A folder with lists, metadata and results.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.at("b.conf"), "8.8.8.0/28  # 2026-03-01 asked by mail\n").unwrap();
        folder
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    /// Appends a text to a file.
    pub(crate) fn append(&self, name: &str, text: &str) {
        self.write(name, &(self.read(name) + text));
    }

    /// Runs the program in this folder.
    pub(crate) fn run(&self, arguments: &str) -> Output {
        xdpmap().args(arguments.split_whitespace()).current_dir(self.0.path()).output().unwrap()
    }

    /// The exit code and the text of a run that says nothing on standard error.
    #[track_caller]
    pub(crate) fn said(&self, arguments: &str) -> (i32, String) {
        let output = self.run(arguments);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments}");
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// Makes the metadata of a scan with these options, as if all `answers` of its targets that `answer` gives had been
    /// written to its outputs.
    #[track_caller]
    pub(crate) fn scan(&self, metadata: &str, options: &str, answer: impl Fn(Ipv4Addr, u16) -> Vec<Answer>) {
        fs::create_dir_all(self.at(metadata).parent().unwrap()).unwrap();
        let mut command = dry();
        command.args(["-S", "192.0.2.7", "-q", "-v", "1", "-m", metadata]).args(options.split_whitespace());
        let output = command.current_dir(self.0.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{options}: {}", String::from_utf8_lossy(&output.stderr));
        let answers: Vec<Answer> = probed(&String::from_utf8(output.stdout).unwrap())
            .into_iter()
            .flat_map(|(host, port)| answer(host, port))
            .collect();
        let mut outputs = vec![];
        self.change(metadata, |value| {
            value["dryrun"] = 0.into();
            value["output_results"] = answers.len().into();
            outputs = value["outputs"].as_array().unwrap().clone();
        });
        for output in &outputs {
            self.results(output, &answers);
        }
    }

    /// Writes an output, as a key of the metadata describes it.
    fn results(&self, output: &Value, answers: &[Answer]) {
        let module = Module::ALL.iter().find(|module| module.name() == output["module"]).unwrap();
        let names = output["fields"].as_array().map(|names| names.iter().map(|name| name.as_str().unwrap()));
        let names = names.map_or_else(|| "saddr".to_owned(), |names| names.collect::<Vec<_>>().join(","));
        let sink = SinkConfig {
            module: *module,
            file: output["file"].as_str().unwrap().into(),
            redis: None,
            fields: FieldSet::parse(&names, &tcp_synscan::FIELDS).unwrap(),
            scan: String::new(),
            header_row: output["header_row"] == true,
            append: false,
            resume_at: None,
            rotation: Rotation::default(),
            atomic: false,
            partitions: None,
            several_ports: true,
            has_ports: true,
            link: LinkHeader::Ethernet,
        };
        let mut sink = sink.open().unwrap();
        sink.begin().unwrap();
        let mut extractor = Extractor::new(TimeZone::UTC);
        for answer in answers {
            let header = header(answer);
            sink.write(&Reply::new(&header, &[], answer.repeat), &mut extractor).unwrap();
        }
        sink.finish().unwrap();
    }

    /// Changes metadata.
    pub(crate) fn change(&self, metadata: &str, change: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_str(&self.read(metadata)).unwrap();
        change(&mut value);
        self.write(metadata, &value.to_string());
    }

    /// Adds to the number of results that a scan says it has written.
    pub(crate) fn count(&self, metadata: &str, more: i64) {
        self.change(metadata, |value| {
            let results = value["output_results"].as_i64().unwrap() + more;
            value["output_results"] = results.into();
        });
    }
}

/// The targets that a dry run has printed.
fn probed(text: &str) -> Vec<(Ipv4Addr, u16)> {
    let value = |line: &str, key: &str| -> Option<String> {
        Some(line.split_once(key)?.1.split(' ').next()?.to_owned())
    };
    let ports = text.lines().filter_map(|line| value(line, "dest: "));
    let hosts = text.lines().filter_map(|line| value(line, "daddr: "));
    hosts.zip(ports).map(|(host, port)| (host.parse().unwrap(), port.parse().unwrap())).collect()
}

fn header(answer: &Answer) -> Header {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut header = Header::new_zeroed();
    header.time_ns = now.as_nanos() as u64;
    (header.responder, header.target) =
        (answer.host.to_ipv6_mapped().octets(), answer.host.to_ipv6_mapped().octets());
    (header.responder_port, header.target_port, header.local_port) = (answer.port, answer.port, 40_000);
    (header.family, header.kind) = (4, answer.kind as u8);
    header.flags = if answer.kind == ReplyKind::SynAck { SUCCESS } else { 0 };
    header
}

/// Every third host answers on port 80, and every fifth on another port; the others reset.
pub(crate) fn some(host: Ipv4Addr, port: u16) -> Vec<Answer> {
    let number = host.octets()[3];
    let is_open = if port == 80 { number.is_multiple_of(3) } else { number.is_multiple_of(5) };
    let open = Answer::syn_ack(host, port);
    if is_open { vec![open] } else { vec![Answer { kind: ReplyKind::Rst, ..open }] }
}

/// Only the successes of these.
pub(crate) fn open(host: Ipv4Addr, port: u16) -> Vec<Answer> {
    some(host, port).into_iter().filter(|answer| answer.kind == ReplyKind::SynAck).collect()
}

/// Compresses a file to one beside it, with `.gz` behind its name.
pub(crate) fn gzip(path: &Path) {
    use std::io::Write as _;
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(name).unwrap(), flate2::Compression::default());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap();
}
