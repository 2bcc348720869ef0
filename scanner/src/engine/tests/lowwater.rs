//! What counts as done, so that a scan that goes on need not probe it.

use super::*;

/// After a scan everything is done. A probe that is refused holds back itself and all that follows it, however many of
/// these have left: nobody knows when it will leave.
#[test]
fn a_refused_probe_and_what_overtakes_it_stay_open() {
    let prepare: [fn(&mut MemoryPort); 2] = [|_| {}, |port| port.refuses = Some(100)];
    for (prepare, reason, sent, open) in
        [(prepare[0], EndReason::Complete, 512, 0..=0), (prepare[1], EndReason::TxStalled, 511, 412..=512)]
    {
        let outcome = run(&Setup { rate_pps: 2_000, prepare, ..Setup::default() });
        assert_eq!((outcome.end.reason, outcome.probes.len()), (reason, sent));
        assert!(open.contains(&outcome.open), "{} targets are open", outcome.open);
    }
}
