//! Which shard a task of a batch system stands for: a pure function of the variables that it finds.
//!
//! What always holds: of the tasks of one job, no two get the same shard of the same number of shards, and a task whose
//! shard is not certain gets none.

use std::collections::BTreeMap;

use super::engines::{Count, ENGINES, Engine, Numbering};
use crate::cli::Task;
use crate::printable::printable;

/// The variables of an environment.
pub type Variables = BTreeMap<String, String>;

/// Largest number that is read. Sums and products of two are no larger than a `u64`.
const NUMBER_MAX: u64 = u32::MAX as u64;

/// The shard of the task that these variables describe. `shards` is how many the user says there are.
///
/// # Errors
/// No batch system is recognised, or several are, or the shard or the number of shards is not certain: why, and what to
/// do, without the flag.
pub fn reckon(variables: &Variables, shards: Option<u32>) -> Result<Task, String> {
    let found: Vec<&Engine> = ENGINES.iter().filter(|engine| engine.numbers(variables)).collect();
    let engine = match found[..] {
        [] => {
            let known: Vec<&str> = ENGINES.iter().map(|engine| engine.index).collect();
            return Err(format!(
                "no batch system has numbered this task: none of {} is set; give the shard's number",
                known.join(", ")
            ));
        }
        [engine] => engine,
        [one, other, ..] => {
            return Err(format!(
                "{} and {} have both numbered this task ({}, {}); give the shard's number and --shards, or unset the \
                 variable that does not count",
                one.name, other.name, one.index, other.index
            ));
        }
    };
    engine.task(variables, shards)
}

impl Engine {
    /// Whether this batch system has numbered the task.
    fn numbers(&self, variables: &Variables) -> bool {
        let is_numbered = given(variables, self.index).is_some_and(|value| Some(value) != self.unnumbered);
        // A step of one task has no numbers, and outside a step the number is that of no task.
        let is_step = || given(variables, "SLURM_STEP_NUM_TASKS").is_some_and(|tasks| tasks != "1");
        is_numbered && (self.index != "SLURM_PROCID" || is_step())
    }

    fn task(&self, variables: &Variables, shards: Option<u32>) -> Result<Task, String> {
        let index = number(variables, self.index)?;
        let range = self.range(variables)?;
        let (count, source) = self.certain(self.stated(variables, &range, shards)?, shards)?;
        let Range { first, step, .. } = range;
        let place = index.checked_sub(first).filter(|place| place % step == 0).map(|place| place / step);
        let shard =
            place.filter(|&shard| shard < u64::from(count)).and_then(|shard| u32::try_from(shard).ok());
        let shard = shard.ok_or_else(|| {
            let last = first + u64::from(count.saturating_sub(1)) * step;
            format!(
                "{} is {index}, and {count} shards are the numbers from {first} to {last}{}: number the tasks like that \
                 ({}), or give the shard's number",
                self.index,
                in_steps(step),
                self.example
            )
        })?;
        let steps = in_steps(step);
        let restarts = self.attempt.and_then(|(variable, first)| {
            number(variables, variable).ok().map(|attempt| attempt.saturating_sub(first))
        });
        let reckoning =
            format!("{} is {index}, counted from {first}{steps}; {count} shards by {source}", self.index);
        Ok(Task { engine: self.name, shard, shards: count, reckoning, restarts })
    }

    /// The numbers that the tasks have.
    fn range(&self, variables: &Variables) -> Result<Range, String> {
        let (first_name, last_name, step_name) = match self.numbering {
            Numbering::From(first) => return Ok(Range { first, step: 1, count: None }),
            Numbering::Range { first, last, step } => (first, last, step),
        };
        let [first, last, step] = [first_name, last_name, step_name].map(|name| number(variables, name));
        let (first, last, step) = (first?, last?, step?);
        let len = last.checked_sub(first).filter(|_| step > 0).ok_or_else(|| {
            format!(
                "{first_name} is {first}, {last_name} {last} and {step_name} {step}, which is no range; give the shard's \
                 number and --shards"
            )
        })?;
        Ok(Range { first, step, count: Some((len / step + 1, last_name)) })
    }

    /// How many tasks there are by the variables, and which one says so; `None` if none does.
    fn stated(
        &self,
        variables: &Variables,
        range: &Range,
        shards: Option<u32>,
    ) -> Result<Option<(u64, &'static str)>, String> {
        let variable = match self.count {
            Count::Stated(variable) | Count::OfRangeAnd(variable) => variable,
            // It can only tell that the user is wrong.
            Count::Last(variable) if shards.is_some() && given(variables, variable).is_some() => variable,
            Count::OfRange => return Ok(range.count),
            Count::Last(_) | Count::Unknown => return Ok(None),
        };
        let stated = number(variables, variable)?;
        match range.count {
            Some((count, _)) if count != stated => Err(format!(
                "{variable} is {stated}, and there are {count} numbers from the first to the last one: they are a list with \
                 gaps, in which no number is certain to be that of a shard; give the shard's number and --shards, or \
                 request a range ({})",
                self.example
            )),
            _ => Ok(Some((stated, variable))),
        }
    }

    /// How many shards there are, and what says so.
    fn certain(
        &self,
        stated: Option<(u64, &'static str)>,
        shards: Option<u32>,
    ) -> Result<(u32, &'static str), String> {
        const AGAIN: &str = "one that was submitted again alone has lost its number: give the shard's number and the \
                             --shards of before";
        match (stated, shards) {
            (Some((count, variable)), Some(shards)) if count != u64::from(shards) => Err(format!(
                "{variable} is {count}, and --shards {shards}: for all tasks, make them equal; {AGAIN}"
            )),
            (Some((1, variable)), None) => {
                Err(format!("{variable} says that this is the only task: if it is, give --shards 1; {AGAIN}"))
            }
            (Some((count, variable)), None) => match u32::try_from(count) {
                Ok(count) => Ok((count, variable)),
                Err(_) => Err(format!("{variable} is {count}; give a job with fewer tasks")),
            },
            (_, Some(0)) => Err("give --shards a number from 1 on".to_owned()),
            (_, Some(shards)) => Ok((shards, "--shards")),
            (None, None) => Err(format!(
                "{} does not say how many tasks there are; give their number with --shards",
                self.name
            )),
        }
    }
}

/// The numbers of tasks.
struct Range {
    first: u64,
    /// From one number to the next; at least 1.
    step: u64,
    /// How many numbers there are, and the variable with the last one, if that is known.
    count: Option<(u64, &'static str)>,
}

fn in_steps(step: u64) -> String {
    if step == 1 { String::new() } else { format!(" in steps of {step}") }
}

/// The value of a variable that is set.
fn given<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// The number in a variable.
fn number(variables: &Variables, name: &str) -> Result<u64, String> {
    let Some(value) = given(variables, name) else {
        return Err(format!("{name} is not set; give the shard's number and --shards"));
    };
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|number| is_plain && *number <= NUMBER_MAX);
    number.ok_or_else(|| {
        let shown = printable(value);
        format!("{name} is '{shown}', which is not a number of a task; give the shard's number and --shards")
    })
}

#[cfg(test)]
mod tests;
