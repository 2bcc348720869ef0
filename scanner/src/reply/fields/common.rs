//! The fields that probe modules share.
//!
//! Owns their meaning. A module decides which of them it has, and in which order.

use std::net::IpAddr;

use wire::packet::{
    ICMP_PARAMETER_PROBLEM, ICMP_REDIRECT, ICMP_SOURCE_QUENCH, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE,
};

use super::FieldType::{Address, Bool, Int, String, Time};
use super::{FieldInfo, Value};
use crate::reply::Reply;

const NS_PER_SECOND: u64 = 1_000_000_000;

const fn field(
    name: &'static str,
    kind: super::FieldType,
    doc: &'static str,
    value: super::ValueFn,
) -> FieldInfo {
    FieldInfo::new(name, kind, doc, value)
}

/// Fields of the IP header. `saddr` is the probed target; the sender of an ICMP error is in `icmp_responder`.
#[rustfmt::skip]
pub const IP: [FieldInfo; 6] = [
    field("saddr", Address, "source address of the reply, or the probed target if a router answered", |r, _| Value::Address(r.header().target())),
    field("saddr_raw", Int, "saddr as the integer its network-order bytes make on a little-endian host", |r, _| raw(r.header().target())),
    DADDR, DADDR_RAW, IPID, TTL,
];

/// Fields of the IP header, for modules without an ICMP block: `saddr` is the sender of the reply, also if that is a
/// router.
#[rustfmt::skip]
pub const IP_OF_RESPONDER: [FieldInfo; 6] = [
    field("saddr", Address, "source address of the reply: a router if it is an ICMP error", |r, _| Value::Address(r.header().responder())),
    field("saddr_raw", Int, "saddr as the integer its network-order bytes make on a little-endian host", |r, _| raw(r.header().responder())),
    DADDR, DADDR_RAW, IPID, TTL,
];

/// Whether a field `saddr` is the sender of the reply also if that is a router: it is the one of [`IP_OF_RESPONDER`].
pub fn is_of_responder(saddr: super::Field) -> bool {
    // Values are functions, whose addresses are not unique; what a field says of itself is.
    saddr.doc == IP_OF_RESPONDER[0].doc
}

const DADDR: FieldInfo = field("daddr", Address, "destination address of the reply: ours", |r, _| {
    r.destination().map(IpAddr::from).into()
});
const DADDR_RAW: FieldInfo = field("daddr_raw", Int, "daddr as an integer, like saddr_raw", |r, _| {
    r.destination().map_or(Value::Null, |address| raw(address.into()))
});
const IPID: FieldInfo = field("ipid", Int, "IP identification of the reply", |r, _| r.ip_id().into());
const TTL: FieldInfo = field("ttl", Int, "time to live of the reply", |r, _| r.ttl().into());

/// Fields of the TCP or UDP header of a reply; null for an ICMP error.
#[rustfmt::skip]
pub const PORTS: [FieldInfo; 2] = [
    field("sport", Int, "source port of the reply: the port that answered", |r, _| port(r, r.header().responder_port)),
    field("dport", Int, "destination port of the reply: ours", |r, _| port(r, r.header().local_port)),
];

fn port(reply: &Reply<'_>, port: u16) -> Value<'static> {
    if reply.is_icmp_error() { Value::Null } else { Value::U64(port.into()) }
}

/// The kind of reply.
pub const CLASSIFICATION: FieldInfo = field("classification", String, "kind of reply", |r, _| {
    r.kind().map_or(Value::Null, |kind| Value::Str(kind.classification()))
});
/// Whether the reply is a success.
pub const SUCCESS: FieldInfo = field("success", Bool, "whether the reply counts as a success", |r, _| {
    Value::Bool(r.header().is_success())
});
/// Both of these.
pub const VERDICT: [FieldInfo; 2] = [CLASSIFICATION, SUCCESS];

/// Fields of an ICMP error that quotes a probe.
#[rustfmt::skip]
pub const ICMP: [FieldInfo; 4] = [
    field("icmp_responder", Address, "sender of the ICMP error", |r, _| {
        r.is_icmp_error().then(|| r.header().responder()).into()
    }),
    field("icmp_type", Int, "type of the ICMP error", |r, _| r.icmp_error().map(|icmp| icmp[0]).into()),
    field("icmp_code", Int, "code of the ICMP error", |r, _| r.icmp_error().map(|icmp| icmp[1]).into()),
    field("icmp_unreach_str", String, "type and code of the ICMP error in words", |r, _| {
        r.icmp_error().map(|icmp| in_words(icmp[0], icmp[1])).into()
    }),
];

/// The meaning of an ICMP error: RFC 792, and RFC 1812, section 5.2.7.1. For an unreachable destination in ZMap's
/// words.
fn in_words(kind: u8, code: u8) -> &'static str {
    const UNREACHABLE: [&str; 16] = [
        "network unreachable",
        "host unreachable",
        "protocol unreachable",
        "port unreachable",
        "fragments required",
        "source route failed",
        "network unknown",
        "host unknown",
        "source host isolated",
        "network admin. prohibited",
        "host admin. prohibited",
        "network unreachable TOS",
        "host unreachable TOS",
        "communication admin. prohibited",
        "host presdence violation", // as ZMap spells it: scripts compare it
        "precedence cutoff",
    ];
    const REDIRECT: [&str; 4] =
        ["redirect for network", "redirect for host", "redirect for network TOS", "redirect for host TOS"];
    const TIME_EXCEEDED: [&str; 2] = ["time to live exceeded", "fragment reassembly time exceeded"];
    let words = match kind {
        ICMP_UNREACHABLE => &UNREACHABLE[..],
        ICMP_REDIRECT => &REDIRECT,
        ICMP_TIME_EXCEEDED => &TIME_EXCEEDED,
        ICMP_SOURCE_QUENCH => return "source quench",
        ICMP_PARAMETER_PROBLEM => return "parameter problem",
        _ => &[],
    };
    words.get(usize::from(code)).copied().unwrap_or("unknown")
}

/// Facts about the reply that are not in its bytes.
#[rustfmt::skip]
pub const SYSTEM: [FieldInfo; 5] = [
    field("repeat", Bool, "whether the target had a success before", |r, _| Value::Bool(r.repeat())),
    field("cooldown", Bool, "whether the reply came after the last probe was sent", |r, _| Value::Bool(r.header().cooldown != 0)),
    field("timestamp_str", String, "arrival as local time, ISO 8601 with milliseconds and zone", |r, x| x.time(r.header().time_ns)),
    field("timestamp_ts", Int, "arrival in whole seconds since the Unix epoch", |r, _| Value::U64(r.header().time_ns / NS_PER_SECOND)),
    field("timestamp_us", Int, "arrival: the microseconds beyond timestamp_ts", |r, _| Value::U64(r.header().time_ns % NS_PER_SECOND / 1000)),
];

/// Fields of every module that ZMap does not have.
#[rustfmt::skip]
pub const EXTRA: [FieldInfo; 8] = [
    field("responder", Address, "sender of the reply: a router if it is an ICMP error", |r, _| Value::Address(r.header().responder())),
    field("target", Address, "probed target", |r, _| Value::Address(r.header().target())),
    field("target_port", Int, "port that was probed", |r, _| Value::U64(r.header().target_port.into())),
    field("probe_number", Int, "which copy of the probe is answered, from 0", |r, _| Value::U64(r.header().probe.into())),
    field("timestamp", Time, "arrival in UTC with microseconds, RFC 3339; a timestamp in Parquet", |r, _| Value::Time(r.header().time_ns)),
    field("target_num", Int, "target as a number in the order of addresses: 192.0.2.1 is 3221225985", |r, _| number(r.header().target())),
    field("responder_num", Int, "responder as a number, like target_num", |r, _| number(r.header().responder())),
    field("rx_queue", Int, "RX queue that the reply arrived on", |r, _| Value::U64(r.header().queue.into())),
];

/// An address in ZMap's `_raw` form: its bytes as they are on the wire, read as a little-endian number.
fn raw(address: IpAddr) -> Value<'static> {
    match address {
        IpAddr::V4(address) => Value::U64(u32::from_le_bytes(address.octets()).into()),
        IpAddr::V6(_) => Value::Null,
    }
}

/// An IPv4 address as a number in the order of addresses.
fn number(address: IpAddr) -> Value<'static> {
    match address {
        IpAddr::V4(address) => Value::U64(address.to_bits().into()),
        IpAddr::V6(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_responder() {
        assert!(is_of_responder(&IP_OF_RESPONDER[0]) && !is_of_responder(&IP[0]));
    }

    #[test]
    fn errors_in_words() {
        for (kind, code, words) in [
            (3, 0, "network unreachable"),
            (3, 3, "port unreachable"),
            (3, 15, "precedence cutoff"),
            (3, 16, "unknown"),
            (4, 0, "source quench"),
            (5, 1, "redirect for host"),
            (5, 4, "unknown"),
            (11, 0, "time to live exceeded"),
            (11, 1, "fragment reassembly time exceeded"),
            (11, 2, "unknown"),
            (12, 0, "parameter problem"),
            (13, 0, "unknown"),
        ] {
            assert_eq!(in_words(kind, code), words, "{kind} {code}");
        }
    }
}
