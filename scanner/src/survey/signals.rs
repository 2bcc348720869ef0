//! Signals. SIGUSR1 and SIGUSR2 make the rate 5 % higher and lower. Ctrl-C, Ctrl-\\, SIGTERM and SIGHUP (a terminal that went
//! away) end the scan: the first ends sending and starts the cooldown, the second skips the rest of it and what else is
//! waited for, the third is the system's own way out. SIGXCPU, which comes each second once a limit on the time is passed,
//! ends it at once, and in order all the same.
//!
//! What always holds: a signal that was ignored when the process began stays ignored (`nohup`, `trap '' INT`), for
//! that was somebody's wish. A file that grows beyond its limit (SIGXFSZ) is an error of writing, as a full disk is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use tracing::{info, warn};

use crate::engine::{Control, EndReason, Pacer, Phase, RATE_MAX_PPS, RATE_MIN_PPS};
use crate::privileges;

/// What is watched for.
const WATCHED: [i32; 7] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGUSR1, SIGUSR2];

/// Watches for signals until the handle is closed.
pub(super) fn watch(control: Arc<Control>, pacer: Arc<Pacer>) -> io::Result<Handle> {
    // A write that meets the limit fails with EFBIG then.
    signal_hook::flag::register(SIGXFSZ, Arc::<AtomicBool>::default())?;
    let ignored = ignored();
    let mut signals = Signals::new(WATCHED.iter().filter(|&&signal| !is_in(ignored, signal)))?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut interrupts = 0;
        for signal in signals.forever() {
            match signal {
                SIGUSR1 | SIGUSR2 => change_rate(&pacer, signal == SIGUSR1),
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

/// The signals that this process ignores, a bit each.
fn ignored() -> u64 {
    let mask = privileges::status("SigIgn");
    mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0)
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
                    warn!(target: "signal", "interrupted: the outputs are not waited for any more");
                }
            }
            control.stop(EndReason::Interrupted);
        }
        1 => {
            control.stop(EndReason::Interrupted);
            control.hurry();
        }
        _ => {
            // Nothing more can be done if even that fails.
            let _ = emulate_default_handler(signal);
        }
    }
}

fn change_rate(pacer: &Pacer, up: bool) {
    let old_pps = pacer.rate_pps();
    if old_pps == 0.0 {
        info!(target: "signal", "the rate is not limited; it stays so");
        return;
    }
    let new_pps = changed(old_pps, up);
    pacer.set_rate_pps(new_pps);
    info!(target: "signal", "rate changed from {old_pps} to {new_pps} probes/s");
}

/// 5 % more or less, in three digits at least, and one that can be kept; never 0, which would mean no limit.
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
        // Neither way it ever stands still.
        let mut rate = RATE_MIN_PPS;
        while rate < RATE_MAX_PPS {
            let more = changed(rate, true);
            assert!(more > rate && changed(more, false) < more, "{rate}");
            rate = more;
        }
    }

    #[test]
    fn masks_of_signals() {
        assert!(is_in(0b11, SIGHUP) && is_in(0b11, SIGINT) && !is_in(0b11, SIGQUIT));
        assert!(is_in(1 << 14, SIGTERM) && !is_in(0, SIGTERM));
    }

    #[test]
    fn no_limit_stays_none() {
        let pacer = Pacer::new(0.0, 1);
        change_rate(&pacer, true);
        assert_eq!(pacer.rate_pps(), 0.0);
        pacer.set_rate_pps(100.0);
        change_rate(&pacer, false);
        assert_eq!(pacer.rate_pps(), 95.0);
    }
}
