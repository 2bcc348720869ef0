//! `xdpmap blocklist`: lets the addresses of a stream through that the lists allow, each once.
//!
//! A line is passed on as it came. Its address ends at the first comma, blank or `#`, so CSV with the address in front
//! goes through as well. Here the lists alone decide: reserved networks are no floor, as nothing is sent.
//!
//! What always holds: no line goes through that holds an address which is not allowed, wherever in it that stands and however
//! it is written, but for further columns of CSV and comments: whoever reads the line next may understand more of it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use super::Failure;
use super::options::{LogOptions, start_log};
use crate::results::dedup::AddressBitmap;
use crate::targets::lines::STANDARD_INPUT;
use crate::targets::list::{List, ListError, OnBadEntry};
use crate::targets::ranges::{AddressRange, RangeSet};
use crate::targets::{names, parse_address, readable};

const NAME: &str = "blocklist";

/// Longest line, as in the original.
const LINE_MAX: u64 = 1 << 20;

/// Bad lines that are warned of one by one.
const WARNINGS_MAX: u64 = 20;

/// Pass on the addresses of a list that may be probed, each once.
///
/// Reads standard input, one address a line, and writes to standard output the lines whose address is in the allow list
/// (if there is one) and not in the block list (if there is one). At least one of them is needed. A line that is no address alone
/// passes, with a warning, if every address that can be read in it may.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "xdpmap blocklist", version, max_term_width = 110)]
pub(super) struct BlocklistOptions {
    /// Networks whose addresses are dropped, one a line; wins over the allow list
    #[arg(short = 'b', long, alias = "blacklist-file", value_name = "FILE")]
    blocklist_file: Option<PathBuf>,

    /// Networks whose addresses are passed on, one a line
    #[arg(short = 'w', long, alias = "whitelist-file", value_name = "FILE")]
    allowlist_file: Option<PathBuf>,

    /// Pass on an address each time it comes
    #[arg(long)]
    no_duplicate_checking: bool,

    /// Skip bad lines of the lists, with a warning
    #[arg(long, alias = "ignore-blacklist-errors")]
    ignore_blocklist_errors: bool,

    /// Drop lines of the input that hold no address, rather than pass them on
    #[arg(long)]
    ignore_input_errors: bool,

    #[command(flatten)]
    log: LogOptions,
}

pub(super) fn run(options: BlocklistOptions) -> Result<(), Failure> {
    start_log(NAME, &options.log)?;
    if options.blocklist_file.is_none() && options.allowlist_file.is_none() {
        return Err(Failure::usage(NAME, "give --blocklist-file, --allowlist-file, or both"));
    }
    let lists =
        [("--blocklist-file", &options.blocklist_file), ("--allowlist-file", &options.allowlist_file)];
    for (flag, path) in lists {
        if path.as_deref() == Some(Path::new(STANDARD_INPUT)) {
            let what = format!("{flag}: standard input has the addresses; name a file for the list");
            return Err(Failure::usage(NAME, what));
        }
    }
    let read = |path: &Option<PathBuf>, on_bad| {
        let on_bad = if options.ignore_blocklist_errors { on_bad } else { OnBadEntry::Fail };
        path.as_deref().map(|path| read(path, on_bad)).transpose()
    };
    let lists = read(&options.allowlist_file, OnBadEntry::Skip)
        .and_then(|allow| Ok((allow, read(&options.blocklist_file, OnBadEntry::Block)?)));
    let (allow, block) = lists.map_err(|error| Failure::usage(NAME, error.to_string()))?;
    // No host has it, so the original never lets it through either.
    let nobody: RangeSet = AddressRange::new(0, 0).into_iter().collect();
    let mut filter = Filter {
        allowed: RangeSet::paint(allow.as_ref(), &block.unwrap_or_default(), &nobody),
        seen: (!options.no_duplicate_checking).then(Box::default),
        pass_bad: !options.ignore_input_errors,
        counts: Counts::default(),
    };
    let done = filter.run(io::stdin().lock(), io::stdout().lock());
    let counts = filter.counts;
    if counts.bad > WARNINGS_MAX {
        warn!(target: "blocklist", "{} lines of the input are no address alone", counts.bad);
    }
    debug!(target: "blocklist", "{} lines, {} not allowed, {} repeats", counts.lines, counts.refused, counts.repeats);
    match done {
        // A reader that has enough is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::usage(NAME, error.to_string()))
        }
        Err(error) => Err(Failure::io(NAME, "standard input or output", &error)),
        Ok(()) => Ok(()),
    }
}

fn read(path: &Path, on_bad: OnBadEntry) -> Result<RangeSet, ListError> {
    let mut list = List::read(path, on_bad)?;
    list.look_up(&names::system, on_bad)?;
    for warning in &list.warnings {
        warn!(target: "blocklist", "{warning}");
    }
    Ok(list.to_set())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    lines: u64,
    bad: u64,
    refused: u64,
    repeats: u64,
    /// Lines that were warned of, or would have been but for their number.
    told: u64,
}

struct Filter {
    allowed: RangeSet,
    /// The addresses passed on; `None` if they may come again.
    seen: Option<Box<AddressBitmap>>,
    pass_bad: bool,
    counts: Counts,
}

impl Filter {
    fn run(&mut self, input: impl Read, output: impl Write) -> io::Result<()> {
        let mut input = BufReader::with_capacity(1 << 18, input);
        let mut output = io::BufWriter::with_capacity(1 << 16, output);
        let mut line = Vec::new();
        loop {
            if input.buffer().is_empty() {
                // Before waiting for more, whoever reads gets what there is.
                output.flush()?;
            }
            line.clear();
            if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                return output.flush();
            }
            self.counts.lines += 1;
            if line.last() != Some(&b'\n') {
                if line.len() as u64 == LINE_MAX {
                    let what = format!(
                        "line {} of standard input is longer than 1 MiB: give one address a line",
                        self.counts.lines
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                line.push(b'\n');
            }
            if self.passes(&line) {
                output.write_all(&line)?;
            }
        }
    }

    fn passes(&mut self, line: &[u8]) -> bool {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // To others these end a line, and so a comment and a row of columns.
        let is_one = memchr::memchr2(b'\r', b'\x0c', text).is_none();
        let text = text.split(|&byte| byte == b'#' && is_one).next().unwrap_or_default();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b'\x0b');
        let len = text.iter().position(ends).unwrap_or(text.len());
        let (word, rest) = text.split_at(len);
        let address = parse_address(word);
        if address.is_some_and(|address| !self.allowed.contains(address)) {
            self.counts.refused += 1;
            return false;
        }
        // Behind a comma are other columns, and behind an address alone is nothing.
        let others = match rest.first() {
            Some(b',') | None if address.is_some() && is_one => vec![],
            _ => readable::ranges(text),
        };
        let refused = others.iter().find(|range| !self.allowed.contains_all(**range)).copied();
        self.counts.bad += u64::from(address.is_none());
        if address.is_none() || refused.is_some() {
            self.tell(text, refused);
        }
        if refused.is_some() {
            self.counts.refused += 1;
            return false;
        }
        // The address that the line is about, if there is one.
        let only = || match others[..] {
            [range] if range.len() == 1 => Some(range.first()),
            _ => None,
        };
        if address.is_none() && !self.pass_bad {
            return false;
        }
        let Some(address) = address.or_else(only) else { return true };
        let repeat = self.seen.as_mut().is_some_and(|seen| seen.check(address, true));
        self.counts.repeats += u64::from(repeat);
        !repeat
    }

    /// Warns of a line that is no address alone, and that may not pass for `refused`.
    fn tell(&mut self, text: &[u8], refused: Option<AddressRange>) {
        self.counts.told += 1;
        if self.counts.told > WARNINGS_MAX {
            return;
        }
        let shown = text[..text.len().min(40)].escape_ascii();
        let number = self.counts.lines;
        match refused {
            Some(range) => {
                warn!(target: "blocklist", "line {number}: '{shown}' holds {range}, not all of it allowed: dropped");
            }
            None => warn!(target: "blocklist", "line {number}: '{shown}' is no IPv4 address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    fn filter(allow: Option<&str>, block: &str, once: bool, pass_bad: bool) -> Filter {
        let set = |text: &str| List::parse("list", text.as_bytes(), OnBadEntry::Fail).unwrap().to_set();
        let allowed = RangeSet::paint(allow.map(set).as_ref(), &set(block), &RangeSet::default());
        Filter { allowed, seen: once.then(Box::default), pass_bad, counts: Counts::default() }
    }

    fn run(filter: &mut Filter, input: &str) -> String {
        let mut output = vec![];
        filter.run(input.as_bytes(), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    const INPUT: &str = "10.0.0.1\n10.0.0.2,80 # web\n10.0.0.1\nhost\n10.1.0.1\t5\n\n11.0.0.1";

    #[test]
    fn lines_pass_as_they_came() {
        let mut plain = filter(None, "10.1.0.0/16", true, true);
        assert_eq!(run(&mut plain, INPUT), "10.0.0.1\n10.0.0.2,80 # web\nhost\n\n11.0.0.1\n");
        assert_eq!(plain.counts, Counts { lines: 7, bad: 2, refused: 1, repeats: 1, told: 2 });
        let mut strict = filter(Some("10.0.0.0/8"), "10.1.0.0/16", false, false);
        assert_eq!(run(&mut strict, INPUT), "10.0.0.1\n10.0.0.2,80 # web\n10.0.0.1\n");
    }

    /// What is blocked does not pass in another guise.
    #[test]
    fn nothing_blocked_slips_through() {
        let dropped = [
            " 10.1.0.3",
            "\t10.1.0.3",
            "\"10.1.0.3\"",
            "\"10.1.0.3\",80",
            "10.1.0.3:80",
            "10.1.0.3;80",
            "10.1.0.0/24",
            "10.0.0.0/8",
            "http://10.1.0.3/",
            "::ffff:10.1.0.3",
            "[::ffff:a01:3]:80",
            "10.001.0.003",
            "10.0.0.1 10.1.0.3",
            "10.0.0.1\r10.1.0.3",
            "10.0.0.1\x0c10.1.0.3",
            "10.0.0.1,80\r10.1.0.3,80",
            "# ours\r10.1.0.3",
            "10.0.255.255-10.2.0.0",
            "10.0.255.255 - 10.2.0.0",
            "10.2.0.0 to 10.0.255.255",
            "10.0.0.0 255.0.0.0",
            "\u{feff}10.1.0.3",
        ];
        for line in dropped {
            let mut plain = filter(None, "10.1.0.0/16", false, true);
            assert_eq!(run(&mut plain, &format!("{line}\n{line}\r\n{line}")), "", "{line:?}");
            assert_eq!(plain.counts.refused, 3, "{line:?}");
        }
        for line in [
            "",
            "#",
            "10.0.0.1,10.1.0.3",
            "10.0.0.1 # 10.1.0.3",
            "# 10.1.0.3",
            " 10.0.0.1",
            "host",
            "::1",
            "10.2.0.0/16",
        ] {
            let mut plain = filter(None, "10.1.0.0/16", false, true);
            assert_eq!(run(&mut plain, &format!("{line}\n")), format!("{line}\n"));
        }
        let mut once = filter(None, "10.1.0.0/16", true, true);
        assert_eq!(run(&mut once, "10.0.0.1\n \"10.0.0.1\"\n10.0.0.1:80\n"), "10.0.0.1\n");
        let mut strict = filter(None, "10.1.0.0/16", true, false);
        assert_eq!(run(&mut strict, " 10.0.0.1\n10.0.0.2:80\n10.0.0.1\n"), "10.0.0.1\n");
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut plain = filter(None, "", true, true);
        let long = "x".repeat(LINE_MAX as usize + 5);
        let error = plain.run(format!("10.0.0.1\n{long}").as_bytes(), &mut vec![]).unwrap_err();
        assert!(error.to_string().starts_with("line 2 of standard input is longer"), "{error}");
        let mut whole = filter(None, "", true, true);
        assert_eq!(run(&mut whole, &"x".repeat(1000)).len(), 1001);
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_filter(
            addresses in prop::collection::vec((0u32..600).prop_map(|low| 0x0a00_0000 + low), 0..200),
            block in prop::collection::vec((0u32..600, 24u32..33), 0..8),
            allow in prop::collection::vec((0u32..600, 23u32..33), 0..8),
            once: bool,
        ) {
            let networks = |list: &[(u32, u32)]| -> Vec<AddressRange> {
                list.iter().map(|&(low, bits)| AddressRange::prefix(Ipv4Addr::from_bits(0x0a00_0000 + low), bits)).collect()
            };
            let text = |list: &[AddressRange]| list.iter().map(|range| format!("{range}\n")).collect::<String>();
            let (block, allow) = (networks(&block), networks(&allow));
            let mut seen = BTreeSet::new();
            let inside = |list: &[AddressRange], address: u32| list.iter().any(|range| range.contains(address));
            let expected: Vec<String> = addresses
                .iter()
                .filter(|&&address| inside(&allow, address) && !inside(&block, address))
                .filter(|&&address| seen.insert(address) || !once)
                .map(|&address| format!("{}\n", Ipv4Addr::from_bits(address)))
                .collect();
            let input: String = addresses.iter().map(|&address| format!("{}\n", Ipv4Addr::from_bits(address))).collect();
            let mut filter = filter(Some(&text(&allow)), &text(&block), once, true);
            prop_assert_eq!(run(&mut filter, &input), expected.concat());
        }

        /// Wherever in a line an address stands alone, it decides.
        #[test]
        fn a_blocked_address_is_found(before in "[a-z\"( ]{0,8}", low: u8, after in "([)\": /][a-z ]{0,8})?") {
            let line = format!("{before}10.1.0.{low}{after}");
            prop_assert_eq!(run(&mut filter(None, "10.1.0.0/16", false, true), &line), "");
            prop_assert_eq!(run(&mut filter(None, "10.2.0.0/16", false, true), &line), line + "\n");
        }

        #[test]
        fn any_bytes_pass_or_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut output = vec![];
            filter(None, "", false, true).run(&bytes[..], &mut output).unwrap();
            let end: &[u8] = if bytes.last().is_none_or(|&byte| byte == b'\n') { b"" } else { b"\n" };
            prop_assert_eq!(output, [&bytes, end].concat());
        }
    }
}
