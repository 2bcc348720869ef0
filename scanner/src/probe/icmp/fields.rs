//! The fields of the ICMP probes: names, order and meanings are ZMap's.

use crate::reply::Reply;
use crate::reply::fields::FieldInfo;
use crate::reply::fields::FieldType::Int;

/// Fields of the ICMP header.
#[rustfmt::skip]
pub(super) const HEADER: [FieldInfo; 4] = [
    FieldInfo::new("type", Int, "ICMP type", |r, _| r.icmp().map(|icmp| icmp[0]).into()),
    FieldInfo::new("code", Int, "ICMP code", |r, _| r.icmp().map(|icmp| icmp[1]).into()),
    FieldInfo::new("icmp_id", Int, "ICMP identifier; without meaning in an error", |r, _| number(r, 4).into()),
    FieldInfo::new("seq", Int, "ICMP sequence number; without meaning in an error", |r, _| number(r, 6).into()),
];

fn number(reply: &Reply<'_>, at: usize) -> Option<u16> {
    reply.icmp().map(|icmp| u16::from_be_bytes([icmp[at], icmp[at + 1]]))
}
