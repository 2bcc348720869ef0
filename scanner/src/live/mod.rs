//! The terminal view of a running scan: `--live`, and `xdpmap ctl watch --live`.
//!
//! Both are the same view, and it knows of a scan what the control socket gives. With `--live` the scan is a process of
//! its own, and this one only shows it: whatever ends the scan, even a signal that it cannot handle, the terminal is
//! restored, and nothing about the scan or its sandbox differs. What the scan logs is shown below, and printed when the
//! view has ended.
//!
//! `terminal` is the screen, and what it was before; `view` says what is on it, as a function of what is known; `keys`
//! what a key asks for; `remote` is the control socket; `process` is the scan that was started.

mod keys;
mod process;
mod remote;
mod terminal;
mod view;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::cli::Args;
use crate::control_socket::Request;
use crate::engine::PauseCause;
use crate::exit::Exit;
use keys::{Action, Keys};
use process::Process;
use remote::Remote;
use terminal::Terminal;
use view::View;

pub use process::is_viewed;

/// How long a key is waited for before the view looks at everything else. Shorter: more CPU time. Longer: numbers are
/// older when they are shown.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Signals that end the view of a scan which goes on without it.
const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// There is nothing to show it on.
    #[error(
        "--live: standard error is not a terminal; leave it out, or look at the scan from one (xdpmap ctl watch --live)"
    )]
    NoTerminal,
    /// There is a terminal, but none on which a screen can be drawn.
    #[error(
        "--live: TERM is \"dumb\" or not set, so the terminal may not be able to move its cursor; leave it out, or set \
         TERM to what the terminal is"
    )]
    DumbTerminal,
    /// There is nothing to show.
    #[error("--live shows a scan that runs; leave it out with --plan, --dryrun and --fast-dryrun")]
    NoScan,
    /// Results would be in the way.
    #[error("--live: the results would go to the same terminal; name a file for them (-o results.csv)")]
    Results,
    /// The scan cannot be asked.
    #[error("--live: the view asks the scan through its control socket; leave --control none out")]
    NoSocket,
    /// The terminal, or the process of the scan, cannot be used.
    #[error("--live: {0}")]
    System(#[from] io::Error),
    /// The scan does not answer.
    #[error("{0}")]
    Scan(String),
}

impl LiveError {
    /// The process's exit code.
    pub fn exit_code(&self) -> Exit {
        match self {
            Self::NoScan | Self::NoTerminal | Self::DumbTerminal | Self::Results | Self::NoSocket => {
                Exit::Usage
            }
            Self::System(_) | Self::Scan(_) => Exit::Failed,
        }
    }
}

/// Shows the scan whose control socket is at `path`, until it ends or the user leaves.
///
/// # Errors
/// There is no terminal, or the connection is lost.
pub fn watch(path: &Path) -> Result<(), LiveError> {
    has_terminal()?;
    let mut remote = Remote::open(path).map_err(|error| LiveError::Scan(error.to_string()))?;
    let mut signals = Signals::new(ENDING.iter().chain(&[SIGTSTP]))?;
    let mut screen = Screen { terminal: Terminal::enter()?, view: View::new(false) };
    loop {
        let is_open = screen.refresh(&mut remote)?;
        for signal in signals.pending() {
            if signal == SIGTSTP {
                screen.terminal.suspend()?;
                continue;
            }
            // The terminal is restored before the signal ends this process.
            drop(screen);
            return Ok(emulate_default_handler(signal)?);
        }
        match screen.key()? {
            Some(Action::Leave) => return Ok(()),
            Some(Action::Suspend) => screen.terminal.suspend()?,
            Some(action) => screen.ask(&mut remote, action),
            None => {}
        }
        if !is_open {
            drop(screen.terminal);
            return match screen.view.end_reason() {
                Some(_) => Ok(()),
                None => Err(LiveError::Scan("the scan has gone without saying how it ended".to_owned())),
            };
        }
    }
}

/// Runs the scan of this process's command line as a process of its own, and shows it. Returns its exit code.
///
/// # Errors
/// There is no terminal for it, or the scan cannot be started.
pub fn scan(args: &Args) -> Result<Exit, LiveError> {
    if args.scan.plan || args.scan.dryrun || args.scan.fast_dryrun {
        return Err(LiveError::NoScan);
    }
    let (control, has_output) = (args.logging.control.as_deref(), !args.basic.output_file.is_empty());
    has_terminal()?;
    if !has_output && io::stdout().is_terminal() {
        return Err(LiveError::Results);
    }
    if control == Some(Path::new(OsStr::new("none"))) {
        return Err(LiveError::NoSocket);
    }
    let mut process = Process::start(control)?;
    let shown = show(&mut process);
    // The terminal is what it was before. A view that has failed leaves the scan alone until it ends.
    let code = process.finish()?;
    shown.map(|()| code)
}

/// Shows a scan until its process ends.
fn show(process: &mut Process) -> Result<(), LiveError> {
    let mut screen = Screen { terminal: Terminal::enter()?, view: View::new(true) };
    let mut remote: Option<Remote> = None;
    while !process.has_ended()? {
        let is_to_stop = process.pass_signals_on();
        screen.view.log = process.last_lines(view::LOG_MAX);
        if remote.is_none() && screen.view.end_reason().is_none() {
            // It is there once the scan has opened what it needs.
            remote = process.socket().and_then(|path| Remote::open(path).ok());
        }
        let is_open = match &mut remote {
            Some(remote) => screen.refresh(remote)?,
            None => screen.draw().map(|()| true)?,
        };
        if !is_open {
            remote = None;
        }
        let action = if is_to_stop { Some(Action::Suspend) } else { screen.key()? };
        match (action, &mut remote) {
            (Some(Action::Leave), _) => process.interrupt(),
            (Some(Action::Suspend), _) => {
                process.suspend();
                let shown = screen.terminal.suspend();
                // A scan whose view has failed must not stay stopped.
                process.go_on();
                shown?;
            }
            (Some(action), Some(remote)) => screen.ask(remote, action),
            _ => {}
        }
    }
    Ok(())
}

fn has_terminal() -> Result<(), LiveError> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    match (io::stderr().is_terminal(), is_dumb) {
        (true, false) => Ok(()),
        (true, true) => Err(LiveError::DumbTerminal),
        (false, _) => Err(LiveError::NoTerminal),
    }
}

/// The terminal, and what it shows.
struct Screen {
    terminal: Terminal,
    view: View,
}

impl Screen {
    /// Takes what the scan has sent, and shows it. Returns whether more may come.
    fn refresh(&mut self, remote: &mut Remote) -> Result<bool, LiveError> {
        let news = remote.news();
        let is_open = news.is_open;
        for answer in news.answers {
            self.view.take(answer);
        }
        self.draw()?;
        Ok(is_open)
    }

    fn draw(&mut self) -> Result<(), LiveError> {
        Ok(self.terminal.draw(&self.view)?)
    }

    /// What a key asks for, if one comes within a moment.
    fn key(&mut self) -> Result<Option<Action>, LiveError> {
        Ok(Keys { owns_scan: self.view.owns_scan }.next(LOOK_EVERY)?)
    }

    /// Asks the scan for what a key means.
    fn ask(&mut self, remote: &mut Remote, action: Action) {
        let status = self.view.status();
        let request = match action {
            Action::Pause if status.is_paused_by(PauseCause::Command) => Request::Resume {},
            Action::Pause => Request::Pause {},
            Action::Faster | Action::Slower if status.rate_pps == 0.0 => {
                self.view.notice =
                    "the rate has no limit, so it does not change (xdpmap ctl rate)".to_owned();
                return;
            }
            Action::Faster => Request::Rate { pps: keys::changed(status.rate_pps, true) },
            Action::Slower => Request::Rate { pps: keys::changed(status.rate_pps, false) },
            Action::Stop => Request::Stop {},
            Action::Leave | Action::Suspend => return,
        };
        self.view.notice = match remote.ask(&request) {
            Ok(answer) => {
                let refused = answer.error.clone().unwrap_or_default();
                self.view.take_status(answer);
                refused
            }
            Err(error) => error.to_string(),
        };
    }
}
