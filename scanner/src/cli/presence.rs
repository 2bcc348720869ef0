//! Whether a file that counts by itself is there, such as the system's block list.
//!
//! What always holds: only a file that surely does not exist is absent. One that cannot be looked at (a link to nowhere, no
//! permission, an I/O error, a file where a folder should be) may hold what must be obeyed.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Whether there is a file at `path`.
///
/// # Errors
/// Why that cannot be told, as words that go on after its name.
pub(crate) fn is_there(path: &Path) -> Result<bool, String> {
    let unknown = |error: std::io::Error| format!("cannot be looked at ({error})");
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => match fs::metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err("is a link to what is not there".to_owned())
            }
            Err(error) => Err(unknown(error)),
        },
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A folder that is itself a link to nowhere hides all that is in it.
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

    use super::*;

    #[test]
    fn only_what_does_not_exist_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("file", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (name, expected) in [
            ("file", Ok(true)),
            ("folder", Ok(true)),
            ("link", Ok(true)),
            ("none", Ok(false)),
            ("none/none/none", Ok(false)),
            ("folder/none", Ok(false)),
            ("dangling", Err("link to what is not there")),
            ("loop", Err("(Too many levels of symbolic links")),
            ("file/none", Err("(Not a directory")),
            ("dangling/none", Err("dangling is a link to what is not there")),
            ("loop/none", Err("(Too many levels")),
        ] {
            match (is_there(&at(name)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{name}: {why}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        assert_eq!(is_there(Path::new("no-such-file")), Ok(false));
    }
}
