//! The running outputs of a scan: results and copies of probes. Each has a thread, and is waited for after the scan.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rtrb::{Consumer, Producer, RingBuffer};
use wire::packet::Template;

use super::collecting::{self, Collecting, Shared};
use super::ending::Waiting;
use super::error::SurveyError;
use super::nics::OpenPort;
use super::repeats;
use super::retrying;
use super::tap::{self, Tap, Tapped};
use crate::engine::{Control, Counts};
use crate::plan::Plan;
use crate::reply::record;
use crate::results::collector::{Barrier, Collected};
use crate::results::counts::Published;
use crate::results::output::Output;
use crate::results::ports::SuccessesByPort;
use crate::results::sink::{Sink, SinkConfig};
use crate::results::twice::AnsweredTwice;

/// Outputs that are open and still hold their old contents.
pub(super) struct OpenOutputs {
    pub(super) sinks: Vec<Box<dyn Sink>>,
    /// The file of probes.
    pub(super) probes_file: Option<Output>,
}

/// Running outputs.
pub(super) struct Outputs {
    collecting: Collecting,
    tap: Option<Tap>,
    shared: Shared,
}

/// What the outputs report at their end.
pub(super) struct OutputsEnd {
    pub(super) collected: Collected,
    /// The file of probes, if there was one.
    pub(super) tapped: Option<Tapped>,
}

impl Outputs {
    /// Starts them, and adds to each of `ports` the ring for its worker's records. `template` is that of an interface's
    /// probe.
    ///
    /// # Errors
    /// One of them refuses even the header, or no thread can be started.
    pub(super) fn start<'a>(
        open: OpenOutputs,
        plan: &Plan,
        ports: &mut Vec<OpenPort>,
        template: impl Fn(usize) -> &'a Template,
        control: &Arc<Control>,
        successes: Option<&Arc<SuccessesByPort>>,
        twice: Option<&Arc<AnsweredTwice>>,
    ) -> Result<(Self, Vec<Producer<u8>>), SurveyError> {
        let capacity = record::ring_capacity(ports.len());
        let rings = ports.iter().map(|_| RingBuffer::new(capacity));
        let (records, rings): (Vec<Producer<u8>>, Vec<Consumer<u8>>) = rings.unzip();
        let shared =
            Shared { ports: successes.map(Arc::clone), twice: twice.map(Arc::clone), ..Shared::default() };
        let collector = collecting::collector(plan, open.sinks, rings, &shared, control)?;
        let start_tap = |file| tap::start(file, ports, template, plan.dryrun, &shared.patience);
        let tap = open.probes_file.map(start_tap).transpose()?;
        // From here on: a disk that is full when the scan begins is an error.
        if let Some(limit) = plan.output.retry {
            shared.patience.retry(retrying::pausing(limit, control));
        }
        let collecting = Collecting::start(collector, control)
            .map_err(|source| SurveyError::Setup { what: "starting the collector", source })?;
        Ok((Self { collecting, tap, shared }, records))
    }

    /// Through which the checkpoint learns how far they are.
    pub(super) fn barrier(&self) -> Arc<Barrier> {
        Arc::clone(&self.shared.barrier)
    }

    /// The counts of the collector.
    pub(super) fn results(&self) -> Arc<Published> {
        self.collecting.results()
    }

    /// Waits for the outputs as long as they accept data. The workers have ended by then, and have counted `total`.
    /// `is_whole` says whether the scan has done all that it should.
    pub(super) fn finish(self, plan: &Plan, control: &Control, total: &Counts, is_whole: bool) -> OutputsEnd {
        self.shared.is_whole.store(is_whole, Ordering::Release);
        self.shared.finished.store(true, Ordering::Release);
        self.tap.iter().for_each(Tap::complete);
        let names: Vec<String> = plan.output.sinks.iter().map(SinkConfig::place).collect();
        let names = names.join(", ");
        let results = self.results();
        Waiting {
            control,
            limit: collecting::wait_limit(plan),
            moved: &|| {
                let counts = results.read();
                [self.shared.patience.moves(), counts.total_valid, counts.output_pending]
            },
            is_done: &|| self.collecting.is_finished() && self.tap.as_ref().is_none_or(Tap::is_finished),
            give_up: &|| self.shared.patience.end(),
            names: &names,
        }
        .wait();
        let collected = self.collecting.finish(total, repeats::policy(&plan.output), names);
        OutputsEnd { collected, tapped: self.tap.map(Tap::finish) }
    }
}
