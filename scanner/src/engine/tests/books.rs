//! What the kernel and the collector do not take: it is in the books, and nothing waits for it for ever.

use super::*;

/// Hosts that answer fifty times each, and a collector that takes nothing: every first answer has room, and what was left out
/// is in the books. Where repeats are results, so is the loss.
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
            // All answers are to be received, on a busy machine as well.
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

/// While the collector keeps up nothing is left out.
#[test]
fn repeats_stay_while_there_is_room() {
    let responder: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_SYN | TCP_ACK); 3]);
    let outcome = run(&Setup { responder, ..Setup::default() });
    assert_eq!((outcome.records.len(), outcome.total.rx_repeats), (3 * 512, 0));
}

/// A queue that stands still while there are targets left ends the scan, with a reason.
#[test]
fn a_queue_that_stops_ends_the_scan() {
    let outcome = run(&Setup { prepare: |port| port.stuck = true, ring_len: 64, ..Setup::default() });
    assert_eq!(outcome.end.reason, EndReason::TxStalled);
    assert_eq!((outcome.total.tx_submitted, outcome.total.tx_sent), (64, 0));
    let left: u64 = outcome.end.left.iter().map(|part| part.end - part.start).sum();
    assert!(left >= 512 - 64, "{left}");
}
