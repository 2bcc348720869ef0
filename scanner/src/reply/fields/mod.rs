//! The fields of the output. Their names, types and order are ZMap's; their values come from a reply.
//!
//! Owns the definition of a field, the fields that all probes share ([`common`]), and the choice of columns. A probe
//! module adds its own fields and assembles its [`Table`]. A value that a reply does not have (an option that was not
//! sent, a header that was cut off) is null, never an invented number.

pub mod common;
mod escaped;
mod extractor;

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

pub use escaped::escaped;
pub use extractor::Extractor;

use super::Reply;

/// The type of a field's values, in ZMap's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// An IP address: text in every format, a number to filters. ZMap calls it a string.
    Address,
    /// A number of up to 64 bits, not negative.
    Int,
    /// Yes or no: 1 or 0 in CSV, true or false in JSON.
    Bool,
    /// Bytes; written as hexadecimal digits.
    Binary,
    /// A list of objects; JSON in every format.
    Repeated,
    /// A moment in UTC, with microseconds: text, and a timestamp in Parquet.
    Time,
}

impl FieldType {
    /// As `--list-output-fields` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String | Self::Address | Self::Time => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Binary => "binary",
            Self::Repeated => "repeated",
        }
    }
}

/// Extracts a field's value from a reply; text may be formatted in the extractor.
pub type ValueFn = for<'v> fn(&'v Reply<'v>, &'v mut Extractor) -> Value<'v>;

/// The name of a field, its meaning, and the source of its value.
#[derive(Clone, Copy)]
pub struct FieldInfo {
    /// Its name in ZMap.
    pub name: &'static str,
    /// Type of its values when they are not null.
    pub kind: FieldType,
    /// One line for `--list-output-fields`.
    pub doc: &'static str,
    /// Its value.
    pub value: ValueFn,
}

impl FieldInfo {
    /// A field.
    pub const fn new(name: &'static str, kind: FieldType, doc: &'static str, value: ValueFn) -> Self {
        Self { name, kind, doc, value }
    }
}

impl fmt::Debug for FieldInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Names are unique within a table.
impl PartialEq for FieldInfo {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for FieldInfo {}

/// A column of the output.
pub type Field = &'static FieldInfo;

/// The fields of one probe module's replies.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The fields that `*` stands for, in its order: IP fields, the module's own, system fields. These are ZMap's.
    pub groups: &'static [&'static [FieldInfo]],
    /// Fields that ZMap does not have. They must be named; `*` does not include them, so its output stays the same.
    pub extra: &'static [&'static [FieldInfo]],
}

impl Table {
    /// The fields that `*` stands for.
    pub fn all(&self) -> impl Iterator<Item = Field> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// The field with this name.
    pub fn find(&self, name: &str) -> Option<Field> {
        let extra = self.extra.iter().flat_map(|group| group.iter());
        self.all().chain(extra).find(|field| field.name == name)
    }

    /// The output of `--list-output-fields`: one line per field in ZMap's layout; fields that ZMap does not have come
    /// last.
    pub fn listing(&self) -> String {
        let line =
            |field: &FieldInfo| format!("{:<15} {:>6}: {}\n", field.name, field.kind.name(), field.doc);
        let extra = self.extra.iter().flat_map(|group| group.iter());
        self.all()
            .map(line)
            .chain(extra.map(|field| line(field).replace('\n', " (not part of *)\n")))
            .collect()
    }
}

/// Why a list of fields was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldSetError {
    /// A name that is not a field's.
    #[error("there is no field \"{name}\"")]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// A field named more than once: a JSON object cannot hold it twice.
    #[error("\"{name}\" is given twice; name each field once")]
    Twice {
        /// The field's name.
        name: String,
    },
    /// No field at all.
    #[error("no field is named; give a list such as saddr,sport or * for all")]
    Empty,
}

/// The chosen fields, in the order of the output's columns: at least one, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSet {
    fields: Vec<Field>,
}

impl FieldSet {
    /// The fields of `table` in a list such as `saddr,sport`; `*` stands for all that ZMap has. Commas and spaces
    /// separate, as in ZMap.
    ///
    /// # Errors
    /// An unknown name, a name given twice, or none at all.
    pub fn parse(text: &str, table: &Table) -> Result<Self, FieldSetError> {
        let mut fields = vec![];
        let mut add = |field: Field| {
            if fields.contains(&field) {
                return Err(FieldSetError::Twice { name: field.name.to_owned() });
            }
            fields.push(field);
            Ok(())
        };
        for name in text.split([',', ' ']).filter(|name| !name.is_empty()) {
            if name == "*" {
                table.all().try_for_each(&mut add)?;
            } else {
                add(table.find(name).ok_or_else(|| FieldSetError::Unknown { name: name.to_owned() })?)?;
            }
        }
        if fields.is_empty() { Err(FieldSetError::Empty) } else { Ok(Self { fields }) }
    }

    /// The fields that are printed by default: `saddr`, or `saddr,sport` when several ports are scanned.
    pub fn default_for(table: &Table, several_ports: bool) -> Self {
        let names: &[&str] = if several_ports { &["saddr", "sport"] } else { &["saddr"] };
        Self { fields: names.iter().filter_map(|name| table.find(name)).collect() }
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// The value of one field of one reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The reply does not have it.
    Null,
    /// A number.
    U64(u64),
    /// Yes or no.
    Bool(bool),
    /// An address, to be written in the usual form.
    Address(IpAddr),
    /// Text; may live in the [`Extractor`] until the next value is taken.
    Str(&'a str),
    /// Bytes, to be written as hexadecimal digits.
    Bytes(&'a [u8]),
    /// A list of objects.
    List(&'a [serde_json::Value]),
    /// Nanoseconds since the Unix epoch.
    Time(u64),
}

macro_rules! from_options {
    ($($type:ty => $value:expr,)*) => {
        $(impl<'a> From<Option<$type>> for Value<'a> {
            fn from(value: Option<$type>) -> Self {
                value.map_or(Self::Null, $value)
            }
        })*
    };
}

from_options! {
    u8 => |number| Self::U64(number.into()),
    u16 => |number| Self::U64(number.into()),
    u32 => |number| Self::U64(number.into()),
    u64 => Self::U64,
    IpAddr => Self::Address,
    &'a str => Self::Str,
    &'a [u8] => Self::Bytes,
}

/// Bytes as lower-case hexadecimal digits, as ZMap writes them.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Nanoseconds since the Unix epoch as RFC 3339 has a time, in UTC, with all six digits of its microseconds: so times
/// sort as text.
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Timestamp::from_nanosecond(self.0.into()).unwrap_or_default();
        write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Null => serializer.serialize_unit(),
            Self::U64(number) => serializer.serialize_u64(number),
            Self::Bool(yes) => serializer.serialize_bool(yes),
            Self::Address(address) => serializer.collect_str(&address),
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.collect_str(&Hex(bytes)),
            Self::List(list) => list.serialize(serializer),
            Self::Time(time_ns) => serializer.collect_str(&Utc(time_ns)),
        }
    }
}
