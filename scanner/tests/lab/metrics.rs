//! Metrics of running scans, read by Prometheus and by node_exporter: they rise while the scan runs, and are those of
//! the metadata at its end.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::{Lab, have_root};
use serde_json::Value;
use support::promtool;
use support::running::Running;
use support::{Scans as _, read};
use xdpmap::metrics::{Kind, METRICS};

/// Where the scan serves, and where the programs that read from it do.
const SCAN: &str = "127.0.0.1:9815";
const PROMETHEUS: &str = "127.0.0.1:9090";
const NODE_EXPORTER: &str = "127.0.0.1:9100";

/// A series: its labels but for those of Prometheus, in their order.
type Series = BTreeMap<String, String>;

/// Calls `look` until it finds something.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        match look() {
            Some(found) => return found,
            None if since.elapsed() > Duration::from_secs(30) => panic!("in vain: {what}"),
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A page, or nothing if nobody serves it.
fn fetched(lab: &Lab, page: &str) -> String {
    let output = lab.output_in_ns(&lab.scan, "curl", ["-s", "-m", "10", &format!("http://{page}")]);
    String::from_utf8(output.stdout).unwrap()
}

/// Starts Prometheus on the scanning side, which fetches from the scan every second.
fn start_prometheus(lab: &mut Lab) {
    let folder = lab.folder().join("prometheus");
    std::fs::create_dir(&folder).unwrap();
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n  - job_name: xdpmap\n    \
         static_configs:\n      - targets: [\"{SCAN}\"]\n"
    );
    std::fs::write(&config, text).unwrap();
    let scan = lab.scan.clone();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={PROMETHEUS}"),
    ];
    lab.start(&scan, "prometheus", arguments);
    wait_for("Prometheus", || fetched(lab, &format!("{PROMETHEUS}/-/ready")).contains("eady.").then_some(()));
}

/// What Prometheus answers to an expression.
#[track_caller]
fn asked(lab: &Lab, expression: &str) -> Vec<(Series, f64)> {
    let page = format!("http://{PROMETHEUS}/api/v1/query");
    let query = format!("query={expression}");
    let answer = lab.in_ns(&lab.scan, "curl", ["-s", "-G", "--data-urlencode", &query, &page]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    let series = |found: &Value| {
        let labels = found["metric"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let is_own = |(name, _): &(String, String)| !["__name__", "job", "instance"].contains(&name.as_str());
        (labels.filter(is_own).collect(), found["value"][1].as_str().unwrap().parse().unwrap())
    };
    answer["data"]["result"].as_array().unwrap().iter().map(series).collect()
}

/// The value of a series without labels of its own, if it is there.
fn value(lab: &Lab, metric: &str) -> Option<f64> {
    asked(lab, metric).first().map(|(_, value)| *value)
}

/// The series of these metrics of the ledger as the metadata have them.
fn of_ledger(metadata: &Value, metric: &str) -> Vec<(Series, f64)> {
    let labels = |labels: &[(&str, &str)]| {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Series>()
    };
    let mut series = vec![];
    for (account, found) in metadata["ledger"]["accounts"].as_object().unwrap() {
        match metric {
            "wholes" => series.push((labels(&[("account", account)]), found["total"].as_f64().unwrap())),
            rows => {
                for (row, count) in found[rows].as_object().into_iter().flatten() {
                    series.push((labels(&[("account", account), ("row", row)]), count.as_f64().unwrap()));
                }
            }
        }
    }
    series
}

/// The series of the workers' counters as the metadata have them.
fn of_workers(metadata: &Value) -> Vec<(Series, f64)> {
    let mut series = vec![];
    for worker in metadata["workers"].as_array().unwrap() {
        for (event, count) in worker["counters"].as_object().unwrap() {
            let labels = [
                ("worker", worker["worker"].to_string()),
                ("interface", "scan0".to_owned()),
                ("queue", worker["tx_queue"].to_string()),
                ("event", event.clone()),
            ];
            let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value));
            series.push((labels.collect(), count.as_f64().unwrap()));
        }
    }
    series
}

/// The series in their order. What is told besides, whether a row is a loss, is left out.
fn sorted(mut series: Vec<(Series, f64)>) -> Vec<(Series, f64)> {
    for (labels, _) in &mut series {
        labels.remove("loss");
    }
    series.sort_by(|one, other| one.0.cmp(&other.0));
    series
}

/// The metrics of a text, each with its labels in the order of their names.
fn values(text: &str) -> BTreeMap<String, f64> {
    let line = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        labels.sort_unstable();
        let labels = labels.join(",");
        let series = if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") };
        Some((series, value.parse().ok()?))
    };
    text.lines().filter(|line| line.starts_with("xdpmap_")).filter_map(line).collect()
}

/// The metrics that say how a scan has ended are those of the metadata.
#[track_caller]
fn check_end(text: &str, metadata: &Value) {
    let values = values(text);
    for (metric, key) in [
        ("xdpmap_probes_sent_total", "/packets_sent"),
        ("xdpmap_replies_total", "/validation_passed"),
        ("xdpmap_successes_total", "/success_unique"),
        ("xdpmap_targets", "/ledger/accounts/targets/total"),
        ("xdpmap_ledger_parts_total{account=\"probes\",loss=\"false\",row=\"completed\"}", "/packets_sent"),
        (
            "xdpmap_ledger_parts_total{account=\"output-1\",loss=\"false\",row=\"written\"}",
            "/ledger/accounts/output-1/parts/written",
        ),
    ] {
        let expected = metadata.pointer(key).unwrap_or_else(|| panic!("{key}: {metadata}"));
        assert_eq!(values.get(metric).copied(), expected.as_f64(), "{metric}: {text}");
    }
    assert_eq!(values["xdpmap_end_info{reason=\"complete\"}"], 1.0, "{text}");
    assert_eq!([values["xdpmap_done_ratio"], values["xdpmap_targets_left"]], [1.0, 0.0], "{text}");
    assert!(!text.contains("xdpmap_ledger_under_way"), "{text}");
}

/// Prometheus fetches from a running scan: counters rise, what is left falls, and the last values are those of the
/// metadata, each of them: the scan waits for a last fetch.
#[test]
fn prometheus_has_the_counts_of_the_metadata() {
    if !have_root() {
        return;
    }
    let mut lab = Lab::new(2);
    lab.start_nginx(&(1..=64).map(|last| [198, 18, 0, last].into()).collect::<Vec<_>>());
    start_prometheus(&mut lab);
    let running =
        Running::of(&lab, lab.xdpmap(&format!("-p 80 -r 500 -c 1 --metrics-listen {SCAN} 198.18.0.0/19")));
    let (mut sent, mut left) = (vec![], vec![]);
    for _ in 0..3 {
        let before = sent.last().copied();
        sent.push(wait_for("more probes", || {
            value(&lab, "xdpmap_probes_sent_total").filter(|now| before.is_none_or(|before| *now > before))
        }));
        left.push(value(&lab, "xdpmap_targets_left").unwrap());
    }
    assert!(sent[2] < 8_192.0 && left.windows(2).all(|pair| pair[1] <= pair[0]), "{sent:?} {left:?}");
    assert!(left[2] < left[0], "{left:?}");
    let sending = asked(&lab, "xdpmap_phase == 1");
    assert_eq!(sending[0].0["phase"], "sending");
    assert!(value(&lab, "xdpmap_remaining_seconds").is_some_and(|seconds| seconds > 0.0));
    assert_eq!(value(&lab, "xdpmap_probes_per_second_limit"), Some(500.0));
    let version = &asked(&lab, "xdpmap_build_info")[0].0["version"];
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert!(asked(&lab, "xdpmap_ledger_under_way").len() >= 4);
    promtool::check(&fetched(&lab, &format!("{SCAN}/metrics")));

    let scanned = running.finish();
    assert!(scanned.output.status.success(), "{}", scanned.stderr());
    let metadata = &scanned.metadata;
    assert_eq!(scanned.number("/packets_sent"), 8_192);
    // What was fetched last, although nothing answers any more.
    let last = |metric: &str| sorted(asked(&lab, &format!("last_over_time({metric}[5m])")));
    for metric in ["wholes", "parts", "notes"] {
        let found = last(&format!("xdpmap_ledger_{metric}_total"));
        assert_eq!(found, sorted(of_ledger(metadata, metric)), "{metric}");
        assert!(found.len() > 3, "{found:?}");
    }
    assert_eq!(last("xdpmap_worker_events_total"), sorted(of_workers(metadata)));
    // By queue: both have sent.
    let queues = last("xdpmap_worker_events_total{event=\"tx_sent\"}");
    assert!(queues.len() == 2 && queues.iter().all(|(_, sent)| *sent > 0.0), "{queues:?}");
    let hits = scanned.number("/success_unique");
    assert_eq!((hits, last("xdpmap_successes_total")[0].1), (64, 64.0));
    assert_eq!(last("xdpmap_hit_ratio")[0].1, 64.0 / 8_192.0);
    for counter in METRICS.iter().filter(|metric| metric.kind == Kind::Counter) {
        let fallen = asked(&lab, &format!("resets({}[5m]) > 0", counter.name));
        assert!(fallen.is_empty(), "a counter has fallen: {} {fallen:?}", counter.name);
    }
}

/// node_exporter hands out what a scan leaves in its folder: while it runs, and its last counts afterwards. A reader
/// finds a whole text whenever it looks.
#[test]
fn node_exporter_reads_the_file() {
    if !have_root() {
        return;
    }
    let mut lab = Lab::new(1);
    let folder = lab.folder().join("textfiles");
    std::fs::create_dir(&folder).unwrap();
    let scan = lab.scan.clone();
    let arguments = [
        "--collector.disable-defaults".to_owned(),
        "--collector.textfile".to_owned(),
        format!("--collector.textfile.directory={}", folder.display()),
        format!("--web.listen-address={NODE_EXPORTER}"),
    ];
    lab.start(&scan, "prometheus-node-exporter", arguments);
    let page = format!("{NODE_EXPORTER}/metrics");
    wait_for("node_exporter", || fetched(&lab, &page).contains("node_textfile_scrape_error 0").then_some(()));
    let file = folder.join("scan.prom");
    let mut command = lab.xdpmap("-p 80 -r 1000 -c 1 198.18.0.0/20");
    command.arg("--metrics-file").arg(&file);
    let running = Running::of(&lab, command);
    let sent = |text: &str| values(text).get("xdpmap_probes_sent_total").copied();
    let first = wait_for("probes", || sent(&fetched(&lab, &page)).filter(|sent| *sent > 0.0));
    let reader = std::thread::spawn({
        let file = file.clone();
        move || whole_texts(&file, Duration::from_secs(2))
    });
    wait_for("more probes", || sent(&fetched(&lab, &page)).filter(|sent| *sent > first));
    assert!(reader.join().unwrap() >= 2, "the file is written once per second");
    let scanned = running.finish();
    assert!(scanned.output.status.success(), "{}", scanned.stderr());
    let (text, handed_out) = (read(&file), fetched(&lab, &page));
    promtool::check(&text);
    check_end(&text, &scanned.metadata);
    check_end(&handed_out, &scanned.metadata);
    assert!(handed_out.contains("node_textfile_scrape_error 0"), "{handed_out}");
    assert!(handed_out.contains("# TYPE xdpmap_ledger_parts_total counter"), "{handed_out}");
    assert!(handed_out.contains("# TYPE xdpmap_hit_ratio gauge"), "{handed_out}");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["scan.prom"]);
}

/// Reads a file again and again for a while: each text is whole. Returns how many different ones there were.
fn whole_texts(file: &Path, time: Duration) -> usize {
    let (since, mut texts) = (Instant::now(), std::collections::BTreeSet::new());
    while since.elapsed() < time {
        let text = std::fs::read_to_string(file).unwrap();
        // The last counter of the last metric.
        let (first, last) = (text.lines().next().unwrap(), text.lines().last().unwrap());
        assert!(first.starts_with("# HELP xdpmap_build_info") && text.ends_with('\n'), "{text}");
        assert!(last.contains("event=\"rx_second\""), "{text}");
        texts.insert(text);
    }
    texts.len()
}

/// What a peer gets for these bytes, and how long that took.
fn sent(lab: &Lab, bytes: Vec<u8>, closes: bool) -> (String, Duration) {
    let talk = move || {
        let since = Instant::now();
        let mut stream = TcpStream::connect(SCAN).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // It may be refused before all has been sent.
        let _ = stream.write_all(&bytes);
        if closes {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer);
        (String::from_utf8(answer).unwrap(), since.elapsed())
    };
    lab.thread_in(&lab.scan, talk).join().unwrap()
}

/// Strangers get an answer or none, soon; Prometheus is served all the same, and the scan goes on.
#[test]
fn strangers_delay_nothing() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let running =
        Running::of(&lab, lab.xdpmap(&format!("-p 80 -r 1000 -c 5 --metrics-listen {SCAN} 198.18.0.0/19")));
    for (request, code) in [
        (&b"GET /metrics HTTP/1.1\r\n\r\n"[..], "200"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "405"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", "404"),
        (b"\x16\x03\x01\x02\x00", "400"),
    ] {
        let (answer, _) = sent(&lab, request.to_vec(), false);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{code}: {answer}");
        let length: usize =
            answer.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), length, "{answer}");
    }
    // Half a request that its sender ends, and one that never ends.
    assert_eq!(sent(&lab, b"GET /met".to_vec(), true).0, "");
    let endless = [b"GET /metrics HTTP/1.1\r\nCookie: ".to_vec(), vec![b'x'; 100_000]].concat();
    let (answer, took) = sent(&lab, endless, false);
    assert!(!answer.contains("xdpmap_") && took < Duration::from_secs(3), "{took:?}: {answer}");
    // Two who say nothing are given two seconds each.
    let idle: Vec<_> =
        (0..2).map(|_| lab.thread_in(&lab.scan, || TcpStream::connect(SCAN).unwrap())).collect();
    let idle: Vec<TcpStream> = idle.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (answer, took) = sent(&lab, b"GET /metrics HTTP/1.1\r\n\r\n".to_vec(), false);
    assert!(answer.starts_with("HTTP/1.1 200 ") && took > Duration::from_secs(3), "{took:?}: {answer}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    drop(idle);
    let scanned = running.finish();
    assert!(scanned.output.status.success(), "{}", scanned.stderr());
    assert_eq!(scanned.number("/packets_sent"), 8_192);
    assert_eq!(scanned.number("/validation_passed"), 8_192, "each target resets");
}

/// The wait for a last fetch has an end, and a signal ends it at once.
#[test]
fn the_last_fetch_is_waited_for() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let start = || {
        let flags = format!("-p 80 -r 1000 -n 6000 -c 1 --metrics-listen {SCAN} 198.18.0.0/19");
        Running::of(&lab, lab.xdpmap(&flags))
    };
    let fetch = || assert!(fetched(&lab, &format!("{SCAN}/metrics")).contains("xdpmap_held 0"));
    for is_interrupted in [false, true] {
        let mut running = start();
        fetch();
        let first = Instant::now();
        // Before the end, so that this fetch is not the last one, and long after the first, so that the next one is
        // waited for after the end; however slow a busy machine makes the scan.
        running.wait_for_percent(80);
        fetch();
        let interval = first.elapsed().as_secs_f64();
        running.wait_for("its metrics are fetched once more");
        let since = Instant::now();
        if is_interrupted {
            kill(Pid::from_raw(running.child.id().cast_signed()), Signal::SIGINT).unwrap();
        }
        let scanned = running.finish();
        // As long as between the two, and two seconds more.
        let expected = if is_interrupted { 0.0..1.0 } else { 0.1..interval + 3.0 };
        assert!(
            expected.contains(&since.elapsed().as_secs_f64()),
            "{:?}: {}",
            since.elapsed(),
            scanned.stderr()
        );
        assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
        assert_eq!(scanned.metadata["end_reason"], "max-targets");
    }
    // Nobody has fetched anything twice: there is no wait.
    let running = start();
    fetch();
    let scanned = running.finish();
    assert!(!scanned.stderr().contains("once more"), "{}", scanned.stderr());
}

/// An address that is taken and a file that cannot be replaced are refused before the first packet, by their flags.
#[test]
fn what_is_unavailable_is_refused() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let listen = || TcpListener::bind(SCAN.parse::<SocketAddr>().unwrap()).unwrap();
    let _taken = lab.thread_in(&lab.scan, listen).join().unwrap();
    let theirs = lab.folder().join("theirs.prom");
    std::fs::write(&theirs, "of another\n").unwrap();
    std::os::unix::fs::chown(&theirs, Some(65_534), None).unwrap();
    let pipe = lab.folder().join("pipe");
    lab::run("mkfifo", [&pipe]);
    let missing: PathBuf = lab.folder().join("none/scan.prom");
    for (flag, value, words) in [
        ("--metrics-listen", SCAN, &["127.0.0.1:9815", "in use", "another address or port"][..]),
        ("--metrics-listen", "192.0.2.1:9815", &["192.0.2.1:9815", "another address or port"]),
        ("--metrics-file", theirs.to_str().unwrap(), &["theirs.prom", "user 65534", "a file of yours"]),
        ("--metrics-file", pipe.to_str().unwrap(), &["pipe", "not a regular file"]),
        ("--metrics-file", missing.to_str().unwrap(), &["none/scan.prom", "No such file"]),
    ] {
        let refused = lab.survey(&format!("-p 80 -c 0 {flag} {value} 198.18.0.0/24"));
        assert_eq!(refused.output.status.code(), Some(2), "{value}: {}", refused.stderr());
        for word in [&[flag][..], words].concat() {
            assert!(refused.stderr().contains(word), "{word}: {}", refused.stderr());
        }
        assert!(refused.metadata.is_null() && refused.results.is_empty(), "{value}");
    }
    assert_eq!(read(&theirs), "of another\n");
}
