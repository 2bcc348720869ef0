//! Values as the metadata writes them.

use std::borrow::Cow;

use jiff::{Timestamp, Zoned};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::engine::Counts;
use crate::local_time;
use crate::plan::NetworkPlan;
use crate::secrets::redacted;

/// Counters by name, in order: a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NamedCounts(Vec<(Cow<'static, str>, u64)>);

impl<K: Into<Cow<'static, str>>> FromIterator<(K, u64)> for NamedCounts {
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl From<&Counts> for NamedCounts {
    fn from(counts: &Counts) -> Self {
        counts.named().into_iter().collect()
    }
}

impl Serialize for NamedCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A moment in ZMap's form, local time with offset: `2026-01-31T12:00:00+0100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Time(Zoned);

impl Time {
    /// The moment as local time.
    pub(super) fn local(timestamp: Timestamp) -> Self {
        Self(timestamp.to_zoned(local_time::zone()))
    }
}

impl From<Zoned> for Time {
    fn from(zoned: Zoned) -> Self {
        Self(zoned)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S%z"))
    }
}

/// A whole number without a decimal point, as ZMap writes it.
pub(super) fn as_short_number<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *number {
        number if number.fract() == 0.0 => serializer.serialize_u64(number as u64),
        number => serializer.serialize_f64(number),
    }
}

/// A number that is written like that, where it may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct ShortNumber(#[serde(serialize_with = "as_short_number")] pub(super) f64);

pub(super) fn as_number<S: Serializer>(yes: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8((*yes).into())
}

/// What was typed, with passwords hidden.
pub(super) fn shown(word: impl AsRef<str>) -> String {
    redacted(word.as_ref()).into_owned()
}

/// One word, or several with commas between them.
pub(super) fn listed<S: Into<String>>(words: impl Iterator<Item = S>) -> String {
    words.map(Into::into).collect::<Vec<String>>().join(",")
}

/// The name of an interface of the scan; empty where a dry run found none.
pub(super) fn name_of(network: &NetworkPlan) -> String {
    network.interface.as_ref().map(|interface| interface.name.clone()).unwrap_or_default()
}
