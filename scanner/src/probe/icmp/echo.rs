//! `icmp_echoscan`: an ICMP echo request to each target; an echo reply is a success.

use std::ffi::OsStr;

use simd::Level;
use targets::TargetBatch;
use wire::packet::{PatchBatch, RxFrame, Template};
use wire::proof::{Check, Numbers, ProbeForm};

use super::{EchoRequest, classify, fields};
use crate::probe::attribution::Uri;
use crate::probe::payload::{self, PayloadError};
use crate::probe::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply, emit};
use crate::reply::fields::FieldType::Binary;
use crate::reply::fields::{FieldInfo, Table, common};

/// Most bytes of payload, as in ZMap: a frame for an MTU of 1500 with room for IP options.
const PAYLOAD_LEN_MAX: usize = 1458;
/// Bytes of the default payload, all zero.
const PAYLOAD_LEN: usize = 20;

/// The bytes after type, code and checksum, as in ZMap: identifier and sequence number are the first four.
const DATA: [FieldInfo; 1] = [FieldInfo::new("data", Binary, "the message behind its checksum", |r, _| {
    r.icmp().and_then(|icmp| icmp.get(4..)).into()
})];

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "icmp_echoscan",
    help: "Sends an ICMP echo request to each target. Classifications: echoreply (a success), unreach, sourcequench, \
           redirect, timxceed, other.\n\
           --probe-args gives the payload: file:PATH, text:TEXT or hex:DIGITS; without it, 20 zeroes.",
    fields: Table {
        groups: &[&common::IP_OF_RESPONDER, &fields::HEADER, &common::VERDICT, &DATA, &common::SYSTEM],
        extra: &[&common::ICMP, &common::EXTRA],
    },
    ports: Ports::None,
    has_app_success: false,
};

/// The payload in `args`.
///
/// # Errors
/// Why it is invalid.
pub fn parse_args(args: Option<&OsStr>) -> Result<Vec<u8>, PayloadError> {
    args.map_or_else(|| Ok(vec![0; PAYLOAD_LEN]), |args| payload::parse(args, PAYLOAD_LEN_MAX))
}

/// Puts `uri` into a payload: in place of the zeroes of the default one, or behind one that was given.
///
/// # Errors
/// There is no room for it.
pub fn attribute(payload: &mut Vec<u8>, is_given: bool, uri: &Uri) -> Result<(), PayloadError> {
    if !is_given {
        *payload = uri.alone();
        payload.resize(payload.len().max(PAYLOAD_LEN), 0);
        return Ok(());
    }
    payload.extend(uri.behind());
    match payload.len() {
        len if len > PAYLOAD_LEN_MAX => Err(PayloadError::TooLong { len, max: PAYLOAD_LEN_MAX }),
        _ => Ok(()),
    }
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
    pub fn new(settings: &ProbeSettings, payload: &[u8]) -> Self {
        Self {
            check: settings.check(ProbeForm::IcmpEcho),
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

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        emit::fixed(self.level, &self.check, &self.template, EchoRequest, targets, copies, out);
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        classify(&self.check, frame)
    }
}
