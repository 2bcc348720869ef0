//! `icmp_echoscan`: an ICMP echo request to each target; an echo reply is a success.

use super::{EchoRequest, classify, fields};
use crate::io::batch::RxFrame;
use crate::packet::{PatchBatch, Template};
use crate::probe::payload::{self, PayloadError};
use crate::probe::{Check, Form, ModuleInfo, Probe, Reply, Settings, emit};
use crate::results::fields::FieldType::Binary;
use crate::results::fields::{FieldInfo, Table, common};
use crate::simd::Level;
use crate::targets::TargetBatch;

/// Most bytes of payload, as in ZMap: a frame for an MTU of 1500 with room for IP options.
const PAYLOAD_LEN_MAX: usize = 1458;
/// Bytes of payload unless one is given, all zero.
const PAYLOAD_LEN: usize = 20;

/// What follows type, code and checksum, as ZMap has it: identifier and sequence number are its first four bytes.
const DATA: [FieldInfo; 1] = [FieldInfo::new("data", Binary, "the message behind its checksum", |r, _| {
    r.icmp().and_then(|icmp| icmp.get(4..)).into()
})];

/// The module as lists and help texts know it.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "icmp_echoscan",
    help: "Sends an ICMP echo request to each target. Classifications: echoreply (a success), unreach, sourcequench, \
           redirect, timxceed, other.\n\
           --probe-args gives the payload: file:PATH, text:TEXT or hex:DIGITS; without it, 20 zeroes.",
    fields: Table {
        groups: &[&common::IP_OF_RESPONDER, &fields::HEADER, &common::VERDICT, &DATA, &common::SYSTEM],
        extra: &[&common::ICMP, &common::EXTRA],
    },
    has_ports: false,
    has_app_success: false,
};

/// The payload that `args` gives.
///
/// # Errors
/// What is wrong with it.
pub fn parse_args(args: Option<&str>) -> Result<Vec<u8>, PayloadError> {
    args.map_or_else(|| Ok(vec![0; PAYLOAD_LEN]), |args| payload::parse(args, PAYLOAD_LEN_MAX))
}

/// The probe module `icmp_echoscan`.
#[derive(Debug)]
pub struct IcmpEcho {
    check: Check,
    template: Template,
    level: Level,
}

impl IcmpEcho {
    /// The probe of one scan.
    pub fn new(settings: &Settings, payload: &[u8]) -> Self {
        Self {
            check: settings.check(Form::IcmpEcho),
            template: Template::icmp(settings.envelope(), payload),
            level: Level::detect(),
        }
    }
}

impl Probe for IcmpEcho {
    fn check(&self) -> &Check {
        &self.check
    }

    fn template(&self) -> &Template {
        &self.template
    }

    fn capture_len(&self) -> usize {
        self.template.bytes().len().max(crate::probe::HEADERS_CAPTURE_LEN)
    }

    fn emit(&self, targets: &TargetBatch, out: &mut PatchBatch) {
        emit::fixed(self.level, &self.check, &self.template, EchoRequest, targets, out);
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<Reply> {
        classify(&self.check, frame)
    }
}
