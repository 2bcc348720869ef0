//! Signals. SIGUSR1 raises the rate by 5 %, and SIGUSR2 lowers it. Ctrl-C, Ctrl-\\, SIGTERM and SIGHUP (a closed
//! terminal) end the scan. The first ends sending and starts the cooldown, the second skips the rest of the cooldown
//! and all other waits, and the third has the system's default effect. SIGXCPU, which the kernel sends every second
//! once a limit on CPU time is exceeded, ends the scan at once, but in order.
//!
//! A process that began without a terminal reads its block list again on SIGHUP, as daemons do.
//!
//! SIGTSTP (Ctrl-Z) pauses the sending, waits until no frame is under way, and then stops the process as SIGSTOP does.
//! SIGCONT continues it, and the scan goes on at its rate. A SIGSTOP gives no warning; what was due meanwhile is not
//! caught up either.
//!
//! What always holds: a signal that was ignored when the process began stays ignored (`nohup`, `trap '' INT`), because
//! the user has set that. A file that exceeds the file size limit (SIGXFSZ) is a write error, like a full disk.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{
    SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use tracing::{info, warn};

use super::blocklist::{Change, Desk};
use crate::engine::{Control, EndReason, Pacer, PauseCause, Phase, RATE_MAX_PPS, RATE_MIN_PPS};
use crate::privileges;
use crate::sandbox::{self, Class};

/// The signals that are handled.
const WATCHED: [i32; 9] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT];
/// How long to wait for the last frames before the process stops. Lower: frames of a slow queue stay under way. Higher:
/// Ctrl-Z takes longer where a queue stands still.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Handles signals until the handle is closed.
pub(super) fn watch(control: Arc<Control>, pacer: Arc<Pacer>, desk: Desk) -> io::Result<Handle> {
    // A write that exceeds the limit then fails with EFBIG.
    signal_hook::flag::register(SIGXFSZ, Arc::<AtomicBool>::default())?;
    let ignored = ignored();
    // As of now: a terminal that is closed later is no longer this process's when its signal comes.
    let reloads = !has_terminal(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
    let mut signals = Signals::new(WATCHED.iter().filter(|&&signal| !is_in(ignored, signal)))?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        sandbox::enter(Class::Monitor);
        let mut interrupts = 0;
        for signal in signals.forever() {
            match signal {
                SIGUSR1 | SIGUSR2 => change_rate(&control, &pacer, signal == SIGUSR1),
                // What becomes of it is in the log.
                SIGHUP if reloads => drop(desk.ask(Change::Reload, "SIGHUP".to_owned())),
                SIGTSTP => suspend(&control),
                // After a SIGSTOP of less than a second the pacer would still catch up.
                SIGCONT => control.restart_pace(),
                SIGXCPU => {
                    control.stop(EndReason::Interrupted);
                    control.hurry();
                }
                _ => {
                    interrupt(&control, signal, interrupts);
                    interrupts += 1;
                }
            }
        }
    })?;
    Ok(handle)
}

/// The signals that this process ignores, one bit each.
fn ignored() -> u64 {
    let mask = privileges::status("SigIgn");
    mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0)
}

/// Whether a process has a controlling terminal, by its status line (`proc_pid_stat(5)`). If that is unknown, it counts
/// as having one: then SIGHUP ends the scan, as it ends most programs.
fn has_terminal(stat: &str) -> bool {
    // The name of the program, in parentheses, may hold anything.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // State, parent, group, session, terminal.
    behind_name.split_whitespace().nth(4) != Some("0")
}

fn is_in(mask: u64, signal: i32) -> bool {
    mask >> (signal - 1) & 1 == 1
}

fn interrupt(control: &Control, signal: i32, before: u32) {
    match before {
        0 => {
            match control.phase() {
                Phase::Sending | Phase::Cooldown => warn!(
                    target: "signal",
                    "interrupted: no more probes; waiting for late replies (again to skip)"
                ),
                Phase::Done => {
                    warn!(target: "signal", "interrupted: no longer waiting for the outputs");
                }
            }
            control.stop(EndReason::Interrupted);
        }
        1 => {
            control.stop(EndReason::Interrupted);
            control.hurry();
        }
        _ => {
            // If even that fails, nothing more can be done.
            let _ = emulate_default_handler(signal);
        }
    }
}

/// Stops the process, once sending has paused. Returns when it has been continued.
fn suspend(control: &Control) {
    if control.phase() == Phase::Sending && !control.is_stopping() {
        control.pause(PauseCause::Suspension);
        let since = Instant::now();
        while !control.is_quiet() && since.elapsed() < QUIET_MAX {
            thread::sleep(Duration::from_millis(1));
        }
        warn!(target: "signal", "suspended: nothing is sent, and replies are not read, until it is continued");
    }
    // As by the default handler: the process stops within this call.
    if let Err(error) = emulate_default_handler(SIGTSTP) {
        warn!(target: "signal", "cannot stop: {error}");
    }
    if control.is_paused_by(PauseCause::Suspension) {
        control.unpause(PauseCause::Suspension);
        match control.pauses().next() {
            None => info!(target: "signal", "continued"),
            Some(PauseCause::Output) => {
                info!(target: "signal", "continued; sending is still paused, because an output cannot be written");
            }
            Some(_) => info!(target: "signal", "continued; sending is still paused by a command"),
        }
    }
}

fn change_rate(control: &Control, pacer: &Pacer, up: bool) {
    let old_pps = pacer.rate_pps();
    if old_pps == 0.0 {
        info!(target: "signal", "the rate is not limited, so it does not change");
        return;
    }
    let new_pps = changed(old_pps, up);
    pacer.set_rate_pps(new_pps);
    control.restart_pace();
    info!(target: "signal", "rate changed from {old_pps} to {new_pps} probes/s");
}

/// 5 % more or less, with at least three digits, and one that the pacer can keep; never 0, which would mean no limit.
fn changed(rate_pps: f64, up: bool) -> f64 {
    let new_pps = if up { rate_pps * 1.05 } else { rate_pps * 0.95 };
    // Whole numbers from 100 on, two more digits for each power of a hundred below.
    let digits = [(100.0, 1.0), (1.0, 100.0), (0.01, 1e4)].into_iter().find(|(from, _)| new_pps >= *from);
    let parts = digits.map_or(1e6, |(_, parts)| parts);
    ((new_pps * parts).round() / parts).clamp(RATE_MIN_PPS, RATE_MAX_PPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_moves_by_a_twentieth() {
        for (rate, up, down) in [
            (1e4, 1.05e4, 9.5e3),
            (111.0, 117.0, 105.0),
            (7.0, 7.35, 6.65),
            (0.5, 0.525, 0.475),
            (0.02, 0.021, 0.019),
        ] {
            assert_eq!((changed(rate, true), changed(rate, false)), (up, down));
        }
        assert_eq!(changed(RATE_MAX_PPS, true), RATE_MAX_PPS);
        assert_eq!(changed(RATE_MIN_PPS, false), RATE_MIN_PPS);
        // It never stays the same in either direction.
        let mut rate = RATE_MIN_PPS;
        while rate < RATE_MAX_PPS {
            let more = changed(rate, true);
            assert!(more > rate && changed(more, false) < more, "{rate}");
            rate = more;
        }
    }

    #[test]
    fn terminals() {
        assert!(has_terminal("7 (xdpmap) S 1 7 7 34816 7 0"));
        assert!(!has_terminal("7 (xdpmap) S 1 7 7 0 -1 4194560"));
        assert!(!has_terminal("7 (a) S 1 2 3 4) S 1 7 7 0 -1 4194560"), "a name may hold anything");
        assert!(has_terminal("") && has_terminal("7 (xdpmap) S 1"), "unknown");
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(has_terminal(&own), fs::File::open("/dev/tty").is_ok());
    }

    #[test]
    fn masks_of_signals() {
        assert!(is_in(0b11, SIGHUP) && is_in(0b11, SIGINT) && !is_in(0b11, SIGQUIT));
        assert!(is_in(1 << 14, SIGTERM) && !is_in(0, SIGTERM));
    }

    #[test]
    fn no_limit_stays_none() {
        let (control, pacer) = (Control::new(1), Pacer::new(0.0, 1));
        change_rate(&control, &pacer, true);
        assert_eq!(pacer.rate_pps(), 0.0);
        pacer.set_rate_pps(100.0);
        change_rate(&control, &pacer, false);
        assert_eq!(pacer.rate_pps(), 95.0);
    }
}
