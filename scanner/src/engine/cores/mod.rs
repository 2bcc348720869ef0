//! Which cores the workers run on: those that the process may use (as limited by cpusets and batch systems), those on
//! the NIC's NUMA node first, and on a node one thread of each physical core before its second.

mod topology;

use std::path::Path;

use topology::Topology;

use crate::io::affinity;
pub use crate::io::affinity::pin;

/// The folder in which the kernel describes the machine.
const SYSTEM: &str = "/sys/devices/system";

/// Why no set of cores could be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoresError {
    /// The user chose a core that this process may not use.
    #[error("core {core} is not among the cores this process may use ({allowed})")]
    NotAllowed {
        /// The core.
        core: usize,
        /// The cores that it may use.
        allowed: String,
    },
}

/// The cores to use without regard to a NIC; see [`choose_near`].
///
/// # Errors
/// A requested core may not be used by this process.
pub fn choose(asked: &[usize]) -> Result<Vec<usize>, CoresError> {
    choose_near(asked, None)
}

/// The NUMA node of a core, if the machine reports it.
pub fn node_of(core: usize) -> Option<u32> {
    Topology::read(Path::new(SYSTEM)).node_of(core)
}

/// The cores to use, in the order in which workers get them: those requested, or all that the process may use,
/// beginning with those of the NIC's `node`.
///
/// # Errors
/// A requested core may not be used by this process.
pub fn choose_near(asked: &[usize], node: Option<u32>) -> Result<Vec<usize>, CoresError> {
    let allowed = affinity::allowed();
    if asked.is_empty() {
        let ordered = Topology::read(Path::new(SYSTEM)).ordered(&allowed, node);
        return Ok(if ordered.is_empty() { vec![0] } else { ordered });
    }
    match asked.iter().find(|core| !allowed.contains(core)) {
        Some(&core) => {
            let names: Vec<String> = allowed.iter().map(usize::to_string).collect();
            Err(CoresError::NotAllowed { core, allowed: names.join(",") })
        }
        None => Ok(asked.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_cores() {
        let all = choose(&[]).unwrap();
        assert!(!all.is_empty());
        assert_eq!(choose(&all[..1]).unwrap(), all[..1]);
        assert!(matches!(choose(&[9_999]), Err(CoresError::NotAllowed { core: 9_999, .. })));
    }
}
