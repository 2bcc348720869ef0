//! Tasks of each batch system, as the manuals describe their variables; and any variables at all.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The variables in a text such as `A=1 B=2`.
fn variables(text: &str) -> Variables {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Tasks with variables as `sbatch --array=FIRST-LAST:STEP` and the like set them: with the number of shards that the
/// user has to give, if any, and the shard and their number that follow.
#[test]
fn tasks_of_every_engine() {
    const ARRAY: &str = "SLURM_JOB_ID=77 SLURM_ARRAY_JOB_ID=70 SLURM_PROCID=0 SLURM_NTASKS=1";
    for (text, given, engine, shard, shards) in [
        // Slurm: from 0, from any number, in steps.
        (
            "SLURM_ARRAY_TASK_ID=0 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=15 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=16",
            None,
            "Slurm array",
            0,
            16,
        ),
        (
            "SLURM_ARRAY_TASK_ID=15 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=15 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=16",
            Some(16),
            "Slurm array",
            15,
            16,
        ),
        (
            "SLURM_ARRAY_TASK_ID=20 SLURM_ARRAY_TASK_MIN=17 SLURM_ARRAY_TASK_MAX=20 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=4",
            None,
            "Slurm array",
            3,
            4,
        ),
        (
            "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=4",
            None,
            "Slurm array",
            2,
            4,
        ),
        // An array of one task that is meant to be alone.
        (
            "SLURM_ARRAY_TASK_ID=9 SLURM_ARRAY_TASK_MIN=9 SLURM_ARRAY_TASK_MAX=9 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=1",
            Some(1),
            "Slurm array",
            0,
            1,
        ),
        // A step of one task within an array.
        (
            "SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=1 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_STEP_NUM_TASKS=1",
            None,
            "Slurm array",
            1,
            2,
        ),
        ("SLURM_PROCID=7 SLURM_STEP_NUM_TASKS=8 SLURM_NTASKS=8", None, "Slurm step", 7, 8),
        ("JOB_COMPLETION_INDEX=3", Some(16), "Kubernetes", 3, 16),
        (
            "AWS_BATCH_JOB_ARRAY_INDEX=3 AWS_BATCH_JOB_ARRAY_SIZE=10 AWS_BATCH_JOB_ATTEMPT=2",
            None,
            "AWS Batch",
            3,
            10,
        ),
        ("BATCH_TASK_INDEX=0 BATCH_TASK_COUNT=2 BATCH_TASK_RETRY_ATTEMPT=0", None, "Google Batch", 0, 2),
        ("NOMAD_ALLOC_INDEX=1", Some(2), "Nomad", 1, 2),
        ("PBS_ARRAY_INDEX=0", Some(2), "PBS", 0, 2),
        ("PBS_ARRAYID=1", Some(2), "Torque", 1, 2),
        ("SGE_TASK_ID=1 SGE_TASK_FIRST=1 SGE_TASK_LAST=4 SGE_TASK_STEPSIZE=1", None, "Grid Engine", 0, 4),
        ("SGE_TASK_ID=10 SGE_TASK_FIRST=2 SGE_TASK_LAST=10 SGE_TASK_STEPSIZE=4", None, "Grid Engine", 2, 3),
        // The last number need not be one of a task.
        ("SGE_TASK_ID=9 SGE_TASK_FIRST=1 SGE_TASK_LAST=10 SGE_TASK_STEPSIZE=4", None, "Grid Engine", 2, 3),
        ("LSB_JOBINDEX=16 LSB_JOBINDEX_END=16 LSB_JOBINDEX_STEP=1", Some(16), "LSF", 15, 16),
        ("PARALLEL_SEQ=1 PARALLEL_JOBSLOT=1 PARALLEL_PID=9", Some(3), "GNU parallel", 0, 3),
        // Jobs whose tasks have no numbers do not count.
        (
            "PARALLEL_SEQ=2 SGE_TASK_ID=undefined LSB_JOBINDEX=0 SLURM_PROCID=0 SLURM_NTASKS=4",
            Some(3),
            "GNU parallel",
            1,
            3,
        ),
    ] {
        let around = if engine == "Slurm array" { ARRAY } else { "" };
        let task = reckon(&variables(&format!("{text} {around} HOME=/root")), given)
            .unwrap_or_else(|what| panic!("{text}: {what}"));
        assert_eq!((task.engine, task.shard, task.shards), (engine, shard, shards), "{text}");
    }
}

#[test]
fn what_is_not_certain_is_refused() {
    const ARRAY: &str =
        "SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=15 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=16";
    for (text, given, words) in [
        // None, and two.
        (
            "HOME=/root SLURM_PROCID=0 SLURM_NTASKS=1",
            Some(4),
            &["no batch system", "SLURM_ARRAY_TASK_ID", "give the shard's number"][..],
        ),
        ("JOB_COMPLETION_INDEX=0 NOMAD_ALLOC_INDEX=0", Some(4), &["Kubernetes and Nomad have both", "unset"]),
        ("PBS_ARRAY_INDEX=0 PARALLEL_SEQ=1", Some(4), &["PBS and GNU parallel have both", "PARALLEL_SEQ"]),
        (
            &format!("SLURM_ARRAY_TASK_ID=3 {ARRAY} SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2"),
            None,
            &["Slurm array and Slurm step have both"],
        ),
        // One index of an array, submitted again alone, or some of them.
        (
            "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=5 SLURM_ARRAY_TASK_MAX=5 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=1",
            None,
            &["SLURM_ARRAY_TASK_COUNT says that this is the only task", "--shards 1", "submitted again"],
        ),
        (
            "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=5 SLURM_ARRAY_TASK_MAX=5 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=1",
            Some(16),
            &["SLURM_ARRAY_TASK_COUNT is 1, and --shards 16", "submitted again"],
        ),
        (
            "SGE_TASK_ID=5 SGE_TASK_FIRST=5 SGE_TASK_LAST=5 SGE_TASK_STEPSIZE=1",
            None,
            &["SGE_TASK_LAST says that this is the only task"],
        ),
        ("LSB_JOBINDEX=5 LSB_JOBINDEX_END=5", Some(16), &["LSB_JOBINDEX_END is 5, and --shards 16"]),
        // A list.
        (
            "SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=3",
            None,
            &["SLURM_ARRAY_TASK_COUNT is 3", "7 numbers", "list with gaps", "sbatch --array=0-15"],
        ),
        // No number of tasks.
        ("JOB_COMPLETION_INDEX=3", None, &["Kubernetes does not say", "--shards"]),
        ("LSB_JOBINDEX=3 LSB_JOBINDEX_END=4", None, &["LSF does not say", "--shards"]),
        ("JOB_COMPLETION_INDEX=3", Some(0), &["--shards a number from 1"]),
        // Numbers that are not those of shards.
        ("PBS_ARRAY_INDEX=16", Some(16), &["PBS_ARRAY_INDEX is 16", "from 0 to 15", "qsub -J 0-15"]),
        ("PARALLEL_SEQ=0", Some(16), &["PARALLEL_SEQ is 0", "from 1 to 16"]),
        (&format!("SLURM_ARRAY_TASK_ID=16 {ARRAY}"), None, &["SLURM_ARRAY_TASK_ID is 16", "from 0 to 15"]),
        (
            "SGE_TASK_ID=3 SGE_TASK_FIRST=2 SGE_TASK_LAST=10 SGE_TASK_STEPSIZE=4",
            None,
            &["SGE_TASK_ID is 3", "from 2 to 10 in steps of 4"],
        ),
        (
            "SGE_TASK_ID=3 SGE_TASK_FIRST=2 SGE_TASK_LAST=10 SGE_TASK_STEPSIZE=0",
            None,
            &["SGE_TASK_STEPSIZE 0, which is no range"],
        ),
        (
            "SGE_TASK_ID=3 SGE_TASK_FIRST=2 SGE_TASK_LAST=1 SGE_TASK_STEPSIZE=1",
            None,
            &["SGE_TASK_LAST 1", "no range"],
        ),
        // Variables that are missing or no numbers.
        ("SLURM_ARRAY_TASK_ID=3", None, &["SLURM_ARRAY_TASK_MIN is not set"]),
        ("AWS_BATCH_JOB_ARRAY_INDEX=3", None, &["AWS_BATCH_JOB_ARRAY_SIZE is not set"]),
        ("NOMAD_ALLOC_INDEX=-1", Some(4), &["NOMAD_ALLOC_INDEX is '-1', which is not a number"]),
        ("NOMAD_ALLOC_INDEX=99999999999999999999", Some(4), &["which is not a number"]),
    ] {
        let what = reckon(&variables(text), given).unwrap_err();
        assert!(words.iter().all(|word| what.contains(word)) && what.lines().count() == 1, "{text}: {what}");
    }
}

#[test]
fn a_task_is_told_in_one_line() {
    let text = "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_STEP=2 \
                SLURM_ARRAY_TASK_COUNT=4 SLURM_RESTART_COUNT=1";
    let task = reckon(&variables(text), None).unwrap();
    assert_eq!(
        task.to_string(),
        "shard 2 of 4 by Slurm array: SLURM_ARRAY_TASK_ID is 5, counted from 1 in steps of 2; 4 shards by \
         SLURM_ARRAY_TASK_COUNT; started again once"
    );
    let first = reckon(
        &variables("AWS_BATCH_JOB_ARRAY_INDEX=3 AWS_BATCH_JOB_ARRAY_SIZE=10 AWS_BATCH_JOB_ATTEMPT=1"),
        None,
    );
    assert_eq!(first.as_ref().unwrap().restarts, Some(0));
    assert_eq!(
        first.unwrap().to_string(),
        "shard 3 of 10 by AWS Batch: AWS_BATCH_JOB_ARRAY_INDEX is 3, counted from 0; 10 shards by AWS_BATCH_JOB_ARRAY_SIZE"
    );
}

/// The variables of a task of a job with `count` tasks, the one at `place`, as this engine sets them.
fn task(engine: &Engine, place: u64, count: u64, wanted: (u64, u64)) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: u64| variables.insert(name.to_owned(), value.to_string());
    let (first, step) = match engine.numbering {
        Numbering::From(first) => (first, 1),
        Numbering::Range { first, last, step } => {
            set(first, wanted.0);
            set(step, wanted.1);
            set(last, wanted.0 + (count - 1) * wanted.1);
            wanted
        }
    };
    set(engine.index, first + place * step);
    match engine.count {
        Count::Stated(variable) | Count::OfRangeAnd(variable) => {
            set(variable, count);
        }
        Count::Last(variable) => {
            set(variable, first + count - 1);
        }
        Count::OfRange | Count::Unknown => {}
    }
    variables
}

proptest! {
    /// The tasks of a whole job have all shards, each once, in their order.
    #[test]
    fn a_whole_job(engine in 0..ENGINES.len(), first in 0u64..5_000, step in 1u64..50, count in 2u32..40) {
        let engine = &ENGINES[engine];
        for place in 0..count {
            let variables = task(engine, place.into(), count.into(), (first, step));
            let found = reckon(&variables, Some(count)).map(|task| (task.shard, task.shards));
            prop_assert_eq!(found, Ok((place, count)), "{}", engine.name);
        }
    }

    /// A list of numbers, in whatever way Slurm states its step: no two tasks have the same shard.
    #[test]
    fn lists(ids in prop::collection::btree_set(0u64..40, 1..12), step in 1u64..6, shards in prop::option::of(1u32..50)) {
        let mut found = BTreeSet::new();
        for id in &ids {
            let mut variables = Variables::new();
            for (name, value) in [
                ("SLURM_ARRAY_TASK_ID", *id),
                ("SLURM_ARRAY_TASK_MIN", *ids.first().unwrap()),
                ("SLURM_ARRAY_TASK_MAX", *ids.last().unwrap()),
                ("SLURM_ARRAY_TASK_STEP", step),
                ("SLURM_ARRAY_TASK_COUNT", ids.len() as u64),
            ] {
                variables.insert(name.to_owned(), value.to_string());
            }
            if let Ok(task) = reckon(&variables, shards) {
                prop_assert!(u64::from(task.shards) == ids.len() as u64 && task.shard < task.shards);
                prop_assert!(found.insert(task.shard), "{ids:?}: {} twice", task.shard);
            }
        }
    }

    /// Whatever the variables are: a shard there is, or one line that says what to do.
    #[test]
    fn any_variables(
        values in prop::collection::vec(prop::option::of("[0-9]{0,4}|-?[0-9]{1,22}|[a-z\n\u{e9}]{0,9}"), ENGINES.len() * 6),
        shards in prop::option::of(any::<u32>()),
    ) {
        let mut names = BTreeSet::new();
        for engine in &ENGINES {
            names.insert(engine.index);
            if let Numbering::Range { first, last, step } = engine.numbering {
                names.extend([first, last, step]);
            }
            if let Count::Stated(name) | Count::OfRangeAnd(name) | Count::Last(name) = engine.count {
                names.insert(name);
            }
            names.extend(engine.attempt.map(|(name, _)| name));
        }
        let values = names.into_iter().zip(values).filter_map(|(name, value)| Some((name.to_owned(), value?)));
        match reckon(&values.collect(), shards) {
            Ok(task) => prop_assert!(task.shard < task.shards),
            Err(what) => prop_assert!(what.contains("give ") && what.lines().count() == 1, "{what}"),
        }
    }
}
