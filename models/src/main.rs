//! Models of what threads hand over without locks. loom runs each model with every order in which its threads can
//! meet, and with every value that a load may see in that order.
//!
//! The code is the project's own: its files are compiled here once more, and find loom's atomics and threads under
//! `crate::sync`, where the project has the standard library's. What stands for the rest of a worker, a watch or a
//! reader is in the model.
//!
//! Each model is a function in `models`. It panics where a promise is broken; a thread that would wait for ever is a
//! panic of loom's.
#![allow(dead_code, reason = "a model uses a part of the files that it compiles")]

#[path = "../../scanner/src/counters.rs"]
mod counters;
mod engine;
#[path = "../../scanner/src/exit.rs"]
mod exit;
mod live;
#[path = "../../crates/targets/src/shard.rs"]
mod shard;
mod sync;

mod leases;
mod published;

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// How many orders of one model are tried.
#[derive(Clone, Copy)]
enum Depth {
    /// All of them.
    All,
    /// Those in which threads are interrupted at most this often.
    Interruptions(usize),
}

/// A model: its name, its depth, and one run of it.
type Model = (&'static str, Depth, fn());

fn models() -> Vec<Model> {
    [leases::MODELS, published::MODELS, engine::MODELS, live::MODELS].concat()
}

/// Runs a model in every order, and says how many there were.
fn check((name, depth, run): Model) {
    let started = Instant::now();
    let runs = Arc::new(AtomicU64::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = match depth {
        Depth::All => None,
        Depth::Interruptions(most) => Some(most),
    };
    builder.max_branches = 10_000;
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        run();
    });
    let bound = match depth {
        Depth::All => String::new(),
        Depth::Interruptions(most) => format!(", with up to {most} interruptions"),
    };
    println!(
        "{name}: {} orders{bound}, {:.1} s",
        runs.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64()
    );
}

/// Runs models, as many at a time as there are processors. Fails with the first of them that does.
fn check_all(models: &[Model]) {
    let next = AtomicUsize::new(0);
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(model) = models.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(*model);
                }
            });
        }
    });
}

/// Runs the models that are named, or all of them.
fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = models();
    if let Some(unknown) = wanted.iter().find(|name| all.iter().all(|(model, ..)| model != name)) {
        let names: Vec<&str> = all.iter().map(|(name, ..)| *name).collect();
        eprintln!("{unknown}: no such model; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let is_wanted = |(name, ..): &Model| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let chosen: Vec<Model> = all.into_iter().filter(is_wanted).collect();
    check_all(&chosen);
    ExitCode::SUCCESS
}
