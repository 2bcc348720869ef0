//! Exclusions that grow: once it is certain, nothing leaves to what was added.
//!
//! The workers of this model follow new orders in the order of `engine/worker/excluding.rs`: they take the set, hand
//! nothing over while anything is under way, and then report.

use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::Arc;
use loom::thread;
use targets::{AddressRange, RangeSet};

use super::control::Control;
use super::exclusions::Exclusions;
use super::orders::Orders;

/// The address that every worker probes in every turn, until it is excluded.
const ADDRESS: u32 = 7;
/// Turns in which a worker may hand something over.
const TURNS: u32 = 2;

/// A worker: what it hands over in one turn leaves two turns later. `is_shut` is not one of loom's, so it adds no
/// orders and hides none.
fn work(control: &Control, exclusions: &Exclusions, number: usize, is_shut: &AtomicBool) {
    let (mut seen, mut generation, mut is_excluded) = (Orders::default(), 0, false);
    let (mut under_way, mut drains, mut turns) = ([false; 2], false, 0);
    while turns < TURNS || generation == 0 || under_way != [false; 2] || drains {
        turns += 1;
        let orders = control.orders();
        if under_way[0] {
            assert!(!is_shut.load(Ordering::SeqCst), "a frame leaves after that was certain not to happen");
        }
        under_way = [under_way[1], false];
        if orders != seen {
            seen = orders;
            if exclusions.generation() != generation {
                generation = exclusions.generation();
                is_excluded = exclusions.excluded().contains(ADDRESS);
                drains = true;
            }
        }
        if drains && under_way == [false; 2] {
            drains = false;
            exclusions.has_left(number, generation);
        }
        under_way[1] = !drains && !is_excluded && turns <= TURNS;
        if turns >= TURNS {
            thread::yield_now();
        }
    }
}

pub(super) fn nothing_leaves_once_it_is_certain(workers: usize) {
    let control = Arc::new(Control::new(workers));
    let exclusions = Arc::new(Exclusions::new(RangeSet::default(), workers));
    let is_shut = std::sync::Arc::<AtomicBool>::default();
    let workers: Vec<_> = (0..workers)
        .map(|number| {
            let (control, exclusions) = (Arc::clone(&control), Arc::clone(&exclusions));
            let is_shut = std::sync::Arc::clone(&is_shut);
            thread::spawn(move || work(&control, &exclusions, number, &is_shut))
        })
        .collect();
    let more: RangeSet = AddressRange::new(ADDRESS, ADDRESS).into_iter().collect();
    let generation = exclusions.extend(&more);
    control.restart_pace();
    while !exclusions.is_certain(generation) {
        thread::yield_now();
    }
    is_shut.store(true, Ordering::SeqCst);
    workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
}
