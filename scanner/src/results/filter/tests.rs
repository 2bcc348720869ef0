use super::*;
use crate::probe::tcp_synscan::FIELDS;
use crate::reply::fields::Value;
use crate::reply::record::{Header, ReplyKind};
use crate::reply::testing::{header, synack_frame};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr};

fn matches(text: &str, header: &Header, captured: &[u8], repeat: bool) -> bool {
    let expression = parse(text, &FIELDS).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut extractor = Extractor::new(TimeZone::UTC);
    expression.is_none_or(|it| it.matches(&Reply::new(header, captured, repeat), &mut extractor))
}

/// Of a SYN-ACK from 198.18.1.2:80 with a time to live of 63.
fn synack(text: &str) -> bool {
    let frame = synack_frame();
    matches(text, &header(ReplyKind::SynAck, Ipv4Addr::new(198, 18, 1, 2), 80, frame.len()), &frame, false)
}

fn complaint(text: &str) -> String {
    parse(text, &FIELDS).unwrap_err().to_string()
}

/// The examples of ZMap's own documentation, and what may be around them.
#[test]
fn what_zmap_takes() {
    assert!(synack("success = 1 && repeat = 0"));
    assert!(synack("(classification = rst || repeat=1)||ttl<100"));
    assert!(!synack("classification = rst && repeat = 1 || ttl > 63"));
    assert!(synack("sport=80&&seqnum=3000000000"));
    for everything in ["", "  ", "\t\n"] {
        assert!(parse(everything, &FIELDS).unwrap().is_none());
    }
}

#[test]
fn and_binds_tighter() {
    assert!(synack("ttl = 63 || ttl = 1 && ttl = 2"));
    assert!(!synack("(ttl = 63 || ttl = 1) && ttl = 2"));
    assert!(synack("!ttl = 1 && ttl = 63"));
    assert!(!synack("!(ttl = 1 || ttl = 63)"));
}

#[test]
fn beyond_zmap() {
    for yes in [
        "saddr in 198.18.0.0/16",
        "saddr in (10.0.0.0/8, 198.18.1.1-198.18.1.2)",
        "saddr = 198.18.1.2 && saddr < 198.18.1.3 && saddr >= 198.18.1.2",
        "!saddr in 10.0.0.0/8",
        "classification in ('rst', \"synack\")",
        "classification != 'no such'",
        "success && !repeat",
        "success=true&&repeat==false",
        "sport in (22,80-90)",
        "timestamp_str = '2026-01-31T11:00:00.042+0000'",
        "probe_number = 0",
    ] {
        assert!(synack(yes), "{yes}");
    }
    for no in ["saddr in 198.18.2.0/24", "saddr != 198.18.1.2", "sport in 81-90", "!success", "repeat"] {
        assert!(!synack(no), "{no}");
    }
}

/// A null value fails each test, so `!=` and `=` are not opposites for it; `!` negates the outcome of any of them.
#[test]
fn null_fails_every_test() {
    for test in ["icmp_type = 3", "icmp_type != 3", "icmp_type >= 0", "icmp_unreach_str != 'x'"] {
        assert!(!synack(test), "{test}");
        assert!(synack(&format!("!{test}")), "{test}");
    }
    assert!(!synack("icmp_responder != 1.2.3.4"));
}

#[test]
fn errors_tell_the_column_and_the_remedy() {
    for (text, column, what) in [
        ("sadr = 1.2.3.4", 1, "do you mean saddr?"),
        ("success = 1 && saddr-raw = 3", 16, "do you mean saddr_raw?"),
        ("zzz = 1", 1, "there is no field \"zzz\""),
        ("ttl = x", 7, "ttl is a number"),
        ("ttl = -1", 7, "ttl is a number"),
        ("ttl = 18446744073709551616", 7, "from 0 to 18446744073709551615"),
        ("repeat = 2", 10, "true, false, 1 or 0"),
        ("classification < 'x'", 16, "=, != or in"),
        ("saddr = 10.0.0.0/8", 9, "saddr in 10.0.0.0/8"),
        ("saddr = example", 9, "such as 192.0.2.1"),
        ("saddr in (10.0.0.0/8, 10.0.0.0/33)", 23, "prefix length"),
        ("saddr in 10.0.0.9-10.0.0.1", 10, "backwards"),
        ("ttl = 1 & ttl = 2", 9, "write &&"),
        ("ttl = 1 || ", 12, "field's name is expected here, not the end"),
        ("(ttl = 1", 9, "&&, || or ) is expected here"),
        ("ttl = 1)", 8, "not )"),
        ("ttl", 4, "one of ="),
        ("success 1", 9, "one of ="),
        ("ttl in (1 2)", 11, "a comma or )"),
        ("classification = 'syn", 18, "closing '"),
        ("ttl = 1 ü", 9, "no meaning"),
        ("classification = 'üü' && ttl = x", 32, "ttl is a number"),
    ] {
        let error = parse(text, &FIELDS).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.what.contains(what), "{text}: {error}");
        assert!(error.to_string().starts_with("column "));
    }
    assert!(complaint(&"(".repeat(100_000)).contains("deep"));
    assert!(complaint(&"!".repeat(100_000)).contains("deep"));
    assert!(parse(&"ttl = 1 || ".repeat(10_000), &FIELDS).is_err());
    assert!(parse(&format!("{}ttl = 1", "ttl = 1 || ".repeat(10_000)), &FIELDS).is_ok());
}

#[test]
fn the_short_way_and_an_expression_compose() {
    let frame = synack_frame();
    let header = header(ReplyKind::SynAck, Ipv4Addr::new(198, 18, 1, 2), 80, frame.len());
    let mut extractor = Extractor::new(TimeZone::UTC);
    for (text, repeat, passes) in
        [("ttl = 63", false, true), ("ttl = 63", true, false), ("ttl = 1", false, false), ("", false, true)]
    {
        let filter = Filter { successes_only: true, expression: parse(text, &FIELDS).unwrap() };
        assert_eq!(filter.passes(&Reply::new(&header, &frame, repeat), &mut extractor), passes);
        let all = Filter { successes_only: false, ..filter };
        assert_eq!(all.passes(&Reply::new(&header, &frame, repeat), &mut extractor), text != "ttl = 1");
    }
}

/// A filter as the tests see it: written out in full, evaluated step by step.
#[derive(Clone, Debug)]
enum Naive {
    Compare(&'static str, &'static str, Literal),
    In(&'static str, Vec<Literal>),
    Not(Box<Naive>),
    And(Box<Naive>, Box<Naive>),
    Or(Box<Naive>, Box<Naive>),
}

#[derive(Clone, Debug)]
enum Literal {
    Number(u64),
    Numbers(u64, u64),
    Truth(bool),
    Text(String),
    Address(Ipv4Addr),
    Prefix(Ipv4Addr, u32),
}

impl Literal {
    fn written(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Numbers(first, last) => format!("{first}-{last}"),
            Self::Truth(yes) => yes.to_string(),
            Self::Text(text) => format!("'{text}'"),
            Self::Address(address) => address.to_string(),
            Self::Prefix(address, bits) => format!("{address}/{bits}"),
        }
    }

    fn compare(&self, value: &Value<'_>) -> Ordering {
        match (value, self) {
            (Value::U64(value), Self::Number(number)) => value.cmp(number),
            (Value::Bool(value), Self::Truth(yes)) => value.cmp(yes),
            (Value::Str(value), Self::Text(text)) => (*value).cmp(text.as_str()),
            (Value::Address(IpAddr::V4(value)), Self::Address(address)) => value.cmp(address),
            _ => unreachable!("{value:?} and {self:?}"),
        }
    }

    fn holds(&self, value: &Value<'_>) -> bool {
        match (value, self) {
            (Value::U64(value), Self::Numbers(first, last)) => (first..=last).contains(&value),
            (Value::Address(IpAddr::V4(value)), Self::Prefix(address, bits)) => {
                *bits == 0 || (value.to_bits() ^ address.to_bits()) >> (32 - bits) == 0
            }
            _ => self.compare(value) == Ordering::Equal,
        }
    }
}

impl Naive {
    fn written(&self) -> String {
        match self {
            Self::Compare(field, operator, literal) => format!("{field} {operator} {}", literal.written()),
            Self::In(field, list) => {
                let list: Vec<_> = list.iter().map(Literal::written).collect();
                format!("{field} in ({})", list.join(" ,"))
            }
            Self::Not(inner) => format!("!({})", inner.written()),
            Self::And(one, other) => format!("({})&&({})", one.written(), other.written()),
            // Without brackets where && binds tighter anyway.
            Self::Or(one, other) => format!("{} || {}", one.written(), other.written()),
        }
    }

    fn evaluate(&self, reply: &Reply<'_>) -> bool {
        let mut extractor = Extractor::new(TimeZone::UTC);
        match self {
            Self::Compare(field, operator, literal) => {
                let value = extractor.value(FIELDS.find(field).unwrap(), reply);
                if value == Value::Null {
                    return false;
                }
                let order = literal.compare(&value);
                match *operator {
                    "=" => order.is_eq(),
                    "!=" => order.is_ne(),
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
            Self::In(field, list) => {
                let value = extractor.value(FIELDS.find(field).unwrap(), reply);
                value != Value::Null && list.iter().any(|literal| literal.holds(&value))
            }
            Self::Not(inner) => !inner.evaluate(reply),
            Self::And(one, other) => one.evaluate(reply) && other.evaluate(reply),
            Self::Or(one, other) => one.evaluate(reply) || other.evaluate(reply),
        }
    }
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="])
}

fn near(number: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        number.saturating_sub(2)..=number + 2,
        any::<u64>(),
        prop::sample::select(vec![0, 1, u64::MAX - 1, u64::MAX])
    ]
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![0xc612_0100..0xc612_0104u32, any::<u32>()].prop_map(Ipv4Addr::from_bits)
}

fn test() -> impl Strategy<Value = Naive> {
    let numbers =
        prop::sample::select(vec![("ttl", 63), ("sport", 80), ("icmp_type", 3), ("tcpopt_mss", 1460)]);
    let texts = prop::sample::select(vec!["synack", "rst", "host unreachable", "", "ü"]);
    let text_fields = prop::sample::select(vec!["classification", "icmp_unreach_str"]);
    let addresses = prop::sample::select(vec!["saddr", "daddr", "icmp_responder", "target"]);
    prop_oneof![
        (numbers.clone(), operator()).prop_flat_map(|((field, usual), op)| near(usual)
            .prop_map(move |n| Naive::Compare(field, op, Literal::Number(n)))),
        (numbers, prop::collection::vec((0u64..2000, 0u64..300), 1..5)).prop_map(|((field, _), ranges)| {
            let numbers = |(first, len)| Literal::Numbers(first, first + len);
            Naive::In(field, ranges.into_iter().map(numbers).collect())
        }),
        (prop::sample::select(vec!["success", "repeat", "cooldown"]), operator(), any::<bool>())
            .prop_map(|(field, op, yes)| Naive::Compare(field, op, Literal::Truth(yes))),
        (text_fields.clone(), any::<bool>(), texts.clone()).prop_map(|(field, equal, text)| {
            Naive::Compare(field, if equal { "=" } else { "!=" }, Literal::Text(text.to_owned()))
        }),
        (text_fields, prop::collection::vec(texts, 1..4)).prop_map(|(field, texts)| {
            Naive::In(field, texts.into_iter().map(|text| Literal::Text(text.to_owned())).collect())
        }),
        (addresses.clone(), operator(), address()).prop_map(|(field, op, address)| Naive::Compare(
            field,
            op,
            Literal::Address(address)
        )),
        (addresses, prop::collection::vec((address(), 0u32..=32), 1..4)).prop_map(|(field, prefixes)| {
            let prefix = |(address, bits)| Literal::Prefix(address, bits);
            Naive::In(field, prefixes.into_iter().map(prefix).collect())
        }),
    ]
}

fn filter() -> impl Strategy<Value = Naive> {
    test().prop_recursive(5, 40, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|it| Naive::Not(Box::new(it))),
            pair.clone().prop_map(|(one, other)| Naive::And(Box::new(one), Box::new(other))),
            pair.prop_map(|(one, other)| Naive::Or(Box::new(one), Box::new(other))),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_a_naive_evaluator(
        filter in filter(),
        success: bool,
        repeat: bool,
        cut in 0usize..=74,
        responder in address(),
    ) {
        let captured = &synack_frame()[..cut];
        let kind = if success { ReplyKind::SynAck } else { ReplyKind::Rst };
        let header = header(kind, responder, 80, captured.len());
        let expected = filter.evaluate(&Reply::new(&header, captured, repeat));
        prop_assert_eq!(matches(&filter.written(), &header, captured, repeat), expected, "{}", filter.written());
    }

    /// Any text gives an expression or a one-line error whose column is in the text or right behind it.
    #[test]
    fn any_text_ends_well(text in prop_oneof![
        any::<String>(),
        r#"((ttl|saddr|success|classification|in|[0-9]{1,3}|'[a-z]*'|"|1\.2\.3\.4/8|[=!<>&|(), ü]) ?){0,12}"#,
    ]) {
        if let Err(error) = parse(&text, &FIELDS) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{}", error);
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}

/// Only what surely leaves every repeat out is known to.
#[test]
fn filters_that_want_no_repeats() {
    let wants = |text: &str| {
        let expression = parse(text, &FIELDS).unwrap();
        Filter { successes_only: false, expression }.wants_repeats()
    };
    for none in [
        "success = 1 && repeat = 0",
        "success && !repeat",
        "repeat = 0 && success = 1 && ttl > 60",
        "!(repeat = 1 || success = 0)",
        "success = 1 && !(repeat != 0 || ttl < 9)",
    ] {
        assert!(!wants(none), "{none}");
    }
    for some in
        ["", "success = 1", "repeat = 0", "ttl > 60", "repeat = 1", "(success = 1 && repeat = 0) || ttl > 60"]
    {
        assert!(wants(some), "{some}");
    }
    assert!(!Filter::successes().wants_repeats() && Filter::default().wants_repeats());
}
