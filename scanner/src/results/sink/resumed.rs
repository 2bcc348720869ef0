//! Tests of sinks of a scan that goes on: what was written after the checkpoint is not there any more, and the rest is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Form, Module, Rotation, Sink, SinkConfig};
use crate::local_time;
use crate::probe::tcp_synscan;
use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet};
use crate::reply::record::ReplyKind;
use crate::reply::testing::{header, synack_frame};
use crate::results::output::Reach;
use wire::packet::LinkHeader;

fn config(module: Module, file: PathBuf, rotation: Rotation) -> SinkConfig {
    SinkConfig {
        module,
        file,
        redis: None,
        fields: FieldSet::parse("saddr,sport", &tcp_synscan::FIELDS).unwrap(),
        scan: r#"{"seed":1}"#.to_owned(),
        header_row: false,
        append: false,
        resume_at: None,
        rotation,
        atomic: false,
        partitions: None,
        several_ports: false,
        has_ports: true,
        link: LinkHeader::Ethernet,
    }
}

fn begun(config: &SinkConfig) -> Box<dyn Sink> {
    let mut sink = config.open().unwrap();
    sink.begin().unwrap();
    sink
}

fn write(sink: &mut dyn Sink, addresses: std::ops::Range<u32>) {
    let frame = synack_frame();
    let mut extractor = Extractor::new(local_time::zone());
    for address in addresses {
        let header = header(ReplyKind::SynAck, address.into(), 80, frame.len());
        sink.write(&Reply::new(&header, &frame, false), &mut extractor).unwrap();
    }
}

/// How far it is, once all of it is where it belongs.
fn reach(sink: &mut dyn Sink) -> Reach {
    sink.flush().unwrap();
    let place = sink.place().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    assert!(place.under_way.is_none_or(|under_way| under_way.wait(deadline)));
    place.reach
}

/// Writes, is interrupted after the checkpoint, goes on from there twice, and is read again: the results are those that
/// the checkpoint counts, and those of the last run.
fn interrupted(
    module: Module,
    name: &str,
    rotation: Rotation,
    atomic: bool,
    rows: impl Fn(&Path) -> Vec<String>,
) {
    for before in [0, 3, 40] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        let mut config = SinkConfig { atomic, ..config(module, file.clone(), rotation) };
        let mut sink = begun(&config);
        write(&mut *sink, 0..before);
        let at = reach(&mut *sink);
        write(&mut *sink, 100..140);
        reach(&mut *sink);
        write(&mut *sink, 200..210);
        // As if it was killed: what is in memory is lost. A thread that gives files their names would not go on.
        if atomic {
            reach(&mut *sink);
        }
        std::mem::forget(sink);
        config.resume_at = Some(at);
        let mut lost = begun(&config);
        write(&mut *lost, 300..333);
        if atomic {
            reach(&mut *lost);
        }
        std::mem::forget(lost);
        let mut sink = begun(&config);
        write(&mut *sink, 400..450);
        sink.finish().unwrap();
        let end = sink.place().unwrap().reach;
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let found: Vec<String> = files.iter().flat_map(|file| rows(file)).collect();
        let expected: BTreeSet<String> = (0..before)
            .chain(400..450)
            .map(|number| format!("0.0.{}.{}", number / 256, number % 256))
            .collect();
        assert_eq!(found.len(), expected.len(), "{module} {before}: {files:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{module} {before}: {files:?}");
        // It can go on once more, from its end.
        config.resume_at = Some(end.clone());
        let mut sink = begun(&config);
        write(&mut *sink, 500..501);
        sink.finish().unwrap();
        if atomic {
            from_its_name(&config, &mut *sink, &end);
        }
    }
}

/// The last file of a finished sink has an interim name, until the scan is whole. When the scan goes on all the same,
/// at `end`, it has an interim name again.
fn from_its_name(config: &SinkConfig, sink: &mut dyn Sink, end: &Reach) {
    let named = || {
        let names = fs::read_dir(config.file.parent().unwrap()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".part")).count() as u32
    };
    let last = end.number;
    assert_eq!(named(), last - 1, "those before the last have their names");
    sink.put_in_place().unwrap();
    assert_eq!(named(), last);
    let resumed = config.open().unwrap();
    assert_eq!(named(), last, "opening changes nothing");
    drop(resumed);
    let mut resumed = begun(config);
    assert_eq!(named(), last - 1);
    resumed.finish().unwrap();
    resumed.put_in_place().unwrap();
    assert_eq!(named(), last);
}

/// A scan that begins leaves the file of an earlier one as it is, until it is whole itself.
#[test]
fn an_earlier_file_stays_until_the_scan_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("r.csv"), "of yesterday\n").unwrap();
    let config = SinkConfig { atomic: true, ..config(Module::Csv, at("r.csv"), Rotation::default()) };
    assert_eq!(config.interim(), Some(at("r.csv.part")));
    drop(config.open().unwrap());
    assert!(!at("r.csv.part").exists(), "a scan that never began leaves nothing");
    // What a killed scan has left is not read.
    fs::write(at("r.csv.part"), "of a killed scan, and much longer than what follows\n").unwrap();
    let mut sink = begun(&config);
    write(&mut *sink, 1..3);
    sink.finish().unwrap();
    assert_eq!(fs::read_to_string(at("r.csv")).unwrap(), "of yesterday\n");
    sink.put_in_place().unwrap();
    assert_eq!(first_cells(&at("r.csv")), ["0.0.0.1", "0.0.0.2"]);
    assert!(!at("r.csv.part").exists());
    // The file of an earlier scan is not that of a scan of which nothing counts.
    let new = SinkConfig { resume_at: Some(Reach { number: 1, ..Reach::default() }), ..config };
    let mut sink = begun(&new);
    write(&mut *sink, 7..8);
    sink.finish().unwrap();
    assert_eq!(first_cells(&at("r.csv")), ["0.0.0.1", "0.0.0.2"]);
    assert_eq!(first_cells(&at("r.csv.part")), ["0.0.0.7"]);
}

/// What is no regular file has no other name.
#[test]
fn a_pipe_is_written_directly() {
    let folder = tempfile::tempdir().unwrap();
    let [pipe, part] = ["pipe", "pipe.part"].map(|name| folder.path().join(name));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A pipe that is open for reading and writing needs no other end.
    let mut reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let config = SinkConfig { atomic: true, ..config(Module::Csv, pipe.clone(), Rotation::default()) };
    assert_eq!(config.interim(), None);
    let mut sink = begun(&config);
    write(&mut *sink, 1..3);
    sink.finish().unwrap();
    sink.put_in_place().unwrap();
    let mut text = [0; 100];
    let len = std::io::Read::read(&mut reader, &mut text).unwrap();
    assert!(text[..len].starts_with(b"0.0.0.1,"), "{}", text[..len].escape_ascii());
    assert!(pipe.exists() && !part.exists());
}

fn first_cells(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

#[test]
fn one_file() {
    interrupted(Module::Csv, "r.csv", Rotation::default(), false, first_cells);
    interrupted(Module::Csv, "r.csv", Rotation::default(), true, first_cells);
}

#[test]
fn a_series_of_files() {
    let rotation = Rotation { after: None, bytes: Some(100) };
    interrupted(Module::Csv, "r.csv", rotation, false, first_cells);
    interrupted(Module::Csv, "r.csv", rotation, true, first_cells);
}

/// The addresses of a file in a form that has an end: it is whole, however often the scan was killed.
fn open_ports(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    // The last of an atomic series has an interim name.
    let name = file.file_name().unwrap().to_str().unwrap().trim_end_matches(".part");
    match name.rsplit_once('.').unwrap().1 {
        "xml" => {
            assert!(text.ends_with("</nmaprun>\n") && text.matches("<runstats>").count() == 1, "{text}");
            let hosts = text.lines().filter_map(|line| line.split_once("addr=\"")?.1.split('"').next());
            let hosts: Vec<String> = hosts.map(str::to_owned).collect();
            assert!(
                text.contains(&format!("<hosts up=\"{0}\" down=\"0\" total=\"{0}\"/>", hosts.len())),
                "{text}"
            );
            hosts
        }
        "json" => {
            let records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            records.iter().map(|record| record["ip"].as_str().unwrap().to_owned()).collect()
        }
        _ => {
            let records = text.strip_prefix("#masscan\n").unwrap().strip_suffix("# end\n").unwrap();
            records.lines().map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect()
        }
    }
}

#[test]
fn forms_that_have_an_end() {
    for (form, name) in [(Form::Xml, "r.xml"), (Form::List, "r.list"), (Form::MasscanJson, "r.json")] {
        for rotation in [Rotation::default(), Rotation { after: None, bytes: Some(1000) }] {
            for atomic in [false, true] {
                interrupted(Module::Ports(form), name, rotation, atomic, open_ports);
            }
        }
    }
}

/// Without any end of the scan: after each flush the file is whole, so `kill -9` leaves a whole one. A later scan
/// appends before its end.
#[test]
fn forms_are_whole_at_any_time() {
    for (form, name) in [(Form::Xml, "r.xml"), (Form::List, "r.list"), (Form::MasscanJson, "r.json")] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        let mut config = config(Module::Ports(form), file.clone(), Rotation::default());
        let mut sink = begun(&config);
        assert_eq!(open_ports(&file), [""; 0]);
        for count in 1..5 {
            write(&mut *sink, count - 1..count);
            sink.flush().unwrap();
            assert_eq!(open_ports(&file).len(), count as usize);
        }
        std::mem::forget(sink);
        config.append = true;
        let mut sink = begun(&config);
        assert_eq!(open_ports(&file).len(), 4);
        write(&mut *sink, 7..9);
        sink.finish().unwrap();
        assert_eq!(open_ports(&file), ["0.0.0.0", "0.0.0.1", "0.0.0.2", "0.0.0.3", "0.0.0.7", "0.0.0.8"]);
    }
}

/// The addresses in a Parquet file, which says the truth about itself.
#[cfg(feature = "parquet")]
fn parquet_rows(file: &Path) -> Vec<String> {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    let reader = SerializedFileReader::new(fs::File::open(file).unwrap());
    let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let metadata = reader.metadata().file_metadata();
    let pairs = metadata.key_value_metadata().unwrap();
    let pair = |key: &str| pairs.iter().find(|pair| pair.key == key).unwrap().value.as_deref().unwrap();
    assert_eq!(pair("xdpmap"), r#"{"seed":1}"#);
    let own: serde_json::Value = serde_json::from_str(pair("xdpmap.file")).unwrap();
    assert_eq!(own["rows"], metadata.num_rows(), "{}", file.display());
    assert_eq!(own["first_arrival"].is_string(), metadata.num_rows() > 0, "{own}");
    let address = |row: parquet::errors::Result<parquet::record::Row>| {
        row.unwrap().into_columns()[0].1.to_string().trim_matches('"').to_owned()
    };
    reader.get_row_iter(None).unwrap().map(address).collect()
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_files() {
    interrupted(Module::Parquet, "r.parquet", Rotation::default(), false, parquet_rows);
}

/// A data set: what counts are whole files, wherever the scan was killed.
#[cfg(feature = "parquet")]
#[test]
fn a_data_set() {
    use super::{PartitionBy, Partitions};
    let every_file = |root: &Path| -> Vec<PathBuf> {
        let folders = fs::read_dir(root).unwrap().map(|folder| folder.unwrap().path());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|file| file.unwrap().path())).collect()
    };
    for (by, rotation) in [
        (PartitionBy::Port, Rotation::default()),
        (PartitionBy::Shard, Rotation { after: Some(std::time::Duration::from_millis(1)), bytes: None }),
    ] {
        for before in [0, 3, 40] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("r");
            let partitions = Partitions { by, shard: 1, shards: 2 };
            // Another shard's file, which nobody touches.
            let other = root.join(if by == PartitionBy::Port { "port=80" } else { "shard=0" });
            fs::create_dir_all(&other).unwrap();
            fs::write(other.join("part-shard00000-00001.parquet"), "of another shard").unwrap();
            let config = config(Module::Parquet, root.clone(), rotation);
            let mut config = SinkConfig { partitions: Some(partitions), ..config };
            let mut sink = begun(&config);
            write_to(&mut *sink, 0..before);
            let at = reach(&mut *sink);
            write_to(&mut *sink, 100..140);
            reach(&mut *sink);
            write_to(&mut *sink, 200..210);
            std::mem::forget(sink);
            // What a scan that was killed as it wrote leaves.
            fs::create_dir_all(root.join("port=7")).unwrap();
            let half = root.join("port=7/.part-shard00001-00099.parquet.part");
            if by == PartitionBy::Port {
                fs::write(&half, "PAR1").unwrap();
            }
            let new = config.open().err().map(|error| error.to_string());
            assert!(new.is_some_and(|error| error.contains("exists from an earlier scan")), "{by:?}");
            config.resume_at = Some(at);
            let mut sink = begun(&config);
            write_to(&mut *sink, 400..450);
            assert_eq!(sink.pending(), 50);
            sink.finish().unwrap();
            assert_eq!(sink.pending(), 0);
            let files = partitions.files(&root).unwrap();
            let rows: Vec<String> = files.iter().flat_map(|file| parquet_rows(file)).collect();
            let expected: BTreeSet<String> = (0..before).chain(400..450).map(dotted).collect();
            assert_eq!(rows.len(), expected.len(), "{by:?} {before}: {files:?}");
            assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), expected, "{by:?} {before}");
            // Each is in the folder of its port, and nothing but these files is there.
            assert_eq!(every_file(&root).len(), files.len() + 1, "{files:?}");
            if by == PartitionBy::Port {
                for file in &files {
                    let port: u32 =
                        file.parent().unwrap().to_str().unwrap().rsplit_once('=').unwrap().1.parse().unwrap();
                    assert!(parquet_rows(file).iter().all(|row| port_of_dotted(row) == port), "{file:?}");
                }
            }
            // A later scan appends.
            let mut config = SinkConfig { append: true, resume_at: None, ..config };
            let mut sink = begun(&config);
            write_to(&mut *sink, 500..501);
            sink.finish().unwrap();
            assert_eq!(partitions.files(&root).unwrap().len(), files.len() + 1);
            // One that never begins leaves nothing.
            config.file = folder.path().join("new");
            drop(config.open().unwrap());
            assert!(!config.file.exists());
            // No folder.
            config.file = files[0].clone();
            assert!(config.open().err().unwrap().to_string().contains("is no folder"));
        }
    }
}

/// Addresses, each on a port that follows from it.
#[cfg(feature = "parquet")]
fn write_to(sink: &mut dyn Sink, addresses: std::ops::Range<u32>) {
    let frame = synack_frame();
    let mut extractor = Extractor::new(local_time::zone());
    for address in addresses {
        let mut header = header(ReplyKind::SynAck, address.into(), 80, frame.len());
        header.target_port = (address % 7) as u16;
        sink.write(&Reply::new(&header, &frame, false), &mut extractor).unwrap();
    }
}

#[cfg(feature = "parquet")]
fn dotted(number: u32) -> String {
    std::net::Ipv4Addr::from(number).to_string()
}

#[cfg(feature = "parquet")]
fn port_of_dotted(address: &str) -> u32 {
    u32::from(address.parse::<std::net::Ipv4Addr>().unwrap()) % 7
}
