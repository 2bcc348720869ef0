//! The progress bar: a bar of the work done followed by the status line, redrawn in place on a terminal.
//!
//! A process has at most one. Anything else that goes to stderr meanwhile is written by [`beside_bar`], which does not
//! damage the bar.

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
    /// Starts the bar; `None` if stderr is not a terminal.
    pub fn start() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let bar =
            BAR.get_or_init(|| ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr()));
        // The template is constant, so this cannot fail.
        let style = ProgressStyle::with_template("[{bar:24}] {wide_msg}").ok()?;
        bar.set_style(style.progress_chars("=> "));
        Some(Self(bar))
    }

    /// Shows the progress of the scan.
    pub fn show(self, now: &Snapshot, previous: Option<&Snapshot>) {
        self.0.set_message(now.status_line(previous));
        self.0.set_position((now.work_done() * STEPS as f64) as u64);
    }

    /// Stops updating and leaves the bar on the screen.
    pub fn end(self) {
        self.0.abandon();
    }
}

/// Calls `write`, which writes to stderr, with the bar hidden.
pub fn beside_bar(write: impl FnOnce()) {
    match BAR.get() {
        Some(bar) if !bar.is_finished() => bar.suspend(write),
        _ => write(),
    }
}
