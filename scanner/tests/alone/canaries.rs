//! Canaries meet what ordinary probes meet, also on a path that drops some places of a batch more often than others.

use std::time::Duration;

use lab::{Lab, have_root};
use support::Scans as _;

use crate::policer::{KNEE_PPS, counted, police_bursts};

/// Through a policer that lets five frames pass at once, while eight and more leave at once: it drops the last ones of
/// each batch. The loss of canaries is that of ordinary probes, which the policer has counted, within four standard
/// errors and a point, where it was 27 points more when canaries were the last of a batch: in scans with one probe
/// for each target and with two, at once and some time later.
#[test]
fn canaries_are_lost_as_often_as_ordinary_probes() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    // Four intervals between frames and a thirtieth of one, so that no rounding decides.
    let burst = Duration::from_nanos(4 * 1_000_000_000 / KNEE_PPS + 2_000);
    for probes in ["-P 1 -n 60000", "-P 2 -n 30000", "--recheck 100% --probe-gap 1 -n 30000"] {
        let path = police_bursts(&lab, burst);
        let options = format!("-p 80-83 -r 20000 -c 1 --canaries 10% --no-rst {probes}");
        let scanned = lab.survey(&format!("{options} --io-mode copy -f saddr 198.18.128.0/17"));
        let [passed, dropped] = counted(&path);
        drop(path);
        let canaries = &scanned.metadata["canaries"];
        let case = format!("{probes}: {}, {passed} passed, {dropped} dropped", canaries["loss"]);
        let [sent, unanswered] =
            ["sent", "unanswered"].map(|key| scanned.number(&format!("/canaries/{key}")));
        let probes = scanned.number("/packets_sent") - sent;
        assert_eq!(passed + dropped, probes + sent, "{case}: all frames came to the policer");
        assert!(sent > 1_000, "{case}: {sent} canaries");
        // What this side has lost of their answers was no loss of probes.
        assert!(canaries["loss"]["own_percent"].as_f64().unwrap() < 0.5, "{case}");
        let truth = (dropped - unanswered) as f64 / probes as f64;
        let measured = unanswered as f64 / sent as f64;
        assert!(truth > 0.1, "{case}: the path is too fast");
        // The first probes have no canaries beside them, and the loss changes with the length of batches: when second
        // probes begin, and where the machine is busy.
        let error = 4.0 * (truth * (1.0 - truth) / sent as f64).sqrt() + 0.01;
        assert!(
            (measured - truth).abs() < error,
            "{case}: canaries {measured:.4} +- {error:.4}, others {truth:.4}"
        );
    }
}
