//! From a plan to its collector, and from the collector's wishes to the scan.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::{Control, EndReason};
use crate::plan::Plan;
use crate::results::collector::{Collector, CollectorConfig, StopReason};
use crate::results::output::{Output, OutputError};

/// The collector of a scan: it takes from `rings`, writes to `output`, and ends the scan through `control`.
pub(super) fn collector(
    plan: &Plan,
    output: Output,
    rings: Vec<rtrb::Consumer<u8>>,
    finished: &Arc<AtomicBool>,
    control: &Arc<Control>,
) -> Result<Collector, OutputError> {
    let control = Arc::clone(control);
    let stop = move |reason| {
        control.stop(match reason {
            StopReason::MaxResults => EndReason::MaxResults,
            StopReason::OutputClosed => EndReason::OutputClosed,
            StopReason::OutputFailed => EndReason::OutputFailed,
        });
        if reason != StopReason::MaxResults {
            // Late replies have nowhere to go, even if something else has ended the scan first.
            control.hurry();
        }
    };
    Collector::new(CollectorConfig {
        rings,
        fields: plan.output.fields.clone(),
        format: plan.output.format,
        // A dry run's standard output holds nothing but probes.
        header_row: plan.output.header_row && !plan.dryrun,
        filter: plan.output.filter,
        dedup: plan.output.dedup.start(),
        output,
        max_results: plan.limits.max_results,
        finished: Arc::clone(finished),
        stop: Box::new(stop),
    })
}
