//! `dns`: sends one or more questions to each target; an answer that repeats the question is a success.
//!
//! In addition to the port, the transaction number is part of the cookie: a message with another one is not an answer.
//! Copy k of a probe asks question k modulo the number of questions. The port that receives the answer identifies the
//! copy.

pub mod args;
mod fields;
mod message;

use targets::TargetBatch;
use wire::packet::{CAPTURE_MAX, PatchBatch, RxFrame, Template};
use wire::proof::{AnswerBody, Check, Echo, Numbers};

use self::args::Query;
use self::message::Header;
use super::udp::datagram::Datagrams;
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply};
use crate::reply::fields::{Table, common};
use crate::reply::record::{APP_SUCCESS, ReplyKind};

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "dns",
    help: "Sends a DNS question to each target and port. Classifications: dns (an answer that has the transaction number; \
           a success if it repeats the question), icmp. app_success: also an answer with response code 0.\n\
           --probe-args gives the question as TYPE,NAME, several with ; between them: A,example.com;MX,example.com. TYPE \
           is any mnemonic (A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, RRSIG, ALL, HTTPS ...) or TYPE and a number; TYPE:nr \
           does not ask for recursion. --probes must be a multiple of the number of questions: copies take them in turn. \
           Without it: A,www.google.com.",
    fields: Table {
        groups: &[
            &common::IP,
            &common::PORTS,
            &common::VERDICT,
            &fields::APP_SUCCESS,
            &common::ICMP,
            &fields::MESSAGE,
            &common::SYSTEM,
        ],
        extra: &[&common::EXTRA],
    },
    ports: Ports::Or(53),
    has_app_success: true,
};

/// The probe module `dns`.
#[derive(Debug)]
pub struct Dns {
    datagrams: Datagrams,
    queries: Vec<Query>,
}

impl Dns {
    /// The probe of one scan, which asks `queries`, at least one.
    pub fn new(settings: &ProbeSettings, queries: &[Query]) -> Self {
        let len_max = queries.iter().map(|query| query.message().len()).max().unwrap_or(0);
        let datagrams = Datagrams::varying(settings, len_max).echoed(Echo::DnsId);
        Self { datagrams, queries: queries.to_vec() }
    }

    fn query(&self, copy: usize) -> &Query {
        &self.queries[copy % self.queries.len()]
    }
}

impl Probe for Dns {
    fn check(&self) -> &Check {
        &self.datagrams.check
    }

    fn template(&self) -> &Template {
        &self.datagrams.template
    }

    fn capture_len(&self) -> usize {
        CAPTURE_MAX
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        self.datagrams.emit_varying(targets, copies, out, |probe, room| {
            let message = self.query(probe.copy as usize).message();
            room[..message.len()].copy_from_slice(message);
            room[..2].copy_from_slice(&probe.cookie.payload_bits().to_be_bytes());
            message.len()
        });
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.datagrams.classify_udp(frame)?;
        let AnswerBody::Udp(payload) = answer.what else {
            return Some(ProvenReply::new(&answer, ReplyKind::Icmp, false));
        };
        let success = self.query(answer.probe.into()).is_echoed(payload);
        let mut reply = ProvenReply::new(&answer, ReplyKind::Dns, success);
        if success && Header::parse(payload).is_some_and(Header::is_good_answer) {
            reply.flags |= APP_SUCCESS;
        }
        Some(reply)
    }
}

#[cfg(test)]
mod tests;
