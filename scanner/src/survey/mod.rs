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
mod finder;
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
use crate::governor::{Governor, Ladder};
use crate::plan::{Plan, Randomness};
use crate::probe::{Probe, Visitor};
pub use error::SurveyError;
use finder::Finder;
use prepare::Opened;
use run::Running;

/// Carries out `plan`. `held` is the checkpoint of a scan that goes on. Returns the process's exit code.
///
/// # Errors
/// What prevented the scan from starting, or what was lost at its end.
pub fn run(plan: &Plan, draw: &Randomness, held: Option<Held>) -> Result<Exit, SurveyError> {
    let resumed = plan.checkpoint.as_ref().and_then(|kept| kept.resumed.as_ref());
    let known_pps = resumed.and_then(|resumed| resumed.knee_pps).map(|pps| pps as f64);
    let limits = &plan.limits;
    let finder = limits.finds_rate.then(|| Finder::Auto(Box::new(Governor::new(limits.rate_pps, known_pps))));
    visit(plan, draw, held, finder).map(|(exit, _)| exit)
}

/// Carries out `plan` for the sake of `ladder`, until that has ended. Returns the process's exit code, and the ladder
/// with what it has found.
///
/// # Errors
/// As [`run`].
pub fn climb(plan: &Plan, draw: &Randomness, ladder: Ladder) -> Result<(Exit, Option<Ladder>), SurveyError> {
    visit(plan, draw, None, Some(Finder::Ladder(Box::new(ladder))))
}

fn visit(
    plan: &Plan,
    draw: &Randomness,
    held: Option<Held>,
    finder: Option<Finder>,
) -> Result<(Exit, Option<Ladder>), SurveyError> {
    struct Run<'a>(&'a Plan, Option<Held>, Option<Finder>);
    impl Visitor for Run<'_> {
        type Output = Result<(Exit, Option<Ladder>), SurveyError>;
        fn visit<P: Probe>(self, probes: &[P]) -> Self::Output {
            carry_out(self.0, self.1, self.2, probes)
        }
    }
    plan.probe.module.visit(&plan.settings(draw), Run(plan, held, finder))
}

fn carry_out(
    plan: &Plan,
    held: Option<Held>,
    finder: Option<Finder>,
    probes: &[impl Probe],
) -> Result<(Exit, Option<Ladder>), SurveyError> {
    countdown::wait(plan);
    let opened = Opened::new(plan, held, probes)?;
    said::announce(plan, probes.iter().any(|probe| probe.reset_template().is_some()));
    let prepared = opened.drop_privileges()?;
    let running = Running::start(prepared, finder)?;
    let mut finished = running.finish();
    said::conclude(&finished);
    metadata::write(&finished)?;
    debug_assert_eq!(finished.ledger.faults(), Vec::<String>::new(), "the ledger does not add up");
    let ladder = finished.rate.governed.as_mut().and_then(|governed| governed.ladder.take());
    Ok((finished.exit_code()?, ladder))
}
