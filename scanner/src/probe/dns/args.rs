//! The questions in `--probe-args`, `TYPE,name[;TYPE,name...]`, and the messages that ask them.

use domain::base::Name;
use domain::base::iana::Rtype;

/// Bytes of a DNS message in front of its questions (RFC 1035, section 4.1.1).
pub(super) const HEADER_LEN: usize = 12;
/// Most bytes of a message, as in ZMap: the length that every server accepts over UDP (RFC 1035, section 4.2.1).
const MESSAGE_LEN_MAX: usize = 512;
/// The default question.
const DEFAULT: &str = "A,www.google.com";
/// ZMap's word for the type whose mnemonic is ANY.
const ALL: &str = "ALL";
/// After a type: do not request recursion.
const NO_RECURSION: &str = "nr";

/// Why a question is refused. The texts complete "--probe-args: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// Not in the form of a question.
    #[error(
        "\"{0}\" is not a question; give TYPE,name such as AAAA,example.com, several with ; between them"
    )]
    Form(String),
    /// No such type.
    #[error("there is no query type \"{0}\"; give one such as A, MX, ALL or TYPE65")]
    Type(String),
    /// A suffix other than `nr` after a type.
    #[error("\"{0}\" after a query type is unknown; only :nr is possible (no recursion)")]
    Option(String),
    /// Not a domain name.
    #[error("\"{name}\" is not a domain name: {reason}")]
    Name {
        /// The name as given.
        name: String,
        /// The reason.
        reason: String,
    },
}

/// One question as a message: its transaction number, the first two bytes, is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    message: Vec<u8>,
}

impl Query {
    /// The questions in `args`, at least one.
    ///
    /// # Errors
    /// The first invalid question.
    pub fn parse_all(args: Option<&str>) -> Result<Vec<Self>, ArgsError> {
        let questions: Vec<&str> =
            args.unwrap_or_default().split(';').filter(|question| !question.is_empty()).collect();
        match questions.is_empty() {
            true => Ok(vec![Self::parse(DEFAULT)?]),
            false => questions.into_iter().map(Self::parse).collect(),
        }
    }

    fn parse(question: &str) -> Result<Self, ArgsError> {
        let (kind, name) = question.split_once(',').ok_or_else(|| ArgsError::Form(question.to_owned()))?;
        let (kind, recursion) = match kind.split_once(':') {
            None => (kind, true),
            Some((kind, NO_RECURSION)) => (kind, false),
            Some((_, other)) => return Err(ArgsError::Option(other.to_owned())),
        };
        let rtype = match kind.eq_ignore_ascii_case(ALL) {
            true => Rtype::ANY,
            false => kind.parse().map_err(|_| ArgsError::Type(kind.to_owned()))?,
        };
        let name: Name<Vec<u8>> = name
            .parse()
            .map_err(|error| ArgsError::Name { name: name.to_owned(), reason: format!("{error}") })?;
        Ok(Self::new(rtype, &name, recursion))
    }

    /// A query for records of this type in the Internet class.
    fn new(rtype: Rtype, name: &Name<Vec<u8>>, recursion: bool) -> Self {
        const QUESTIONS: u8 = 1;
        const CLASS_IN: u16 = 1;
        let mut message = vec![0, 0, u8::from(recursion), 0, 0, QUESTIONS, 0, 0, 0, 0, 0, 0];
        message.extend(name.as_slice());
        message.extend(rtype.to_int().to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        debug_assert!(message.len() <= MESSAGE_LEN_MAX, "names have 255 bytes at most");
        Self { message }
    }

    /// The message.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Whether `payload` is a message that repeats the question; the name may have changed case.
    pub(super) fn is_echoed(&self, payload: &[u8]) -> bool {
        let question = &self.message[HEADER_LEN..];
        let echo = payload.get(HEADER_LEN..self.message.len());
        echo.is_some_and(|echo| echo.eq_ignore_ascii_case(question))
    }
}

/// The mnemonic of a type, in ZMap's words.
pub(super) fn type_name(rtype: Rtype) -> String {
    if rtype == Rtype::ANY { ALL.to_owned() } else { rtype.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(args: &str) -> Vec<u8> {
        let queries = Query::parse_all(Some(args)).unwrap();
        assert_eq!(queries.len(), 1);
        queries[0].message.clone()
    }

    /// A query as simple-dns, an independent library, reads it.
    fn read(message: &[u8]) -> (String, u16, bool) {
        let packet = simple_dns::Packet::parse(message).unwrap();
        assert_eq!((packet.questions.len(), packet.answers.len(), packet.id()), (1, 0, 0));
        let question = &packet.questions[0];
        assert!(matches!(question.qclass, simple_dns::QCLASS::CLASS(simple_dns::CLASS::IN)));
        let recursion = packet.has_flags(simple_dns::PacketFlag::RECURSION_DESIRED);
        (question.qname.to_string(), question.qtype.into(), recursion)
    }

    #[test]
    fn questions() {
        let example = |number, recursion| ("example.com".to_owned(), number, recursion);
        for (kind, number) in [
            ("A", 1),
            ("NS", 2),
            ("CNAME", 5),
            ("SOA", 6),
            ("PTR", 12),
            ("MX", 15),
            ("TXT", 16),
            ("AAAA", 28),
            ("RRSIG", 46),
            ("ALL", 255),
            ("ANY", 255),
            ("any", 255),
            ("SRV", 33),
            ("HTTPS", 65),
            ("TYPE65", 65),
        ] {
            assert_eq!(read(&one(&format!("{kind},example.com"))), example(number, true), "{kind}");
            assert_eq!(read(&one(&format!("{kind}:nr,example.com."))), example(number, false), "{kind}");
        }
        assert_eq!(read(&one("A,_x.y")).0, "_x.y");
        assert_eq!(one("TYPE65280,.")[12..], [0, 0xff, 0, 0, 1]);
        let default = Query::parse_all(None).unwrap();
        assert_eq!(read(&default[0].message), ("www.google.com".to_owned(), 1, true));
        assert_eq!(Query::parse_all(Some(";")).unwrap(), default);
        let two = Query::parse_all(Some(";A,a.b;MX,c.d;")).unwrap();
        assert_eq!(two.iter().map(|query| read(&query.message).1).collect::<Vec<_>>(), [1, 15]);
    }

    #[test]
    fn refused() {
        let error = |args: &str| Query::parse_all(Some(args)).unwrap_err().to_string();
        assert!(error("example.com").contains("is not a question"));
        assert!(error("A,a.b;example.com").contains("\"example.com\" is not a question"));
        assert!(error("FOO,example.com").contains("no query type \"FOO\""));
        assert!(error("TYPE65536,example.com").contains("no query type"));
        assert!(error(",example.com").contains("no query type \"\""));
        assert!(error("A:rd,example.com").contains("only :nr"));
        assert!(error("A,").contains("not a domain name"));
        assert!(error("A,a..b").contains("not a domain name"));
        assert!(error(&format!("A,{}", "a".repeat(64))).contains("not a domain name"));
        assert!(error(&format!("A,{}", "a.".repeat(128))).contains("not a domain name"));
    }

    #[test]
    fn echoes() {
        let query = &Query::parse_all(Some("A,example.com")).unwrap()[0];
        let mut answer = query.message.clone();
        answer[..2].copy_from_slice(&[0x12, 0x34]);
        answer.extend([0xc0, 12]);
        assert!(query.is_echoed(&answer));
        assert!(query.is_echoed(&answer.to_ascii_uppercase()));
        for len in 0..query.message.len() {
            assert!(!query.is_echoed(&answer[..len]), "{len}");
        }
        for at in HEADER_LEN..query.message.len() {
            let mut other = answer.clone();
            other[at] ^= 1;
            assert!(!query.is_echoed(&other), "{at}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(args in "(A|TYPE|\\PC{0,3})[:,;]?(nr)?[:,;]\\PC{0,30}", long in "[a-z.]{0,300}") {
            let _ = Query::parse_all(Some(&args));
            if let Ok(queries) = Query::parse_all(Some(&format!("A,{long}"))) {
                prop_assert!(queries[0].message.len() <= MESSAGE_LEN_MAX);
            }
        }
    }
}
