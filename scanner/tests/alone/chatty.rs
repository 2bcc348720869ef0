//! A host that answers each probe a hundred times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etherparse::{Ethernet2Header, PacketBuilder, SlicedPacket, TransportSlice};
use lab::{Lab, have_root};
use support::Scans as _;
use support::frames::{BURST, Frames};
use support::truth::FIELDS;

/// Answers to each probe.
const ANSWERS: usize = 100;
/// The silent half of the lab, where only this responder answers.
const SILENT: &str = "198.18.128.0/20";
const TARGETS: u64 = 4_096;

/// The SYN-ACK to a SYN for the silent half.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let link = Ethernet2Header::from_slice(frame).ok()?.0;
    let (Some(etherparse::NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
        (&packet.net, &packet.transport)
    else {
        return None;
    };
    let ip = ip.header();
    if !tcp.syn() || tcp.ack() || ip.destination()[2] < 128 {
        return None;
    }
    let mut answer = vec![];
    PacketBuilder::ethernet2(link.destination, link.source)
        .ipv4(ip.destination(), ip.source(), 64)
        .tcp(tcp.destination_port(), tcp.source_port(), 7, 1_024)
        .syn()
        .ack(tcp.sequence_number().wrapping_add(1))
        .write(&mut answer, &[])
        .unwrap();
    Some(answer)
}

/// Answers until stopped. Returns how many answers the driver has accepted.
fn respond(stop: &AtomicBool) -> u64 {
    let mut frames = Frames::open("net0", true);
    frames.keep(Duration::from_secs(2), 20_000);
    let (mut buffer, mut sent) = (vec![0; 2_048], 0);
    while !stop.load(Ordering::Relaxed) {
        let Some(answer) = frames.receive(&mut buffer).and_then(answer) else { continue };
        let mut left = ANSWERS;
        while left > 0 {
            let burst = vec![&answer; left.min(BURST)];
            left -= burst.len();
            sent += frames.send(&burst) as u64;
        }
    }
    sent
}

/// Every host is found, once; what it sends beyond that is counted, costs no other host its answer, and is reset four
/// times at most.
#[test]
fn a_hundred_answers_are_one_result() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let responder = lab.thread_in(&lab.net, move || respond(&stopping));
    std::thread::sleep(Duration::from_millis(200));
    let scanned = lab.survey(&format!("-p 80 -r 1500 -c 3 -q --successes-only {FIELDS} {SILENT}"));
    stop.store(true, Ordering::Relaxed);
    let answers = responder.join().unwrap();
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(answers, TARGETS * ANSWERS as u64, "the responder");
    assert_eq!(scanned.results.lines().count() as u64, TARGETS + 1, "each once");
    assert_eq!(scanned.lines().len() as u64, TARGETS, "all of them");
    let number = |name: &str| scanned.number(name);
    let (kept, lost) = (number("/counters/rx_synack"), number("/counters/rx_socket_drops"));
    assert!(kept > answers / 2 && kept + lost <= answers, "{kept} of {answers} answers, {lost} lost");
    assert_eq!(number("/success_total"), kept);
    assert_eq!((number("/success_unique"), number("/output_lost")), (TARGETS, 0));
    let resets = number("/counters/rst_submitted");
    assert!(resets <= TARGETS, "{resets} resets to {TARGETS} probes");
    assert!(scanned.row("resets", "capped") > 0 && scanned.row("results", "repeats") > 0);
    assert_eq!(resets + number("/counters/rst_capped") + number("/counters/rst_no_room"), kept);
}
