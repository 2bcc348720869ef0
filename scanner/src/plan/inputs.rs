//! The lists that a scan reads, with what identifies their content: so that a later reader knows whether a list is
//! still the one that was scanned by.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::{DEFAULT_BLOCKLIST, PlanError, TargetPlan, top_ports};
use crate::cli::Args;
use crate::lists::{self, Content};
use crate::printable::printable;

/// A list that was read, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputList {
    /// The flag that names it, or would: also of the block list that is read if none is named.
    pub flag: &'static str,
    /// Its absolute path; `-` is standard input.
    pub file: PathBuf,
    /// Its content; `None` if it is not a regular file.
    pub content: Option<Content>,
}

/// The lists of a scan. Each is read a second time for its hash when somebody needs that first, and then no more.
#[derive(Debug)]
pub(super) struct Inputs {
    lists: Vec<(&'static str, PathBuf)>,
    read: OnceCell<Vec<InputList>>,
}

impl Inputs {
    /// Those of a command line with these targets.
    pub(super) fn of(args: &Args, targets: &TargetPlan) -> Self {
        let mut lists: Vec<_> = named(args).into_iter().map(|(flag, path)| (flag, path.to_owned())).collect();
        let has_file = targets.blocklists.iter().any(|list| list.file.is_some());
        if args.basic.blocklist_file.is_empty() && has_file {
            lists.push(("--blocklist-file", PathBuf::from(DEFAULT_BLOCKLIST)));
        }
        Self { lists, read: OnceCell::new() }
    }

    /// Reads them.
    ///
    /// # Errors
    /// One cannot be read any more.
    pub(super) fn read(&self) -> Result<&[InputList], PlanError> {
        if let Some(read) = self.read.get() {
            return Ok(read);
        }
        let list = |(flag, path): &(&'static str, PathBuf)| {
            let content = lists::content(path)
                .map_err(|error| PlanError::usage(flag, format!("{}: {error}", printable(path))))?;
            let is_input = path == Path::new(lists::STANDARD_INPUT);
            let absolute = std::path::absolute(path).ok().filter(|_| !is_input);
            let file = absolute.unwrap_or_else(|| path.clone());
            Ok(InputList { flag, file, content })
        };
        let read = self.lists.iter().map(list).collect::<Result<_, PlanError>>()?;
        Ok(self.read.get_or_init(|| read))
    }
}

/// The lists that a command line names, with their flags.
pub(super) fn named(args: &Args) -> Vec<(&'static str, &Path)> {
    let basic = &args.basic;
    let blocklists = basic.blocklist_file.iter().map(|path| ("--blocklist-file", path.as_path()));
    let others = [
        ("--allowlist-file", &basic.allowlist_file),
        ("--list-of-ips-file", &basic.list_of_ips_file),
        ("--pairs-file", &basic.pairs_file),
        ("--asn-file", &basic.asn_file),
    ];
    let others = others.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?)));
    let ports = top_ports::file(args).map(|path| (top_ports::FLAG, path));
    blocklists.chain(others).chain(ports).collect()
}
