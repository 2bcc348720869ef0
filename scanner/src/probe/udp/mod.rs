//! `udp`: a UDP datagram to each target and port; any UDP answer is a success.
//!
//! Owns what datagrams carry: the same for all, a template's, or a ready payload for each port.

pub mod auto;
pub mod datagram;
pub mod template;

use self::auto::Entry;
use self::datagram::{DATA, Datagrams, PAYLOAD_LEN_MAX, UDP_PKT_SIZE};
use self::template::{PayloadTemplate, TemplateError};
use super::payload::{self, PayloadError};
use super::{Check, ModuleInfo, Probe, Reply, Settings, What};
use crate::io::batch::RxFrame;
use crate::packet::{PatchBatch, Template};
use crate::results::fields::{FieldInfo, Table, common};
use crate::results::record::{CAPTURE_MAX, Kind};
use crate::targets::{PortList, TargetBatch};

/// The module as lists and help texts know it.
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
    has_ports: true,
    has_app_success: false,
};

const DATAGRAM: [FieldInfo; 2] = [UDP_PKT_SIZE, DATA];

/// The argument that asks for the list of template fields.
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
    /// A fixed payload, or the file, is no good.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The template is no good.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// What the datagrams carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The same, all of them.
    Fixed(Vec<u8>),
    /// Each what the template makes of it.
    Template(PayloadTemplate),
    /// Each what suits its port: those of these, ports ascending, or nothing.
    Auto(Vec<Entry>),
}

impl Payload {
    /// The payload that `args` asks for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(args: Option<&str>) -> Result<Self, UdpError> {
        match args {
            Some("auto") => Ok(Self::Auto(auto::all().to_vec())),
            Some(args) => match args.strip_prefix("template:") {
                Some(path) => {
                    let template = PayloadTemplate::parse(&payload::read(path)?, PAYLOAD_LEN_MAX)?;
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

    /// Keeps of the ready payloads those for `ports`, so that a probe is no longer than they take. The ports for which
    /// there is none, if any. Port 0 alone stands for ports that are not known before a target is.
    pub fn keep(&mut self, ports: &PortList) -> Option<PortList> {
        let Self::Auto(entries) = self else { return None };
        if ports.as_slice() == [0] {
            return None;
        }
        entries.retain(|(port, ..)| ports.contains(*port));
        let without = ports.as_slice().iter().filter(|port| auto::find(entries, **port).is_none());
        let without = PortList::new(without.copied());
        let only = ports.as_slice().first().filter(|_| ports.len() == 1 || entries.is_empty());
        if let Some(port) = only {
            *self = Self::Fixed(auto::payload(entries, *port).to_vec());
        }
        without
    }

    /// Most bytes of a payload.
    fn len_max(&self) -> usize {
        match self {
            Self::Fixed(payload) => payload.len(),
            Self::Template(template) => template.len_max(),
            Self::Auto(entries) => entries.iter().map(|entry| entry.2.len()).max().unwrap_or(0),
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
    pub fn new(settings: &Settings, payload: &Payload) -> Self {
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

    fn emit(&self, targets: &TargetBatch, out: &mut PatchBatch) {
        match &self.payload {
            Payload::Fixed(_) => self.datagrams.emit_fixed(targets, out),
            Payload::Template(template) => {
                self.datagrams.emit_varying(targets, out, |probe, room| template.write(probe, room));
            }
            Payload::Auto(entries) => self.datagrams.emit_varying(targets, out, |probe, room| {
                let payload = auto::payload(entries, probe.target_port);
                room[..payload.len()].copy_from_slice(payload);
                payload.len()
            }),
        }
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<Reply> {
        let answer = self.datagrams.classify_udp(frame)?;
        Some(match answer.what {
            What::Udp(_) => Reply::new(&answer, Kind::Udp, true),
            _ => Reply::new(&answer, Kind::Icmp, false),
        })
    }
}

#[cfg(test)]
mod tests;
