//! Results as JSON lines: the values of some keys of an object, without the memory that all of them would take.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::StoredFile;

/// Puts the values of the wanted keys of the object `row` into `cells`, in the form that CSV has: a truth value is 1 or
/// 0, text has no quotes, lists and objects stay JSON.
pub(super) fn pick(row: &[u8], wanted: &[&str], cells: &mut [Option<String>]) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_slice(row);
    let picked = deserializer.deserialize_map(Picker { wanted, cells }).and_then(|()| deserializer.end());
    picked.map_err(|error| format!("it is not a JSON object ({error})"))
}

/// Whether these bytes are one whole object.
pub(super) fn is_whole(row: &[u8]) -> bool {
    pick(row, &[], &mut []).is_ok()
}

/// The names of all keys in the file, in the order in which they first occur.
pub(super) fn names(file: &StoredFile) -> io::Result<Vec<String>> {
    let (mut names, mut known) = (Vec::new(), HashSet::new());
    let mut reader = BufReader::new(file.bytes().map_err(|error| file.failed(&error))?);
    let mut row = Vec::new();
    loop {
        row.clear();
        match reader.read_until(b'\n', &mut row) {
            Ok(0) => return Ok(names),
            Ok(_) => {}
            // What is damaged is found when it is read.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(names),
            Err(error) => return Err(file.failed(&error)),
        }
        let mut deserializer = serde_json::Deserializer::from_slice(&row);
        // A row that is not understood is found when it is read.
        let Ok(keys) = deserializer.deserialize_map(Keys) else { continue };
        for key in keys {
            if known.insert(key.clone()) {
                names.push(key);
            }
        }
    }
}

struct Picker<'a> {
    wanted: &'a [&'a str],
    cells: &'a mut [Option<String>],
}

impl<'de> Visitor<'de> for Picker<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(PlaceOf(self.wanted))? {
            match place {
                Some(place) => self.cells[place] = as_cell(map.next_value::<&RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A JSON value in the form of CSV.
fn as_cell(value: &str) -> Option<String> {
    match value {
        "null" | "\"\"" => None,
        "true" => Some("1".to_owned()),
        "false" => Some("0".to_owned()),
        text if text.starts_with('"') => serde_json::from_str(text).ok(),
        other => Some(other.to_owned()),
    }
}

/// Reads a key as its place among the wanted ones.
struct PlaceOf<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for PlaceOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for PlaceOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| *wanted == key))
    }
}

/// Reads the keys of an object.
struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            keys.push(key);
        }
        Ok(keys)
    }
}
