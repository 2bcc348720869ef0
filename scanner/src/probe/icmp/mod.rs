//! The ICMP echo probes: `icmp_echoscan` and `icmp_echo_time`.
//!
//! Owns what both share: the words of an echo request, its identifier and sequence number being cookie, and what its
//! answers are called. Their saddr is whoever answered, as in ZMap: these modules have no field for a router.

pub mod echo;
pub mod echo_time;
mod fields;

use super::emit::{FirstWords, Head};
use super::{Answer, Check, Reply, What};
use crate::io::batch::RxFrame;
use crate::packet::{
    ICMP_ECHO_REQUEST, ICMP_REDIRECT, ICMP_SOURCE_QUENCH, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE,
};
use crate::results::record::Kind;
use crate::simd::Lane;

/// Type and code; identifier and sequence number.
#[derive(Clone, Copy)]
struct EchoRequest;

impl FirstWords for EchoRequest {
    #[inline(always)]
    fn words<L: Lane>(self, head: Head<L>) -> [L; 2] {
        [L::of(u32::from(ICMP_ECHO_REQUEST) << 24).wire(), head.cookie.echo(head.copy).wire()]
    }
}

/// What a received frame answers.
fn classify(check: &Check, frame: RxFrame<'_>) -> Option<Reply> {
    let answer = check.answer(frame)?;
    let kind = kind(&answer);
    Some(Reply::new(&answer, kind, kind == Kind::EchoReply))
}

fn kind(answer: &Answer<'_>) -> Kind {
    match answer.what {
        What::Echo(_) => Kind::EchoReply,
        What::Error(ICMP_UNREACHABLE) => Kind::Unreachable,
        What::Error(ICMP_SOURCE_QUENCH) => Kind::SourceQuench,
        What::Error(ICMP_REDIRECT) => Kind::Redirect,
        What::Error(ICMP_TIME_EXCEEDED) => Kind::TimeExceeded,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests;
