//! A reader of the results that is slower than they come in.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::{Lab, have_root};
use support::truth::FIELDS;
use support::{Scans as _, ledger};

use super::{Logged, NETWORK, lab_with_servers, number};
use crate::checkpoint::assert_whole;

/// A pipe that is read at a fifth of the speed at which results come in: sending keeps its rate, and the reader gets
/// everything.
#[test]
fn a_slow_reader_gets_everything() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    let mut command = lab.xdpmap(&format!("-p 80 -r 20000 -c 1 -q {FIELDS} {NETWORK}"));
    let mut scan = Logged::start(command.stdout(Stdio::piped()), &lab.folder().join("metadata"));
    let mut pipe = scan.child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let since = Instant::now();
        let (mut all, mut part) = (vec![], vec![0; 4_096]);
        while let Ok(len @ 1..) = pipe.read(&mut part) {
            all.extend(&part[..len]);
            std::thread::sleep(Duration::from_millis(80));
        }
        (String::from_utf8(all).unwrap(), since.elapsed())
    });
    let (code, metadata, log) = scan.finish();
    assert_eq!(code, Some(0), "{log}");
    let (results, took) = reading.join().unwrap();
    assert_whole("a slow reader", &results, &truth, 0);
    for name in ["/output_lost", "/counters/rx_record_drops", "/counters/rx_socket_drops"] {
        assert_eq!(number(&metadata, name), 0, "{name}: {log}");
    }
    let seconds = metadata["send_seconds"].as_f64().unwrap();
    assert!(seconds < took.as_secs_f64() / 2.0, "sending took {seconds} s, and reading {took:?}");
}

/// Replies for which the collector has no room any more are counted, one by one, and reported. The others are results,
/// and sending waits for nobody.
#[test]
fn what_the_collector_cannot_take_is_counted() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    // All replies come to one worker, whose ring has a quarter of the memory.
    lab.in_ns(&lab.net, "ethtool", ["-L", "net0", "tx", "1"]);
    let payload = "x".repeat(220);
    let scan = format!(
        "-M icmp_echoscan --probe-args text:{payload} -T 4 -r 15000 -c 1 -q -f saddr,success {NETWORK}"
    );
    let mut scan = Logged::start(lab.xdpmap(&scan).stdout(Stdio::piped()), &lab.folder().join("metadata"));
    // Nothing is read before that.
    scan.wait_for("the scan is over;");
    let lines = BufReader::new(scan.child.stdout.take().unwrap()).lines().count() as u64 - 1;
    let (code, metadata, log) = scan.finish();
    assert_eq!(code, Some(0), "{log}");
    let drops = number(&metadata, "/counters/rx_record_drops");
    assert_eq!(number(&metadata, "/counters/rx_echo"), 32_768, "every host answers");
    assert_eq!(ledger::row(&metadata, "replies", "ring_full"), drops);
    assert!(drops > 5_000 && lines + drops == 32_768, "{lines} results and {drops} lost replies: {log}");
    assert!(log.contains(&format!("{drops} replies were lost because the output was too slow")), "{log}");
}
