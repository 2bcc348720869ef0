//! Which cores the workers run on: those that the process may use (cpusets and batch systems have a say), those on the NIC's
//! node first, and of these one thread of each physical core before its second.

mod topology;

use std::path::Path;

use core_affinity::CoreId;
use topology::Topology;

/// Where the kernel describes the machine.
const SYSTEM: &str = "/sys/devices/system";

/// Why no set of cores could be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoresError {
    /// A core named by `--cores` is not ours to use.
    #[error("--cores: core {core} is not among the cores this process may use ({allowed})")]
    NotAllowed {
        /// The core.
        core: usize,
        /// The cores that are.
        allowed: String,
    },
}

/// The cores to use where no NIC has a say; see [`choose_near`].
///
/// # Errors
/// A core is asked for that the process may not use.
pub fn choose(asked: &[usize]) -> Result<Vec<usize>, CoresError> {
    choose_near(asked, None)
}

/// The NUMA node of a core, if the machine tells.
pub fn node_of(core: usize) -> Option<u32> {
    Topology::read(Path::new(SYSTEM)).node_of(core)
}

/// The cores to use, in the order in which workers get them: those asked for, or all that the process may use, those of
/// the NIC's `node` first.
///
/// # Errors
/// A core is asked for that the process may not use.
pub fn choose_near(asked: &[usize], node: Option<u32>) -> Result<Vec<usize>, CoresError> {
    let mut allowed: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    allowed.sort_unstable();
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

/// Pins the calling thread to `core`. False where the system refuses: the thread then runs where it is put.
pub fn pin(core: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: core })
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
