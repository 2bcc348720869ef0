//! `xdpmap blocklist`: passes on the lines of a stream whose addresses the lists allow, each address once.
//!
//! A line is passed on unchanged. Its address is in the first column, which ends at the first comma or blank, or at a
//! `#`. The address may be in quotes, have a port, or be a network or a range. Only the lists decide: reserved networks
//! are not excluded here, because nothing is sent.
//!
//! What always holds: no line passes that contains an address which is not allowed, wherever in the line it is and
//! however it is written. The next reader may understand more of the line, or use another column. Exceptions are
//! comments, and other columns if `--first-column` is given. A line that is not understood passes only with
//! `--pass-input-errors`. With `--reasons` no addresses are read, and the reasons in the lists are printed.

mod reasons;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use targets::lines::MARK;
use targets::list::{List, ListError, OnBadEntry, Purpose};
use targets::ranges::{AddressRange, RangeSet};
use targets::{Systems, names, parse_address, parse_entry, readable};
use tracing::{debug, warn};

use super::options::{LogOptions, start_log};
use super::{Failure, tell};
use crate::lists::{self, STANDARD_INPUT};
use crate::plan::list_remedy;
use crate::results::dedup::AddressBitmap;
use crate::units::counted;

const NAME: &str = "blocklist";

/// Longest line, as in zblocklist. Lower: refuses input that zblocklist accepts. Higher: more memory for one line.
const LINE_MAX: u64 = 1 << 20;

/// Lines that are warned of one by one. Lower: fewer examples. Higher: a file in the wrong format floods the log.
const WARNINGS_MAX: u64 = 20;

/// Pass on the addresses of a list that may be probed, each once.
///
/// Reads standard input, one address per line, and writes to standard output the lines whose address is in the allow
/// list (if given) and not in the block list (if given). At least one of the lists is needed. The address is the first
/// column. A line is dropped with a warning if it is not understood, or if it contains another address that may not
/// pass.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "xdpmap blocklist", version, max_term_width = 110)]
pub(super) struct BlocklistOptions {
    /// Networks whose addresses are dropped, one per line; takes precedence over the allow list. May be given several
    /// times
    #[arg(short = 'b', long, alias = "blacklist-file", value_name = "FILE")]
    blocklist_file: Vec<PathBuf>,

    /// Networks whose addresses are passed on, one per line
    #[arg(short = 'w', long, alias = "whitelist-file", value_name = "FILE")]
    allowlist_file: Option<PathBuf>,

    /// Table of AS numbers and their prefixes, for lists that have some, as AS64500
    #[arg(long, value_name = "FILE")]
    asn_file: Option<PathBuf>,

    /// Pass on an address every time it occurs
    #[arg(long)]
    no_duplicate_checking: bool,

    /// Skip bad lines of the lists, with a warning; addresses that can be read in bad lines of the block list are still
    /// blocked
    #[arg(long, alias = "ignore-blacklist-errors")]
    ignore_blocklist_errors: bool,

    /// Check only the first column of CSV, whatever addresses the other columns contain
    #[arg(long)]
    first_column: bool,

    /// Pass on lines that are not understood, unless an address can be read in them that may not pass
    #[arg(long, conflicts_with = "ignore_input_errors")]
    pass_input_errors: bool,

    /// Drop all lines that do not begin with an address, including blank lines, comments and header rows
    #[arg(long)]
    ignore_input_errors: bool,

    /// Print why networks are on the block lists, and how many for each reason, instead of reading addresses
    #[arg(long, requires = "blocklist_file", conflicts_with = "allowlist_file")]
    reasons: bool,

    #[command(flatten)]
    log: LogOptions,
}

pub(super) fn run(options: BlocklistOptions) -> Result<(), Failure> {
    start_log(NAME, &options.log)?;
    if options.blocklist_file.is_empty() && options.allowlist_file.is_none() {
        return Err(Failure::usage(NAME, "give --blocklist-file, --allowlist-file, or both"));
    }
    let blocklists = options.blocklist_file.iter().map(|path| ("--blocklist-file", path));
    let allowlist = options.allowlist_file.iter().map(|path| ("--allowlist-file", path));
    let systems = options.asn_file.iter().map(|path| ("--asn-file", path));
    for (flag, path) in blocklists.chain(allowlist).chain(systems) {
        if path == Path::new(STANDARD_INPUT) {
            let what = format!("{flag}: standard input holds the addresses; name a file for the list");
            return Err(Failure::usage(NAME, what));
        }
    }
    let on_bad = if options.ignore_blocklist_errors { OnBadEntry::Skip } else { OnBadEntry::Fail };
    let refused = |error: ListError| Failure::usage(NAME, format!("{error}{}", list_remedy(&error)));
    let systems = options.asn_file.as_deref().map(lists::read_systems).transpose().map_err(refused)?;
    let read = |path: &PathBuf, purpose| read(path, purpose, on_bad, systems.as_ref()).map_err(refused);
    if options.reasons {
        let lists = options.blocklist_file.iter().map(|path| Ok((path, read(path, Purpose::Block)?)));
        return tell(NAME, reasons::table(&lists.collect::<Result<Vec<_>, _>>()?).as_bytes());
    }
    let allow = options.allowlist_file.as_ref().map(|path| read(path, Purpose::Probe)).transpose()?;
    let block = options.blocklist_file.iter().try_fold(RangeSet::default(), |others, path| {
        Ok(others.union(&read(path, Purpose::Block)?.to_set()))
    })?;
    // No host has this address, so zblocklist never passes it either.
    let nobody: RangeSet = AddressRange::new(0, 0).into_iter().collect();
    let mut filter = Filter {
        allowed: RangeSet::paint(allow.map(|list| list.to_set()).as_ref(), &block, &nobody),
        seen: (!options.no_duplicate_checking).then(Box::default),
        rules: Rules {
            first_column: options.first_column,
            pass_unknown: options.pass_input_errors,
            addresses_only: options.ignore_input_errors,
        },
        counts: Counts::default(),
    };
    let done = filter.run(io::stdin().lock(), io::stdout().lock());
    let counts = filter.counts;
    if counts.told > WARNINGS_MAX {
        let (told, bad) = (counts.told, counts.bad);
        warn!(
            target: "blocklist",
            "{told} lines in total contain addresses that may not pass, or are not understood ({bad})"
        );
    }
    debug!(target: "blocklist", "{}, {} not allowed, {}", counted(counts.lines, "line"), counts.refused, counted(counts.repeats, "repeat"));
    match done {
        // A reader that has read enough is not an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::usage(NAME, error.to_string()))
        }
        Err(error) => Err(Failure::io(NAME, "standard input or output", &error)),
        Ok(()) => Ok(()),
    }
}

fn read(
    path: &Path,
    purpose: Purpose,
    on_bad: OnBadEntry,
    systems: Option<&Systems>,
) -> Result<List, ListError> {
    let mut list = lists::read(path, purpose, on_bad, systems)?;
    list.look_up(&names::system, on_bad)?;
    let warnings = list.warnings.iter().map(ToString::to_string).chain(list.passed_over());
    for warning in warnings {
        warn!(target: "blocklist", "{warning}");
    }
    Ok(list)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    lines: u64,
    /// Lines that were not understood.
    bad: u64,
    /// Lines that contain an address which is not allowed.
    refused: u64,
    repeats: u64,
    /// Lines that deserved a warning, including those beyond the limit on warnings.
    told: u64,
}

/// Names of the columns that hold addresses, in the header rows of results.
const ADDRESS_COLUMNS: [&[u8]; 4] = [b"saddr", b"daddr", b"target", b"responder"];

/// The content of a line's first column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// No address: the line is blank, a comment or a header row.
    Nothing,
    /// An address, at the very start of the line.
    Address(u32),
    /// Addresses in another form.
    Addresses(AddressRange),
    /// Something that is not understood.
    Unknown,
}

impl Content {
    fn of(text: &[u8], is_first: bool) -> Self {
        // Other programs end a line at these, and with it a comment or a row of columns.
        if memchr::memchr2(b'\r', b'\x0c', text).is_some() {
            return Self::Unknown;
        }
        if let Some(address) = parse_address(first_word(text).0) {
            return Self::Address(address);
        }
        let Some(column) = first_column(without_comment(text)) else { return Self::Nothing };
        match parse_entry(column) {
            Some(range) => Self::Addresses(range),
            None if is_first && ADDRESS_COLUMNS.contains(&column) || column.starts_with(b";") => {
                Self::Nothing
            }
            None => Self::Unknown,
        }
    }
}

/// The start of a line, up to the end of a possible address, and the rest.
fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b'#' | b'\x0b');
    text.split_at(text.iter().position(ends).unwrap_or(text.len()))
}

/// A line without a comment that begins at its start or after a blank.
fn without_comment(text: &[u8]) -> &[u8] {
    let is_start = |&at: &usize| at == 0 || text[at - 1].is_ascii_whitespace();
    let end = memchr::memchr_iter(b'#', text).find(is_start);
    &text[..end.unwrap_or(text.len())]
}

/// The first column, without surrounding blanks and quotes; `None` if there are only blanks.
fn first_column(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    let quoted = text.strip_prefix(b"\"").and_then(|text| {
        let (column, rest) = text.split_at(memchr::memchr(b'"', text)?);
        matches!(rest, [b'"'] | [b'"', b',', ..]).then_some(column)
    });
    quoted.or_else(|| text.split(|&byte| byte == b',').next()).map(<[u8]>::trim_ascii)
}

/// How lines are handled that contain more, or less, than an address.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    first_column: bool,
    pass_unknown: bool,
    addresses_only: bool,
}

struct Filter {
    allowed: RangeSet,
    /// The addresses passed on so far; `None` if repeats are passed on.
    seen: Option<Box<AddressBitmap>>,
    rules: Rules,
    counts: Counts,
}

impl Filter {
    fn run(&mut self, input: impl Read, output: impl Write) -> io::Result<()> {
        let mut input = BufReader::with_capacity(1 << 18, input);
        let mut output = io::BufWriter::with_capacity(1 << 16, output);
        let mut line = Vec::new();
        loop {
            if input.buffer().is_empty() {
                // Before waiting for more input, pass on everything that is ready.
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
                        "line {} of standard input is longer than 1 MiB: write one address per line",
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
        let is_first = self.counts.lines == 1;
        let text = text.strip_prefix(MARK).filter(|_| is_first).unwrap_or(text);
        let content = Content::of(text, is_first);
        let own = match content {
            Content::Address(address) => AddressRange::new(address, address),
            Content::Addresses(range) => Some(range),
            Content::Nothing | Content::Unknown => None,
        };
        if own.is_some_and(|own| !self.allowed.contains_all(own)) {
            self.counts.refused += 1;
            if let (Content::Addresses(_), Some(own)) = (content, own) {
                self.tell(text, format_args!("contains {own}, which is not entirely allowed: dropped"));
            }
            return false;
        }
        let others = self.others(text, content);
        if let Some(refused) = others.iter().find(|range| !self.allowed.contains_all(**range)) {
            self.counts.refused += 1;
            let remedy = match own {
                Some(_) if !self.rules.first_column => " (--first-column checks only the first column)",
                _ => "",
            };
            self.tell(
                text,
                format_args!("contains {refused}, which is not entirely allowed: dropped{remedy}"),
            );
            return false;
        }
        if content == Content::Unknown {
            self.counts.bad += 1;
            let what = match (self.rules.pass_unknown, self.rules.addresses_only) {
                (true, _) => "",
                (_, true) => ": dropped",
                _ => ": dropped (--pass-input-errors passes such lines on)",
            };
            self.tell(text, format_args!("is not an IPv4 address{what}"));
        }
        let is_wanted = match content {
            Content::Address(_) => true,
            _ if self.rules.addresses_only => false,
            Content::Unknown => self.rules.pass_unknown,
            Content::Nothing | Content::Addresses(_) => true,
        };
        let only = match content {
            Content::Unknown => others.first().copied().filter(|_| others.len() == 1),
            _ => own,
        };
        is_wanted && !only.is_some_and(|only| self.is_repeat(only))
    }

    /// The addresses that can be read in a line, unless there is only the address that it begins with.
    fn others(&self, text: &[u8], content: Content) -> Vec<AddressRange> {
        // Without one of these characters a line has neither an address nor a network, which is true of nearly all
        // lines.
        let may_be_more = |byte: &u8| matches!(byte, b'.' | b':' | b'*' | b'/' | b'-' | b'x' | b'X');
        if matches!(content, Content::Address(_)) && !first_word(text).1.iter().any(may_be_more) {
            return vec![];
        }
        let text = if content == Content::Unknown { text } else { without_comment(text) };
        let has_columns = matches!(content, Content::Address(_) | Content::Addresses(_));
        let text = match self.rules.first_column && has_columns {
            true => text.split(|byte| matches!(byte, b',' | b'\t')).next().unwrap_or_default(),
            false => text,
        };
        let mut ranges = readable::ranges(text);
        // An address that no host has.
        ranges.retain(|range| range.last() != 0);
        ranges
    }

    /// Whether a single address has been passed on already.
    fn is_repeat(&mut self, range: AddressRange) -> bool {
        let seen = self.seen.as_mut().filter(|_| range.len() == 1);
        let is_repeat = seen.is_some_and(|seen| seen.check(range.first(), true));
        self.counts.repeats += u64::from(is_repeat);
        is_repeat
    }

    /// Warns about a line.
    fn tell(&mut self, text: &[u8], what: std::fmt::Arguments<'_>) {
        self.counts.told += 1;
        if self.counts.told <= WARNINGS_MAX {
            let shown = text[..text.len().min(40)].escape_ascii();
            warn!(target: "blocklist", "line {}: '{shown}' {what}", self.counts.lines);
        }
    }
}

#[cfg(test)]
mod tests;
