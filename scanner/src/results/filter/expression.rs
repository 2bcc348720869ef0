//! A parsed filter, and its evaluation on a reply.

use std::net::IpAddr;

use crate::reply::Reply;
use crate::reply::fields::{Extractor, Field, Value};

/// What is known about all replies in advance: whether they are successes, and whether they are repeats, if that is
/// known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) success: bool,
    pub(super) repeat: Option<bool>,
}

/// A condition on the fields of a reply.
#[derive(Clone, Debug)]
pub struct Expression(pub(super) Node);

impl Expression {
    /// Whether `reply` meets the condition.
    pub fn matches(&self, reply: &Reply<'_>, extractor: &mut Extractor) -> bool {
        self.0.matches(reply, extractor)
    }

    /// Whether a reply of which this much is known may meet the condition.
    pub(super) fn may_match(&self, known: Known) -> bool {
        self.0.outcome(known) != Some(false)
    }
}

/// A part of an expression. The parser limits its depth.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// At least one of them.
    Any(Vec<Node>),
    /// All of them.
    All(Vec<Node>),
    Not(Box<Node>),
    /// The field's value is not null and passes the test.
    Field(Field, Test),
}

/// The condition on a value.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// A number, a boolean (0, 1) or an IPv4 address in one of these ranges.
    Within(Ranges),
    /// One of these texts, or none of them.
    Text { texts: Vec<Box<str>>, among: bool },
}

impl Node {
    fn matches(&self, reply: &Reply<'_>, extractor: &mut Extractor) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.matches(reply, extractor)),
            Self::All(parts) => parts.iter().all(|part| part.matches(reply, extractor)),
            Self::Not(part) => !part.matches(reply, extractor),
            Self::Field(field, test) => test.passes(extractor.value(field, reply)),
        }
    }
}

impl Node {
    /// The outcome for replies of which this much is known, if that decides it.
    fn outcome(&self, known: Known) -> Option<bool> {
        match self {
            Self::Any(parts) => {
                let outcomes: Vec<_> = parts.iter().map(|part| part.outcome(known)).collect();
                match outcomes.contains(&Some(true)) {
                    true => Some(true),
                    false => (!outcomes.contains(&None)).then_some(false),
                }
            }
            Self::All(parts) => {
                let outcomes: Vec<_> = parts.iter().map(|part| part.outcome(known)).collect();
                match outcomes.contains(&Some(false)) {
                    true => Some(false),
                    false => (!outcomes.contains(&None)).then_some(true),
                }
            }
            Self::Not(part) => part.outcome(known).map(|outcome| !outcome),
            Self::Field(field, test) => {
                let value = match field.name {
                    "success" => known.success,
                    "repeat" => known.repeat?,
                    _ => return None,
                };
                Some(test.passes(Value::Bool(value)))
            }
        }
    }
}

impl Test {
    fn passes(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Within(ranges), Value::U64(number)) => ranges.contain(number),
            (Self::Within(ranges), Value::Bool(yes)) => ranges.contain(yes.into()),
            (Self::Within(ranges), Value::Address(IpAddr::V4(address))) => {
                ranges.contain(address.to_bits().into())
            }
            (Self::Text { texts, among }, Value::Str(text)) => {
                texts.iter().any(|known| **known == *text) == *among
            }
            _ => false,
        }
    }
}

/// Numbers, as ranges `first..=last` that are sorted and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// All numbers in `ranges`; a range whose end is below its start holds none.
    pub(super) fn new(mut ranges: Vec<(u64, u64)>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn contain(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }
}
