//! The target ports.
//!
//! A [`PortList`] is always sorted and without duplicates, so the way in which `-p` was written changes neither the
//! targets nor their order.

pub mod ranked;
mod services;

use std::fmt;

/// Why a port list is refused; the texts name `--target-ports`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// An empty list, or nothing between two commas.
    #[error("item {item} is empty: write ports as 80,443,8000-8080 or *")]
    Empty {
        /// The number of the item, from 1.
        item: usize,
    },
    /// Not a number from 0 to 65535, a range of them, the name of a service, or `*`.
    #[error(
        "item {item}, \"{text}\", is not a port: write ports (0 to 65535) as 80,443,8000-8080, https or *"
    )]
    NotAPort {
        /// The number of the item, from 1.
        item: usize,
        /// The item, shortened.
        text: String,
    },
    /// A range whose first port is above its last.
    #[error("item {item}, \"{first}-{last}\", runs backwards: write {last}-{first}")]
    Backwards {
        /// The number of the item, from 1.
        item: usize,
        /// Its first port.
        first: u16,
        /// Its last port.
        last: u16,
    },
}

/// The ports of every target: at least one, ascending, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortList {
    ports: Box<[u16]>,
}

/// A port list for the metadata.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PortSummary {
    /// Number of ports.
    pub count: u32,
    /// The list in its compact form, as `-p` accepts it.
    pub ports: String,
}

impl PortList {
    /// The list for a probe without ports: the single port 0.
    pub fn portless() -> Self {
        Self { ports: Box::new([0]) }
    }

    /// The list of this port alone.
    pub fn single(port: u16) -> Self {
        Self { ports: Box::new([port]) }
    }

    /// The list of these ports, in any order and with any repeats; `None` if there are none.
    pub fn new(ports: impl Iterator<Item = u16>) -> Option<Self> {
        let mut wanted = vec![false; 1 << 16];
        ports.for_each(|port| wanted[usize::from(port)] = true);
        let list = Self::of(&wanted);
        (!list.ports.is_empty()).then_some(list)
    }

    fn of(wanted: &[bool]) -> Self {
        Self { ports: (0..=u16::MAX).filter(|&port| wanted[usize::from(port)]).collect() }
    }

    /// Parses the argument of `-p`: ports, ranges `a-b` and names of services between commas, in any order; `*` and
    /// `all` mean all 65,536, including port 0, and `-` means 1 to 65535, as with nmap. Blanks around items are
    /// ignored.
    ///
    /// # Errors
    /// [`PortError`], which names the bad item.
    pub fn parse(text: &str) -> Result<Self, PortError> {
        let mut wanted = vec![false; 1 << 16];
        for (i, item) in text.split(',').enumerate() {
            let (first, last) = parse_item(item.trim(), i + 1)?;
            wanted[usize::from(first)..=usize::from(last)].fill(true);
        }
        Ok(Self::of(&wanted))
    }

    /// Number of ports, 1 to 65,536.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a port list is never empty")]
    pub fn len(&self) -> u32 {
        self.ports.len() as u32
    }

    /// The port with `i` ports of the list below it.
    ///
    /// # Panics
    /// If the list has no more than `i` ports.
    #[inline]
    pub fn port(&self, i: u32) -> u16 {
        self.ports[i as usize]
    }

    /// The ports, ascending.
    #[inline]
    pub fn as_slice(&self) -> &[u16] {
        &self.ports
    }

    /// Whether the list has `port`.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        match &*self.ports {
            [only] => *only == port,
            ports => ports.binary_search(&port).is_ok(),
        }
    }

    /// The ports as ranges `(first, last)`, ascending and as long as possible.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.ports
            .chunk_by(|&port, &next| next - port == 1)
            .filter_map(|run| Some((*run.first()?, *run.last()?)))
    }

    /// The list in the form of the metadata.
    pub fn summary(&self) -> PortSummary {
        PortSummary { count: self.len(), ports: self.to_string() }
    }
}

/// The compact form, as `-p` accepts it.
impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ports.len() == 1 << 16 {
            return f.write_str("*");
        }
        for (i, (first, last)) in self.ranges().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// One item of the list as a range `(first, last)`; `number` counts from 1.
fn parse_item(item: &str, number: usize) -> Result<(u16, u16), PortError> {
    /// Most characters of a bad item that an error repeats. More would make the error longer than a line; fewer may not
    /// identify the item.
    const SHOWN_MAX: usize = 20;
    if item.is_empty() {
        return Err(PortError::Empty { item: number });
    }
    match item {
        "*" | "all" => return Ok((0, u16::MAX)),
        "-" => return Ok((1, u16::MAX)),
        _ => {}
    }
    if let Some(port) = services::port_of(item) {
        return Ok((port, port));
    }
    let not_a_port = || {
        let text: String = item.escape_default().take(SHOWN_MAX).collect();
        PortError::NotAPort { item: number, text }
    };
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let first = parse_port(first).ok_or_else(not_a_port)?;
    let last = parse_port(last).ok_or_else(not_a_port)?;
    if first > last {
        return Err(PortError::Backwards { item: number, first, last });
    }
    Ok((first, last))
}

/// A decimal number from 0 to 65535; `FromStr` alone would also accept a sign.
fn parse_port(text: &str) -> Option<u16> {
    let text = text.trim();
    if text.starts_with('+') { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn lists_are_sorted_and_merged() {
        for (text, compact, count) in [
            ("80", "80", 1),
            ("443,80", "80,443", 2),
            ("80,80,80", "80", 1),
            ("8080, 80 ,443,8000 - 8002", "80,443,8000-8002,8080", 6),
            ("1-5,3-9,10", "1-10", 10),
            ("0,65535", "0,65535", 2),
            ("1-65535", "1-65535", 65_535),
            ("0-65535", "*", 65_536),
            ("*", "*", 65_536),
            ("80,*", "*", 65_536),
            ("all", "*", 65_536),
            ("-", "1-65535", 65_535),
            ("https,ssh, HTTP", "22,80,443", 3),
            ("00080", "80", 1),
        ] {
            let list = PortList::parse(text).unwrap();
            assert_eq!((list.to_string().as_str(), list.len()), (compact, count), "{text}");
            assert_eq!(list.summary(), PortSummary { count, ports: compact.into() });
            assert_eq!(PortList::parse(compact).unwrap(), list);
        }
        assert_eq!(PortList::portless(), PortList::parse("0").unwrap());
    }

    #[test]
    fn errors_name_the_item() {
        for (text, expected) in [
            ("", "item 1 is empty"),
            ("80,,443", "item 2 is empty"),
            ("80,", "item 2 is empty"),
            ("80,htp", "item 2, \"htp\", is not a port"),
            ("65536", "\"65536\""),
            ("80,-1", "\"-1\""),
            ("+80", "\"+80\""),
            ("80-", "\"80-\""),
            ("--", "\"--\""),
            ("http-https", "\"http-https\""),
            ("1-2-3", "\"1-2-3\""),
            ("U:53", "\"U:53\""),
            ("90-80", "item 1, \"90-80\", runs backwards: write 80-90"),
            ("\u{1b}[31m\n", "\\u{1b}"),
        ] {
            let message = PortList::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected) && message.starts_with("item "), "{text}: {message}");
            assert!(!message.contains('\n') && message.len() < 160, "{message}");
        }
        assert!(PortList::parse(&"9".repeat(1 << 20)).unwrap_err().to_string().len() < 160);
    }

    proptest! {
        #[test]
        fn agrees_with_an_oracle(items in prop::collection::vec((any::<u16>(), 0u16..200), 1..40)) {
            let ranges: Vec<_> = items.iter().map(|&(first, more)| (first, first.saturating_add(more))).collect();
            let text = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(",");
            let oracle: BTreeSet<u16> = ranges.iter().flat_map(|&(a, b)| a..=b).collect();
            let list = PortList::parse(&text).unwrap();
            prop_assert!(list.as_slice().iter().eq(&oracle));
            prop_assert!((0..list.len()).map(|i| list.port(i)).eq(oracle.iter().copied()));
            prop_assert!(items.iter().all(|&(port, _)| list.contains(port)));
            prop_assert_eq!(PortList::parse(&list.to_string()).unwrap(), list.clone());
            prop_assert_eq!(PortList::new(oracle.into_iter().rev()), Some(list));
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = PortList::parse(&text);
        }
    }
}
