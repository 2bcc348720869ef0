//! What precedes the first packet: everything that a scan needs is opened, and then the privileges are dropped.
//!
//! What always holds: an output or interface that is unavailable is detected here, before any file is changed.

use std::sync::Arc;

use tracing::{debug, warn};

use super::aside::Others;
use super::blocklist::Keeper;
use super::checkpointing::{self, OpenCheckpoint};
use super::collecting;
use super::cpu::CpuClock;
use super::error::SurveyError;
use super::metrics::OpenMetrics;
use super::monitor;
use super::neighbors::{self, Asker};
use super::nics::Nics;
use super::outputs::OpenOutputs;
use super::service::Notifier;
use super::{confine, drop_privileges, tap};
use crate::checkpoint::file::Held;
use crate::control_socket::Listener;
use crate::engine::Gateways;
use crate::io::files;
use crate::plan::{ControlPlace, Plan};
use crate::printable::printable;
use crate::probe::Probe;
use crate::report::metadata_file::MetadataFile;
use crate::report::updates::Updates;
use crate::results::output::OutputError;
use crate::wall_clock::WallClock;

/// Everything that a scan needs, opened with the privileges that this takes.
pub(super) struct Opened<'a, P>(Needs<'a, P>);

/// Everything that a scan needs, with no more privileges than it may need until its end.
pub(super) struct Prepared<'a, P>(Needs<'a, P>, Keeper);

/// What a scan needs.
pub(super) struct Needs<'a, P> {
    pub(super) plan: &'a Plan,
    /// The probes of each interface.
    pub(super) probes: &'a [P],
    pub(super) nics: Nics,
    /// The gateways of each interface.
    pub(super) gateways: Vec<Arc<Gateways>>,
    /// The ARP look-up of each interface for its neighbours.
    pub(super) askers: Vec<Option<Asker<'a>>>,
    pub(super) outputs: OpenOutputs,
    pub(super) updates: Option<Updates>,
    pub(super) metadata_file: Option<MetadataFile>,
    pub(super) checkpoint: Option<OpenCheckpoint<'a>>,
    /// The control socket. Nobody is served before the scan starts.
    pub(super) listener: Option<Listener>,
    /// The connection to the service manager, if it wants reports.
    pub(super) notifier: Option<Notifier>,
    /// The file and the address of the metrics.
    pub(super) metrics: OpenMetrics,
    pub(super) cpu: CpuClock,
    /// What the kernel says of the clock that results are dated by.
    pub(super) clock: Option<WallClock>,
}

impl<'a, P: Probe> Opened<'a, P> {
    /// Opens what `plan` names. `probes` has one per interface, and `held` is the checkpoint of a scan that goes on.
    ///
    /// # Errors
    /// The first thing that is unavailable.
    pub(super) fn new(plan: &'a Plan, held: Option<Held>, probes: &'a [P]) -> Result<Self, SurveyError> {
        check_files(plan)?;
        let metadata_file = plan.output.metadata_file.as_deref().map(MetadataFile::open).transpose();
        let metadata_file = metadata_file.map_err(SurveyError::NoMetadata)?;
        confine::begin(plan, metadata_file.as_ref());
        let checkpoint = checkpointing::open(plan, held)?;
        let others = Others::find(plan)?;
        let is_in_the_way =
            checkpoint.as_ref().is_some_and(OpenCheckpoint::is_in_the_way) || !others.is_empty();
        let sinks = match collecting::open(plan) {
            // A file of the series of the scan that is moved.
            Err(OutputError::Exists { .. }) if is_in_the_way => vec![],
            sinks => sinks?,
        };
        let updates = monitor::open_updates(plan)?;
        let metrics = OpenMetrics::new(&plan.report.metrics)?;
        let listener = listen(plan)?;
        let askers = neighbors::open(plan)?;
        let probes_file = plan.output.probes_file.as_deref().map(tap::open).transpose()?;
        let nics = Nics::open(plan, probes)?;
        // Everything is available. Only now the files of another scan are moved, and this one's made.
        let (checkpoint, sinks) = if is_in_the_way {
            drop(sinks);
            others.make_room()?;
            let checkpoint = checkpoint.map(OpenCheckpoint::make_room).transpose()?;
            (checkpoint, collecting::open(plan)?)
        } else {
            (checkpoint, sinks)
        };
        Ok(Self(Needs {
            plan,
            probes,
            nics,
            gateways: neighbors::gateways(plan),
            askers,
            outputs: OpenOutputs { sinks, probes_file },
            updates,
            metadata_file,
            checkpoint,
            listener,
            notifier: Notifier::of_environment().filter(|_| !plan.dryrun),
            metrics,
            cpu: CpuClock::open(),
            clock: WallClock::read().ok(),
        }))
    }

    /// Drops the privileges that the scan does not need, and all files that it has no use for, for this thread and the
    /// threads that it starts.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn drop_privileges(self) -> Result<Prepared<'a, P>, SurveyError> {
        let Needs { plan, nics, metadata_file, listener, .. } = &self.0;
        let socket = listener.as_ref().map(Listener::path);
        drop_privileges::keep_needed(plan, nics, metadata_file.as_ref(), socket)
            .map_err(|source| SurveyError::Setup { what: "giving privileges up", source })?;
        // Before the restriction of this thread: it has one of its own.
        let keeper = Keeper::start(plan)
            .map_err(|source| SurveyError::Setup { what: "starting the block list's thread", source })?;
        confine::restrict(plan, socket);
        Ok(Prepared(self.0, keeper))
    }
}

impl<'a, P> Prepared<'a, P> {
    pub(super) fn into_needs(self) -> (Needs<'a, P>, Keeper) {
        (self.0, self.1)
    }
}

/// Makes the control socket. A scan goes on without one if nobody has asked for it.
fn listen(plan: &Plan) -> Result<Option<Listener>, SurveyError> {
    let listener = match &plan.report.control {
        ControlPlace::None => None,
        ControlPlace::Named(path) => {
            let failed = |error| SurveyError::Refused { flag: "--control", what: format!("{error}") };
            Some(Listener::at(path).map_err(failed)?)
        }
        ControlPlace::Default => Listener::in_runtime_folder().unwrap_or_else(|error| {
            warn!(target: "control", "{error}; the scan has no control socket (--control names another, or none)");
            None
        }),
    };
    if let Some(listener) = &listener {
        debug!(target: "control", "control socket: {}", printable(listener.path()));
    }
    Ok(listener)
}

/// Checks that the process may open as many files as the scan needs.
fn check_files(plan: &Plan) -> Result<(), SurveyError> {
    let queues = plan.networks().map(|network| network.queues.len()).sum::<usize>()
        + plan.replies.as_ref().map_or(0, |replies| replies.device.rx_queues as usize);
    match files::short_of(queues) {
        Some(needed) if !plan.dryrun => Err(SurveyError::Files { queues, needed }),
        _ => Ok(()),
    }
}
