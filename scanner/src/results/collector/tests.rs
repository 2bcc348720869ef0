use super::*;
use crate::probe::tcp_synscan;
use crate::results::fields::FieldSet;
use crate::results::format::{CsvEncoder, Encoder, JsonEncoder};
use crate::results::output::Output;
use crate::results::record::Kind;
use crate::results::sink::{FileSink, Series};
use crate::results::testing::{header, synack_frame};
use rtrb::{Producer, RingBuffer};
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// A collector under test: its workers' ends, and what it asked for.
struct Lab {
    producers: Vec<Producer<u8>>,
    finished: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<StopReason>>>,
    config: CollectorConfig,
}

/// A sink for CSV with the default fields of several ports.
fn csv(output: Output) -> Box<dyn Sink> {
    sink(CsvEncoder::new(FieldSet::default_for(&tcp_synscan::FIELDS, true), false), output)
}

fn sink(encoder: CsvEncoder, output: Output) -> Box<dyn Sink> {
    begun(FileSink::new(Encoder::Csv(encoder), Series::single(output)))
}

fn begun(mut sink: FileSink) -> Box<dyn Sink> {
    sink.begin().unwrap();
    Box::new(sink)
}

fn lab(rings: usize, ring_len: usize, output: Output) -> Lab {
    let (producers, rings) = (0..rings).map(|_| RingBuffer::new(ring_len)).unzip();
    let finished = Arc::new(AtomicBool::new(false));
    let reason = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&reason);
    let config = CollectorConfig {
        rings,
        filter: Filter::successes(),
        dedup: Dedup::full(),
        sinks: vec![csv(output)],
        max_results: None,
        finished: Arc::clone(&finished),
        stop: Box::new(move |reason| *asked.lock().unwrap() = Some(reason)),
    };
    Lab { producers, finished, reason, config }
}

fn temporary() -> (tempfile::NamedTempFile, Output) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Output::open(file.path().to_str().unwrap()).unwrap();
    (file, output)
}

fn pipe() -> (io::PipeReader, Output) {
    let (reader, writer) = io::pipe().unwrap();
    (reader, Output::from_file(File::from(OwnedFd::from(writer)), "the pipe"))
}

fn put(ring: &mut Producer<u8>, kind: Kind, last_octet: u8, cooldown: u8) {
    let frame = synack_frame();
    let mut header = header(kind, Ipv4Addr::new(198, 18, 0, last_octet), 80, frame.len());
    header.cooldown = cooldown;
    assert!(record::push(ring, &header, &frame));
}

#[test]
fn default_filter_end_to_end() {
    let (file, output) = temporary();
    let mut lab = lab(2, 1 << 16, output);
    for (ring, kind, octet, cooldown) in [
        (0, Kind::Rst, 1, 0),
        (0, Kind::SynAck, 1, 0),
        (0, Kind::SynAck, 1, 0),
        (0, Kind::SynAck, 2, 1),
        (1, Kind::SynAck, 2, 1),
        (1, Kind::SynAck, 3, 0),
        (1, Kind::Rst, 4, 1),
    ] {
        put(&mut lab.producers[ring], kind, octet, cooldown);
    }
    lab.finished.store(true, Ordering::Release);
    let collector = Collector::new(lab.config);
    let published = collector.published();
    let collected = collector.run();
    collected.output.unwrap();
    let expected = Counts {
        total_valid: 7,
        success_total: 5,
        success_unique: 3,
        success_cooldown_total: 2,
        success_cooldown_unique: 1,
        failure_total: 2,
        written: 3,
        ..Counts::default()
    };
    assert_eq!(collected.counts, expected);
    assert_eq!(published.read(), expected);
    assert_eq!(
        std::fs::read_to_string(file.path()).unwrap(),
        "198.18.0.1,80\n198.18.0.2,80\n198.18.0.3,80\n"
    );
    assert_eq!(*lab.reason.lock().unwrap(), None);
}

/// Two outputs at once get the same.
#[test]
fn all_replies_as_json_and_csv() {
    let (file, output) = temporary();
    let (other_file, other_output) = temporary();
    let mut lab = lab(1, 1 << 16, output);
    let fields = || FieldSet::parse("saddr,success,repeat", &tcp_synscan::FIELDS).unwrap();
    let json = Encoder::Json(JsonEncoder::new(fields()));
    let json = begun(FileSink::new(json, Series::single(other_output)));
    let output = Output::open(file.path().to_str().unwrap()).unwrap();
    lab.config.sinks = vec![sink(CsvEncoder::new(fields(), true), output), json];
    lab.config.filter = Filter::default();
    for kind in [Kind::SynAck, Kind::Rst, Kind::SynAck] {
        put(&mut lab.producers[0], kind, 1, 0);
    }
    // Workers that are gone, with nobody left to say so.
    lab.producers.clear();
    let collected = Collector::new(lab.config).run();
    collected.output.unwrap();
    assert_eq!(collected.counts.written, 3);
    assert_eq!(
        std::fs::read_to_string(file.path()).unwrap(),
        "saddr,success,repeat\n198.18.0.1,1,0\n198.18.0.1,0,1\n198.18.0.1,1,1\n"
    );
    assert_eq!(
        std::fs::read_to_string(other_file.path()).unwrap(),
        "{\"saddr\":\"198.18.0.1\",\"success\":true,\"repeat\":false}\n\
         {\"saddr\":\"198.18.0.1\",\"success\":false,\"repeat\":true}\n\
         {\"saddr\":\"198.18.0.1\",\"success\":true,\"repeat\":true}\n"
    );
}

/// -N counts results, not replies; replies that come later are still counted.
#[test]
fn max_results() {
    let (file, output) = temporary();
    let mut lab = lab(1, 1 << 16, output);
    lab.config.max_results = NonZeroU64::new(2);
    for octet in [1, 1, 2, 3, 4] {
        put(&mut lab.producers[0], Kind::Rst, octet, 0);
        put(&mut lab.producers[0], Kind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = Collector::new(lab.config).run();
    collected.output.unwrap();
    assert_eq!((collected.counts.written, collected.counts.total_valid), (2, 10));
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "198.18.0.1,80\n198.18.0.2,80\n");
    assert_eq!(*lab.reason.lock().unwrap(), Some(StopReason::MaxResults));
}

#[test]
fn broken_pipe_ends_quietly() {
    let (reader, output) = pipe();
    let mut lab = lab(1, 1 << 16, output);
    drop(reader);
    for octet in 0..10 {
        put(&mut lab.producers[0], Kind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = Collector::new(lab.config).run();
    assert!(matches!(collected.output, Err(OutputError::BrokenPipe { .. })));
    let counts = collected.counts;
    assert_eq!((counts.success_unique, counts.written, counts.output_lost), (10, 0, 10));
    assert_eq!(*lab.reason.lock().unwrap(), Some(StopReason::OutputClosed));
}

/// One reader of two is gone: the other gets all, and the scan goes on.
/// A reader that leaves in the midst of it: each result is written or lost, also the one that was just being written.
#[test]
fn a_reader_that_leaves_has_books() {
    const RESULTS: u64 = 20_000;
    let (mut reader, output) = pipe();
    let mut lab = lab(1, 1 << 24, output);
    let frame = synack_frame();
    for number in 0..RESULTS as u32 {
        let header = header(Kind::SynAck, Ipv4Addr::from(0xc612_0000 + number), 80, frame.len());
        assert!(record::push(&mut lab.producers[0], &header, &frame));
    }
    lab.producers.clear();
    let reading = thread::spawn(move || reader.read_exact(&mut [0; 70_000]).unwrap());
    let counts = Collector::new(lab.config).run().counts;
    reading.join().unwrap();
    assert!(counts.written > 4_000 && counts.output_lost > 4_000, "{counts:?}");
    assert_eq!(counts.written + counts.output_lost, RESULTS);
}

#[test]
fn one_of_two_readers_is_gone() {
    let (reader, output) = pipe();
    let (file, other) = temporary();
    let mut lab = lab(1, 1 << 16, output);
    lab.config.sinks.push(csv(other));
    drop(reader);
    for octet in 0..10 {
        put(&mut lab.producers[0], Kind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = Collector::new(lab.config).run();
    assert!(matches!(collected.output, Err(OutputError::BrokenPipe { .. })));
    assert_eq!((collected.counts.written, collected.counts.output_lost), (10, 10));
    assert_eq!(*lab.reason.lock().unwrap(), None);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), 10);
}

#[test]
fn broken_pipe_at_the_header_row() {
    let (reader, output) = pipe();
    drop(reader);
    let encoder = CsvEncoder::new(FieldSet::default_for(&tcp_synscan::FIELDS, true), true);
    let mut sink = FileSink::new(Encoder::Csv(encoder), Series::single(output));
    assert!(matches!(sink.begin(), Err(OutputError::BrokenPipe { .. })));
}

/// A full disk is named, and what goes elsewhere is whole all the same.
#[test]
fn full_disk_names_the_file() {
    let (file, other) = temporary();
    let mut lab = lab(1, 1 << 20, Output::open("/dev/full").unwrap());
    lab.config.sinks.push(csv(other));
    for octet in 0..=255 {
        put(&mut lab.producers[0], Kind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = Collector::new(lab.config).run();
    let error = collected.output.unwrap_err().to_string();
    assert!(error.contains("/dev/full") && error.contains("No space left"), "{error}");
    assert_eq!((collected.counts.total_valid, collected.counts.output_lost), (256, 256));
    assert_eq!(*lab.reason.lock().unwrap(), Some(StopReason::OutputFailed));
    assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), 256);
}

/// A result reaches the reader of a pipe while the scan runs.
#[test]
fn results_are_timely() {
    let (mut reader, output) = pipe();
    let mut lab = lab(1, 1 << 16, output);
    let collector = Collector::new(lab.config);
    let thread = thread::spawn(|| collector.run());
    put(&mut lab.producers[0], Kind::SynAck, 9, 0);
    let mut line = [0; 14];
    reader.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"198.18.0.9,80\n");
    lab.finished.store(true, Ordering::Release);
    thread.join().unwrap().output.unwrap();
}

/// A reader that takes its time holds up the collector and fills the ring; the worker sees that as refused records,
/// and every record that the ring took is written.
#[test]
fn slow_reader_loses_nothing_that_was_taken() {
    let (mut reader, output) = pipe();
    let mut lab = lab(1, 1 << 14, Output::open("/dev/null").unwrap());
    let fields = FieldSet::parse("*", &tcp_synscan::FIELDS).unwrap();
    lab.config.sinks = vec![sink(CsvEncoder::new(fields, false), output)];
    lab.config.filter = Filter::default();
    let collector = Collector::new(lab.config);
    let thread = thread::spawn(|| collector.run());
    let frame = synack_frame();
    let header = header(Kind::SynAck, Ipv4Addr::new(198, 18, 0, 1), 80, frame.len());
    let (mut taken, mut refused) = (0u64, 0u64);
    while refused < 1000 {
        if record::push(&mut lab.producers[0], &header, &frame) {
            taken += 1;
            refused = 0;
        } else {
            refused += 1;
            thread::sleep(Duration::from_micros(100));
        }
    }
    lab.producers.clear();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let collected = thread.join().unwrap();
    collected.output.unwrap();
    assert_eq!(collected.counts.written, taken);
    assert_eq!(text.lines().count() as u64, taken);
}

/// Four workers at once, into rings that are too small for them: what every ring took is counted and written once.
#[test]
fn concurrent_workers() {
    const REPLIES: u8 = 250;
    let (file, output) = temporary();
    let mut lab = lab(4, 1 << 10, output);
    lab.config.dedup = Dedup::window(10_000.try_into().unwrap());
    let workers: Vec<_> = lab.producers.drain(..).enumerate().collect();
    let collector = Collector::new(lab.config);
    let collecting = thread::spawn(|| collector.run());
    thread::scope(|scope| {
        for (worker, mut ring) in workers {
            scope.spawn(move || {
                for octet in 0..REPLIES {
                    let address = Ipv4Addr::new(198, 18, worker as u8, octet);
                    let header = header(Kind::SynAck, address, 443, 0);
                    for _ in 0..2 {
                        while !record::push(&mut ring, &header, &[]) {
                            thread::yield_now();
                        }
                    }
                }
            });
        }
    });
    let collected = collecting.join().unwrap();
    collected.output.unwrap();
    assert_eq!(collected.counts.success_total, 4 * 2 * u64::from(REPLIES));
    let text = std::fs::read_to_string(file.path()).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> =
        (0..4).flat_map(|w| (0..REPLIES).map(move |octet| format!("198.18.{w}.{octet},443"))).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}
