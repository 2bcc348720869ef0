//! Extracts the values of fields and formats those that need text.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Field, Value};
use crate::reply::Reply;

/// Extracts the values of fields from replies. Text is formatted in one buffer that is reused.
#[derive(Debug)]
pub struct Extractor {
    text: String,
    time_zone: TimeZone,
}

impl Extractor {
    /// An extractor that writes `timestamp_str` in `time_zone`; ZMap writes the local time,
    /// [`TimeZone::system`].
    pub fn new(time_zone: TimeZone) -> Self {
        Self { text: String::with_capacity(64), time_zone }
    }

    /// The value of `field` in `reply`.
    pub fn value<'v>(&'v mut self, field: Field, reply: &'v Reply<'v>) -> Value<'v> {
        (field.value)(reply, self)
    }

    /// Local time in ZMap's form, `2026-01-31T12:00:00.042+0100`.
    pub fn time(&mut self, time_ns: u64) -> Value<'_> {
        let Ok(timestamp) = Timestamp::from_nanosecond(time_ns.into()) else { return Value::Null };
        let zoned = timestamp.to_zoned(self.time_zone.clone());
        self.text.clear();
        if write!(self.text, "{}", zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%z")).is_err() {
            return Value::Null;
        }
        Value::Str(&self.text)
    }
}
