//! From a plan to its collector, from the collector's wishes to the scan, and the collector's end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::ending::OnPanic;
use crate::engine::{Control, Counts, EndReason};
use crate::plan::Plan;
use crate::results::collector::{Collected, Collector, CollectorConfig, StopReason};
use crate::results::counts::Published;
use crate::results::output::{OutputError, Patience};
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
    patience: &Arc<Patience>,
) -> Result<Collector, OutputError> {
    sinks.iter_mut().for_each(|sink| sink.be_patient(patience));
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
        dedup: plan.output.dedup.start(plan.output.dedup_memory, plan.output.dedup_window),
        sinks,
        max_results: plan.limits.max_results,
        finished: Arc::clone(finished),
        stop: Box::new(stop),
    }))
}

/// A server that went away has its own time, and may have just come back after it.
const SERVER_MARGIN: Duration = Duration::from_secs(10);

/// How long an output may take nothing once the scan is over.
pub(super) fn wait_limit(plan: &Plan) -> Duration {
    let servers = plan.output.sinks.iter().filter_map(|sink| sink.redis.as_ref());
    let longest = servers.map(|server| server.wait() + SERVER_MARGIN).max();
    plan.output.wait.max(longest.unwrap_or_default())
}

/// A collector at work.
pub(super) struct Collecting {
    thread: JoinHandle<Collected>,
    results: Arc<Published>,
}

impl Collecting {
    /// Starts it. If it ends by a panic, so does the scan.
    pub(super) fn start(collector: Collector, control: &Arc<Control>) -> io::Result<Self> {
        let results = collector.published();
        let on_panic = OnPanic::new(control, EndReason::OutputFailed);
        let run = move || {
            let _on_panic = on_panic;
            collector.run()
        };
        Ok(Self { thread: Builder::new().name("collector".to_owned()).spawn(run)?, results })
    }

    /// Its counts.
    pub(super) fn results(&self) -> Arc<Published> {
        Arc::clone(&self.results)
    }

    /// Whether it has come to its end.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// What it has come to. If it has not, or by a panic, what workers handed over and it has not dealt with is lost.
    pub(super) fn finish(self, workers: &Counts, name: String) -> Collected {
        let is_stuck = !self.thread.is_finished();
        let error = match is_stuck {
            true => OutputError::Stuck { name },
            false => match self.thread.join() {
                Ok(collected) => return collected,
                Err(_) => OutputError::Panic,
            },
        };
        let mut counts = self.results.read();
        let handed_over = workers.replies().saturating_sub(workers.rx_record_drops);
        counts.output_lost += counts.output_pending + handed_over.saturating_sub(counts.total_valid);
        counts.written = counts.written.saturating_sub(counts.output_pending);
        counts.output_pending = 0;
        Collected { counts, output: Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::dedup::Dedup;
    use crate::results::fields::Extractor;
    use crate::results::filter::Filter;
    use crate::results::record::{self, Kind};
    use crate::results::reply::Reply;
    use crate::results::testing::{header, synack_frame};

    /// Takes nine results, and comes to a fault at the tenth.
    struct Faulty(u64);

    impl Sink for Faulty {
        fn name(&self) -> &str {
            "faulty"
        }

        fn begin(&mut self) -> Result<(), OutputError> {
            Ok(())
        }

        fn write(&mut self, _: &Reply<'_>, _: &mut Extractor) -> Result<(), OutputError> {
            self.0 += 1;
            assert!(self.0 < 10, "a fault");
            Ok(())
        }

        fn flush(&mut self) -> Result<(), OutputError> {
            Ok(())
        }

        fn finish(&mut self) -> Result<(), OutputError> {
            Ok(())
        }

        fn pending(&self) -> u64 {
            0
        }
    }

    /// A panic of the collector ends the scan, and every reply that a worker has handed over is in a book.
    #[test]
    fn a_panic_ends_the_scan() {
        let (mut records, ring) = rtrb::RingBuffer::new(1 << 16);
        let frame = synack_frame();
        for number in 0..50 {
            let header = header(Kind::SynAck, [198, 18, 0, number].into(), 80, frame.len());
            assert!(record::push(&mut records, &header, &frame));
        }
        let control = Arc::new(Control::new(1));
        let collector = Collector::new(CollectorConfig {
            rings: vec![ring],
            filter: Filter::successes(),
            dedup: Dedup::full(),
            sinks: vec![Box::new(Faulty(0))],
            max_results: None,
            finished: Arc::default(),
            stop: Box::new(|_| {}),
        });
        let collecting = Collecting::start(collector, &control).unwrap();
        while !collecting.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(control.stop_reason(), Some(EndReason::OutputFailed));
        assert!(control.is_hurried());
        let workers = Counts { rx_synack: 50, ..Counts::default() };
        let collected = collecting.finish(&workers, "faulty".to_owned());
        assert!(matches!(collected.output, Err(OutputError::Panic)));
        assert_eq!(collected.counts.total_valid + collected.counts.output_lost, 50);
    }
}
