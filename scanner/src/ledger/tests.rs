//! Whether every count is held by a sum or an equation, and every loss has its line.

use proptest::prelude::*;

use super::*;
use crate::engine::{Counts, RepeatPolicy};
use crate::io::PortCounts;
use crate::results::counts::{Counts as ResultCounts, OutputCounts};

/// The counters of a scan to which everything happened.
#[derive(Clone, Debug)]
struct Eventful {
    counts: Counts,
    results: ResultCounts,
    verdicts: Vec<(&'static str, u64)>,
    repeats: RepeatPolicy,
    end: EndFacts,
}

impl Eventful {
    fn new() -> Self {
        let port = PortCounts {
            probes_sent: 2_070,
            probes_refused: 5,
            probes_lost: 10,
            resets_sent: 77,
            resets_refused: 3,
            resets_lost: 1,
            rx_frames: 170,
            ..PortCounts::default()
        };
        let counts = Counts {
            port,
            targets_generated: 1_000,
            targets: 990,
            targets_unreachable: 6,
            targets_excluded_late: 4,
            targets_again: 10,
            second_generated: 52,
            second_probed: 47,
            second_unreachable: 2,
            second_excluded_late: 3,
            second_again: 3,
            tx_submitted: 2_080,
            rst_submitted: 80,
            rst_capped: 12,
            rst_by_kernel: 3,
            rst_excluded_late: 4,
            rst_no_room: 6,
            rx_synack: 100,
            rx_rst: 40,
            rx_icmp_error: 5,
            rx_echo: 4,
            rx_udp: 6,
            rx_unasked: 2,
            rx_invalid: 1,
            rx_repeats: 20,
            rx_record_drops: 5,
            canaries: 30,
            canaries_excluded_late: 1,
            rx_canary: 12,
            rx_canary_answered: 6,
            rx_canary_refused: 3,
            rx_canary_error: 1,
            rx_canary_repeats: 2,
            rx_canary_synack: 5,
            ..Counts::default()
        };
        let results = ResultCounts {
            total_valid: 130,
            success_total: 90,
            failure_total: 40,
            filtered: 38,
            filtered_repeats: 12,
            past_limit: 10,
            passed: 70,
            written: 65,
            output_lost: 5,
            ..ResultCounts::default()
        };
        let sockets = SocketFacts {
            redirected: 185,
            redirected_before: 180,
            is_known: true,
            received: 168,
            untaken: 1,
            ring_full: 7,
            dropped: 2,
            fill_ring_empty: 4,
        };
        let end = EndFacts {
            unconfirmed: 4,
            outstanding: 6,
            sockets,
            packet_sockets: Some([9, 3]),
            packet_replies: 2,
            canary_slots: Some([30, 10]),
            outputs: Some(vec![OutputFacts {
                place: "r.csv".to_owned(),
                counts: OutputCounts { written: 65, lost: 5 },
            }]),
            ..EndFacts::default()
        };
        let verdicts = vec![("pass_bad_cookie", 12), ("valid_redirected", 187), ("valid_no_socket", 3)];
        Self { counts, results, verdicts, repeats: RepeatPolicy::LeaveOut, end }
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(&Facts { end: Some(self.end.clone()), ..self.facts() })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            counts: &self.counts,
            results: &self.results,
            verdicts: &self.verdicts,
            copies: 2,
            has_resets: true,
            repeats: self.repeats,
            end: None,
        }
    }
}

type Change = fn(&mut Eventful);

/// A change by one of each count that a sum or an equation holds.
const CHANGES: [(&str, Change); 52] = [
    ("targets_generated", |e| e.counts.targets_generated += 1),
    ("targets", |e| e.counts.targets += 1),
    ("targets_unreachable", |e| e.counts.targets_unreachable += 1),
    ("targets_excluded_late", |e| e.counts.targets_excluded_late += 1),
    ("targets_again", |e| e.counts.targets_again += 1),
    ("second_generated", |e| e.counts.second_generated += 1),
    ("second_probed", |e| e.counts.second_probed += 1),
    ("second_unreachable", |e| e.counts.second_unreachable += 1),
    ("second_excluded_late", |e| e.counts.second_excluded_late += 1),
    ("second_again", |e| e.counts.second_again += 1),
    ("tx_submitted", |e| e.counts.tx_submitted += 1),
    ("probes_sent", |e| e.counts.port.probes_sent += 1),
    ("probes_lost", |e| e.counts.port.probes_lost += 1),
    ("unconfirmed", |e| e.end.unconfirmed += 1),
    ("outstanding", |e| e.end.outstanding += 1),
    ("rst_submitted", |e| e.counts.rst_submitted += 1),
    ("rst_capped", |e| e.counts.rst_capped += 1),
    ("rst_by_kernel", |e| e.counts.rst_by_kernel += 1),
    ("rst_excluded_late", |e| e.counts.rst_excluded_late += 1),
    ("rst_no_room", |e| e.counts.rst_no_room += 1),
    ("resets_sent", |e| e.counts.port.resets_sent += 1),
    ("resets_lost", |e| e.counts.port.resets_lost += 1),
    ("rx_frames", |e| e.counts.port.rx_frames += 1),
    ("rx_synack", |e| e.counts.rx_synack += 1),
    ("rx_rst", |e| e.counts.rx_rst += 1),
    ("rx_icmp_error", |e| e.counts.rx_icmp_error += 1),
    ("rx_echo", |e| e.counts.rx_echo += 1),
    ("rx_udp", |e| e.counts.rx_udp += 1),
    ("rx_unasked", |e| e.counts.rx_unasked += 1),
    ("rx_invalid", |e| e.counts.rx_invalid += 1),
    ("rx_repeats", |e| e.counts.rx_repeats += 1),
    ("rx_record_drops", |e| e.counts.rx_record_drops += 1),
    ("canaries", |e| e.counts.canaries += 1),
    ("rx_canary", |e| e.counts.rx_canary += 1),
    ("rx_canary_answered", |e| e.counts.rx_canary_answered += 1),
    ("rx_canary_refused", |e| e.counts.rx_canary_refused += 1),
    ("rx_canary_error", |e| e.counts.rx_canary_error += 1),
    ("rx_canary_repeats", |e| e.counts.rx_canary_repeats += 1),
    ("rx_canary_synack", |e| e.counts.rx_canary_synack += 1),
    ("canary_slots", |e| e.end.canary_slots = Some([30, 11])),
    ("received", |e| e.end.sockets.received += 1),
    ("packet_replies", |e| e.end.packet_replies += 1),
    ("total_valid", |e| e.results.total_valid += 1),
    ("success_total", |e| e.results.success_total += 1),
    ("failure_total", |e| e.results.failure_total += 1),
    ("filtered", |e| e.results.filtered += 1),
    ("filtered_repeats", |e| e.results.filtered_repeats += 1),
    ("past_ports", |e| e.results.past_ports += 1),
    ("past_limit", |e| e.results.past_limit += 1),
    ("passed", |e| e.results.passed += 1),
    ("written", |e| e.results.written += 1),
    ("output_lost", |e| e.results.output_lost += 1),
];

/// A frame, reply or result that one side counts and the other does not is found, wherever it is.
#[test]
fn every_count_is_held() {
    assert_eq!(Eventful::new().ledger().faults(), Vec::<String>::new());
    for (name, change) in CHANGES {
        let mut eventful = Eventful::new();
        change(&mut eventful);
        assert!(!eventful.ledger().faults().is_empty(), "{name} may be wrong without being noticed");
    }
    // More came to the sockets than was redirected to them.
    let mut eventful = Eventful::new();
    eventful.end.sockets.ring_full += 10;
    assert_eq!(eventful.ledger().faults(), ["sockets: the parts make 188, and the whole is 185"]);
}

/// Everything that is a loss has a line that says how many, and what to do.
#[test]
fn every_loss_has_its_line() {
    let ledger = Eventful::new().ledger();
    assert!(ledger.has_losses());
    let trouble = OutputTrouble { why: "r.csv: No space left on device", has_reader_gone: false, lost: 5 };
    let all = ledger.remarks(Some(trouble));
    for account in 0..ledger.accounts.len() {
        for row in 0..ledger.accounts[account].parts.len() {
            let mut without = ledger.clone();
            let part = &mut without.accounts[account].parts[row];
            if part.kind != RowKind::Loss || std::mem::take(&mut part.count) == 0 {
                continue;
            }
            let name = (without.accounts[account].name.clone(), without.accounts[account].parts[row].name);
            let is_output = name.0.starts_with("output-");
            let lost = if is_output { 0 } else { 5 };
            let remarks = without.remarks(Some(OutputTrouble { lost, ..trouble }));
            assert_ne!(remarks, all, "{name:?} has no line");
        }
    }
    for remark in &all {
        assert!(!remark.text.ends_with('.') && !remark.text.contains('\n'), "{remark:?}");
        assert!(remark.text.starts_with(|c: char| c.is_ascii_digit()), "{remark:?}");
    }
    let mut quiet = Eventful::new();
    (quiet.counts, quiet.results, quiet.verdicts) = (Counts::default(), ResultCounts::default(), vec![]);
    quiet.end = EndFacts { outputs: Some(vec![]), ..EndFacts::default() };
    assert_eq!(quiet.ledger().remarks(None), []);
    assert!(!quiet.ledger().has_losses());
}

/// Repeats that would have been results are among the replies that the ring had no room for, and count once.
#[test]
fn lost_repeats_count_once() {
    let mut eventful = Eventful::new();
    eventful.repeats = RepeatPolicy::Lose;
    eventful.counts.rx_record_drops = 25;
    let ledger = eventful.ledger();
    assert_eq!(ledger.faults(), Vec::<String>::new());
    assert_eq!((ledger.count("replies", "ring_full"), ledger.count("replies", "repeats")), (5, 20));
    assert_eq!(handed_over(&eventful.counts, eventful.repeats), 130);
    let lost =
        |remark: &Remark| remark.text.starts_with("25 replies were lost because the output was too slow");
    assert!(ledger.remarks(None).iter().any(lost));
}

/// What the cloud, the driver and the queueing discipline count is told, and how loudly.
#[test]
fn counts_of_the_interface_are_told() {
    let mut eventful = Eventful::new();
    let driver = [("pps_allowance_exceeded", 12), ("rx_queue_0_drops", 3)]
        .map(|(name, count)| (name.to_owned(), count))
        .into();
    let counts = InterfaceCounts {
        interface: "ens5".to_owned(),
        rx_dropped: 2,
        tx_dropped: 10,
        qdisc_drops: 1,
        driver,
        ..InterfaceCounts::default()
    };
    eventful.end.interfaces = vec![counts.clone()];
    let find = |eventful: &Eventful, words: &str| {
        let remarks = eventful.ledger().remarks(None);
        remarks.into_iter().find(|remark| remark.text.contains(words))
    };
    let cloud = find(&eventful, "the cloud's network held").unwrap();
    assert!(cloud.level == Level::Warning && cloud.text.contains("(pps_allowance_exceeded 12)"), "{cloud:?}");
    let driver = find(&eventful, "the driver counted").unwrap();
    assert!(driver.level == Level::Warning && driver.text.contains("(rx_queue_0_drops 3)"), "{driver:?}");
    // Refusals that the scan has been told of are not counted twice: 5 and 3, and 6 and 1 that were lost.
    assert_eq!(find(&eventful, "without reporting it"), None);
    eventful.end.interfaces[0].tx_dropped = 18;
    assert!(find(&eventful, "dropped 3 frames on transmission without").is_some());
    // A few drops among many frames are no news.
    eventful.counts.port.rx_frames = 1_000_000;
    assert_eq!(find(&eventful, "the driver counted").unwrap().level, Level::Info);
    assert_eq!(find(&eventful, "pcap_ifdrop").unwrap().level, Level::Info);
    assert_eq!(find(&eventful, "the cloud's network held").unwrap().level, Level::Warning);
}

/// Short frames are no losses, and are taken out of the sums that have them.
#[test]
fn short_frames_are_no_losses() {
    let mut eventful = Eventful::new();
    let mut told = |errors| {
        let counters =
            [("rx_short_length_errors", 1_983), ("rx_length_errors", 1_983), ("rx_errors", errors)];
        let driver = counters.map(|(name, count)| (name.to_owned(), count)).into();
        eventful.end.interfaces = vec![InterfaceCounts { driver, ..InterfaceCounts::default() }];
        let remarks = eventful.ledger().remarks(None);
        remarks.into_iter().find(|remark| remark.text.contains("the driver counted"))
    };
    assert_eq!(told(1_983), None);
    assert!(told(1_990).unwrap().text.contains("(rx_errors 7)"));
}

/// A worker or a collector that panicked: what is not known does not count as a fault, and the rest is still checked.
#[test]
fn what_is_unknown_is_no_fault() {
    let mut eventful = Eventful::new();
    eventful.end.has_lost_worker = true;
    eventful.end.sockets = SocketFacts { is_known: true, redirected: 173, ..SocketFacts::default() };
    (eventful.end.outstanding, eventful.end.unconfirmed, eventful.counts.port.probes_lost) = (0, 0, 0);
    let ledger = eventful.ledger();
    assert_eq!(ledger.faults(), Vec::<String>::new());
    assert_eq!((ledger.count("probes", "unconfirmed"), ledger.count("reset_frames", "unconfirmed")), (10, 2));
    assert!(ledger.accounts.iter().any(|account| !account.is_exact));
    eventful.counts.targets += 1;
    assert_eq!(eventful.ledger().faults().len(), 2);
    let mut eventful = Eventful::new();
    eventful.end.outputs = None;
    eventful.results = ResultCounts { total_valid: 100, ..ResultCounts::default() };
    let ledger = eventful.ledger();
    assert_eq!((ledger.faults(), ledger.count("replies", "not_taken")), (vec![], 30));
}

/// While a scan runs, what is in no other part is under way.
#[test]
fn the_rest_is_under_way() {
    let mut eventful = Eventful::new();
    eventful.counts.port.probes_sent = 1_500;
    let ledger = Ledger::of(&eventful.facts());
    assert_eq!(ledger.count("probes", "under_way"), 570);
    assert!(ledger.equations.is_empty() && ledger.faults().is_empty());
    assert!(ledger.accounts.iter().all(|account| !account.name.starts_with("output-")));
}

#[test]
fn the_table() {
    let mut eventful = Eventful::new();
    (eventful.counts.targets_unreachable, eventful.counts.second_unreachable) = (0, 0);
    eventful.counts.targets_generated = 4_294_967_296;
    eventful.counts.targets = 4_294_967_292;
    eventful.end.outputs.as_mut().unwrap()[0].place =
        "/a/very/long/path/that/no/terminal/of/80/columns/has/room/for.csv".to_owned();
    eventful.end.interfaces = vec![InterfaceCounts {
        interface: "eth0".to_owned(),
        rx_packets: 1_234,
        tx_packets: 999,
        driver: [("rx_missed_errors".to_owned(), 3)].into(),
        ..InterfaceCounts::default()
    }];
    let table = eventful.ledger().to_string();
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let lines: Vec<&str> = table.lines().collect();
    for line in [
        "targets that the order gave                                    4,294,967,296",
        "  probed                                                       4,294,967,292",
        "  not probed: excluded while the scan ran                                  4",
        "    (probed once more: outage, or rate too high)                          10",
        "  lost: refused for good, or before the driver                             6 !",
        "results for /a/very/long/path/that/no/terminal/of/8...                    70",
        "Beside it, what eth0 counted of all programs",
        "  frames received                                                      1,234",
        "  driver: rx_missed_errors                                                 3",
    ] {
        assert!(lines.contains(&line), "no line '{line}' in\n{table}");
    }
    assert!(!table.contains("no host has the address"), "{table}");
    assert!(table.contains("DOES NOT ADD UP: probes_of_targets: "), "{table}");
    let good = Eventful::new().ledger().to_string();
    assert!(good.ends_with(" sums and equations checked: all hold\n"), "{good}");
}

proptest! {
    /// What is stored can be read again, and two ledgers that add up make one that does.
    #[test]
    fn stored_and_added(targets in 0u64..1 << 40, frames in 0u64..1 << 40, places in 1usize..3) {
        let mut eventful = Eventful::new();
        eventful.counts.targets += targets;
        eventful.counts.targets_generated += targets;
        eventful.counts.tx_submitted += 2 * targets;
        eventful.counts.port.probes_sent += 2 * targets;
        eventful.verdicts.push(("pass_not_ipv4", frames));
        eventful.end.interfaces = vec![InterfaceCounts { rx_packets: frames, ..InterfaceCounts::default() }; places];
        let stored = StoredLedger::from(&eventful.ledger());
        let text = serde_json::to_string(&stored).unwrap();
        prop_assert_eq!(&serde_json::from_str::<StoredLedger>(&text).unwrap(), &stored);
        let mut described = stored.described(&["FILE".to_owned()], RepeatPolicy::LeaveOut);
        prop_assert_eq!(described.count("judged", "pass_not_ipv4"), stored.accounts["judged"].parts["pass_not_ipv4"]);
        described.equations = eventful.ledger().equations;
        prop_assert_eq!(&StoredLedger::from(&described), &stored);
        let mut whole = StoredLedger::default();
        whole.add(stored.clone());
        prop_assert_eq!(&whole, &stored);
        whole.add(StoredLedger::from(&Eventful::new().ledger()));
        prop_assert_eq!(whole.faults(), Vec::<String>::new());
        prop_assert_eq!(whole.accounts.get("targets").unwrap().total, 2_000 + targets);
        whole.accounts[0].total += 1;
        prop_assert_eq!(whole.faults().len(), 1);
    }
}
