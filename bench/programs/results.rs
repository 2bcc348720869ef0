//! Records per second from a worker's ring to a file: the real ring, collector, formats and deduplication, with one
//! thread each for the worker and the collector.
//!
//! ```text
//! results [--records N] [--rounds N] [--case NAME]    prints a JSON object per case and round
//! results --memory                                    the peak memory of a scan with answers from all networks
//! ```
//!
//! A round of a case is two runs. In the first the worker waits while its ring is full, which shows how much the
//! collector can take. In the second it adds a million records per second, as a real worker would, and records that
//! find no room are lost.

use std::error::Error;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use rtrb::Producer;
use xdpmap::io::affinity;
use xdpmap::probe::tcp_synscan::FIELDS;
use xdpmap::reply::fields::FieldSet;
use xdpmap::reply::record::{Header, ReplyKind, SUCCESS, mapped, push, ring_capacity};
use xdpmap::results::collector::{Collected, Collector, CollectorConfig};
use xdpmap::results::dedup::Dedup;
use xdpmap::results::filter::{self, Filter};
use xdpmap::results::sink::{Module, Rotation, SinkConfig};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Records that a worker adds at a time.
const BATCH: u64 = 64;
/// Records per second of the second run.
const PACE: u64 = 1_000_000;

/// The responders.
#[derive(Clone, Copy, Debug)]
enum Responders {
    /// All over IPv4, each once.
    Everywhere,
    /// The same 65,536 repeatedly.
    Few,
    /// All over IPv4 in steps that reach every page of the bitmap.
    EachPage,
}

impl Responders {
    fn name(self) -> &'static str {
        match self {
            Self::Everywhere => "all of IPv4",
            Self::Few => "a /16",
            Self::EachPage => "each page",
        }
    }

    /// The address of the record with this number.
    fn address(self, number: u64) -> Ipv4Addr {
        let mixed = mix(number as u32);
        Ipv4Addr::from_bits(match self {
            Self::Everywhere => mixed,
            Self::Few => 0xc612_0000 | mixed & 0xffff,
            Self::EachPage => (number as u32) << 12,
        })
    }
}

/// A permutation of the 32-bit numbers (the last steps of MurmurHash3).
fn mix(number: u32) -> u32 {
    let mut mixed = number;
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x85eb_ca6b);
    mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
    mixed ^ mixed >> 16
}

/// How repeats are found.
#[derive(Clone, Copy, Debug)]
enum Method {
    Full,
    Targets,
    Window,
    None,
}

impl Method {
    fn start(self) -> Dedup {
        const WINDOW: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();
        match self {
            Self::Full => Dedup::full(),
            Self::Targets => Dedup::targets(),
            Self::Window => Dedup::window(WINDOW),
            Self::None => Dedup::None,
        }
    }
}

struct Case {
    name: &'static str,
    module: Module,
    fields: &'static str,
    /// `--output-filter`; without one, successes, each once.
    filter: Option<&'static str>,
    method: Method,
    responders: Responders,
}

const FEW_FIELDS: &str = "saddr,sport,classification,success,repeat,ttl,seqnum,timestamp_ts";

/// Half of the addresses pass it.
const FILTER: &str = "success && !repeat && saddr in 0.0.0.0/1 && (ttl > 100 || classification = rst)";

fn cases() -> Vec<Case> {
    use Responders::{Everywhere, Few};
    let case = |name, module, fields, method, responders| Case {
        name,
        module,
        fields,
        filter: None,
        method,
        responders,
    };
    let filtered = |filter, case| Case { filter: Some(filter), ..case };
    let all = |case| filtered("", case);
    vec![
        case("csv", Module::Csv, "saddr", Method::Full, Everywhere),
        case("csv-none", Module::Csv, "saddr", Method::None, Everywhere),
        case("csv-window", Module::Csv, "saddr,sport", Method::Window, Everywhere),
        case("csv-targets", Module::Csv, "saddr,sport", Method::Targets, Everywhere),
        case("csv-fields", Module::Csv, FEW_FIELDS, Method::Full, Everywhere),
        case("json-fields", Module::Json, FEW_FIELDS, Method::Full, Everywhere),
        case("csv-few", Module::Csv, "saddr", Method::Full, Few),
        all(case("csv-few-all", Module::Csv, "saddr", Method::Full, Few)),
        filtered(FILTER, case("csv-filter", Module::Csv, "saddr", Method::Full, Everywhere)),
        case("parquet-fields", Module::Parquet, FEW_FIELDS, Method::Full, Everywhere),
        all(case("parquet-fields-few-all", Module::Parquet, FEW_FIELDS, Method::Full, Few)),
        all(case("pcap", Module::Pcap, "saddr", Method::Full, Everywhere)),
        all(case("json-fields-few-all", Module::Json, FEW_FIELDS, Method::Full, Few)),
    ]
}

/// A SYN-ACK with the options of Windows: 66 bytes.
fn frame() -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00]);
    frame.extend([0x45, 0, 0, 52, 0x12, 0x34, 0x40, 0, 119, 6, 0, 0]);
    frame.extend([0, 0, 0, 0, 192, 0, 2, 7]);
    frame
        .extend([0, 80, 0x9c, 0x40, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 17, 0x80, 0x12, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend([2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2]);
    frame
}

/// The measurements of the worker's thread.
struct Added {
    dropped: u64,
    waited: u64,
    start: Instant,
}

/// Adds the records, as fast as the ring accepts them or `pace` of them per second.
fn add(ring: &mut Producer<u8>, responders: Responders, records: u64, pace: Option<u64>) -> Added {
    let mut frame = frame();
    let len = frame.len() as u16;
    let mut header = Header {
        time_ns: 1_769_857_200_042_420_999,
        responder: [0; 16],
        target: [0; 16],
        responder_port: 80,
        local_port: 40_000,
        target_port: 80,
        queue: 0,
        frame_len: len.into(),
        captured_len: len,
        ip_offset: 14,
        family: 4,
        kind: ReplyKind::SynAck as u8,
        probe: 0,
        cooldown: 0,
        flags: SUCCESS,
        reserved: [0; 4],
    };
    let mut added = Added { dropped: 0, waited: 0, start: Instant::now() };
    for number in 0..records {
        if let Some(pace) = pace.filter(|_| number % BATCH == 0) {
            let due = Duration::from_nanos(number * 1_000_000_000 / pace);
            while added.start.elapsed() < due {
                std::hint::spin_loop();
            }
        }
        let address = responders.address(number);
        frame[26..30].copy_from_slice(&address.octets());
        header.responder = mapped(address);
        header.target = header.responder;
        header.time_ns += 1_000;
        while !push(ring, &header, &frame) {
            if pace.is_some() {
                added.dropped += 1;
                break;
            }
            added.waited += 1;
            std::hint::spin_loop();
        }
    }
    added
}

/// The measurements of a run.
struct Run {
    elapsed: Duration,
    dropped: u64,
    waited: u64,
    collector_cpu: Duration,
    collected: Collected,
}

/// Pins the calling thread to the core with this index, counted from the end.
fn pin(place: usize) {
    if let Some(&core) = affinity::allowed().iter().rev().nth(place) {
        affinity::pin(core);
    }
}

fn cpu_time() -> nix::Result<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from)
}

fn run(case: &Case, records: u64, pace: Option<u64>) -> Outcome<Run> {
    let folder = tempfile::tempdir()?;
    let sink = SinkConfig {
        module: case.module,
        file: folder.path().join("results"),
        fields: FieldSet::parse(case.fields, &FIELDS)?,
        scan: String::new(),
        header_row: false,
        redis: None,
        append: false,
        resume_at: None,
        rotation: Rotation::default(),
        atomic: false,
        partitions: None,
        several_ports: true,
        has_ports: true,
        link: wire::packet::LinkHeader::Ethernet,
    };
    let mut sink = sink.open()?;
    sink.begin()?;
    let (mut producer, consumer) = rtrb::RingBuffer::new(ring_capacity(1));
    let collector = Collector::new(CollectorConfig {
        rings: vec![consumer],
        filter: match case.filter {
            None => Filter::successes(),
            Some(text) => Filter { successes_only: false, expression: filter::parse(text, &FIELDS)? },
        },
        dedup: case.method.start(),
        sinks: vec![sink],
        seen: None,
        port_limit: None,
        recheck: None,
        max_results: None,
        rtt_us: None,
        finished: Arc::new(AtomicBool::new(false)),
        is_whole: Arc::default(),
        barrier: Arc::default(),
        ports: None,
        stop: Box::new(|reason| eprintln!("results: the collector stopped: {reason:?}")),
    });
    let responders = case.responders;
    let (added, collector_cpu, end, collected) = thread::scope(|scope| -> Outcome<_> {
        // Dropped when the thread ends, which tells the collector that the run is over.
        let worker = scope.spawn(move || {
            pin(1);
            add(&mut producer, responders, records, pace)
        });
        let collecting = scope.spawn(move || -> Outcome<_> {
            pin(0);
            let before = cpu_time()?;
            let collected = collector.run();
            Ok((cpu_time()? - before, Instant::now(), collected))
        });
        let added = worker.join().map_err(|_| "the worker's thread failed")?;
        let (cpu, end, collected) = collecting.join().map_err(|_| "the collector's thread failed")??;
        Ok((added, cpu, end, collected))
    })?;
    if let Err(error) = collected.output {
        return Err(error.into());
    }
    let taken = collected.counts.total_valid + added.dropped;
    if taken != records {
        return Err(format!("{taken} records of {records} are accounted for").into());
    }
    Ok(Run {
        elapsed: end - added.start,
        dropped: added.dropped,
        waited: added.waited,
        collector_cpu,
        collected,
    })
}

fn print(case: &Case, round: u32, records: u64, pace: Option<u64>, run: &Run) {
    let line = serde_json::json!({
        "case": case.name,
        "format": case.module.name(),
        "fields": case.fields,
        "dedup": format!("{:?}", case.method).to_lowercase(),
        "filter": case.filter,
        "responders": case.responders.name(),
        "round": round,
        "asked_per_second": pace,
        "records": records,
        "dropped": run.dropped,
        "waited": run.waited,
        "written": run.collected.counts.written,
        "records_per_second": (records as f64 / run.elapsed.as_secs_f64()).round(),
        "collector_cpu_seconds_per_million":
            (run.collector_cpu.as_secs_f64() * 1e9 / (records - run.dropped) as f64).round() / 1e3,
    });
    println!("{line}");
}

/// The peak memory of this process, KiB.
fn peak_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("the kernel does not report VmHWM")?;
    let number = line.split_whitespace().nth(1).ok_or("VmHWM without a number")?;
    Ok(number.parse()?)
}

fn memory() -> Outcome<()> {
    let before = peak_kib()?;
    let mut case = cases().swap_remove(0);
    run(&Case { responders: Responders::Few, ..case }, 1 << 20, None)?;
    let few = peak_kib()?;
    case = Case { responders: Responders::EachPage, ..cases().swap_remove(0) };
    run(&case, 1 << 20, None)?;
    let line = serde_json::json!({
        "bitmap_kib": (1u64 << 32) / 8 / 1024,
        "peak_kib": { "before": before, "a /16": few, "all of IPv4": peak_kib()? },
    });
    println!("{line}");
    Ok(())
}

fn measure(mut arguments: std::env::Args) -> Outcome<()> {
    let (mut records, mut rounds, mut only) = (5_000_000, 7, None);
    while let Some(flag) = arguments.next() {
        if flag == "--memory" {
            return memory();
        }
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--records" => records = value.parse()?,
            "--rounds" => rounds = value.parse()?,
            "--case" => only = Some(value),
            _ => return Err(format!("unknown argument {flag}").into()),
        }
    }
    for round in 0..rounds {
        for case in cases().into_iter().filter(|case| only.as_ref().is_none_or(|only| only == case.name)) {
            for pace in [None, Some(PACE)] {
                print(&case, round, records, pace, &run(&case, records, pace)?);
            }
        }
    }
    Ok(())
}

/// Runs the program.
pub(crate) fn main(arguments: std::env::Args) -> ExitCode {
    match measure(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("results: {error}");
            ExitCode::from(2)
        }
    }
}
