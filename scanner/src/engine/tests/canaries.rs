//! Canaries: who gets them, what is counted of their answers, and that they change nothing else.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::engine::canaries::SPACING_SLOTS;

/// What leaves, in the order of the numbers of copies.
type Sent = Arc<Mutex<BTreeMap<(u32, u16), Vec<(u32, Instant)>>>>;

const PORTS: PortRange = PortRange { first: 40_000, count: 1000 };
const KEY: [u8; 16] = [9; 16];

/// The number of the copy that a probe is.
fn number_of(probe: &[u8], all: u32) -> u32 {
    let (ip, tcp) = (packet(probe), segment(probe));
    let cookie = cookie(Key::from_bytes(KEY), ip.source, ip.destination, tcp.destination_port, 6);
    PORTS.probe_number(cookie, tcp.source_port, all).expect("a probe of ours").into()
}

/// A network that answers all first probes, and canaries as `canary` says, given how many there were before.
fn network(copies: u32, sent: &Sent, canary: fn(u64, &[u8]) -> Vec<Vec<u8>>) -> Responder {
    let (sent, canaries) = (Arc::clone(sent), AtomicU64::new(0));
    Arc::new(move |probe: &[u8]| {
        let number = number_of(probe, copies + Copies::CANARIES);
        let target = (packet(probe).destination, segment(probe).destination_port);
        sent.lock().unwrap().entry(target).or_default().push((number, Instant::now()));
        match number < copies {
            true => vec![reply(probe, TCP_SYN | TCP_ACK)],
            false => canary(canaries.fetch_add(1, Ordering::Relaxed), probe),
        }
    })
}

fn setup(workers: usize, copies: u32, responder: Responder) -> Setup {
    Setup { workers, copies, canary_share_ppm: 100_000, rate_pps: 250, responder, ..Setup::default() }
}

/// One canary in five is lost, one refused, one gets an ICMP error, and one is answered twice: the slots and counters
/// have exactly that. Each target is probed once all the same, no answer to a canary is a record, and every SYN-ACK of
/// a canary gets its reset.
#[test]
fn what_becomes_of_canaries_is_counted() {
    for (workers, copies) in [(1, 1), (3, 2)] {
        let sent = Sent::default();
        let responder = network(copies, &sent, |count, probe| match count % 5 {
            0 => vec![],
            1 => vec![reply(probe, TCP_RST)],
            2 => vec![crate::probe::testing::icmp_error(probe, 3, 1, 8)],
            3 => vec![reply(probe, TCP_SYN | TCP_ACK); 2],
            _ => vec![reply(probe, TCP_SYN | TCP_ACK)],
        });
        let mut setup = setup(workers, copies, responder);
        setup.rate_pps *= u64::from(copies);
        let outcome = run(&setup);
        let (total, case) = (&outcome.total, format!("{workers} workers, {copies} copies"));
        assert_eq!((total.targets, total.targets_done()), (512, 512), "{case}");
        let canaries = total.canaries;
        assert!((20..=56 * u64::from(copies)).contains(&canaries), "{case}: {canaries}");
        assert_eq!(total.tx_submitted, 512 * u64::from(copies) + canaries, "{case}");
        assert_eq!(outcome.probes.len() as u64, total.tx_submitted, "{case}");
        let each = |place: u64| (canaries + 4 - place) / 5;
        let (lost, refused, errors, twice) = (each(0), each(1), each(2), each(3));
        assert_eq!((total.rx_canary_refused, total.rx_canary_error), (refused, errors), "{case}");
        assert_eq!((total.rx_canary_answered, total.rx_canary_repeats), (twice + each(4), twice), "{case}");
        assert_eq!(total.rx_canary, canaries - lost + twice, "{case}");
        // A host that repeats its answer gets one reset.
        assert_eq!(
            total.rst_submitted + total.rst_capped,
            total.rx_synack + total.rx_canary_synack,
            "{case}"
        );
        assert!(total.rst_capped <= twice, "{case}: {}", total.rst_capped);
        assert_eq!(outcome.records.len(), 512 * copies as usize, "{case}");
        assert!(outcome.records.iter().all(|record| u32::from(record.probe) < copies), "{case}");
        let slots = outcome.end.canaries.total();
        let told = (slots.sent, slots.answered, slots.refused, slots.errors);
        assert_eq!(told, (canaries, total.rx_canary_answered, refused, errors), "{case}");
        assert_eq!((slots.unanswered(), slots.probes), (lost, total.port.probes_sent), "{case}");
        for ((address, _), probes) in sent.lock().unwrap().iter() {
            let (ordinary, canaries): (Vec<_>, Vec<_>) =
                probes.iter().partition(|(number, _)| *number < copies);
            let numbers: BTreeSet<u32> = canaries.iter().map(|(number, _)| *number).collect();
            assert_eq!(
                (ordinary.len(), numbers.len()),
                (copies as usize, canaries.len()),
                "{case}: {address}"
            );
            let least = super::super::canaries::SLOT * (SPACING_SLOTS as u32 - 1);
            let mut pairs = canaries.windows(2).map(|pair| pair[1].1.duration_since(pair[0].1));
            assert!(pairs.all(|apart| apart >= least), "{case}: {canaries:?}");
        }
    }
}

/// A canary is as likely to be at one place of a batch as at another: in scans with one probe for each target and with
/// several, and between second probes.
#[test]
fn canaries_are_anywhere_in_a_batch() {
    for (copies, second) in [(1, None), (2, None), (1, Some((1.0, Duration::from_millis(1))))] {
        let others = copies + u32::from(second.is_some());
        let (mut tenths, mut in_batches_of_seconds) = ([0; 10], 0);
        for seed in 0..20 {
            let network = network(others, &Sent::default(), |_, probe| vec![reply(probe, TCP_SYN | TCP_ACK)]);
            let outcome =
                run(&Setup { rate_pps: 0, lease_len: 256, seed, second, ..setup(1, copies, network) });
            let all = others + Copies::CANARIES;
            let numbers: Vec<u32> = outcome.probe_frames.iter().map(|frame| number_of(frame, all)).collect();
            let mut rest = &numbers[..];
            for burst in outcome.bursts {
                let batch = rest.split_off(..burst).expect("what has left");
                // In a short one there are too few places to tell tenths apart.
                if batch.len() < 40 {
                    continue;
                }
                let places = (0..batch.len()).filter(|place| batch[*place] >= others);
                places.clone().for_each(|place| tenths[place * 10 / batch.len()] += 1);
                let is_seconds = second.is_some() && batch.contains(&copies);
                in_batches_of_seconds += if is_seconds { places.count() } else { 0 };
            }
            assert!(rest.is_empty());
        }
        let all = tenths.iter().sum::<u32>();
        let case = format!("{copies} copies, {second:?}: {tenths:?}");
        assert!(all > 300, "{case}");
        assert_eq!(in_batches_of_seconds > 300, second.is_some(), "{case}: {in_batches_of_seconds}");
        // Five standard errors of a tenth.
        let mean = f64::from(all) / 10.0;
        let error = 5.0 * (0.9 * mean).sqrt();
        assert!(tenths.iter().all(|tenth| (f64::from(*tenth) - mean).abs() < error), "{case}");
    }
}

/// The pacer counts canaries: all frames together keep the rate.
#[test]
fn canaries_are_paced() {
    let outcome = run(&Setup {
        rate_pps: 1_000,
        ..setup(1, 1, network(1, &Sent::default(), |_, probe| vec![reply(probe, TCP_RST)]))
    });
    let frames = outcome.probes.len() as u32;
    assert!(outcome.total.canaries >= 20);
    assert!(
        outcome.end.send_elapsed >= Duration::from_millis(1) * (frames - 60),
        "{frames} {:?}",
        outcome.end.send_elapsed
    );
}

/// Without numbers for canaries, or with a share of 0, there are none; and hosts that do not answer get none.
#[test]
fn there_are_none() {
    let answers: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_SYN | TCP_ACK)]);
    let control = Control::new(1);
    control.set_canary_share_ppm(100_000);
    let outcome = run_with(&Setup { responder: answers, rate_pps: 4_000, ..Setup::default() }, &control);
    assert_eq!((outcome.total.canaries, outcome.probes.len()), (0, 512));
    let refuses: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_RST)]);
    let outcome = run(&Setup { rate_pps: 2_000, ..setup(1, 1, refuses) });
    assert_eq!((outcome.total.canaries, outcome.probes.len()), (0, 512));
}

/// A host that is excluded while the scan runs gets no canary once that is certain, although it had answered before.
#[test]
fn nothing_goes_to_what_is_excluded() {
    let most = || -> RangeSet { AddressRange::new(0xc612_0740, 0xc612_07ff).into_iter().collect() };
    for workers in [1, 2] {
        let sent = Sent::default();
        let setup = setup(workers, 1, network(1, &sent, |_, probe| vec![reply(probe, TCP_SYN | TCP_ACK)]));
        let (control, exclusions) = (Control::new(workers), Exclusions::new(RangeSet::default(), workers));
        let certain = Mutex::new(None);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(700));
                let generation = exclusions.extend(&most());
                control.restart_pace();
                while !exclusions.is_certain(generation) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                *certain.lock().unwrap() = Some(Instant::now());
            });
            excluding(&setup, &control, &exclusions, |_| {})
        });
        let certain = certain.lock().unwrap().expect("it became certain");
        let total = &outcome.total;
        assert!(total.canaries_excluded_late > 0, "{workers}: {total:?}");
        // The share is of the probes that left; turns whose targets are all excluded owe nothing.
        let owed = (total.tx_submitted - total.canaries) / 10;
        assert!(total.canaries <= owed, "{workers}: {total:?}");
        for ((address, _), probes) in
            sent.lock().unwrap().iter().filter(|((address, _), _)| most().contains(*address))
        {
            assert!(probes.iter().all(|(_, at)| *at <= certain), "{address:x}: {probes:?}");
        }
    }
}
