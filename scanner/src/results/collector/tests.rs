use super::*;
use crate::probe::tcp_synscan;
use crate::reply::fields::FieldSet;
use crate::reply::record::ReplyKind;
use crate::reply::testing::{header, synack_frame};
use crate::results::format::{CsvEncoder, Encoder, JsonEncoder};
use crate::results::output::Output;
use crate::results::sink::{FileSink, Rotation, Series, Start};
use rtrb::{Producer, RingBuffer};
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// A collector under test: its workers' ends, and the reason for which it requested the end.
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
        seen: None,
        port_limit: None,
        recheck: None,
        max_results: None,
        rtt_us: None,
        finished: Arc::clone(&finished),
        is_whole: Arc::default(),
        barrier: Arc::default(),
        ports: None,
        stop: Box::new(move |reason| *asked.lock().unwrap() = Some(reason)),
    };
    Lab { producers, finished, reason, config }
}

/// Runs a collector to its end. Every reply that it took is accounted for, by each output as well.
#[track_caller]
fn collected(config: CollectorConfig) -> Collected {
    let collected = Collector::new(config).run();
    let counts = &collected.counts;
    let left_out = counts.filtered + counts.filtered_repeats + counts.past_limit;
    assert_eq!(counts.total_valid, counts.passed + left_out, "{counts:?}");
    for output in &collected.outputs {
        assert_eq!(output.written + output.lost, counts.passed, "{collected:?}");
    }
    let lost = collected.outputs.iter().map(|output| output.lost).sum::<u64>();
    assert_eq!(lost, counts.output_lost, "{collected:?}");
    collected
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

fn put(ring: &mut Producer<u8>, kind: ReplyKind, last_octet: u8, cooldown: u8) {
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
        (0, ReplyKind::Rst, 1, 0),
        (0, ReplyKind::SynAck, 1, 0),
        (0, ReplyKind::SynAck, 1, 0),
        (0, ReplyKind::SynAck, 2, 1),
        (1, ReplyKind::SynAck, 2, 1),
        (1, ReplyKind::SynAck, 3, 0),
        (1, ReplyKind::Rst, 4, 1),
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
        filtered: 2,
        filtered_repeats: 2,
        passed: 3,
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
    for kind in [ReplyKind::SynAck, ReplyKind::Rst, ReplyKind::SynAck] {
        put(&mut lab.producers[0], kind, 1, 0);
    }
    // Workers that are gone without setting `finished`.
    lab.producers.clear();
    let collected = collected(lab.config);
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
        put(&mut lab.producers[0], ReplyKind::Rst, octet, 0);
        put(&mut lab.producers[0], ReplyKind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = collected(lab.config);
    collected.output.unwrap();
    assert_eq!((collected.counts.written, collected.counts.total_valid), (2, 10));
    let Counts { passed, filtered, filtered_repeats, past_limit, .. } = collected.counts;
    assert_eq!((passed, filtered, filtered_repeats, past_limit), (2, 5, 1, 2));
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "198.18.0.1,80\n198.18.0.2,80\n");
    assert_eq!(*lab.reason.lock().unwrap(), Some(StopReason::MaxResults));
}

/// A file with an interim name gets its own if the scan is whole, or has as many results as it should, and no output
/// has failed.
#[test]
fn names_come_with_the_whole() {
    for (is_whole, most, is_full, is_named) in [
        (false, None, false, false),
        (true, None, false, true),
        (false, NonZeroU64::new(2), false, true),
        (true, NonZeroU64::new(2), false, true),
        (true, None, true, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.csv");
        let series = Series::open_atomic(&path, &Start::New, Rotation::default()).unwrap();
        let other = if is_full { "/dev/full".into() } else { folder.path().join("other.csv") };
        let mut lab = lab(1, 1 << 16, Output::open(other.to_str().unwrap()).unwrap());
        let fields = FieldSet::parse("saddr", &tcp_synscan::FIELDS).unwrap();
        let encoder = Encoder::Csv(CsvEncoder::new(fields, false));
        lab.config.sinks.push(begun(FileSink::new(encoder, series)));
        lab.config.max_results = most;
        for octet in 1..4 {
            put(&mut lab.producers[0], ReplyKind::SynAck, octet, 0);
        }
        // The workers have gone before it is known how the scan ended.
        lab.producers.clear();
        let (verdict, finished) = (Arc::clone(&lab.config.is_whole), Arc::clone(&lab.finished));
        let ending = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            verdict.store(is_whole, Ordering::Release);
            finished.store(true, Ordering::Release);
        });
        let collected = Collector::new(lab.config).run();
        ending.join().unwrap();
        assert_eq!(collected.output.is_err(), is_full);
        let case = format!("{is_whole} {most:?} {is_full}");
        assert_eq!((collected.is_in_place, path.exists()), (is_named, is_named), "{case}");
        assert_eq!(folder.path().join("r.csv.part").exists(), !is_named, "{case}");
    }
}

#[test]
fn broken_pipe_ends_quietly() {
    let (reader, output) = pipe();
    let mut lab = lab(1, 1 << 16, output);
    drop(reader);
    for octet in 0..10 {
        put(&mut lab.producers[0], ReplyKind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = collected(lab.config);
    assert!(matches!(collected.output, Err(OutputError::BrokenPipe { .. })));
    let counts = collected.counts;
    assert_eq!((counts.success_unique, counts.written, counts.output_lost), (10, 0, 10));
    assert_eq!(*lab.reason.lock().unwrap(), Some(StopReason::OutputClosed));
}

/// A reader that leaves in the midst of it: each result is written or lost, also the one that was just being written.
#[test]
fn a_reader_that_leaves_has_books() {
    const RESULTS: u64 = 20_000;
    let (mut reader, output) = pipe();
    let mut lab = lab(1, 1 << 24, output);
    let frame = synack_frame();
    for number in 0..RESULTS as u32 {
        let header = header(ReplyKind::SynAck, Ipv4Addr::from(0xc612_0000 + number), 80, frame.len());
        assert!(record::push(&mut lab.producers[0], &header, &frame));
    }
    lab.producers.clear();
    let reading = thread::spawn(move || reader.read_exact(&mut [0; 70_000]).unwrap());
    let counts = collected(lab.config).counts;
    reading.join().unwrap();
    assert!(counts.written > 4_000 && counts.output_lost > 4_000, "{counts:?}");
    assert_eq!(counts.written + counts.output_lost, RESULTS);
}

/// One reader of two is gone: the other gets all, and the scan goes on.
#[test]
fn one_of_two_readers_is_gone() {
    let (reader, output) = pipe();
    let (file, other) = temporary();
    let mut lab = lab(1, 1 << 16, output);
    lab.config.sinks.push(csv(other));
    drop(reader);
    for octet in 0..10 {
        put(&mut lab.producers[0], ReplyKind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = collected(lab.config);
    assert!(matches!(collected.output, Err(OutputError::BrokenPipe { .. })));
    assert_eq!((collected.counts.written, collected.counts.output_lost), (10, 10));
    let [gone, whole] = [OutputCounts { written: 0, lost: 10 }, OutputCounts { written: 10, lost: 0 }];
    assert_eq!(collected.outputs, [gone, whole]);
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

/// The error of a full disk names the file, and the other outputs stay complete.
#[test]
fn full_disk_names_the_file() {
    let (file, other) = temporary();
    let mut lab = lab(1, 1 << 20, Output::open("/dev/full").unwrap());
    lab.config.sinks.push(csv(other));
    for octet in 0..=255 {
        put(&mut lab.producers[0], ReplyKind::SynAck, octet, 0);
    }
    lab.producers.clear();
    let collected = collected(lab.config);
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
    put(&mut lab.producers[0], ReplyKind::SynAck, 9, 0);
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
    let mut lab = lab(1, 1 << 14, Output::open("-").unwrap());
    let fields = FieldSet::parse("*", &tcp_synscan::FIELDS).unwrap();
    lab.config.sinks = vec![sink(CsvEncoder::new(fields, false), output)];
    lab.config.filter = Filter::default();
    let collector = Collector::new(lab.config);
    let thread = thread::spawn(|| collector.run());
    let frame = synack_frame();
    let header = header(ReplyKind::SynAck, Ipv4Addr::new(198, 18, 0, 1), 80, frame.len());
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
                    let header = header(ReplyKind::SynAck, address, 443, 0);
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
