//! Frames and records that the kernel and the collector do not accept are counted, and nothing waits for them for ever.

use super::*;

/// Hosts that answer fifty times each, and a collector that accepts nothing: every first answer has room, and dropped
/// replies are counted. If repeats are results, the loss is counted as well.
#[test]
fn repeats_give_way_to_first_answers() {
    let responder: Responder = Arc::new(|probe: &[u8]| match segment(probe).destination_port {
        80 => vec![reply(probe, TCP_SYN | TCP_ACK); 50],
        _ => vec![reply(probe, TCP_RST); 50],
    });
    for (repeats, left_out) in
        [(RepeatPolicy::LeaveOut, true), (RepeatPolicy::Lose, true), (RepeatPolicy::Alike, false)]
    {
        let outcome = run(&Setup {
            responder: Arc::clone(&responder),
            record_ring_len: 128 << 10,
            // All answers must be received, even on a busy machine.
            cooldown: Duration::from_secs(2),
            repeats,
            ..Setup::default()
        });
        let total = &outcome.total;
        assert_eq!((total.rx_synack, total.rx_rst), (256 * 50, 256 * 50));
        let found: BTreeSet<_> =
            outcome.records.iter().map(|record| (record.target, record.target_port)).collect();
        assert_eq!(found.len() == 512, left_out, "{repeats:?}: {} of 512", found.len());
        let drops =
            if repeats == RepeatPolicy::LeaveOut { 0 } else { 512 * 50 - outcome.records.len() as u64 };
        assert_eq!(total.rx_record_drops, drops, "{repeats:?}");
        if left_out {
            assert_eq!(outcome.records.len() as u64 + total.rx_repeats, 512 * 50, "{repeats:?}");
            let successes = outcome.records.iter().filter(|record| record.is_success()).count() as u64;
            assert_eq!(successes + total.rx_repeats_success, 256 * 50, "{repeats:?}");
        }
    }
}

/// While the collector keeps up, nothing is dropped.
#[test]
fn repeats_stay_while_there_is_room() {
    let responder: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_SYN | TCP_ACK); 3]);
    let outcome = run(&Setup { responder, ..Setup::default() });
    assert_eq!((outcome.records.len(), outcome.total.rx_repeats), (3 * 512, 0));
}

/// All hosts answer at once, four times as many as there are frames for resets: each connection is closed, and each
/// answer is a record.
#[test]
fn answers_wait_until_their_resets_find_room() {
    let responder: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_SYN | TCP_ACK)]);
    let setup = Setup { responder, prepare: |port| port.reset_frames = 64, ..Setup::default() };
    let outcome = run(&setup);
    let total = &outcome.total;
    assert_eq!((outcome.probes.len(), outcome.records.len(), outcome.resets), (512, 512, 512), "{total:?}");
    assert_eq!((total.rst_submitted, total.rst_no_room), (512, 0));
}

/// Resets that never leave cost neither probes nor answers: these wait for a moment only.
#[test]
fn resets_that_never_leave_cost_no_answer() {
    let responder: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_SYN | TCP_ACK)]);
    let prepare = |port: &mut MemoryPort| (port.reset_frames, port.keeps_resets) = (64, true);
    let outcome = run(&Setup { responder, prepare, ..Setup::default() });
    let total = &outcome.total;
    assert_eq!((outcome.probes.len(), outcome.records.len(), outcome.resets), (512, 512, 0), "{total:?}");
    assert_eq!((total.rst_submitted, total.rst_no_room), (64, 512 - 64));
}

/// A queue that stops while targets are left ends the scan, with a reason.
#[test]
fn a_queue_that_stops_ends_the_scan() {
    let outcome = run(&Setup { prepare: |port| port.stuck = true, ring_len: 64, ..Setup::default() });
    assert_eq!(outcome.end.reason, EndReason::TxStalled);
    let port = &outcome.total.port;
    assert_eq!((outcome.total.tx_submitted, port.probes_sent, port.probes_lost), (64, 0, 64));
    let left: u64 = outcome.end.left.iter().map(|part| part.end - part.start).sum();
    assert!(left >= 512 - 64, "{left}");
}

/// So does a queue that stops when the last target has been handed over: the targets in it were not probed, and are in
/// doubt.
#[test]
fn a_queue_that_stops_at_the_end_is_told() {
    let outcome = run(&Setup { prepare: |port| port.stuck = true, ..Setup::default() });
    assert_eq!(outcome.end.reason, EndReason::TxStalled);
    let port = &outcome.total.port;
    assert_eq!((outcome.total.tx_submitted, port.probes_sent, port.probes_lost), (512, 0, 512));
    assert_eq!((outcome.end.unconfirmed, outcome.end.left.len()), (512, 0));
    let in_doubt: u64 = outcome.end.in_doubt.iter().map(|part| part.end - part.start).sum();
    assert!(in_doubt >= 512, "{in_doubt}");
}
