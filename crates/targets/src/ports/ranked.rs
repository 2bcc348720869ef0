//! The ports that a table says are open most often.
//!
//! A line of a table is a port and a number that grows with how often it is open: a share or a count. It is written as
//! `name port/protocol number`, which is services(5) with one more column, or as `port number`, with blanks or a comma
//! between them. `#` starts a comment. What always holds: the ports follow from the table alone, and not from the order
//! of its lines; of ports with the same number, the lower ones come first.

use std::collections::BTreeMap;
use std::fmt;

use super::{PortList, parse_port};

/// The protocol whose ports are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Why a table is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RankError {
    /// A line has another form.
    #[error("line {0} is not a port and how often it is open: write it as http 80/tcp 0.48, or as 80 12345")]
    Line(usize),
    /// The table has fewer ports.
    #[error("it has {count} {transport} ports: give a number from 1 to {count}")]
    Count {
        /// How many it has.
        count: usize,
        /// Of which protocol.
        transport: Transport,
    },
    /// The table has no port of the protocol.
    #[error("it has no {0} port: give another table")]
    Empty(Transport),
}

/// The `count` most frequent ports of `transport` in a table. A port that is there several times counts by its highest
/// number, and one without a protocol is of both.
///
/// # Errors
/// [`RankError`].
pub fn most_frequent(table: &[u8], transport: Transport, count: usize) -> Result<PortList, RankError> {
    let mut frequencies: BTreeMap<u16, f64> = BTreeMap::new();
    for (number, line) in (1..).zip(table.split(|&byte| byte == b'\n')) {
        let Some(Row { port, protocol, frequency }) = row(line).map_err(|()| RankError::Line(number))? else {
            continue;
        };
        if protocol.is_none_or(|protocol| protocol.eq_ignore_ascii_case(transport.name())) {
            let highest = frequencies.entry(port).or_insert(frequency);
            *highest = highest.max(frequency);
        }
    }
    let mut ranked: Vec<(u16, f64)> = frequencies.into_iter().collect();
    if ranked.is_empty() {
        return Err(RankError::Empty(transport));
    }
    if count == 0 || count > ranked.len() {
        return Err(RankError::Count { count: ranked.len(), transport });
    }
    // Ascending ports stay so where numbers are equal.
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
    let list = PortList::new(ranked.iter().take(count).map(|(port, _)| *port));
    list.ok_or(RankError::Empty(transport))
}

/// What a line says of a port.
struct Row<'a> {
    port: u16,
    protocol: Option<&'a str>,
    frequency: f64,
}

/// Reads a line; `None` if it is blank.
fn row(line: &[u8]) -> Result<Option<Row<'_>>, ()> {
    let text = line.split(|&byte| byte == b'#').next().unwrap_or_default();
    let text = str::from_utf8(text).map_err(|_| ())?;
    let mut words = text.split([' ', '\t', '\r', ',']).filter(|word| !word.is_empty());
    let words = [words.next(), words.next(), words.next(), words.next()];
    let (port, frequency) = match words {
        [None, ..] => return Ok(None),
        [Some(port), Some(frequency), None, _] => (port, frequency),
        [Some(_), Some(port), Some(frequency), None] if port.contains('/') => (port, frequency),
        _ => return Err(()),
    };
    let (port, protocol) =
        port.split_once('/').map_or((port, None), |(port, protocol)| (port, Some(protocol)));
    let is_plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let frequency = Some(frequency).filter(is_plain).and_then(|text| text.parse::<f64>().ok());
    // So many digits that it is infinite.
    let frequency = frequency.filter(|frequency| frequency.is_finite());
    Ok(Some(Row { port: parse_port(port).ok_or(())?, protocol, frequency: frequency.ok_or(())? }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "\
# name port/protocol frequency
http\t80/tcp\t0.484143\t# World Wide Web
https   443/tcp 0.208669
ssh 22/TCP 0.182286
domain\t53/udp\t0.213496
domain\t53/tcp\t0.048463
snmp 161/udp 0.433467
ntp 123/sctp 0.9

telnet 23/tcp 0.048463\r
";

    fn top(table: &str, transport: Transport, count: usize) -> Result<String, String> {
        let list = most_frequent(table.as_bytes(), transport, count);
        list.map(|list| list.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_most_frequent_come_first() {
        for (transport, count, expected) in [
            (Transport::Tcp, 1, "80"),
            (Transport::Tcp, 3, "22,80,443"),
            // 23 and 53 are as frequent as each other.
            (Transport::Tcp, 4, "22-23,80,443"),
            (Transport::Tcp, 5, "22-23,53,80,443"),
            (Transport::Udp, 1, "161"),
            (Transport::Udp, 2, "53,161"),
        ] {
            assert_eq!(top(TABLE, transport, count).as_deref(), Ok(expected), "{transport} {count}");
        }
        for (transport, count) in [(Transport::Tcp, 0), (Transport::Tcp, 6), (Transport::Udp, 3)] {
            let error = top(TABLE, transport, count).unwrap_err();
            let most = if transport == Transport::Tcp { 5 } else { 2 };
            assert!(error.ends_with(&format!("from 1 to {most}")), "{error}");
        }
        let none = top("80/tcp 5\n", Transport::Udp, 1).unwrap_err();
        assert!(none.contains("no UDP port"), "{none}");
    }

    /// Counts of one's own, with blanks or commas.
    #[test]
    fn other_forms() {
        assert_eq!(top("443 12\n80,300\n 8080 , 20 # ours", Transport::Udp, 2).as_deref(), Ok("80,8080"));
        assert_eq!(top("80/tcp 1\n80 7\n443 5", Transport::Tcp, 1).as_deref(), Ok("80"));
    }

    #[test]
    fn lines_that_are_not_understood() {
        for line in [
            "http 80/tcp",
            "http 80 0.5 # no protocol",
            "80",
            "http",
            "80/tcp 0.5 7 8",
            "70000/tcp 0.5",
            "+80/tcp 0.5",
            "80/tcp -0.5",
            "80/tcp nan",
            "80/tcp inf",
            "80/tcp 1e3",
            "80/tcp 0.5.1",
            "80/tcp .",
            "\u{e9} 80/tcp 0.5\u{e9}",
        ] {
            let error = top(&format!("# ports\n{line}\n"), Transport::Tcp, 1).unwrap_err();
            assert!(error.starts_with("line 2 is not a port"), "{line}: {error}");
        }
        assert!(most_frequent(b"80/tcp 0.5\n\xff\n", Transport::Tcp, 1).is_err());
        assert!(most_frequent(b"80/tcp 0.5 # \xff\n", Transport::Tcp, 1).is_ok());
        let long = format!("80 {}\n443 1", "9".repeat(400));
        assert!(top(&long, Transport::Tcp, 1).unwrap_err().starts_with("line 1"));
    }

    proptest! {
        /// Against sorting by a key that cannot tie, in any order of the lines.
        #[test]
        fn as_sorted(
            ports in prop::collection::btree_map(any::<u16>(), 0u32..50, 1..200),
            share in 0.0..1.0f64,
            seed: u64,
        ) {
            let count = 1 + (share * (ports.len() - 1) as f64) as usize;
            let mut lines: Vec<String> = ports.iter().map(|(port, number)| format!("x {port}/udp {number}")).collect();
            // Any other order.
            let len = lines.len();
            lines.rotate_left(seed as usize % len);
            if seed % 2 == 0 {
                lines.reverse();
            }
            let found = most_frequent(lines.join("\n").as_bytes(), Transport::Udp, count).unwrap();
            let mut keys: Vec<(u32, u16)> = ports.iter().map(|(&port, &number)| (u32::MAX - number, port)).collect();
            keys.sort_unstable();
            let mut expected: Vec<u16> = keys.iter().take(count).map(|(_, port)| *port).collect();
            expected.sort_unstable();
            prop_assert_eq!(found.as_slice(), &expected[..]);
        }

        #[test]
        fn any_text(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..9) {
            if let Ok(list) = most_frequent(&bytes, Transport::Tcp, count) {
                prop_assert_eq!(list.len() as usize, count);
            }
        }
    }
}
