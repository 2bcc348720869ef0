//! The progress bar: the status line behind a bar of the work done, redrawn in place on a terminal.
//!
//! There is at most one in a process; what else goes to stderr meanwhile is written beside it, by [`beside_bar`].

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::status::Snapshot;

/// The process's bar.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Steps of a bar: a hundredth of a percent each.
const STEPS: u64 = 10_000;

/// A progress bar on stderr.
#[derive(Clone, Copy, Debug)]
pub struct Progress(&'static ProgressBar);

impl Progress {
    /// Starts the bar; `None` where stderr is no terminal.
    pub fn start() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let bar =
            BAR.get_or_init(|| ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr()));
        // The template is fixed, so it is right.
        let style = ProgressStyle::with_template("[{bar:24}] {wide_msg}").ok()?;
        bar.set_style(style.progress_chars("=> "));
        Some(Self(bar))
    }

    /// Shows how the scan stands.
    pub fn show(self, now: &Snapshot, previous: Option<&Snapshot>) {
        self.0.set_message(now.status_line(previous));
        self.0.set_position((now.work_done() * STEPS as f64) as u64);
    }

    /// Leaves the bar as it is.
    pub fn end(self) {
        self.0.abandon();
    }
}

/// Writes to stderr by `write` with the bar out of the way.
pub fn beside_bar(write: impl FnOnce()) {
    match BAR.get() {
        Some(bar) if !bar.is_finished() => bar.suspend(write),
        _ => write(),
    }
}
