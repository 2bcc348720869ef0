//! `upnp`: a search for root devices (SSDP) to each target; an HTTP 200 is a success.
//!
//! The request is that of the UPnP Device Architecture 1.1, section 1.3.2, in the multicast form, because devices that
//! support only version 1.0 need its HOST and MX. Devices are careless with their answers, so headers are parsed line
//! by line here, whatever their content and number. HTTP parsers refuse an answer for a single odd byte.

use targets::TargetBatch;
use wire::packet::{CAPTURE_MAX, PatchBatch, RxFrame, Template};
use wire::proof::{AnswerBody, Check, Numbers};

use super::udp::datagram::{DATA, Datagrams};
use super::{ModuleInfo, Ports, Probe, ProbeSettings, ProvenReply};
use crate::reply;
use crate::reply::fields::FieldType::String as Text;
use crate::reply::fields::{FieldInfo, Table, Value, common, escaped};
use crate::reply::record::ReplyKind;

/// A device waits a random part of MX seconds, so that not all answer at once. We send to only one, so the least value
/// is enough.
const SEARCH: &[u8] = b"M-SEARCH * HTTP/1.1\r\n\
    HOST: 239.255.255.250:1900\r\n\
    MAN: \"ssdp:discover\"\r\n\
    MX: 1\r\n\
    ST: upnp:rootdevice\r\n\
    \r\n";

/// The start of a success.
const STATUS_LINE: &[u8] = b"HTTP/1.1 200 OK";

/// Headers of the answer: the last one with a name counts.
#[rustfmt::skip]
const HEADERS: [FieldInfo; 9] = [
    FieldInfo::new("server", Text, "header Server: system, UPnP version and product", |r, _| header(r, "server")),
    FieldInfo::new("location", Text, "header Location: where the device describes itself", |r, _| header(r, "location")),
    FieldInfo::new("usn", Text, "header USN: name of the device or service", |r, _| header(r, "usn")),
    FieldInfo::new("st", Text, "header ST: what was searched for", |r, _| header(r, "st")),
    FieldInfo::new("ext", Text, "header EXT, which has no value", |r, _| header(r, "ext")),
    FieldInfo::new("cache_control", Text, "header Cache-Control: how long this holds", |r, _| header(r, "cache-control")),
    FieldInfo::new("x_user_agent", Text, "header X-User-Agent", |r, _| header(r, "x-user-agent")),
    FieldInfo::new("agent", Text, "header Agent", |r, _| header(r, "agent")),
    FieldInfo::new("date", Text, "header Date", |r, _| header(r, "date")),
];

/// The module's entry in lists and help texts.
pub const INFO: ModuleInfo = ModuleInfo {
    name: "upnp",
    help: "Sends an SSDP search for UPnP root devices to each target and port. Classifications: upnp (an HTTP 200, a \
           success), no-http-header (another UDP answer), icmp. Takes no --probe-args.",
    fields: Table {
        groups: &[
            &common::IP,
            &common::VERDICT,
            &HEADERS,
            &common::PORTS,
            &common::ICMP,
            &[DATA],
            &common::SYSTEM,
        ],
        extra: &[&common::EXTRA],
    },
    ports: Ports::Or(1900),
    has_app_success: false,
};

/// The headers of an answer, names in lower case.
struct Headers(Vec<(String, String)>);

impl Headers {
    /// The headers of an answer that is a success; none for another answer.
    fn parse(payload: &[u8]) -> Self {
        if !is_success(payload) {
            return Self(vec![]);
        }
        let mut lines = payload.trim_ascii_start().split(|&byte| byte == b'\n').skip(1);
        let header = |line: &[u8]| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = str::from_utf8(line[..colon].trim_ascii_end()).ok()?.to_ascii_lowercase();
            Some((name, escaped(line[colon + 1..].trim_ascii())))
        };
        // Up to an empty line, which some devices leave out.
        let lines = std::iter::from_fn(|| lines.next().filter(|line| !matches!(line, [] | [b'\r'])));
        Self(lines.filter_map(header).collect())
    }
}

fn header<'v>(reply: &'v reply::Reply<'v>, name: &str) -> Value<'v> {
    let headers = reply.parsed(|reply| Headers::parse(reply.udp_payload().unwrap_or_default()));
    let last = headers.and_then(|headers| headers.0.iter().rfind(|(found, _)| found == name));
    last.map(|(_, value)| value.as_str()).into()
}

/// Whether the first line reports success.
fn is_success(payload: &[u8]) -> bool {
    let start = payload.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(payload.len());
    payload[start..]
        .strip_prefix(STATUS_LINE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n"))
}

/// The probe module `upnp`.
#[derive(Debug)]
pub struct Upnp {
    datagrams: Datagrams,
}

impl Upnp {
    /// The probe of one scan.
    pub fn new(settings: &ProbeSettings) -> Self {
        Self { datagrams: Datagrams::fixed(settings, SEARCH) }
    }
}

impl Probe for Upnp {
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
        self.datagrams.emit_fixed(targets, copies, out);
    }

    fn classify(&self, frame: RxFrame<'_>) -> Option<ProvenReply> {
        let answer = self.datagrams.classify_udp(frame)?;
        Some(match answer.what {
            AnswerBody::Udp(payload) if is_success(payload) => {
                ProvenReply::new(&answer, ReplyKind::Upnp, true)
            }
            AnswerBody::Udp(_) => ProvenReply::new(&answer, ReplyKind::NoHttpHeader, false),
            _ => ProvenReply::new(&answer, ReplyKind::Icmp, false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{
        TARGET, assert_is_sound, classify, frames, icmp_error, row, settings, udp_answer,
    };
    use crate::reply::record::{ICMP_ERROR, SUCCESS};
    use proptest::prelude::*;
    use serde_json::json;

    fn answered(payload: &[u8]) -> serde_json::Value {
        let probe = Upnp::new(&settings(1));
        let frame = &frames(&probe, &[(TARGET, 1900)])[0];
        row(&INFO.fields, &probe, &udp_answer(frame, payload))
    }

    fn fields<const N: usize>(row: &serde_json::Value, names: [&str; N]) -> serde_json::Value {
        names.map(|name| row[name].clone()).to_vec().into()
    }

    #[test]
    fn headers() {
        let row = answered(
            b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nst:upnp:rootdevice\r\nUSN :uuid:1::upnp:rootdevice\r\n\
              EXT:\r\nServer:  A/1 UPnP/1.1 B/2\t\r\nLocation: http://a/\r\nLOCATION: http://b:80/c\r\nno header\r\n\
              Date: \xff\xfe\r\nx-user-agent: x\r\nAgent: y",
        );
        assert_eq!(
            fields(&row, ["classification", "success", "server", "location", "usn", "st", "ext"]),
            json!([
                "upnp",
                true,
                "A/1 UPnP/1.1 B/2",
                "http://b:80/c",
                "uuid:1::upnp:rootdevice",
                "upnp:rootdevice",
                ""
            ])
        );
        assert_eq!(
            fields(&row, ["cache_control", "x_user_agent", "agent", "date"]),
            json!(["max-age=120", "x", "y", "\\255\\254"])
        );
    }

    /// An odd byte affects only its own line, and the number of headers is not limited.
    #[test]
    fn odd_headers() {
        let many = "X:\r\n".repeat(150);
        let row = answered(
            format!("HTTP/1.1 200 OK\r\n{many}Server: \u{1b}[1mA\r\nUSN:\t a:b \n\u{1}ST: no\r\nbad\r\n\r\nDate: body")
                .as_bytes(),
        );
        assert_eq!(
            fields(&row, ["success", "server", "usn", "st", "date"]),
            json!([true, "\\027[1mA", "a:b", null, null])
        );
    }

    #[test]
    fn status_lines() {
        for good in
            ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK\nServer: a\n\n", "\r\n\nHTTP/1.1 200 OK\r\nServer: a\r\n"]
        {
            let row = answered(good.as_bytes());
            assert_eq!(row["classification"], "upnp", "{good:?}");
            assert_eq!(row["server"].as_str(), good.contains("Server").then_some("a"), "{good:?}");
        }
        for bad in
            ["", "HTTP/1.1 200 OKAY\r\n", "HTTP/1.1 404 Not Found\r\nServer: a\r\n\r\n", "M-SEARCH", "\r\n"]
        {
            let row = answered(bad.as_bytes());
            assert_eq!(
                fields(&row, ["classification", "success", "server"]),
                json!(["no-http-header", false, null])
            );
        }
    }

    proptest! {
        #[test]
        fn answers(
            address: u32,
            port: u16,
            noise in prop::collection::vec(any::<u8>(), 0..300),
            lines in "([A-Za-z -]{0,12}:?[ -~\t]{0,20}\r?\n?){0,120}",
        ) {
            let probe = Upnp::new(&settings(2));
            for frame in frames(&probe, &[(address, port)]) {
                assert_is_sound(&frame);
                prop_assert_eq!(&frame[42..], SEARCH);
                for payload in [&noise, &[STATUS_LINE, b"\r\n", &noise].concat(), &[STATUS_LINE, b"\r\n", lines.as_bytes()].concat()] {
                    let answer = udp_answer(&frame, payload);
                    let found = classify(&probe, &answer).unwrap();
                    prop_assert_eq!(found.flags == SUCCESS, found.kind == ReplyKind::Upnp);
                    row(&INFO.fields, &probe, &answer);
                }
                let found = classify(&probe, &icmp_error(&frame, 3, 3, 8)).unwrap();
                prop_assert_eq!((found.kind, found.flags), (ReplyKind::Icmp, ICMP_ERROR));
            }
        }
    }
}
