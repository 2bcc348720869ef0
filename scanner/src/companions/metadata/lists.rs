//! Whether the lists that a scan read are still what they were.

use std::path::Path;

use super::allowed::Hosts;
use super::{Metadata, ReadList};
use crate::lists::{self, STANDARD_INPUT};

/// What became of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is what it was.
    Same,
    /// It is not what it was; in what it differs.
    Changed(String),
    /// That is not known; why.
    Unknown(String),
}

/// Compares a list of this scan with what it was.
pub fn compare(metadata: &Metadata, list: &ReadList) -> Found {
    let name = list.file.as_str();
    let Some(then) = &list.sha256 else {
        let kind = if name == STANDARD_INPUT { "standard input" } else { "not a regular file" };
        return Found::Unknown(format!("--{}: {name} was {kind}, which cannot be read again", list.flag));
    };
    let now = match lists::content(Path::new(name)) {
        Ok(Some(now)) => now,
        Ok(None) => return Found::Unknown(format!("--{}: {name} is not a regular file any more", list.flag)),
        Err(error) => return Found::Unknown(format!("--{}: {name} cannot be read ({error})", list.flag)),
    };
    if now.sha256 == *then {
        return Found::Same;
    }
    let was_reloaded = metadata.blocklist_changes.iter().any(|change| change.command == "reload");
    if list.flag == "blocklist-file" && was_reloaded {
        let flag = &list.flag;
        return Found::Unknown(format!(
            "--{flag}: {name} is not what it was at the start, and was read again since"
        ));
    }
    let sizes = (list.lines.unwrap_or_default(), list.bytes.unwrap_or_default());
    Found::Changed(format!(
        "{name} had {} lines and {} bytes, and has {} and {}, or other ones",
        sizes.0, sizes.1, now.lines, now.bytes
    ))
}

/// The list of single hosts of a scan, if it had one.
pub fn hosts(metadata: &Metadata) -> Option<(&ReadList, Hosts<'_>)> {
    metadata.lists.iter().flatten().find_map(|list| {
        let path = Path::new(&list.file);
        match list.flag.as_str() {
            "list-of-ips-file" => Some((list, Hosts::Addresses(path))),
            "pairs-file" => Some((list, Hosts::Pairs(path))),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.conf");
        std::fs::write(&path, "192.0.2.0/24\n").unwrap();
        let content = lists::content(&path).unwrap().unwrap();
        let list = ReadList {
            flag: "blocklist-file".to_owned(),
            file: path.to_str().unwrap().to_owned(),
            sha256: Some(content.sha256),
            bytes: Some(content.bytes),
            lines: Some(content.lines),
        };
        let (plain, mut reloaded) = (Metadata::default(), Metadata::default());
        reloaded.blocklist_changes.push(super::super::ListChange { command: "reload".to_owned() });
        assert_eq!(compare(&plain, &list), Found::Same);
        std::fs::write(&path, "192.0.2.0/25\n").unwrap();
        assert!(
            matches!(compare(&plain, &list), Found::Changed(what) if what.contains("1 lines and 13 bytes"))
        );
        assert!(matches!(compare(&reloaded, &list), Found::Unknown(why) if why.contains("read again")));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(compare(&plain, &list), Found::Unknown(why) if why.contains("cannot be read")));
        let input = ReadList { file: "-".to_owned(), sha256: None, ..list };
        assert!(matches!(compare(&plain, &input), Found::Unknown(why) if why.contains("standard input")));
    }
}
