//! Signals. SIGUSR1 and SIGUSR2 make the rate 5 % higher and lower. Ctrl-C, SIGTERM and SIGHUP (a terminal that went
//! away) end the scan: the first ends sending and starts the cooldown, the second skips the rest of it, the third is
//! the system's own way out.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use tracing::{info, warn};

use crate::engine::{Control, EndReason, Pacer};

/// The rate that signals go up to.
const RATE_MAX_PPS: u64 = 1_000_000_000;

/// Watches for signals until the handle is closed.
pub(super) fn watch(control: Arc<Control>, pacer: Arc<Pacer>) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut interrupts = 0;
        for signal in signals.forever() {
            match signal {
                SIGUSR1 | SIGUSR2 => change_rate(&pacer, signal == SIGUSR1),
                _ => {
                    interrupt(&control, signal, interrupts);
                    interrupts += 1;
                }
            }
        }
    })?;
    Ok(handle)
}

fn interrupt(control: &Control, signal: i32, before: u32) {
    match before {
        0 => {
            warn!(target: "signal", "interrupted: no more probes; waiting for late replies (again to skip)");
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
    if old_pps == 0 {
        info!(target: "signal", "the rate is not limited; it stays so");
        return;
    }
    let new_pps = changed(old_pps, up);
    pacer.set_rate_pps(new_pps);
    info!(target: "signal", "rate changed from {old_pps} to {new_pps} packets/s");
}

/// 5 % more or less, but at least one packet a second; never 0, which would mean no limit.
fn changed(rate_pps: u64, up: bool) -> u64 {
    let step = (rate_pps / 20).max(1);
    if up { (rate_pps + step).min(RATE_MAX_PPS) } else { rate_pps.saturating_sub(step).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_moves_by_a_twentieth() {
        assert_eq!((changed(10_000, true), changed(10_000, false)), (10_500, 9_500));
        assert_eq!((changed(7, true), changed(7, false)), (8, 6));
        assert_eq!((changed(1, true), changed(1, false)), (2, 1));
        assert_eq!(changed(RATE_MAX_PPS, true), RATE_MAX_PPS);
    }

    #[test]
    fn no_limit_stays_none() {
        let pacer = Pacer::new(0, 1);
        change_rate(&pacer, true);
        assert_eq!(pacer.rate_pps(), 0);
        pacer.set_rate_pps(100);
        change_rate(&pacer, false);
        assert_eq!(pacer.rate_pps(), 95);
    }
}
