//! The collector of a scan: made from the plan, able to end the scan, and finished after it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tracing::warn;

use super::ending::OnPanic;
use crate::checkpoint::file::Held;
use crate::distribution::Distribution;
use crate::engine::{Control, Counts, EndReason, RepeatPolicy};
use crate::ledger;
use crate::plan::{DedupPlan, Plan};
use crate::printable::printable;
use crate::results::collector::{Barrier, Collected, Collector, CollectorConfig, RTT_MAX_US, StopReason};
use crate::results::counts::Published;
use crate::results::dedup::{Dedup, Earlier, PortLimit, Seen};
use crate::results::output::{OutputError, Patience};
use crate::results::ports::SuccessesByPort;
use crate::results::sink::{Sink, SinkConfig};
use crate::results::twice::{AnsweredTwice, Recheck, Which};
use crate::sandbox::{self, Class};

/// Opens the outputs of a scan. A dry run has none, because its standard output holds only the probes.
///
/// # Errors
/// One of them cannot be opened.
pub(super) fn open(plan: &Plan) -> Result<Vec<Box<dyn Sink>>, OutputError> {
    let sinks: Vec<_> = plan.output.sinks.iter().map(SinkConfig::open).collect::<Result<_, _>>()?;
    Ok(if plan.dryrun { vec![] } else { sinks })
}

/// What the collector shares with the scan.
#[derive(Default)]
pub(super) struct Shared {
    /// Set once no worker hands over any more records.
    pub(super) finished: Arc<AtomicBool>,
    /// Set before that if the scan has done all that it should.
    pub(super) is_whole: Arc<AtomicBool>,
    /// How long outputs wait for their readers.
    pub(super) patience: Arc<Patience>,
    /// Through which the checkpoint learns how far the outputs are.
    pub(super) barrier: Arc<Barrier>,
    /// Successes by port, if the scan probes several.
    pub(super) ports: Option<Arc<SuccessesByPort>>,
    /// What second probes find, if the scan has some.
    pub(super) twice: Option<Arc<AnsweredTwice>>,
}

/// The collector of a scan: it reads from `rings`, writes to `sinks`, and ends the scan through `control`.
///
/// # Errors
/// An output refuses even the header.
pub(super) fn collector(
    plan: &Plan,
    mut sinks: Vec<Box<dyn Sink>>,
    rings: Vec<rtrb::Consumer<u8>>,
    shared: &Shared,
    control: &Arc<Control>,
) -> Result<Collector, OutputError> {
    sinks.iter_mut().for_each(|sink| sink.be_patient(&shared.patience));
    sinks.iter_mut().try_for_each(|sink| sink.begin())?;
    let control = Arc::clone(control);
    let stop = move |reason| {
        control.stop(match reason {
            StopReason::MaxResults => EndReason::MaxResults,
            StopReason::OutputClosed => EndReason::OutputClosed,
            StopReason::OutputFailed => EndReason::OutputFailed,
        });
        if reason != StopReason::MaxResults {
            // Late replies cannot be written any more, even if something else has ended the scan first.
            control.hurry();
        }
    };
    let Repeats { dedup, port_limit, seen, recheck } = repeats(plan, shared.twice.as_ref());
    Ok(Collector::new(CollectorConfig {
        rings,
        filter: plan.output.filter.clone(),
        dedup,
        seen,
        port_limit,
        recheck,
        sinks,
        max_results: plan.limits.max_results,
        rtt_us: plan.probe.module.info().fields.find("rtt_us"),
        finished: Arc::clone(&shared.finished),
        is_whole: Arc::clone(&shared.is_whole),
        barrier: Arc::clone(&shared.barrier),
        ports: shared.ports.clone(),
        stop: Box::new(stop),
    }))
}

/// What tells the answers to second probes, if the scan has some and finds repeats.
fn tells_probes(plan: &Plan, counts: &Arc<AnsweredTwice>) -> Option<Recheck> {
    let (second, output) = (plan.second?, &plan.output);
    let exact = match output.dedup {
        DedupPlan::None => return None,
        // A window would forget who has answered the first probe.
        DedupPlan::Window(_) => DedupPlan::Targets,
        exact => exact,
    };
    let table = || exact.start(output.dedup_memory, output.dedup_window);
    let number = plan.probe.copies.second().first as u8;
    Some(Recheck::new(second.sample, number, [table(), table()], Arc::clone(counts)))
}

/// What knows who has answered.
struct Repeats {
    /// How repeats are found.
    dedup: Dedup,
    /// How the ports of a host are counted.
    port_limit: Option<PortLimit>,
    /// The journal of both, if the scan keeps a checkpoint.
    seen: Option<Seen>,
    /// What tells the answers to second probes.
    recheck: Option<Recheck>,
}

/// What knows who has answered. A scan that goes on knows what the runs before have found.
fn repeats(plan: &Plan, twice: Option<&Arc<AnsweredTwice>>) -> Repeats {
    let mut port_limit = plan.output.port_limit();
    let mut dedup = plan.output.dedup.start(plan.output.dedup_memory, plan.output.dedup_window);
    let mut recheck = twice.and_then(|counts| tells_probes(plan, counts));
    let has_probe = recheck.is_some();
    let Some(checkpoint) = &plan.checkpoint else {
        return Repeats { dedup, port_limit, seen: None, recheck };
    };
    let path = Held::seen(&checkpoint.file);
    let bytes = checkpoint.resumed.as_ref().and_then(|earlier| earlier.seen_bytes);
    let mut found = 0;
    let note = |earlier: &Earlier<'_>| {
        if !earlier.is_repeat {
            found += 1;
            port_limit.iter_mut().for_each(|limit| _ = limit.is_past(earlier.header, false));
        }
        if let Some(recheck) = &mut recheck {
            recheck.note(earlier.header, if earlier.is_second { Which::Second } else { Which::First });
        }
    };
    let resumed = bytes.map(|bytes| Seen::resume(&path, bytes, &mut dedup, has_probe, note));
    let is_first_run = checkpoint.resumed.is_none();
    if let Some(twice) = twice {
        match &resumed {
            Some(Ok(_)) => twice.begin_with(found),
            _ if is_first_run => {}
            _ => twice.forget(),
        }
    }
    let seen = match resumed {
        Some(Ok(seen)) => return Repeats { dedup, port_limit, seen, recheck },
        Some(Err(error)) => {
            let name = printable(&path);
            warn!(target: "checkpoint", "{name}: {error}; hosts that answered in the runs before may be in the results again");
            Seen::create(&path, &dedup, has_probe)
        }
        None => Seen::create(&path, &dedup, has_probe),
    };
    let seen = seen.unwrap_or_else(|error| {
        let path = printable(&path);
        warn!(target: "checkpoint", "cannot write {path}: {error}; after an interruption hosts may be in the results again");
        None
    });
    Repeats { dedup, port_limit, seen, recheck }
}

/// Additional wait for a server: after it has been away for as long as is allowed, it may have just come back. Lower:
/// results for such a server are lost. Higher: the end of the scan takes longer.
const SERVER_MARGIN: Duration = Duration::from_secs(10);

/// How long an output may accept nothing once the scan is over.
pub(super) fn wait_limit(plan: &Plan) -> Duration {
    let servers = plan.output.sinks.iter().filter_map(|sink| sink.redis.as_ref());
    let servers = servers.map(|server| server.wait() + SERVER_MARGIN);
    servers.chain(plan.output.retry).fold(plan.output.wait, Duration::max)
}

/// A running collector.
pub(super) struct Collecting {
    thread: JoinHandle<Collected>,
    results: Arc<Published>,
}

impl Collecting {
    /// Starts it. If the collector panics, the scan ends.
    pub(super) fn start(collector: Collector, control: &Arc<Control>) -> io::Result<Self> {
        let results = collector.published();
        let on_panic = OnPanic::new(control, EndReason::OutputFailed);
        let run = move || {
            let _on_panic = on_panic;
            sandbox::enter(Class::Collector);
            collector.run()
        };
        Ok(Self { thread: Builder::new().name("collector".to_owned()).spawn(run)?, results })
    }

    /// Its published counts.
    pub(super) fn results(&self) -> Arc<Published> {
        Arc::clone(&self.results)
    }

    /// Whether it has finished.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// What the collector reports at its end. If it does not end, or panics, the results that workers have handed over
    /// and that it has not handled are lost.
    pub(super) fn finish(self, workers: &Counts, repeats: RepeatPolicy, name: String) -> Collected {
        let is_stuck = !self.thread.is_finished();
        let error = match is_stuck {
            true => OutputError::Stuck { name },
            false => match self.thread.join() {
                Ok(collected) => return collected,
                Err(_) => OutputError::Panic,
            },
        };
        let mut counts = self.results.read();
        let not_taken = ledger::handed_over(workers, repeats).saturating_sub(counts.total_valid);
        counts.output_lost += counts.output_pending + not_taken;
        counts.written = counts.written.saturating_sub(counts.output_pending);
        counts.output_pending = 0;
        let rtt = Distribution::new(RTT_MAX_US);
        Collected { counts, outputs: vec![], rtt, output: Err(error), reached: None, is_in_place: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;
    use crate::reply::fields::Extractor;
    use crate::reply::record::{self, ReplyKind};
    use crate::reply::testing::{header, synack_frame};
    use crate::results::filter::Filter;

    /// Accepts nine results, and panics at the tenth.
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

    /// A panic of the collector ends the scan, and every reply that a worker has handed over is counted somewhere.
    #[test]
    fn a_panic_ends_the_scan() {
        let (mut records, ring) = rtrb::RingBuffer::new(1 << 16);
        let frame = synack_frame();
        for number in 0..50 {
            let header = header(ReplyKind::SynAck, [198, 18, 0, number].into(), 80, frame.len());
            assert!(record::push(&mut records, &header, &frame));
        }
        let control = Arc::new(Control::new(1));
        let collector = Collector::new(CollectorConfig {
            rings: vec![ring],
            filter: Filter::successes(),
            dedup: Dedup::full(),
            sinks: vec![Box::new(Faulty(0))],
            seen: None,
            port_limit: None,
            recheck: None,
            max_results: None,
            rtt_us: None,
            finished: Arc::default(),
            is_whole: Arc::default(),
            barrier: Arc::default(),
            ports: None,
            stop: Box::new(|_| {}),
        });
        let collecting = Collecting::start(collector, &control).unwrap();
        while !collecting.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(control.stop_reason(), Some(EndReason::OutputFailed));
        assert!(control.is_hurried());
        let workers = Counts { rx_synack: 50, ..Counts::default() };
        let collected = collecting.finish(&workers, RepeatPolicy::LeaveOut, "faulty".to_owned());
        assert!(matches!(collected.output, Err(OutputError::Panic)));
        assert_eq!(collected.counts.total_valid + collected.counts.output_lost, 50);
    }
}
