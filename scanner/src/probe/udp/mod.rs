//! `udp`: a UDP datagram to each target and port; any UDP answer is a success.
//!
//! Owns the payloads of datagrams: one for all, one from a template, or a ready payload for each port.

pub mod auto;
pub mod datagram;
pub mod template;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use targets::{PortList, TargetBatch};
use wire::packet::{CAPTURE_MAX, PatchBatch, RxFrame, Template};
use wire::proof::{AnswerBody, Check, Numbers};

use self::auto::Entry;
use self::datagram::{DATA, Datagrams, PAYLOAD_LEN_MAX, UDP_PKT_SIZE};
use self::template::{PayloadTemplate, TemplateError};
use super::payload::{self, PayloadError};
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply};
use crate::reply::fields::{FieldInfo, Table, common};
use crate::reply::record::ReplyKind;

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "udp",
    help: "Sends a UDP datagram to each target and port. Classifications: udp (a success), icmp.\n\
           --probe-args gives the payload and is needed: file:PATH, text:TEXT or hex:DIGITS; template:FILE, in which \
           ${NAME} stands for a field (template-fields lists them); auto, a ready payload for each well-known port.\n\
           An answer may come from another port than the one that was probed; --validate-source-port enable refuses \
           such.",
    fields: Table {
        groups: &[&common::IP, &common::VERDICT, &common::PORTS, &DATAGRAM, &common::ICMP, &common::SYSTEM],
        extra: &[&common::EXTRA],
    },
    ports: Ports::Named,
    has_app_success: false,
};

const DATAGRAM: [FieldInfo; 2] = [UDP_PKT_SIZE, DATA];

/// The argument that prints the list of template fields.
pub const LIST_FIELDS: &str = "template-fields";

/// Why a payload is refused. The texts complete "--probe-args: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UdpError {
    /// None of the forms.
    #[error(
        "udp needs a payload: file:PATH, text:TEXT, hex:DIGITS, template:FILE (template-fields lists its fields) or auto\
         {}", .0.as_ref().map(|args| format!(", not \"{args}\"")).unwrap_or_default()
    )]
    Form(Option<String>),
    /// A fixed payload, or the file, is invalid.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The template is invalid.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The payload of the datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The same payload in each.
    Fixed(Vec<u8>),
    /// A payload that the template makes for each.
    Template(PayloadTemplate),
    /// A payload for each port.
    Auto {
        /// The ready ones, ports ascending.
        entries: Vec<Entry>,
        /// That of other ports.
        otherwise: Vec<u8>,
    },
}

impl Payload {
    /// The payload in `args`.
    ///
    /// # Errors
    /// Why it is invalid.
    pub fn parse(args: Option<&OsStr>) -> Result<Self, UdpError> {
        match args {
            Some(args) if args == "auto" => {
                Ok(Self::Auto { entries: auto::all().to_vec(), otherwise: Vec::new() })
            }
            Some(args) => match args.as_bytes().strip_prefix(b"template:") {
                Some(path) => {
                    let text = payload::read(OsStr::from_bytes(path))?;
                    let template = PayloadTemplate::parse(&text, PAYLOAD_LEN_MAX)?;
                    Ok(Self::Template(template))
                }
                None => match payload::parse(args, PAYLOAD_LEN_MAX) {
                    Err(PayloadError::Form(args)) => Err(UdpError::Form(Some(args))),
                    payload => Ok(Self::Fixed(payload?)),
                },
            },
            None => Err(UdpError::Form(None)),
        }
    }

    /// Keeps only the ready payloads for `ports`, so that a probe is no longer than necessary. Returns the ports
    /// without a payload, if there are any. Port 0 alone stands for ports that depend on the target.
    pub fn keep(&mut self, ports: &PortList) -> Option<PortList> {
        let Self::Auto { entries, otherwise } = self else { return None };
        if ports.as_slice() == [0] {
            return None;
        }
        entries.retain(|(port, ..)| ports.contains(*port));
        let without = ports.as_slice().iter().filter(|port| auto::find(entries, **port).is_none());
        let without = PortList::new(without.copied());
        if without.is_none() {
            otherwise.clear();
        }
        let only = ports.as_slice().first().filter(|_| ports.len() == 1 || entries.is_empty());
        if let Some(port) = only {
            *self = Self::Fixed(auto::find(entries, *port).unwrap_or(otherwise).to_vec());
        }
        without
    }

    /// Most bytes of a payload.
    fn len_max(&self) -> usize {
        match self {
            Self::Fixed(payload) => payload.len(),
            Self::Template(template) => template.len_max(),
            Self::Auto { entries, otherwise } => {
                let ready = entries.iter().map(|entry| entry.2.len());
                ready.max().unwrap_or(0).max(otherwise.len())
            }
        }
    }

    /// What ports get for which there is no ready payload, in words.
    pub fn otherwise(&self) -> &'static str {
        match self {
            Self::Auto { otherwise, .. } | Self::Fixed(otherwise) if !otherwise.is_empty() => {
                "datagrams with the URI of their sender"
            }
            _ => "empty datagrams",
        }
    }
}

/// The probe module `udp`.
#[derive(Debug)]
pub struct Udp {
    datagrams: Datagrams,
    payload: Payload,
}

impl Udp {
    /// The probe of one scan.
    pub fn new(settings: &ProbeSettings, payload: &Payload) -> Self {
        let datagrams = match payload {
            Payload::Fixed(bytes) => Datagrams::fixed(settings, bytes),
            _ => Datagrams::varying(settings, payload.len_max()),
        };
        Self { datagrams, payload: payload.clone() }
    }
}

impl Probe for Udp {
    fn check(&self) -> &Check {
        &self.datagrams.check
    }

    fn template(&self) -> &Template {
        &self.datagrams.template
    }

    fn tells_time(&self) -> bool {
        matches!(&self.payload, Payload::Template(template) if template.tells_time())
    }

    fn capture_len(&self) -> usize {
        CAPTURE_MAX
    }

    fn emit(&self, targets: &TargetBatch, copies: Numbers, out: &mut PatchBatch) {
        match &self.payload {
            Payload::Fixed(_) => self.datagrams.emit_fixed(targets, copies, out),
            Payload::Template(template) => {
                self.datagrams.emit_varying(targets, copies, out, |probe, room| template.write(probe, room));
            }
            Payload::Auto { entries, otherwise } => {
                self.datagrams.emit_varying(targets, copies, out, |probe, room| {
                    let payload = auto::find(entries, probe.target_port).unwrap_or(otherwise);
                    room[..payload.len()].copy_from_slice(payload);
                    payload.len()
                });
            }
        }
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.datagrams.classify_udp(frame)?;
        Some(match answer.what {
            AnswerBody::Udp(_) => ProvenReply::new(&answer, ReplyKind::Udp, true),
            _ => ProvenReply::new(&answer, ReplyKind::Icmp, false),
        })
    }
}

#[cfg(test)]
mod tests;
