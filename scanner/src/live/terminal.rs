//! The terminal: the view's own screen on it, and what it was before.
//!
//! What always holds: when a [`Terminal`] is dropped, also by a panic, the terminal has its modes, its cursor and its
//! old screen again.

use std::io::{self, Stderr, Write as _};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::SIGTSTP;
use signal_hook::low_level::emulate_default_handler;

use super::view::View;

/// A terminal that shows a view.
pub(super) struct Terminal(ratatui::Terminal<CrosstermBackend<Stderr>>);

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn enter() -> io::Result<Self> {
        take_over().inspect_err(|_| restore())?;
        let terminal =
            ratatui::Terminal::new(CrosstermBackend::new(io::stderr())).inspect_err(|_| restore())?;
        Ok(Self(terminal))
    }

    /// Shows the view as it is now, in the size that the terminal has now.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, view: &View) -> io::Result<()> {
        self.0.draw(|frame| view.draw(frame)).map(|_| ())
    }

    /// Stops this process as Ctrl-Z does, with the terminal as it was before, and goes on when it is continued.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        restore();
        emulate_default_handler(SIGTSTP)?;
        take_over()?;
        // A new terminal draws all of the view; to clear the old one would ask where the cursor is, and not every
        // terminal answers.
        self.0 = ratatui::Terminal::new(CrosstermBackend::new(io::stderr()))?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// The screen is empty then, also on a terminal that has only one.
fn take_over() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stderr(), EnterAlternateScreen, Clear(ClearType::All))
}

/// What cannot be restored has no terminal any more.
fn restore() {
    let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stderr().flush();
}
