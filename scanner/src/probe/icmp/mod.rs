//! The ICMP echo probes: `icmp_echoscan` and `icmp_echo_time`.
//!
//! Owns the shared parts: the first words of an echo request, whose identifier and sequence number are the cookie, and
//! the classification of answers. The field saddr is the sender of the answer, as in ZMap: these modules have no field
//! for a router.

pub mod echo;
pub mod echo_time;
mod fields;

use simd::Lane;
use wire::packet::{
    ICMP_ECHO_REQUEST, ICMP_REDIRECT, ICMP_SOURCE_QUENCH, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, RxFrame,
};
use wire::proof::{Answer, AnswerBody, Check};

use super::ProvenReply;
use super::emit::{FirstWords, Head};
use crate::reply::record::ReplyKind;

/// Type and code; identifier and sequence number.
#[derive(Clone, Copy)]
struct EchoRequest;

impl FirstWords for EchoRequest {
    #[inline(always)]
    fn words<L: Lane>(self, head: Head<L>) -> [L; 2] {
        [L::of(u32::from(ICMP_ECHO_REQUEST) << 24).wire(), head.cookie.echo(head.copy).wire()]
    }
}

/// The classified reply in a received frame.
fn classify(check: &Check, frame: RxFrame<'_>) -> Option<ProvenReply> {
    let answer = check.answer(frame)?;
    let kind = kind(&answer);
    Some(ProvenReply::new(&answer, kind, kind == ReplyKind::EchoReply))
}

fn kind(answer: &Answer<'_>) -> ReplyKind {
    match answer.what {
        AnswerBody::Echo(_) => ReplyKind::EchoReply,
        AnswerBody::Error(ICMP_UNREACHABLE) => ReplyKind::Unreachable,
        AnswerBody::Error(ICMP_SOURCE_QUENCH) => ReplyKind::SourceQuench,
        AnswerBody::Error(ICMP_REDIRECT) => ReplyKind::Redirect,
        AnswerBody::Error(ICMP_TIME_EXCEEDED) => ReplyKind::TimeExceeded,
        _ => ReplyKind::Other,
    }
}

#[cfg(test)]
mod tests;
