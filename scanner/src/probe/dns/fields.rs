//! The fields of `dns`: names, order and meanings are ZMap's.

use super::message::{Header, Message};
use crate::reply::Reply;
use crate::reply::fields::FieldType::{Binary, Bool, Int, Repeated};
use crate::reply::fields::{FieldInfo, Value};

/// Whether the server did what the probe requested.
#[rustfmt::skip]
pub(super) const APP_SUCCESS: [FieldInfo; 1] = [
    FieldInfo::new("app_success", Bool, "whether it is an answer (QR set) with response code 0", |r, _| Value::Bool(r.header().is_app_success())),
];

/// Fields of the message. If it answers another question than ours, only those of the header have values.
#[rustfmt::skip]
pub(super) const MESSAGE: [FieldInfo; 23] = [
    FieldInfo::new("udp_len", Int, "length of the UDP datagram, header included, as its header says", |r, _| r.udp_len().into()),
    FieldInfo::new("dns_id", Int, "transaction number", |r, _| header(r, |header| header.number(0))),
    FieldInfo::new("dns_rd", Int, "recursion desired", |r, _| header(r, |header| header.bits(8, 1))),
    FieldInfo::new("dns_tc", Int, "truncated: the answer did not fit into a datagram", |r, _| header(r, |header| header.bits(9, 1))),
    FieldInfo::new("dns_aa", Int, "authoritative answer", |r, _| header(r, |header| header.bits(10, 1))),
    FieldInfo::new("dns_opcode", Int, "kind of query", |r, _| header(r, |header| header.bits(11, 4))),
    FieldInfo::new("dns_qr", Int, "query (0) or response (1)", |r, _| header(r, |header| header.bits(15, 1))),
    FieldInfo::new("dns_rcode", Int, "response code", |r, _| header(r, |header| header.bits(0, 4))),
    FieldInfo::new("dns_cd", Int, "checking disabled", |r, _| header(r, |header| header.bits(4, 1))),
    FieldInfo::new("dns_ad", Int, "authentic data", |r, _| header(r, |header| header.bits(5, 1))),
    FieldInfo::new("dns_z", Int, "reserved bit", |r, _| header(r, |header| header.bits(6, 1))),
    FieldInfo::new("dns_ra", Int, "recursion available", |r, _| header(r, |header| header.bits(7, 1))),
    FieldInfo::new("dns_qdcount", Int, "number of questions in the header", |r, _| header(r, |header| header.number(4))),
    FieldInfo::new("dns_ancount", Int, "number of answers in the header", |r, _| header(r, |header| header.number(6))),
    FieldInfo::new("dns_nscount", Int, "number of records of authorities in the header", |r, _| header(r, |header| header.number(8))),
    FieldInfo::new("dns_arcount", Int, "number of additional records in the header", |r, _| header(r, |header| header.number(10))),
    FieldInfo::new("dns_questions", Repeated, "questions", |r, _| section(r, 0)),
    FieldInfo::new("dns_answers", Repeated, "answers", |r, _| section(r, 1)),
    FieldInfo::new("dns_authorities", Repeated, "records of authorities", |r, _| section(r, 2)),
    FieldInfo::new("dns_additionals", Repeated, "additional records", |r, _| section(r, 3)),
    FieldInfo::new("dns_parse_err", Int, "1 if the message could not be read to its end, or was not read", |r, _| Value::U64(message(r).is_none_or(|message| message.is_bad).into())),
    FieldInfo::new("dns_unconsumed_bytes", Int, "bytes that could not be read", |r, _| Value::U64(message(r).map_or(0, |message| message.unconsumed_len as u64))),
    FieldInfo::new("raw_data", Binary, "payload of the UDP datagram", |r, _| r.udp_payload().into()),
];

/// The message of an answer, read once.
fn message<'v>(reply: &'v Reply<'v>) -> Option<&'v Message> {
    if reply.is_icmp_error() {
        return None;
    }
    let success = reply.header().is_success();
    reply.parsed(|reply| Message::parse_answer(reply.udp_payload().unwrap_or_default(), success))
}

fn header<'v>(reply: &'v Reply<'v>, number: impl FnOnce(Header) -> u16) -> Value<'v> {
    message(reply).and_then(|message| message.header).map(number).into()
}

fn section<'v>(reply: &'v Reply<'v>, number: usize) -> Value<'v> {
    Value::List(message(reply).map_or(&[], |message| &message.sections[number]))
}
