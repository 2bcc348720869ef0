//! The governor of `--rate auto` over simulated paths: the runs that the tests of the library judge, with all figures.

#[path = "../../scanner/src/governor/simulation.rs"]
mod simulation;

use std::process::ExitCode;

use serde_json::{Value, json};
use simulation::{Bottleneck, Run, Scene, run};

const BOTTLENECKS: [(Bottleneck, &str); 3] =
    [(Bottleneck::Policer, "policer"), (Bottleneck::Queue, "queue"), (Bottleneck::Receiver, "receiver")];
const HIT_RATES: [f64; 3] = [0.005, 0.05, 0.5];
/// Until then the knee must be known; from then on the rate is held.
const SEARCH_S: f64 = 15.0;

/// Prints one JSON object: all runs, and some of them over time. The argument is the number of runs in a cell.
pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let Some(runs) = arguments.next().and_then(|runs| runs.parse().ok()) else {
        eprintln!("give the number of runs in a cell");
        return ExitCode::from(2);
    };
    let cells: Vec<Value> = BOTTLENECKS
        .into_iter()
        .flat_map(|(bottleneck, name)| HIT_RATES.map(|hit_rate| cell(bottleneck, name, hit_rate, runs)))
        .collect();
    let curves: Vec<Value> = BOTTLENECKS
        .into_iter()
        .flat_map(|(bottleneck, name)| {
            let scene = Scene::of_run(bottleneck, 0.05, 1);
            let halves = Scene { change: Some((30.0, 0.5)), ..scene };
            [curve(name, "found and held", scene), curve(name, "halves at 30 s", halves)]
        })
        .collect();
    println!("{}", json!({ "cells": cells, "curves": curves }));
    ExitCode::SUCCESS
}

fn cell(bottleneck: Bottleneck, name: &str, hit_rate: f64, runs: u64) -> Value {
    let figures: Vec<Value> = (0..runs)
        .map(|number| {
            let scene = Scene::of_run(bottleneck, hit_rate, number);
            figures(&run(scene, 45.0), scene.knee_pps)
        })
        .collect();
    json!({ "bottleneck": name, "hit_rate": hit_rate, "runs": figures })
}

/// A run in figures; rates are shares of the knee.
fn figures(run: &Run, knee_pps: f64) -> Value {
    let searched = run.points.iter().take_while(|point| point.at <= SEARCH_S).last();
    let found = searched.and_then(|point| point.found_pps).map(|pps| pps / knee_pps);
    let first = run.points.iter().find(|point| point.found_pps.is_some()).map(|point| point.at);
    let held: Vec<_> = run.points.iter().filter(|point| point.at > SEARCH_S && point.is_held).collect();
    let rates: Vec<f64> = held.iter().map(|point| point.rate_pps / knee_pps).collect();
    let lost: f64 = held.iter().map(|point| point.lost * point.rate_pps).sum();
    let sent: f64 = held.iter().map(|point| point.rate_pps).sum();
    json!({
        "knee_pps": knee_pps.round(),
        "found": found,
        "found_after_s": first,
        "held_least": rates.iter().copied().fold(f64::INFINITY, f64::min),
        "held_most": rates.iter().copied().fold(0.0, f64::max),
        "held_slots": rates.len(),
        "lost_held": lost / sent.max(1.0),
        "decisions": run.decisions.len(),
    })
}

fn curve(name: &str, what: &str, scene: Scene) -> Value {
    let run = run(scene, 60.0);
    let rounded = |value: f64| (value * 10.0).round() / 10.0;
    // The last slot of each rate and knee.
    let is_last = |at: usize| {
        let (point, next) = (&run.points[at], run.points.get(at + 1));
        next.is_none_or(|next| next.rate_pps != point.rate_pps || next.knee_pps != point.knee_pps)
    };
    let points: Vec<Value> = (0..run.points.len())
        .filter(|at| is_last(*at))
        .map(|at| &run.points[at])
        .map(|point| json!([rounded(point.at), point.rate_pps.round(), point.knee_pps.round()]))
        .collect();
    json!({ "bottleneck": name, "what": what, "points": points })
}
