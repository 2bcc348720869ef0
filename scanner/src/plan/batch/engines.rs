//! The batch systems that number their tasks, by the variables that they set.
//!
//! Owns the table. Sources are the manuals: Slurm's sbatch(1) and srun(1), Kubernetes' "Indexed Job for Parallel
//! Processing with Static Work Assignment", AWS Batch's "Job environment variables", Google Batch's "Use predefined
//! environment variables", Nomad's "Runtime environment settings", OpenPBS' qsub(1B) and Torque's qsub(1), Grid
//! Engine's qsub(1), IBM Spectrum LSF's "Environment variables set for job execution", parallel(1).

/// A batch system that numbers its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its name.
    pub name: &'static str,
    /// The variable that has a task's number.
    pub index: &'static str,
    /// Its value where a job has no numbered tasks.
    pub unnumbered: Option<&'static str>,
    /// From where to where the numbers go.
    pub numbering: Numbering,
    /// How many tasks there are.
    pub count: Count,
    /// The variable that counts how often this task was started, and its value in the first run.
    pub attempt: Option<(&'static str, u64)>,
    /// A job with numbers from 0 or 1 without gaps, as its users request it.
    pub example: &'static str,
}

/// From where to where the numbers of tasks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// From this number, one by one.
    From(u64),
    /// As these variables say.
    Range {
        /// The first number.
        first: &'static str,
        /// The last number.
        last: &'static str,
        /// From one number to the next.
        step: &'static str,
    },
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As this variable says.
    Stated(&'static str),
    /// As the range says.
    OfRange,
    /// As the range says, and this variable as well: otherwise the numbers are a list with gaps.
    OfRangeAnd(&'static str),
    /// As the user says; this variable has the last number, so it can tell that the user is wrong.
    Last(&'static str),
    /// As the user says.
    Unknown,
}

/// A job array of Slurm.
const SLURM_ARRAY: Engine = Engine {
    name: "Slurm array",
    index: "SLURM_ARRAY_TASK_ID",
    unnumbered: None,
    numbering: Numbering::Range {
        first: "SLURM_ARRAY_TASK_MIN",
        last: "SLURM_ARRAY_TASK_MAX",
        step: "SLURM_ARRAY_TASK_STEP",
    },
    count: Count::OfRangeAnd("SLURM_ARRAY_TASK_COUNT"),
    attempt: Some(("SLURM_RESTART_COUNT", 0)),
    example: "sbatch --array=0-15",
};

/// A job array of PBS Pro and OpenPBS. The first number is in no variable, so numbers are taken to begin at 0: then a
/// task never has the shard of another one, and that of an array from 1 on which has none is refused.
const PBS: Engine = Engine {
    name: "PBS",
    index: "PBS_ARRAY_INDEX",
    unnumbered: None,
    numbering: Numbering::From(0),
    count: Count::Unknown,
    attempt: None,
    example: "qsub -J 0-15",
};

/// All of them.
pub const ENGINES: [Engine; 11] = [
    SLURM_ARRAY,
    // Each task of `srun`. A batch script has a SLURM_PROCID as well, but no tasks of a step: see `steps`.
    Engine {
        name: "Slurm step",
        index: "SLURM_PROCID",
        numbering: Numbering::From(0),
        count: Count::Stated("SLURM_STEP_NUM_TASKS"),
        example: "srun --ntasks=16",
        ..SLURM_ARRAY
    },
    Engine { name: "Kubernetes", index: "JOB_COMPLETION_INDEX", example: "completionMode: Indexed", ..PBS },
    Engine {
        name: "AWS Batch",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        count: Count::Stated("AWS_BATCH_JOB_ARRAY_SIZE"),
        attempt: Some(("AWS_BATCH_JOB_ATTEMPT", 1)),
        example: "--array-properties size=16",
        ..PBS
    },
    Engine {
        name: "Google Batch",
        index: "BATCH_TASK_INDEX",
        count: Count::Stated("BATCH_TASK_COUNT"),
        attempt: Some(("BATCH_TASK_RETRY_ATTEMPT", 0)),
        example: "taskCount: 16",
        ..PBS
    },
    Engine { name: "Nomad", index: "NOMAD_ALLOC_INDEX", example: "count = 16", ..PBS },
    PBS,
    Engine { name: "Torque", index: "PBS_ARRAYID", example: "qsub -t 0-15", ..PBS },
    Engine {
        name: "Grid Engine",
        index: "SGE_TASK_ID",
        unnumbered: Some("undefined"),
        numbering: Numbering::Range {
            first: "SGE_TASK_FIRST",
            last: "SGE_TASK_LAST",
            step: "SGE_TASK_STEPSIZE",
        },
        count: Count::OfRange,
        attempt: None,
        example: "qsub -t 1-16",
    },
    Engine {
        name: "LSF",
        index: "LSB_JOBINDEX",
        unnumbered: Some("0"),
        numbering: Numbering::From(1),
        count: Count::Last("LSB_JOBINDEX_END"),
        attempt: None,
        example: "bsub -J 'scan[1-16]'",
    },
    Engine {
        name: "GNU parallel",
        index: "PARALLEL_SEQ",
        numbering: Numbering::From(1),
        example: "parallel xdpmap ... ::: {1..16}",
        ..PBS
    },
];
