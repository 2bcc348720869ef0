//! Whether a file exists that is used without being named, such as the system's block list.
//!
//! What always holds: only a file that certainly does not exist is absent. One that cannot be looked up (a broken link,
//! no permission, an I/O error, a file where a folder should be) may hold something that must be obeyed. The file must
//! be a regular file or a link to one: the user has not named it, and reading a FIFO would wait for ever.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Whether there is a file at `path`. If so, it is a regular file.
///
/// # Errors
/// Why it cannot be used, as words that follow its name.
pub(crate) fn is_file_there(path: &Path) -> Result<bool, String> {
    match is_there(path) {
        Ok(true) if !fs::metadata(path).is_ok_and(|found| found.is_file()) => {
            Err("is not a regular file".to_owned())
        }
        found => found,
    }
}

/// Whether there is anything at `path`.
pub(crate) fn is_there(path: &Path) -> Result<bool, String> {
    let unknown = |error: std::io::Error| format!("cannot be looked at ({error})");
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => match fs::metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Err("is a broken link".to_owned()),
            Err(error) => Err(unknown(error)),
        },
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // If the folder is a broken link, the file in it may exist elsewhere.
            if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
                is_there(folder)
                    .map_err(|why| format!("cannot be looked at ({} {why})", folder.display()))?;
            }
            Ok(false)
        }
        Err(error) => Err(unknown(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_what_does_not_exist_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("file", at("link")).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        mkfifo(&at("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (name, expected) in [
            ("file", Ok(true)),
            ("folder", Err("is not a regular file")),
            ("fifo", Err("is not a regular file")),
            ("device", Err("is not a regular file")),
            ("link", Ok(true)),
            ("none", Ok(false)),
            ("none/none/none", Ok(false)),
            ("folder/none", Ok(false)),
            ("dangling", Err("broken link")),
            ("loop", Err("(Too many levels of symbolic links")),
            ("file/none", Err("(Not a directory")),
            ("dangling/none", Err("dangling is a broken link")),
            ("loop/none", Err("(Too many levels")),
        ] {
            match (is_file_there(&at(name)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{name}: {why}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        assert_eq!(is_file_there(Path::new("no-such-file")), Ok(false));
    }
}
