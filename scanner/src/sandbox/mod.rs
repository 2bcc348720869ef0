//! The sandbox of a running scan: what a fault in it, or a forged packet that exploits one, cannot do.
//!
//! There are two layers. Landlock says which files and ports may still be opened ([`Paths`]); it is set once, and
//! inherited. Seccomp says which system calls a thread may make, by its [`Class`]; each thread takes the filter of its
//! class when it begins ([`enter`]). Both are in addition to the dropped capabilities, and cannot be taken off.
//!
//! What always holds: a process has one sandbox. Until it is [armed](arm), [`enter`] and [`restrict`] do nothing, as in
//! tests of the parts, and in the companions. What the kernel does not support is reported, and not
//! an error.

mod access;
mod filter;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::Serialize;
use tracing::info;

pub use access::Paths;
pub use table::{Class, Exception};

/// The sandbox of this process, once it has one.
static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

/// The state of a layer: whether it is on, or why not.
type Layer = Result<String, String>;

/// The word for a filter that is on.
const ON: &str = "on";

#[derive(Debug)]
struct Sandbox {
    exceptions: Vec<Exception>,
    landlock: OnceLock<Layer>,
    seccomp: Mutex<BTreeMap<Class, Layer>>,
}

impl Sandbox {
    /// Keeps what became of a class. If its threads differ, what failed.
    fn note(&self, class: Class, layer: Layer) {
        let mut seccomp = self.seccomp.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(seccomp.get(&class), Some(Err(_))) {
            seccomp.insert(class, layer);
        }
    }
}

/// What confines a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of landlock, "off", or "unavailable" and the reason.
    pub landlock: String,
    /// For each class that has threads: "on", or "unavailable" and the reason. Empty if the sandbox is off.
    pub seccomp: BTreeMap<&'static str, String>,
}

/// From now on the threads that begin are confined. A second call changes nothing.
pub fn arm(exceptions: Vec<Exception>) {
    SANDBOX.get_or_init(|| Sandbox {
        exceptions,
        landlock: OnceLock::new(),
        seccomp: Mutex::new(BTreeMap::new()),
    });
}

/// Whether threads that begin are confined.
pub fn is_armed() -> bool {
    SANDBOX.get().is_some()
}

/// Refuses the calling thread and those that it will start all files and ports except `paths`, for good.
pub fn restrict(paths: &Paths) {
    if let Some(sandbox) = SANDBOX.get() {
        sandbox.landlock.get_or_init(|| access::restrict(paths));
    }
}

/// Puts the filter of `class` on the calling thread, for good. Call it when the thread begins, or when it has done what
/// its class may not do.
pub fn enter(class: Class) {
    let Some(sandbox) = SANDBOX.get() else { return };
    let layer = filter::apply(class, &sandbox.exceptions).map(|()| ON.to_owned());
    if let Err(why) = &layer {
        info!(target: "sandbox", "no seccomp filter for {}: {why}", class.name());
    }
    sandbox.note(class, layer);
}

/// As [`enter`], for a thread that is older than the restriction of the others: refuses it all files and ports except
/// `paths`, which may be others than theirs.
pub fn enter_apart(class: Class, paths: &Paths) {
    if is_armed() {
        let _ = access::restrict(paths);
    }
    enter(class);
}

/// Keeps what another process reports of itself ([`told`]).
pub fn hear(class: Class, told: &str) {
    if let Some(sandbox) = SANDBOX.get() {
        sandbox.note(class, if told == ON { Ok(told.to_owned()) } else { Err(told.to_owned()) });
    }
}

/// What this process has to report of its filter of `class`, in one line.
pub fn told(class: Class) -> String {
    report().seccomp.remove(class.name()).unwrap_or_default()
}

/// What confines this process at present.
pub fn report() -> Report {
    let off = || Report { landlock: "off".to_owned(), seccomp: BTreeMap::new() };
    SANDBOX.get().map_or_else(off, |sandbox| {
        let seccomp = sandbox.seccomp.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            landlock: sandbox.landlock.get().map_or_else(|| "off".to_owned(), in_words),
            seccomp: seccomp.iter().map(|(class, layer)| (class.name(), in_words(layer))).collect(),
        }
    })
}

/// What would confine a scan on this host: tries both layers on a thread of its own.
pub fn available() -> Report {
    let trial = std::thread::spawn(|| {
        let landlock = in_words(&access::restrict(&Paths::default()));
        (landlock, in_words(&filter::apply(Class::Worker, &[]).map(|()| ON.to_owned())))
    });
    let (landlock, worker) = trial.join().unwrap_or_default();
    Report { landlock, seccomp: BTreeMap::from([(Class::Worker.name(), worker)]) }
}

/// What every scan reads later: facts about interfaces, processors and the process itself, and what glibc looks up for
/// its memory.
pub fn system_files() -> Vec<PathBuf> {
    ["/sys", "/proc/self", "/proc/sys/vm/overcommit_memory"].map(PathBuf::from).to_vec()
}

fn in_words(layer: &Layer) -> String {
    match layer {
        Ok(state) => state.clone(),
        Err(why) if why.starts_with(UNAVAILABLE) => why.clone(),
        Err(why) => format!("{UNAVAILABLE}{why}"),
    }
}

/// The start of a report of a layer that is not on.
const UNAVAILABLE: &str = "unavailable: ";

#[cfg(test)]
mod tests;
