//! The outcome of a scan, from which its summary and its metadata are made.

use std::sync::Arc;

use jiff::Timestamp;
use signal_hook::iterator::Handle;
use targets::RangeSet;

use super::blocklist::Keeper;
use super::commands::Commands;
use super::cpu::CpuTime;
use super::error::SurveyError;
use super::governing::Governed;
use super::metrics::Metrics;
use super::neighbors::Neighbors;
use super::nics::ClosedNics;
use super::outputs::OutputsEnd;
use super::service::Service;
use super::watch::Outage;
use crate::engine::ScanEnd;
use crate::estimate::Estimates;
use crate::exit::Exit;
use crate::ledger::Ledger;
use crate::nic::InterfaceCounts;
use crate::plan::Plan;
use crate::report::metadata_file::MetadataFile;
use crate::results::output::OutputError;
use crate::wall_clock::WallClock;

/// The rate of a scan at its end.
#[derive(Clone, Debug)]
pub(super) struct RateEnd {
    /// Probes per second; 0: not limited.
    pub(super) pps: f64,
    /// How often it was changed.
    pub(super) changes: u64,
    /// How it was found, if it was.
    pub(super) governed: Option<Governed>,
}

/// A scan that has ended: the interfaces are released, and the outputs hold the results that they accepted.
pub(super) struct Finished<'a> {
    pub(super) plan: &'a Plan,
    pub(super) signals: Handle,
    pub(super) rate: RateEnd,
    /// Who keeps the block list, and has made these changes.
    pub(super) keeper: Keeper,
    /// What the block list has gained since the scan first started.
    pub(super) excluded: Arc<RangeSet>,
    /// The service of the control socket, which goes on until the metadata is written.
    pub(super) commands: Option<Commands>,
    /// The reports to the service manager.
    pub(super) service: Option<Service>,
    /// What hands the metrics out, which goes on until the last ones are fetched.
    pub(super) metrics: Metrics,
    pub(super) metadata_file: Option<MetadataFile>,
    pub(super) started: Timestamp,
    pub(super) end: ScanEnd,
    pub(super) nics: ClosedNics,
    pub(super) outages: Vec<Outage>,
    /// What became of every target, probe, frame and reply.
    pub(super) ledger: Ledger,
    /// What is estimated of what was not seen.
    pub(super) estimates: Option<Estimates>,
    /// CPU time from the first probe to the last late reply.
    pub(super) cpu: CpuTime,
    /// The clock, before the first probe.
    pub(super) clock: Option<WallClock>,
    /// Which hosts are on the own link of each interface, if that was looked up.
    pub(super) neighbors: Vec<Option<Neighbors>>,
    pub(super) outputs: OutputsEnd,
    pub(super) exit_code: Exit,
}

impl Finished<'_> {
    /// The share of the frames for the scan that the interface or our sockets dropped, from 0 to 1.
    pub(super) fn lost_here(&self) -> f64 {
        let total = self.end.total();
        let at_the_interface =
            self.ledger.interfaces.iter().map(InterfaceCounts::dropped_incoming).sum::<u64>();
        let lost = at_the_interface + total.rx_socket_drops;
        if lost == 0 { 0.0 } else { lost as f64 / (lost + total.port.rx_frames) as f64 }
    }

    /// The process's exit code, once summary and metadata are written. Signals have no effect any more.
    ///
    /// # Errors
    /// The results that an output has lost.
    pub(super) fn exit_code(self) -> Result<Exit, SurveyError> {
        self.metrics.finish();
        self.signals.close();
        drop((self.commands, self.service, self.keeper));
        match (self.outputs.collected.output, self.outputs.tapped.and_then(|tapped| tapped.failure)) {
            (Ok(()) | Err(OutputError::BrokenPipe { .. }), None) => Ok(self.exit_code),
            (Ok(()) | Err(OutputError::BrokenPipe { .. }), Some(source)) => {
                Err(SurveyError::Setup { what: "--probes-file: writing the probes", source })
            }
            (Err(error), _) => Err(error.into()),
        }
    }
}
