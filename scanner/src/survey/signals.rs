//! Ctrl-C, SIGTERM and SIGHUP (a terminal that went away): the first ends sending and starts the cooldown, the second skips the rest of it, the third is
//! the system's own way out.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use tracing::warn;

use crate::engine::{Control, EndReason};

/// Watches for signals until the handle is closed.
pub(super) fn watch(control: Arc<Control>) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            match count {
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
    })?;
    Ok(handle)
}
