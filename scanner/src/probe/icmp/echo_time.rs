//! `icmp_echo_time`: an ICMP echo request that carries its time and its target, so that the reply shows the round-trip
//! time and which target it is for.
//!
//! Payload: seconds and microseconds of the sending, 8 bytes each, and the target's address, big endian. A responder
//! could change it, so it gives a time but never proves a target. The URI of the sender may follow.

use targets::TargetBatch;
use wire::packet::{ICMP_LEN, PatchBatch, RxFrame, Template};
use wire::proof::{Check, Numbers, ProbeForm};

use super::{EchoRequest, classify, fields};
use crate::probe::emit::{self, FirstWords};
use crate::probe::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply};
use crate::reply;
use crate::reply::fields::FieldType::Int;
use crate::reply::fields::{FieldInfo, Table, Value, common};

const PAYLOAD_LEN: usize = 20;
const NS_PER_S: u64 = 1_000_000_000;
const US_PER_S: u64 = 1_000_000;

#[rustfmt::skip]
const TIMES: [FieldInfo; 6] = [
    FieldInfo::new("sent_timestamp_ts", Int, "when the probe left: seconds since the Unix epoch", |r, _| sent(r).map(|sent| sent.seconds).into()),
    FieldInfo::new("sent_timestamp_us", Int, "when the probe left: microseconds beyond that", |r, _| sent(r).map(|sent| sent.microseconds).into()),
    FieldInfo::new("recv_timestamp_ts", Int, "when the reply came: seconds since the Unix epoch", |r, _| Value::U64(r.header().time_ns / NS_PER_S)),
    FieldInfo::new("recv_timestamp_us", Int, "when the reply came: microseconds beyond that", |r, _| Value::U64(r.header().time_ns % NS_PER_S / 1000)),
    FieldInfo::new("rtt_us", Int, "microseconds from probe to reply", |r, _| rtt_us(r).into()),
    FieldInfo::new("dst_raw", Int, "target of the probe, as an integer like saddr_raw", |r, _| sent(r).map(|sent| sent.target_raw).into()),
];

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "icmp_echo_time",
    help: "Sends an ICMP echo request that carries the time to each target, and shows the round-trip time (rtt_us). \
           Classifications: echoreply (a success), unreach, sourcequench, redirect, timxceed, other. Takes no \
           --probe-args.",
    fields: Table {
        groups: &[&common::IP_OF_RESPONDER, &fields::HEADER, &TIMES, &common::VERDICT, &common::SYSTEM],
        extra: &[&common::ICMP, &common::EXTRA],
    },
    ports: Ports::None,
    has_app_success: false,
};

/// The content of an echo reply's payload.
#[derive(Clone, Copy)]
struct Sent {
    seconds: u64,
    microseconds: u64,
    target_raw: u32,
}

/// The payload of an echo reply; `None` for an error, which does not quote all of it.
fn sent(reply: &reply::Reply<'_>) -> Option<Sent> {
    let payload: &[u8; PAYLOAD_LEN] = match reply.is_icmp_error() {
        true => return None,
        false => reply.icmp()?.get(ICMP_LEN..)?.first_chunk()?,
    };
    let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| payload[at + i]));
    let target = std::array::from_fn(|i| payload[16 + i]);
    Some(Sent { seconds: number(0), microseconds: number(8), target_raw: u32::from_le_bytes(target) })
}

/// `None` if the time in the reply is not ours: it is in the future, or not a valid time.
fn rtt_us(reply: &reply::Reply<'_>) -> Option<u64> {
    let sent = sent(reply).filter(|sent| sent.microseconds < US_PER_S)?;
    let sent_us = sent.seconds.checked_mul(US_PER_S)?.checked_add(sent.microseconds)?;
    (reply.header().time_ns / 1000).checked_sub(sent_us)
}

/// The probe module `icmp_echo_time`.
#[derive(Debug)]
pub struct IcmpEchoTime {
    check: Check,
    template: Template,
    /// What follows time and target.
    more: Vec<u8>,
}

impl IcmpEchoTime {
    /// The probe of one scan, with `more` behind its own payload.
    pub fn new(settings: &ProbeSettings, more: &[u8]) -> Self {
        let template = Template::icmp_with_tail(settings.envelope(), PAYLOAD_LEN + more.len());
        Self { check: settings.check(ProbeForm::IcmpEcho), template, more: more.to_vec() }
    }
}

impl Probe for IcmpEchoTime {
    fn check(&self) -> &Check {
        &self.check
    }

    fn template(&self) -> &Template {
        &self.template
    }

    fn tells_time(&self) -> bool {
        true
    }

    fn rtt_us(&self, reply: &reply::Reply<'_>) -> Option<u64> {
        rtt_us(reply)
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        let (seconds, us) = (targets.time_ns / NS_PER_S, targets.time_ns % NS_PER_S / 1000);
        emit::with_tails(&self.check, &self.template, targets, copies, out, |probe, room| {
            room[..8].copy_from_slice(&seconds.to_be_bytes());
            room[8..16].copy_from_slice(&us.to_be_bytes());
            room[16..PAYLOAD_LEN].copy_from_slice(&probe.target.to_be_bytes());
            room[PAYLOAD_LEN..].copy_from_slice(&self.more);
            (EchoRequest.words(probe.head()), room.len())
        });
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        classify(&self.check, frame)
    }
}
