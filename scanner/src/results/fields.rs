//! The fields of the output: their names, types and order are ZMap's, their values come from a reply.
//!
//! Owns the table of fields, the parsing of `--output-fields`, and what each field means. A value that a reply does
//! not have (an option that was not sent, a header that was cut) is null, never a made-up number.

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::record::Kind;
use super::reply::Reply;

/// A column of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the table below documents each field")]
pub enum Field {
    Saddr,
    SaddrRaw,
    Daddr,
    DaddrRaw,
    Ipid,
    Ttl,
    Sport,
    Dport,
    Seqnum,
    Acknum,
    Window,
    TcpoptMss,
    TcpoptWscale,
    TcpoptSackPerm,
    TcpoptTsVal,
    TcpoptTsEcr,
    Classification,
    Success,
    Repeat,
    Cooldown,
    TimestampStr,
    TimestampTs,
    TimestampUs,
}

/// The type of a field's values, in ZMap's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// A number of up to 64 bits, not negative.
    Int,
    /// Yes or no: 1 or 0 in CSV, true or false in JSON.
    Bool,
}

impl FieldType {
    /// As `--list-output-fields` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
        }
    }
}

/// What a field is called and what it means.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    /// The field.
    pub field: Field,
    /// ZMap's name of it.
    pub name: &'static str,
    /// Type of its values when they are not null.
    pub kind: FieldType,
    /// One line for `--list-output-fields`.
    pub doc: &'static str,
}

const fn info(field: Field, name: &'static str, kind: FieldType, doc: &'static str) -> FieldInfo {
    FieldInfo { field, name, kind, doc }
}

/// All fields of tcp_synscan, in the order of `*`: IP fields, the probe's own, system fields.
#[rustfmt::skip]
pub const FIELDS: [FieldInfo; 23] = {
    use FieldType::{Bool, Int, String};
    [
        info(Field::Saddr, "saddr", String, "source address of the reply: who answered"),
        info(Field::SaddrRaw, "saddr_raw", Int, "source address as the integer its network-order bytes make on a little-endian host"),
        info(Field::Daddr, "daddr", String, "destination address of the reply: ours"),
        info(Field::DaddrRaw, "daddr_raw", Int, "destination address as an integer, like saddr_raw"),
        info(Field::Ipid, "ipid", Int, "IP identification of the reply"),
        info(Field::Ttl, "ttl", Int, "time to live of the reply"),
        info(Field::Sport, "sport", Int, "TCP source port: the port that answered"),
        info(Field::Dport, "dport", Int, "TCP destination port: ours"),
        info(Field::Seqnum, "seqnum", Int, "TCP sequence number"),
        info(Field::Acknum, "acknum", Int, "TCP acknowledgement number"),
        info(Field::Window, "window", Int, "TCP window, not scaled"),
        info(Field::TcpoptMss, "tcpopt_mss", Int, "TCP option: maximum segment size in bytes"),
        info(Field::TcpoptWscale, "tcpopt_wscale", Int, "TCP option: window scale as a factor, 2^shift"),
        info(Field::TcpoptSackPerm, "tcpopt_sack_perm", Int, "TCP option: 1 if selective acknowledgements are permitted"),
        info(Field::TcpoptTsVal, "tcpopt_ts_val", Int, "TCP option: timestamp value"),
        info(Field::TcpoptTsEcr, "tcpopt_ts_ecr", Int, "TCP option: timestamp echo reply"),
        info(Field::Classification, "classification", String, "kind of reply: synack or rst"),
        info(Field::Success, "success", Bool, "whether the reply counts as a success"),
        info(Field::Repeat, "repeat", Bool, "whether the target had a success before"),
        info(Field::Cooldown, "cooldown", Bool, "whether the reply came after the last probe was sent"),
        info(Field::TimestampStr, "timestamp_str", String, "arrival as local time, ISO 8601 with milliseconds and zone"),
        info(Field::TimestampTs, "timestamp_ts", Int, "arrival in whole seconds since the Unix epoch"),
        info(Field::TimestampUs, "timestamp_us", Int, "arrival: the microseconds beyond timestamp_ts"),
    ]
};

/// What `--list-output-fields` prints, a line a field in ZMap's layout.
pub fn listing() -> String {
    let line = |info: &FieldInfo| format!("{:<15} {:>6}: {}\n", info.name, info.kind.name(), info.doc);
    FIELDS.iter().map(line).collect()
}

impl Field {
    /// The field with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        FIELDS.iter().find(|info| info.name == name).map(|info| info.field)
    }

    /// What it is called and what it means.
    pub fn info(self) -> &'static FieldInfo {
        &FIELDS[self as usize]
    }

    /// ZMap's name of it.
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

/// Why `--output-fields` was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldSetError {
    /// A name that no field has.
    #[error("--output-fields: there is no field \"{name}\"; --list-output-fields lists them all")]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// A field named more than once: a JSON object cannot hold it twice.
    #[error("--output-fields: \"{name}\" is given twice; name each field once")]
    Twice {
        /// The field's name.
        name: String,
    },
    /// No field at all.
    #[error("--output-fields names no field; give a list such as saddr,sport or * for all")]
    Empty,
}

/// The chosen fields, in the order of the output's columns: at least one, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSet {
    fields: Vec<Field>,
}

impl FieldSet {
    /// The fields that a list such as `saddr,sport` names; `*` is all of them. Commas and spaces separate, as in
    /// ZMap.
    ///
    /// # Errors
    /// An unknown name, a name given twice, or none at all.
    pub fn parse(text: &str) -> Result<Self, FieldSetError> {
        if text.trim() == "*" {
            return Ok(Self { fields: FIELDS.iter().map(|info| info.field).collect() });
        }
        let mut fields = vec![];
        for name in text.split([',', ' ']).filter(|name| !name.is_empty()) {
            let field =
                Field::from_name(name).ok_or_else(|| FieldSetError::Unknown { name: name.to_owned() })?;
            if fields.contains(&field) {
                return Err(FieldSetError::Twice { name: name.to_owned() });
            }
            fields.push(field);
        }
        if fields.is_empty() { Err(FieldSetError::Empty) } else { Ok(Self { fields }) }
    }

    /// What is printed when nothing was asked for: `saddr`, or `saddr,sport` when several ports are scanned.
    pub fn default_for(several_ports: bool) -> Self {
        let fields = if several_ports { vec![Field::Saddr, Field::Sport] } else { vec![Field::Saddr] };
        Self { fields }
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// The value of one field of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The reply does not have it.
    Null,
    /// A number.
    U64(u64),
    /// Yes or no.
    Bool(bool),
    /// Text; lives in the [`Extractor`] until the next value is taken.
    Str(&'a str),
}

impl<T: Into<u64>> From<Option<T>> for Value<'_> {
    fn from(number: Option<T>) -> Self {
        number.map_or(Self::Null, |number| Self::U64(number.into()))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Null => serializer.serialize_unit(),
            Self::U64(number) => serializer.serialize_u64(number),
            Self::Bool(yes) => serializer.serialize_bool(yes),
            Self::Str(text) => serializer.serialize_str(text),
        }
    }
}

/// Takes the values of fields out of replies. Text is made in one buffer that is used again and again.
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
    pub fn value(&mut self, field: Field, reply: &Reply<'_>) -> Value<'_> {
        const NS_PER_SECOND: u64 = 1_000_000_000;
        let header = reply.header();
        match field {
            Field::Saddr => self.address(header.responder()),
            Field::SaddrRaw => match header.responder() {
                IpAddr::V4(address) => raw(address.octets()),
                IpAddr::V6(_) => Value::Null,
            },
            Field::Daddr => reply.destination().map_or(Value::Null, |address| self.address(address.into())),
            Field::DaddrRaw => reply.destination().map_or(Value::Null, |address| raw(address.octets())),
            Field::Ipid => reply.ip_id().into(),
            Field::Ttl => reply.ttl().into(),
            Field::Sport => Value::U64(header.responder_port.into()),
            Field::Dport => Value::U64(header.local_port.into()),
            Field::Seqnum => reply.sequence().into(),
            Field::Acknum => reply.acknowledgement().into(),
            Field::Window => reply.window().into(),
            Field::TcpoptMss => reply.tcp_options().mss.into(),
            Field::TcpoptWscale => {
                // A shift that no 64-bit number holds is nonsense: no number rather than a wrong one.
                let factor =
                    reply.tcp_options().window_shift.and_then(|shift| 1u64.checked_shl(shift.into()));
                factor.into()
            }
            Field::TcpoptSackPerm => reply.tcp_options().sack_permitted.then_some(1u64).into(),
            Field::TcpoptTsVal => reply.tcp_options().timestamps.map(|(value, _)| value).into(),
            Field::TcpoptTsEcr => reply.tcp_options().timestamps.map(|(_, echo)| echo).into(),
            Field::Classification => {
                reply.kind().map_or(Value::Null, |kind| Value::Str(kind.classification()))
            }
            Field::Success => Value::Bool(reply.kind().is_some_and(Kind::success)),
            Field::Repeat => Value::Bool(reply.repeat()),
            Field::Cooldown => Value::Bool(header.cooldown != 0),
            Field::TimestampStr => self.time(header.time_ns),
            Field::TimestampTs => Value::U64(header.time_ns / NS_PER_SECOND),
            Field::TimestampUs => Value::U64(header.time_ns % NS_PER_SECOND / 1000),
        }
    }

    fn address(&mut self, address: IpAddr) -> Value<'_> {
        self.text.clear();
        if write!(self.text, "{address}").is_err() {
            return Value::Null;
        }
        Value::Str(&self.text)
    }

    /// Local time in ZMap's form, `2026-01-31T12:00:00.042+0100`.
    fn time(&mut self, time_ns: u64) -> Value<'_> {
        let Ok(timestamp) = Timestamp::from_nanosecond(time_ns.into()) else { return Value::Null };
        let zoned = timestamp.to_zoned(self.time_zone.clone());
        self.text.clear();
        if write!(self.text, "{}", zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%z")).is_err() {
            return Value::Null;
        }
        Value::Str(&self.text)
    }
}

/// An address in ZMap's `_raw` form: its bytes as they are on the wire, read as a little-endian number.
fn raw(octets: [u8; 4]) -> Value<'static> {
    Value::U64(u32::from_le_bytes(octets).into())
}

#[cfg(test)]
mod tests;
