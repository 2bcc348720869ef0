//! Carries out a plan: opens what it names, starts the threads, and writes down the outcome.
//!
//! What always holds: an output or interface that is unavailable is detected before the first packet, and then no file
//! has been changed. Once the first packet has left, the metadata is written, however the scan ends.

mod absence;
mod accounting;
mod aside;
mod blocklist;
mod board;
mod checkpointing;
mod collecting;
mod commands;
mod confine;
mod countdown;
mod cpu;
mod drop_privileges;
mod ending;
mod error;
mod evidence;
mod finished;
mod gateways;
mod governing;
mod metadata;
mod metrics;
mod monitor;
mod neighbors;
mod nics;
mod outputs;
mod peer;
mod prepare;
mod repeats;
mod retrying;
mod run;
mod said;
mod service;
mod signals;
mod tap;
mod watch;

use crate::checkpoint::file::Held;
use crate::exit::Exit;
use crate::plan::{Plan, Randomness};
use crate::probe::{Probe, Visitor};
pub use error::SurveyError;
use prepare::Opened;
use run::Running;

/// Carries out `plan`. `held` is the checkpoint of a scan that goes on. Returns the process's exit code.
///
/// # Errors
/// What prevented the scan from starting, or what was lost at its end.
pub fn run(plan: &Plan, draw: &Randomness, held: Option<Held>) -> Result<Exit, SurveyError> {
    struct Run<'a>(&'a Plan, Option<Held>);
    impl Visitor for Run<'_> {
        type Output = Result<Exit, SurveyError>;
        fn visit<P: Probe>(self, probes: &[P]) -> Self::Output {
            carry_out(self.0, self.1, probes)
        }
    }
    plan.probe.module.visit(&plan.settings(draw), Run(plan, held))
}

fn carry_out(plan: &Plan, held: Option<Held>, probes: &[impl Probe]) -> Result<Exit, SurveyError> {
    countdown::wait(plan);
    let opened = Opened::new(plan, held, probes)?;
    said::announce(plan, probes.iter().any(|probe| probe.reset_template().is_some()));
    let prepared = opened.drop_privileges()?;
    let running = Running::start(prepared)?;
    let finished = running.finish();
    said::conclude(&finished);
    metadata::write(&finished)?;
    debug_assert_eq!(finished.ledger.faults(), Vec::<String>::new(), "the ledger does not add up");
    finished.exit_code()
}
