//! Which CPUs are threads of one physical core, and which are on one NUMA node, as the kernel describes it under
//! `/sys/devices/system` (`Documentation/admin-guide/cputopology.rst`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// The place of a CPU, as the kernel numbers them, in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CpuPlace {
    /// The socket and the physical core in it.
    core: (i64, i64),
    node: Option<u32>,
}

/// The machine's CPUs. A CPU that is not described has no node, and counts as a physical core.
#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    places: HashMap<usize, CpuPlace>,
}

impl Topology {
    /// Reads the folders `cpu/cpuN` below `system`.
    pub(super) fn read(system: &Path) -> Self {
        let folders = fs::read_dir(system.join("cpu")).into_iter().flatten().flatten();
        let places = folders.filter_map(|folder| {
            let cpu = folder.file_name().to_str()?.strip_prefix("cpu")?.parse().ok()?;
            Some((cpu, place(&folder.path(), cpu)))
        });
        Self { places: places.collect() }
    }

    pub(super) fn node_of(&self, cpu: usize) -> Option<u32> {
        self.places.get(&cpu).and_then(|place| place.node)
    }

    /// `cpus` in the order in which workers should get them: those of `node` first, and on each node one thread of each
    /// physical core before the second ones. Each occurs once.
    pub(super) fn ordered(&self, cpus: &[usize], node: Option<u32>) -> Vec<usize> {
        let mut sorted = cpus.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut threads_before: HashMap<(i64, i64), u32> = HashMap::new();
        let mut keyed: Vec<(bool, u32, usize)> = sorted
            .into_iter()
            .map(|cpu| {
                let core = self.places.get(&cpu).map_or((-1, cpu as i64), |place| place.core);
                let threads = threads_before.entry(core).or_default();
                let key = (node.is_some() && self.node_of(cpu) != node, *threads, cpu);
                *threads += 1;
                key
            })
            .collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(.., cpu)| cpu).collect()
    }
}

fn place(folder: &Path, cpu: usize) -> CpuPlace {
    let number = |file: &str| -> Option<i64> {
        fs::read_to_string(folder.join("topology").join(file)).ok()?.trim().parse().ok()
    };
    // Some virtual machines report -1 for all CPUs.
    let core = number("core_id")
        .filter(|core| *core >= 0)
        .map(|core| (number("physical_package_id").unwrap_or(0), core));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let nodes: HashSet<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()).collect();
    CpuPlace { core: core.unwrap_or((-1, cpu as i64)), node: nodes.into_iter().min() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that describes CPUs by socket, core and node.
    fn machine(cpus: &[(usize, i64, i64, Option<u32>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (cpu, package, core, node) in cpus {
            let cpu = folder.path().join(format!("cpu/cpu{cpu}"));
            fs::create_dir_all(cpu.join("topology")).unwrap();
            fs::write(cpu.join("topology/physical_package_id"), format!("{package}\n")).unwrap();
            fs::write(cpu.join("topology/core_id"), format!("{core}\n")).unwrap();
            if let Some(node) = node {
                fs::create_dir(cpu.join(format!("node{node}"))).unwrap();
            }
        }
        // Other entries of the real folder.
        fs::create_dir_all(folder.path().join("cpu/cpufreq")).unwrap();
        fs::write(folder.path().join("cpu/online"), "0-7\n").unwrap();
        folder
    }

    fn ordered(cpus: &[(usize, i64, i64, Option<u32>)], allowed: &[usize], node: Option<u32>) -> Vec<usize> {
        Topology::read(machine(cpus).path()).ordered(allowed, node)
    }

    /// Two sockets with two cores of two threads each; the numbers of siblings differ by four, as on most servers.
    const SERVER: [(usize, i64, i64, Option<u32>); 8] = [
        (0, 0, 0, Some(0)),
        (1, 1, 0, Some(1)),
        (2, 0, 1, Some(0)),
        (3, 1, 1, Some(1)),
        (4, 0, 0, Some(0)),
        (5, 1, 0, Some(1)),
        (6, 0, 1, Some(0)),
        (7, 1, 1, Some(1)),
    ];

    #[test]
    fn near_cores_come_first_and_second_threads_last() {
        let all: Vec<usize> = (0..8).collect();
        assert_eq!(ordered(&SERVER, &all, Some(1)), [1, 3, 5, 7, 0, 2, 4, 6]);
        assert_eq!(ordered(&SERVER, &all, Some(0)), [0, 2, 4, 6, 1, 3, 5, 7]);
        assert_eq!(
            ordered(&SERVER, &all, None),
            all,
            "without a NIC's node: physical cores, whatever the node"
        );
        assert_eq!(Topology::read(machine(&SERVER).path()).node_of(5), Some(1));
    }

    /// A cpuset may leave out a first thread: then the second one is used as if it were the first.
    #[test]
    fn only_what_is_allowed_counts() {
        assert_eq!(ordered(&SERVER, &[7, 5, 4, 3, 3], Some(1)), [3, 5, 7, 4]);
        assert_eq!(ordered(&SERVER, &[6, 4], Some(1)), [4, 6]);
        assert_eq!(ordered(&SERVER, &[], Some(1)), [0; 0]);
    }

    /// The numbering of desktops: siblings have adjacent numbers, and there is one node.
    #[test]
    fn siblings_side_by_side() {
        let cpus: Vec<_> = (0..6).map(|cpu| (cpu, 0, cpu as i64 / 2, Some(0))).collect();
        assert_eq!(ordered(&cpus, &[0, 1, 2, 3, 4, 5], Some(0)), [0, 2, 4, 1, 3, 5]);
    }

    /// Machines that describe little: the kernel's numbering is used.
    #[test]
    fn without_a_description_by_number() {
        assert_eq!(ordered(&[], &[3, 1, 2], Some(0)), [1, 2, 3]);
        let vague: Vec<_> = (0..4).map(|cpu| (cpu, -1, -1, None)).collect();
        assert_eq!(ordered(&vague, &[0, 1, 2, 3], None), [0, 1, 2, 3]);
    }

    /// The machine that runs this test is described with all CPUs, each once.
    #[test]
    fn this_machine() {
        let topology = Topology::read(Path::new(super::super::SYSTEM));
        let cpus = crate::io::affinity::allowed();
        let mut ordered = topology.ordered(&cpus, topology.node_of(cpus[0]));
        ordered.sort_unstable();
        assert_eq!(ordered, cpus);
    }
}
