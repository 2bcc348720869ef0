//! From a plan to its collector, and from the collector's wishes to the scan.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::{Control, EndReason};
use crate::plan::Plan;
use crate::results::collector::{Collector, CollectorConfig, StopReason};
use crate::results::output::OutputError;
use crate::results::sink::{Sink, SinkConfig};

/// Opens the outputs of a scan; a dry run has none, for its standard output holds nothing but probes.
///
/// # Errors
/// One of them is not to be had.
pub(super) fn open(plan: &Plan) -> Result<Vec<Box<dyn Sink>>, OutputError> {
    let sinks: Vec<_> = plan.output.sinks.iter().map(SinkConfig::open).collect::<Result<_, _>>()?;
    Ok(if plan.dryrun { vec![] } else { sinks })
}

/// The collector of a scan: it takes from `rings`, writes to `sinks`, and ends the scan through `control`.
///
/// # Errors
/// An output takes not even its beginning.
pub(super) fn collector(
    plan: &Plan,
    mut sinks: Vec<Box<dyn Sink>>,
    rings: Vec<rtrb::Consumer<u8>>,
    finished: &Arc<AtomicBool>,
    control: &Arc<Control>,
) -> Result<Collector, OutputError> {
    sinks.iter_mut().try_for_each(|sink| sink.begin())?;
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
    Ok(Collector::new(CollectorConfig {
        rings,
        filter: plan.output.filter.clone(),
        dedup: plan.output.dedup.start(),
        sinks,
        max_results: plan.limits.max_results,
        finished: Arc::clone(finished),
        stop: Box::new(stop),
    }))
}
