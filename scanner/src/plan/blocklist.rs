//! The block lists: which are in force, what is in them, and how a running scan reads them again.
//!
//! What always holds: what any of them names is never probed. What is typed for `--exclude` adds to the files, and
//! stays when they are read again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use targets::Systems;
use targets::list::{HostName, List, ListError, OnBadEntry, Problem, Purpose, Unused};
use targets::names::{self, Unknown};
use targets::ranges::RangeSet;

use super::error::{PlanError, list_remedy};
use super::reasons::Reasons;
use crate::cli::presence::is_file_there;
use crate::lists;
use crate::printable::printable;

/// The block list if no `--blocklist-file` is given; used only if it exists.
pub const DEFAULT_BLOCKLIST: &str = "/etc/xdpmap/blocklist.conf";
const EXCLUDE: &str = "--exclude";

/// A block list in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocklist {
    /// Its file, as it was given; `-` is standard input. `None` for what was typed (`--exclude`).
    pub file: Option<String>,
    /// Its entries: networks and host names.
    pub entries: u64,
    /// The addresses in them.
    pub addresses: u64,
    /// Why they are on it.
    pub reasons: Reasons,
}

impl Blocklist {
    fn new(file: Option<String>, list: &List, blocked: &RangeSet) -> Self {
        // The addresses of host names are among the ranges.
        let of_names: usize = list.names.iter().map(|name| name.addresses.len()).sum();
        let entries = (list.entries.len() - of_names + list.names.len()) as u64;
        Self { file, entries, addresses: blocked.len(), reasons: Reasons::of(list) }
    }

    /// How messages call it.
    pub fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| EXCLUDE.to_owned(), |file| lists::name(Path::new(file)))
    }
}

/// The block lists of a scan, as they were read at its start.
pub(super) struct Blocked {
    /// What is in force.
    pub(super) lists: Vec<Blocklist>,
    /// All that they name.
    pub(super) networks: RangeSet,
    /// The host names in them.
    pub(super) names: Vec<HostName>,
    /// Which files are read again.
    pub(super) source: BlocklistSource,
}

impl Blocked {
    /// Reads the files that are named, or [`DEFAULT_BLOCKLIST`] if none is, and the values of `--exclude`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn read(
        files: &[PathBuf],
        typed: &[String],
        on_bad: OnBadEntry,
        systems: Option<Arc<Systems>>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let mut source = BlocklistSource { named: files.to_vec(), on_bad, has_names: false, systems };
        let systems = source.systems.as_deref();
        let mut all = Vec::new();
        for path in source.paths()? {
            all.push((Some(printable(path)), read(path, Purpose::Block, on_bad, systems, warnings)?));
        }
        let has_names = all.iter().any(|(_, list)| !list.names.is_empty());
        if !typed.is_empty() {
            all.push((None, excluded(typed, systems, warnings)?));
        }
        source.has_names = has_names;
        let (lists, networks) = summed(&all);
        let names = all.into_iter().flat_map(|(_, list)| list.names).collect();
        Ok(Self { lists, networks, names, source })
    }
}

/// What lists are, each with its file, and all that they name.
fn summed(all: &[(Option<String>, List)]) -> (Vec<Blocklist>, RangeSet) {
    let sets: Vec<RangeSet> = all.iter().map(|(_, list)| list.to_set()).collect();
    let lists = all.iter().zip(&sets).map(|((file, list), set)| Blocklist::new(file.clone(), list, set));
    (lists.collect(), sets.into_iter().reduce(|all, set| all.union(&set)).unwrap_or_default())
}

/// Which files a scan's block lists are, except for what was typed.
#[derive(Clone, Debug)]
pub struct BlocklistSource {
    /// The files that were named. If none was, [`DEFAULT_BLOCKLIST`], if it exists.
    pub named: Vec<PathBuf>,
    /// How bad lines are handled.
    pub on_bad: OnBadEntry,
    /// Whether there were host names in them when the scan began.
    pub has_names: bool,
    /// The table of AS numbers, as it was when the scan began.
    pub systems: Option<Arc<Systems>>,
}

/// Block lists that were read again.
#[derive(Debug)]
pub struct ReadAgain {
    /// The lists; empty if none was named and there is none.
    pub lists: Vec<Blocklist>,
    /// What they block.
    pub blocked: RangeSet,
    /// What the user should know about them.
    pub warnings: Vec<String>,
}

impl BlocklistSource {
    /// The files to read, at present.
    ///
    /// # Errors
    /// It is not known whether there is one.
    pub fn paths(&self) -> Result<Vec<&Path>, PlanError> {
        match &self.named[..] {
            [] => Ok(default_blocklist()?.into_iter().collect()),
            named => Ok(named.iter().map(PathBuf::as_path).collect()),
        }
    }

    /// The files that may be read later, whether they exist or not.
    pub fn places(&self) -> Vec<&Path> {
        match &self.named[..] {
            [] => vec![Path::new(DEFAULT_BLOCKLIST)],
            named => named.iter().map(PathBuf::as_path).collect(),
        }
    }

    /// Reads the files again, in the calling thread alone. `looks_up` says whether host names can be looked up.
    ///
    /// # Errors
    /// What is wrong with one, as at the start of a scan; or it cannot be read again.
    pub fn read_again(&self, looks_up: bool) -> Result<ReadAgain, PlanError> {
        let mut warnings = Vec::new();
        let mut all = Vec::new();
        for path in self.paths()? {
            let mut list = lists::read_again(path, Purpose::Block, self.on_bad, self.systems.as_deref())?;
            match looks_up {
                true => list.look_up_in_turn(&names::system, self.on_bad)?,
                false => list.look_up_in_turn(&unknown, self.on_bad)?,
            }
            warn_of_list(path, &list, &mut warnings);
            all.push((Some(printable(path)), list));
        }
        let (lists, blocked) = summed(&all);
        Ok(ReadAgain { lists, blocked, warnings })
    }
}

/// The networks that were typed, each value one or several with commas between them. They are read as those of a block
/// list are, but all must be good: what somebody types is not to be left out silently.
fn excluded(
    typed: &[String],
    systems: Option<&Systems>,
    warnings: &mut Vec<String>,
) -> Result<List, PlanError> {
    let networks: Vec<&str> = typed.iter().flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut list = List::from_words(&networks, Purpose::Block, systems).map_err(refused)?;
    list.look_up(&names::system, OnBadEntry::Fail).map_err(refused)?;
    if list.ipv6.count > 0 {
        let count = list.ipv6.count;
        warnings.push(format!("{EXCLUDE}: {count} IPv6 networks are left out; only IPv4 is scanned"));
    }
    Ok(list)
}

/// The error of a network that was typed. It repeats the network, which says more than its number.
fn refused(error: ListError) -> PlanError {
    let remedy = list_remedy(&error);
    let what = match error {
        ListError::BadEntry { word, problem: Problem::Empty, .. } => {
            format!(
                "\"{word}\" names no network; give one such as 192.0.2.0/24, or several with commas between them"
            )
        }
        ListError::BadEntry { word, problem: Problem::SeveralTargets, .. } => {
            format!("\"{word}\" is more than one network: put commas between them")
        }
        ListError::BadEntry { word, problem, .. } => format!("\"{word}\" {problem}{remedy}"),
        ListError::UnknownName { name, why, .. } => {
            format!(
                "\"{name}\" is not an address, and as a host name it {why}: correct it, or give its addresses"
            )
        }
        other => other.to_string(),
    };
    PlanError::usage(EXCLUDE, what)
}

/// Looks no name up.
fn unknown(_: &str) -> Result<Vec<std::net::Ipv4Addr>, Unknown> {
    let why = "cannot be looked up while the scan runs, because its list had no host names when it began";
    Err(Unknown::Failed(why.to_owned()))
}

/// The block list that is used if none is named. Only if it does not exist, the scan goes on without one: a list that
/// cannot be read may hold networks whose owners have opted out.
fn default_blocklist() -> Result<Option<&'static Path>, PlanError> {
    let path = Path::new(DEFAULT_BLOCKLIST);
    match is_file_there(path) {
        Ok(is_there) => Ok(is_there.then_some(path)),
        Err(why) => {
            let what = format!(
                "{DEFAULT_BLOCKLIST} {why}, so it is not known which networks have opted out: fix that, or name \
                 the list to use (-b /dev/null is an empty one)"
            );
            Err(PlanError::usage("--blocklist-file", what))
        }
    }
}

/// Reads a list of networks and resolves its host names.
pub(super) fn read(
    path: &Path,
    purpose: Purpose,
    on_bad: OnBadEntry,
    systems: Option<&Systems>,
    warnings: &mut Vec<String>,
) -> Result<List, PlanError> {
    let mut list = lists::read(path, purpose, on_bad, systems)?;
    list.look_up(&names::system, on_bad)?;
    warn_of_list(path, &list, warnings);
    Ok(list)
}

/// Warns of entries in a list of networks that are not used.
fn warn_of_list(path: &Path, list: &List, warnings: &mut Vec<String>) {
    warn_of_ipv6(&lists::name(path), list.ipv6, warnings);
    warnings.extend(list.warnings.iter().map(ToString::to_string));
    warnings.extend(list.passed_over());
}

/// Warns of IPv6 entries.
pub(super) fn warn_of_ipv6(file: &str, ipv6: Unused, warnings: &mut Vec<String>) {
    if ipv6.count > 0 {
        let (count, line) = (ipv6.count, ipv6.first_line);
        warnings.push(format!("{file}: {count} IPv6 entries are left out (line {line} is the first)"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn source(path: &Path) -> BlocklistSource {
        BlocklistSource {
            named: vec![path.to_owned()],
            on_bad: OnBadEntry::Fail,
            has_names: false,
            systems: None,
        }
    }

    #[test]
    fn a_list_is_read_again_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.conf");
        let source = source(&path);
        assert!(source.read_again(true).unwrap_err().to_string().contains("cannot read"), "there is none");
        fs::write(&path, "198.51.100.0/24 # one\n192.0.2.7\n").unwrap();
        let read = source.read_again(true).unwrap();
        let [list] = &read.lists[..] else { panic!("one list: {read:?}") };
        assert_eq!((list.entries, list.addresses, read.blocked.len()), (2, 257, 257));
        fs::write(&path, "198.51.100.0/33\n").unwrap();
        let error = source.read_again(true).unwrap_err().to_string();
        assert!(error.contains("block.conf:1: ") && error.contains("198.51.100.0/33"), "{error}");
        let lenient = BlocklistSource { on_bad: OnBadEntry::Skip, ..source };
        let read = lenient.read_again(true).unwrap();
        assert!(!read.blocked.is_empty() && !read.warnings.is_empty(), "{read:?}");
    }

    /// AS numbers stand for what the table had when the scan began, and for all that a system announces.
    #[test]
    fn systems_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.conf");
        let table = "198.51.100.0/24 64500\n198.51.100.128/25 64501\n";
        let systems = Arc::new(Systems::read("table", table.as_bytes()).unwrap());
        let source = BlocklistSource { systems: Some(systems), ..source(&path) };
        fs::write(&path, "AS64500 # 2026-01-31 asked\n").unwrap();
        let read = source.read_again(true).unwrap();
        assert_eq!((read.blocked.len(), read.lists[0].entries), (256, 1));
        fs::write(&path, "as64502\n").unwrap();
        let error = source.read_again(true).unwrap_err().to_string();
        assert!(error.contains("block.conf:1: \"as64502\" is an AS number without a prefix"), "{error}");
        let without = BlocklistSource { systems: None, ..source };
        let error = without.read_again(true).unwrap_err().to_string();
        assert!(error.contains("no table says which networks it has: name one with --asn-file"), "{error}");
    }

    /// All lists are read again, or none: a mistake in one of them changes nothing.
    #[test]
    fn several_lists_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one.conf", "two.conf"].map(|name| folder.path().join(name));
        fs::write(&paths[0], "198.51.100.0/24\n192.0.2.0/25\n").unwrap();
        fs::write(&paths[1], "192.0.2.0/24\n").unwrap();
        let source = BlocklistSource { named: paths.to_vec(), ..source(&paths[0]) };
        assert_eq!(source.places(), paths);
        let read = source.read_again(true).unwrap();
        let counts: Vec<_> = read.lists.iter().map(|list| (list.entries, list.addresses)).collect();
        assert_eq!((counts, read.blocked.len()), (vec![(2, 384), (1, 256)], 512));
        fs::write(&paths[1], "192.0.2.0/33\n").unwrap();
        assert!(source.read_again(true).unwrap_err().to_string().contains("two.conf:1: "));
    }

    /// What is typed adds to the files, and has no place among those that are read again.
    #[test]
    fn typed_networks_add_to_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.conf");
        fs::write(&path, "198.51.100.0/24\n").unwrap();
        let typed = ["192.0.2.0/25, 192.0.2.128-192.0.2.255".to_owned(), "localhost".to_owned()];
        let mut warnings = vec![];
        let read = |typed: &[String], warnings: &mut Vec<String>| {
            Blocked::read(std::slice::from_ref(&path), typed, OnBadEntry::Skip, None, warnings)
        };
        let blocked = read(&typed, &mut warnings).unwrap();
        assert_eq!(blocked.networks.len(), 256 + 256 + 1);
        let names: Vec<_> = blocked.lists.iter().map(|list| (list.name(), list.entries)).collect();
        assert_eq!(names, [(printable(&path), 1), ("--exclude".to_owned(), 3)]);
        assert!(!blocked.source.has_names && blocked.names.len() == 1, "the name is not looked up again");
        assert_eq!(warnings, Vec::<String>::new());
        // An IPv6 address that leads to an IPv4 host stands for it; another one is no target anyway.
        let blocked = read(&["::ffff:192.0.2.1,2001:db8::1".to_owned()], &mut warnings).unwrap();
        assert_eq!((blocked.networks.len(), warnings.len()), (257, 1));
    }

    /// Whatever is typed is a network, or refused; bad lines may be skipped in files only.
    #[test]
    fn typed_networks_are_not_skipped() {
        for (typed, words) in [
            ("", "\"\" names no network"),
            ("192.0.2.0/24,", "\"\" names no network"),
            ("# 192.0.2.0/24", "names no network"),
            ("192.0.2.0/24 198.51.100.0/24", "put commas between them"),
            ("192.0.2.0/33", "\"192.0.2.0/33\" has a bad prefix length"),
            ("192.0.2.9-192.0.2.1", "runs backwards"),
            ("AS64500", "name one with --asn-file"),
        ] {
            let error = excluded(&[typed.to_owned()], None, &mut vec![]).unwrap_err().to_string();
            assert!(error.starts_with("--exclude: ") && error.contains(words), "{typed}: {error}");
        }
    }

    proptest! {
        /// Every network of a value is blocked, however the values are divided; and any text is read or refused.
        #[test]
        fn what_is_typed_is_blocked(
            networks in prop::collection::vec((any::<u32>(), 8u32..33), 1..9),
            divided: bool,
            text in "[0-9./, :*#-]{0,40}",
        ) {
            let words = networks.iter().map(|(address, bits)| format!("{}/{bits}", Ipv4Addr::from_bits(*address)));
            let words: Vec<String> = words.collect();
            let typed = if divided { words } else { vec![words.join(",")] };
            let set = excluded(&typed, None, &mut vec![]).unwrap().to_set();
            prop_assert!(networks.iter().all(|(address, _)| set.contains(*address)));
            // Without letters, no word is a name, which would be looked up.
            if let Ok(list) = excluded(std::slice::from_ref(&text), None, &mut vec![]) {
                let words = text.split(',').filter(|word| !word.trim().is_empty()).count();
                prop_assert!(list.entries.len() + list.ipv6.count as usize == words, "{}", text);
            }
        }
    }

    /// A name that cannot be looked up is an error that says what to write instead.
    #[test]
    fn names_that_are_not_looked_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.conf");
        fs::write(&path, "# names\nlocalhost\n").unwrap();
        let error = source(&path).read_again(false).unwrap_err().to_string();
        assert!(error.contains(":2: ") && error.contains("give its addresses"), "{error}");
        assert!(source(&path).read_again(true).unwrap().blocked.contains(0x7f00_0001));
    }

    #[test]
    fn what_cannot_be_read_twice() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_path(), Path::new(lists::STANDARD_INPUT)] {
            let error = source(path).read_again(true).unwrap_err().to_string();
            assert!(error.contains("cannot be read again"), "{error}");
        }
        assert!(source(Path::new("/dev/null")).read_again(true).unwrap().blocked.is_empty());
    }
}
