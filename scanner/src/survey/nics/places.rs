//! How many workers each interface gets, and on which queues and cores each of them runs.

use crate::cli::IoMode;
use crate::io::Placement;
use crate::io::xsk::{QueueSet, share_out};
use crate::plan::WorkerPlan;

/// Packets per second that one worker sends easily in copy mode. A scan with a lower rate does not need live frames,
/// which occupy a second core. Lower: slow scans occupy twice the cores. Higher: scans that copy mode cannot carry do
/// not use live frames.
const COPY_PPS: u64 = 500_000;

/// How many of `workers` workers each interface gets. `queues` is how many queues each can send on. Each gets at least
/// one worker, and the rest are distributed in turn.
pub(super) fn shares(queues: &[u32], workers: u32) -> Vec<u32> {
    let mut shares = vec![0; queues.len()];
    let mut left = workers.max(queues.len() as u32);
    while left > 0 && shares.iter().zip(queues).any(|(share, queues)| share < queues) {
        for (share, &queues) in shares.iter_mut().zip(queues) {
            let one = u32::from(left > 0 && *share < queues);
            (*share, left) = (*share + one, left - one);
        }
    }
    shares
}

/// The places of `count` workers on an interface with these queues, of which the first `tx_queues` can send. The cores
/// are used in turn, starting at number `first`.
pub(super) fn places(
    cores: &[usize],
    queues: &[u32],
    tx_queues: u32,
    count: u32,
    first: usize,
) -> Vec<Placement> {
    let sets = share_out(queues, count, tx_queues).into_iter();
    let cores = cores.iter().cycle().skip(first);
    sets.zip(cores).map(|(set, &core)| placement(set, core, None)).collect()
}

fn placement(set: QueueSet, core: usize, sender_core: Option<usize>) -> Placement {
    Placement { queues: set.queues, core, sender_core }
}

/// The places of workers that each have a sender of live frames next to them. Only for the single interface of a scan
/// that uses live frames: one that requests them, or one whose rate is beyond copy mode and that has the cores.
pub(super) fn places_beside_senders(
    workers: &WorkerPlan,
    queues: &[u32],
    tx_queues: u32,
    rate_pps: f64,
) -> Option<Vec<Placement>> {
    let cores = &workers.cores;
    let senders = queues.iter().filter(|&&queue| queue < tx_queues).count() as u32;
    let half = (cores.len() as u32 / 2).clamp(1, senders.max(1));
    let count = if workers.count_given { workers.count } else { half };
    let enough_cores = cores.len() >= 2 * count as usize;
    let fast = rate_pps == 0.0 || rate_pps > COPY_PPS as f64 * f64::from(workers.count);
    let wanted = match workers.io_mode {
        IoMode::Live => true,
        IoMode::Auto => fast && enough_cores,
        IoMode::Zerocopy | IoMode::Copy | IoMode::Generic | IoMode::Packet => false,
    };
    let core = |number: usize| cores[number % cores.len()];
    let place = |(number, set)| placement(set, core(2 * number), Some(core(2 * number + 1)));
    wanted.then(|| share_out(queues, count, tx_queues).into_iter().enumerate().map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(io_mode: IoMode, cores: usize, queues: u32, given: Option<u32>) -> WorkerPlan {
        let count = given.unwrap_or(cores as u32).clamp(1, queues);
        let cores = (0..cores).collect();
        WorkerPlan {
            count,
            count_given: given.is_some(),
            queues,
            queues_given: false,
            cores,
            io_mode,
            busy_poll: None,
            drop_invalid: false,
        }
    }

    #[test]
    fn every_interface_has_a_worker() {
        assert_eq!(shares(&[4], 2), [2]);
        assert_eq!(shares(&[4, 4], 1), [1, 1]);
        assert_eq!(shares(&[4, 4], 5), [3, 2]);
        assert_eq!(shares(&[1, 8, 2], 8), [1, 5, 2]);
        assert_eq!(shares(&[1, 1], 64), [1, 1]);
    }

    /// The cores are distributed over all interfaces, and every queue has one owner.
    #[test]
    fn cores_are_used_in_turn() {
        let at = |queues: &[u32], core| Placement { queues: queues.to_vec(), core, sender_core: None };
        assert_eq!(places(&[4, 6, 8], &[0, 1, 2], 3, 2, 0), [at(&[0, 2], 4), at(&[1], 6)]);
        assert_eq!(places(&[4, 6, 8], &[0, 1, 2], 3, 2, 2), [at(&[0, 2], 8), at(&[1], 4)]);
        assert_eq!(places(&[4], &[0, 1], 1, 1, 5), [at(&[0, 1], 4)]);
    }

    /// Two cores per worker, at most as many workers as requested, and live frames only where they help.
    #[test]
    fn pairs() {
        let pairs = |workers: &WorkerPlan, rate: u32| {
            let queues: Vec<u32> = (0..workers.queues).collect();
            let places = places_beside_senders(workers, &queues, 99, f64::from(rate))?;
            Some(places.iter().map(|place| (place.core, place.sender_core.unwrap())).collect::<Vec<_>>())
        };
        let auto = |cores, queues, given| workers(IoMode::Auto, cores, queues, given);
        assert_eq!(pairs(&auto(8, 4, None), 0), Some(vec![(0, 1), (2, 3), (4, 5), (6, 7)]));
        assert_eq!(pairs(&auto(8, 4, Some(1)), 0), Some(vec![(0, 1)]));
        assert_eq!(pairs(&auto(2, 4, None), 0), Some(vec![(0, 1)]));
        assert_eq!(pairs(&auto(2, 4, Some(2)), 0), None);
        assert_eq!(pairs(&auto(1, 4, None), 0), None);
        assert_eq!(pairs(&auto(8, 4, None), 2_000_000), None);
        assert!(pairs(&auto(8, 4, None), 2_000_001).is_some());
        assert_eq!(pairs(&workers(IoMode::Copy, 8, 4, None), 0), None);
        assert_eq!(pairs(&workers(IoMode::Live, 1, 1, None), 10), Some(vec![(0, 0)]));
        let queues = |workers: &WorkerPlan, queues: &[u32], tx_queues| -> Vec<Vec<u32>> {
            let places = places_beside_senders(workers, queues, tx_queues, 0.0).unwrap();
            places.into_iter().map(|place| place.queues).collect()
        };
        let three = queues(&workers(IoMode::Auto, 6, 8, None), &[0, 1, 2, 3, 4, 5, 6, 7], 8);
        assert_eq!(three, [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
        let one = queues(&workers(IoMode::Auto, 8, 4, None), &[0, 1, 2, 3], 1);
        assert_eq!(one, [[0, 1, 2, 3]], "one queue sends");
    }
}
