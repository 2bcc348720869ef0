//! Payload templates: `--probe-args template:FILE`, ZMap's format.
//!
//! A template is bytes in which `${NAME}` or `${NAME=PARAMETER}` stands for a field; an unknown name stays as it is.
//! Random fields are derived from the probe's cookie, so the same probe of the same scan has the same payload each
//! time.

use std::io::Write as _;
use std::net::Ipv4Addr;

use crate::probe::emit::Outgoing;
use crate::probe::payload;

/// Seconds from 1900, the epoch of NTP (RFC 5905, section 6), to 1970.
const NTP_EPOCH_S: u64 = 2_208_988_800;
const NS_PER_S: u64 = 1_000_000_000;

const DIGITS: &[u8] = b"0123456789";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ALPHANUMERICS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    SourceAddress,
    SourceAddressText,
    TargetAddress,
    TargetAddressText,
    SourcePort,
    SourcePortText,
    TargetPort,
    TargetPortText,
    RandomBytes,
    /// Random choices from these characters.
    Random(&'static [u8]),
    Hex,
    UnixSeconds,
    UnixMicroseconds,
    NtpTimestamp,
}

use Field::*;

/// The fields by their names, in ZMap's order.
const FIELDS: [(&str, Field, &str); 16] = [
    ("SADDR_N", SourceAddress, "source address, 4 bytes"),
    ("SADDR", SourceAddressText, "source address as text"),
    ("DADDR_N", TargetAddress, "target address, 4 bytes"),
    ("DADDR", TargetAddressText, "target address as text"),
    ("SPORT_N", SourcePort, "source port, 2 bytes"),
    ("SPORT", SourcePortText, "source port as text"),
    ("DPORT_N", TargetPort, "target port, 2 bytes"),
    ("DPORT", TargetPortText, "target port as text"),
    ("RAND_BYTE", RandomBytes, "this many random bytes: ${RAND_BYTE=8}"),
    ("RAND_DIGIT", Random(DIGITS), "this many random digits: ${RAND_DIGIT=8}"),
    ("RAND_ALPHA", Random(LETTERS), "this many random letters: ${RAND_ALPHA=8}"),
    ("RAND_ALPHANUM", Random(ALPHANUMERICS), "this many random letters and digits: ${RAND_ALPHANUM=8}"),
    ("HEX", Hex, "these bytes, as hexadecimal digits: ${HEX=00ff}"),
    ("UNIXTIME_SEC", UnixSeconds, "seconds since the Unix epoch, 4 bytes"),
    ("UNIXTIME_USEC", UnixMicroseconds, "microseconds beyond those, 4 bytes"),
    ("NTP_TIMESTAMP", NtpTimestamp, "time as a 64-bit NTP timestamp (RFC 5905)"),
];

impl Field {
    /// Most bytes of its value, unless a parameter gives the length.
    fn len_max(self) -> usize {
        match self {
            SourceAddressText | TargetAddressText => "255.255.255.255".len(),
            SourcePortText | TargetPortText => "65535".len(),
            SourcePort | TargetPort => 2,
            SourceAddress | TargetAddress | UnixSeconds | UnixMicroseconds => 4,
            NtpTimestamp => 8,
            RandomBytes | Random(_) | Hex => 0,
        }
    }

    fn is_time(self) -> bool {
        matches!(self, UnixSeconds | UnixMicroseconds | NtpTimestamp)
    }
}

/// The output of `--probe-args template-fields`: one line per field.
pub fn listing() -> String {
    let mut text = "Fields of UDP payload templates:\n".to_owned();
    FIELDS.iter().for_each(|(name, _, doc)| text.push_str(&format!("{name}: {doc}\n")));
    text
}

/// Why a template is refused. The texts complete "--probe-args: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A random field without a usable length.
    #[error("template field ${{{field}}} needs a length from 0 to {max}, such as ${{{name}=8}}")]
    Length {
        /// The field as it is in the template.
        field: String,
        /// Its name.
        name: &'static str,
        /// The maximum.
        max: usize,
    },
    /// `HEX` without bytes.
    #[error("template field ${{{0}}} needs pairs of hexadecimal digits, such as ${{HEX=00ff}}")]
    Hex(String),
    /// It is too long.
    #[error("the template makes up to {len} bytes; a probe holds at most {max}")]
    TooLong {
        /// Most bytes of a payload.
        len: usize,
        /// The maximum.
        max: usize,
    },
}

/// A piece of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Literal bytes.
    Bytes(Vec<u8>),
    /// This many random bytes, of any value or of these characters.
    Random(Option<&'static [u8]>, usize),
    /// A field whose value differs from probe to probe.
    Of(Field),
}

impl Part {
    fn len_max(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Random(_, len) => *len,
            Self::Of(field) => field.len_max(),
        }
    }

    /// The meaning of `${text}`; `None` if it is not a field.
    fn parse(text: &[u8], len_max: usize) -> Result<Option<Self>, TemplateError> {
        let Ok(text) = str::from_utf8(text) else { return Ok(None) };
        let (name, parameter) = match text.split_once('=') {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let Some(&(name, field, _)) = FIELDS.iter().find(|(known, ..)| *known == name) else {
            return Ok(None);
        };
        let len = || {
            let len = parameter.and_then(|len| len.parse().ok()).filter(|len| *len <= len_max);
            len.ok_or_else(|| TemplateError::Length { field: shown(text), name, max: len_max })
        };
        Ok(Some(match field {
            RandomBytes => Self::Random(None, len()?),
            Random(characters) => Self::Random(Some(characters), len()?),
            Hex => {
                let bytes = parameter.and_then(payload::hex);
                Self::Bytes(bytes.ok_or_else(|| TemplateError::Hex(shown(text)))?)
            }
            other => Self::Of(other),
        }))
    }
}

/// A field, shortened for a message: it comes from a file, and may be long or hold any bytes.
fn shown(text: &str) -> String {
    /// Most characters of the field. More would make the message longer than a line; fewer may not identify the field.
    const MOST: usize = 40;
    let end = text.char_indices().nth(MOST).map_or(text.len(), |(at, _)| at);
    let rest = if end < text.len() { "..." } else { "" };
    format!("{}{rest}", text[..end].escape_debug())
}

/// A payload that differs from probe to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadTemplate {
    parts: Vec<Part>,
}

impl PayloadTemplate {
    /// Reads a template whose payloads may have `len_max` bytes.
    ///
    /// # Errors
    /// An invalid field, or a payload that may become too long.
    pub fn parse(text: &[u8], len_max: usize) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let (mut from, mut at) = (0, 0);
        while let Some(start) = text[at..].windows(2).position(|two| two == b"${") {
            at += start;
            // Without an end, no further field follows.
            let Some(len) = text[at..].iter().position(|byte| *byte == b'}') else { break };
            let end = at + len;
            if let Some(part) = Part::parse(&text[at + 2..end], len_max)? {
                parts.push(Part::Bytes(text[from..at].to_vec()));
                parts.push(part);
                from = end + 1;
            }
            at = end + 1;
        }
        parts.push(Part::Bytes(text[from..].to_vec()));
        parts.retain(|part| part.len_max() > 0);
        let template = Self { parts };
        match template.len_max() {
            len if len > len_max => Err(TemplateError::TooLong { len, max: len_max }),
            _ => Ok(template),
        }
    }

    /// Most bytes of a payload.
    pub fn len_max(&self) -> usize {
        self.parts.iter().map(Part::len_max).sum()
    }

    /// Whether a payload holds the time.
    pub fn tells_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Of(field) if field.is_time()))
    }

    /// Writes the payload of `probe` into `room`, which has [`PayloadTemplate::len_max`] bytes, and returns its length.
    pub(in crate::probe) fn write(&self, probe: Outgoing, room: &mut [u8]) -> usize {
        let len = room.len();
        let mut rest = room;
        let mut mix = Mix(probe.cookie.0.wrapping_add(u64::from(probe.copy) << 56));
        for part in &self.parts {
            let fits = match part {
                Part::Bytes(bytes) => rest.write_all(bytes),
                Part::Random(characters, len) => (0..*len).try_for_each(|_| {
                    let word = mix.next();
                    rest.write_all(&[match characters {
                        Some(characters) => characters[(word % characters.len() as u64) as usize],
                        None => word as u8,
                    }])
                }),
                Part::Of(field) => field.write(probe, &mut rest),
            };
            debug_assert!(fits.is_ok(), "the room is as long as the longest payload");
        }
        len - rest.len()
    }
}

impl Field {
    /// Writes a value that differs from probe to probe.
    fn write(self, probe: Outgoing, out: &mut &mut [u8]) -> std::io::Result<()> {
        let (seconds, ns) = (probe.time_ns / NS_PER_S, probe.time_ns % NS_PER_S);
        match self {
            SourceAddress => out.write_all(&probe.source.to_be_bytes()),
            SourceAddressText => write!(out, "{}", Ipv4Addr::from(probe.source)),
            TargetAddress => out.write_all(&probe.target.to_be_bytes()),
            TargetAddressText => write!(out, "{}", Ipv4Addr::from(probe.target)),
            SourcePort => out.write_all(&probe.source_port.to_be_bytes()),
            SourcePortText => write!(out, "{}", probe.source_port),
            TargetPort => out.write_all(&probe.target_port.to_be_bytes()),
            TargetPortText => write!(out, "{}", probe.target_port),
            UnixSeconds => out.write_all(&(seconds as u32).to_be_bytes()),
            UnixMicroseconds => out.write_all(&((ns / 1000) as u32).to_be_bytes()),
            NtpTimestamp => {
                let fraction = (ns << 32) / NS_PER_S;
                out.write_all(&(seconds.wrapping_add(NTP_EPOCH_S) << 32 | fraction).to_be_bytes())
            }
            // These are separate parts.
            RandomBytes | Random(_) | Hex => Ok(()),
        }
    }
}

/// Random words from a seed: a counter, mixed as SplitMix64 does (Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014).
struct Mix(u64);

impl Mix {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::proof::Cookie;

    const PROBE: Outgoing = Outgoing {
        source: 0xc613_0001,
        target: 0xc612_0102,
        source_port: 40_000,
        target_port: 161,
        cookie: Cookie(0x0123_4567_89ab_cdef),
        copy: 0,
        time_ns: 1_769_857_200_250_000_999,
    };

    fn rendered(template: &[u8], probe: Outgoing) -> Vec<u8> {
        let template = PayloadTemplate::parse(template, 1472).unwrap();
        let mut room = vec![0xaa; template.len_max()];
        let len = template.write(probe, &mut room);
        room.truncate(len);
        room
    }

    /// An error in a file is reported in one short line.
    #[test]
    fn mistakes_are_shown_short() {
        for field in ["HEX=\u{b}\na", &format!("HEX={}", "ä".repeat(2000)), "RAND_BYTE=\r\n"] {
            let error = PayloadTemplate::parse(format!("${{{field}}}").as_bytes(), 1472).unwrap_err();
            let text = error.to_string();
            assert!(text.len() < 200 && !text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn every_field() {
        assert_eq!(rendered(b"<${SADDR}>", PROBE), b"<198.19.0.1>");
        assert_eq!(rendered(b"${SADDR_N}${DADDR_N}", PROBE), [198, 19, 0, 1, 198, 18, 1, 2]);
        assert_eq!(rendered(b"${DADDR}:${DPORT} ${SPORT}", PROBE), b"198.18.1.2:161 40000");
        assert_eq!(rendered(b"${SPORT_N}${DPORT_N}", PROBE), [0x9c, 0x40, 0, 161]);
        assert_eq!(rendered(b"a${HEX=00fF}b", PROBE), b"a\x00\xffb");
        assert_eq!(rendered(b"${UNIXTIME_SEC}", PROBE), 1_769_857_200u32.to_be_bytes());
        assert_eq!(rendered(b"${UNIXTIME_USEC}", PROBE), 250_000u32.to_be_bytes());
        let ntp = rendered(b"${NTP_TIMESTAMP}", PROBE);
        assert_eq!(ntp[..4], 3_978_846_000u32.to_be_bytes());
        assert_eq!(ntp[4..6], [0x40, 0], "a quarter of a second");
        for (name, of) in [("DIGIT", DIGITS), ("ALPHA", LETTERS), ("ALPHANUM", ALPHANUMERICS)] {
            let random = rendered(format!("${{RAND_{name}=300}}").as_bytes(), PROBE);
            assert_eq!(random.len(), 300);
            assert!(random.iter().all(|byte| of.contains(byte)), "{random:?}");
            assert!(of.iter().filter(|byte| random.contains(byte)).count() > of.len() * 9 / 10);
        }
        assert_eq!(listing().lines().count(), 1 + FIELDS.len());
    }

    /// The same probe is made the same way each time; other copies and other targets get other bytes.
    #[test]
    fn random_bytes_belong_to_the_probe() {
        let bytes = |probe| rendered(b"${RAND_BYTE=16}", probe);
        assert_eq!(bytes(PROBE), bytes(PROBE));
        assert_ne!(bytes(PROBE), bytes(Outgoing { copy: 1, ..PROBE }));
        assert_ne!(bytes(PROBE), bytes(Outgoing { cookie: Cookie(7), ..PROBE }));
    }

    /// As in ZMap: an unknown field stays as it is, and a field may follow a stray dollar.
    #[test]
    fn whatever_is_no_field_stays() {
        for literal in
            ["$", "${", "${}", "${FOO}", "${saddr}", "${SADDR", "$SADDR}", "{SADDR}", "${ SADDR}", "a$b{c}d"]
        {
            assert_eq!(rendered(literal.as_bytes(), PROBE), literal.as_bytes());
        }
        assert_eq!(rendered(b"$${DPORT}}", PROBE), b"$161}");
        assert_eq!(rendered(b"${X${DPORT}", PROBE), b"${X${DPORT}");
        assert_eq!(rendered(b"${FOO=7}${DPORT}${FOO}", PROBE), b"${FOO=7}161${FOO}");
        assert_eq!(rendered(b"\xff${\xff}${DPORT}", PROBE), b"\xff${\xff}161");
        assert_eq!(rendered(b"", PROBE), b"");
    }

    #[test]
    fn bad_parameters_are_refused() {
        let refused = |text: &str| PayloadTemplate::parse(text.as_bytes(), 100).unwrap_err().to_string();
        assert_eq!(
            refused("${RAND_BYTE}"),
            "template field ${RAND_BYTE} needs a length from 0 to 100, such as ${RAND_BYTE=8}"
        );
        assert!(refused("${RAND_ALPHA=101}").contains("from 0 to 100"));
        assert!(refused("${RAND_DIGIT=-1}").contains("${RAND_DIGIT=-1}"));
        assert!(refused("${HEX=0}").contains("pairs of hexadecimal digits"));
        assert!(refused("${HEX}").contains("pairs of hexadecimal digits"));
        assert_eq!(
            refused("${RAND_BYTE=99}${SPORT_N}"),
            "the template makes up to 101 bytes; a probe holds at most 100"
        );
    }

    proptest! {
        /// Any bytes are parsed without a panic, and the payload is never longer than stated.
        #[test]
        fn any_template(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(FIELDS.map(|(name, ..)| format!("${{{name}}}")).to_vec()).prop_map(String::into_bytes),
                    prop::sample::select(FIELDS.map(|(name, ..)| format!("${{{name}=12}}")).to_vec()).prop_map(String::into_bytes),
                    prop::collection::vec(prop::sample::select(b"${}=aAR\xff\0".to_vec()), 0..6),
                ],
                0..8,
            ),
            copy in 0u32..255,
            address: u32,
        ) {
            if let Ok(template) = PayloadTemplate::parse(&pieces.concat(), 200) {
                prop_assert!(template.len_max() <= 200);
                let mut room = vec![0; template.len_max()];
                let len = template.write(Outgoing { target: address, copy, ..PROBE }, &mut room);
                prop_assert!(len <= room.len());
            }
        }

        /// Bytes without a dollar are unchanged.
        #[test]
        fn plain_bytes(bytes in prop::collection::vec(any::<u8>().prop_filter("no field", |byte| *byte != b'$'), 0..100)) {
            prop_assert_eq!(rendered(&bytes, PROBE), bytes);
        }
    }
}
