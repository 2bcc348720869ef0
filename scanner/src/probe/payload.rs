//! Payloads from `--probe-args`: `file:PATH`, `text:...`, `hex:...`, as in ZMap.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::input;
use crate::printable::printable;

/// Why a payload is refused. The texts complete "--probe-args: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// None of these forms.
    #[error("give the payload as file:PATH, text:TEXT or hex:DIGITS, not \"{0}\"")]
    Form(String),
    /// Not hexadecimal digits, two per byte.
    #[error("hex: needs pairs of hexadecimal digits, but \"{0}\" is something else")]
    Hex(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Its path.
        path: String,
        /// The system's error.
        reason: String,
    },
    /// It is too long.
    #[error("the payload has {len} bytes; a probe holds at most {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The maximum.
        max: usize,
    },
}

/// The payload in `args`, at most `len_max` bytes.
///
/// # Errors
/// Why it is invalid.
pub(super) fn parse(args: &OsStr, len_max: usize) -> Result<Vec<u8>, PayloadError> {
    let bytes = args.as_bytes();
    let (form, rest) = bytes.split_at(bytes.iter().position(|&byte| byte == b':').unwrap_or(0));
    let rest = rest.get(1..).map(OsStr::from_bytes).unwrap_or_default();
    let payload = match form {
        b"text" => rest.as_bytes().to_vec(),
        b"hex" => rest.to_str().and_then(hex).ok_or_else(|| PayloadError::Hex(printable(rest)))?,
        b"file" => read(rest)?,
        _ => return Err(PayloadError::Form(printable(args))),
    };
    if payload.len() > len_max {
        return Err(PayloadError::TooLong { len: payload.len(), max: len_max });
    }
    Ok(payload)
}

/// The bytes of the file at `path`.
pub(super) fn read(path: &OsStr) -> Result<Vec<u8>, PayloadError> {
    input::read(path.as_ref())
        .map_err(|error| PayloadError::File { path: printable(path), reason: error.to_string() })
}

pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some((digit(high)? << 4 | digit(low)?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(args: &str, len_max: usize) -> Result<Vec<u8>, PayloadError> {
        super::parse(args.as_ref(), len_max)
    }

    /// Names of files and texts may be any bytes.
    #[test]
    fn what_is_not_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
        std::fs::write(&path, "payload").unwrap();
        let args = [b"file:", path.as_os_str().as_bytes()].concat();
        assert_eq!(super::parse(OsStr::from_bytes(&args), 9), Ok(b"payload".to_vec()));
        assert_eq!(super::parse(OsStr::from_bytes(b"text:\xe9"), 9), Ok(vec![0xe9]));
        let hex = super::parse(OsStr::from_bytes(b"hex:\xe9"), 9);
        assert_eq!(hex, Err(PayloadError::Hex("\\xe9".to_owned())));
    }

    #[test]
    fn forms() {
        assert_eq!(parse("text:a:b", 9), Ok(b"a:b".to_vec()));
        assert_eq!(parse("hex:00ffAb", 9), Ok(vec![0, 255, 0xab]));
        assert_eq!(parse("hex:", 9), Ok(vec![]));
        assert_eq!(parse("hex:0", 9), Err(PayloadError::Hex("0".to_owned())));
        assert_eq!(parse("hex:0x", 9), Err(PayloadError::Hex("0x".to_owned())));
        assert_eq!(parse("plain", 9), Err(PayloadError::Form("plain".to_owned())));
        assert_eq!(parse("text:abc", 2), Err(PayloadError::TooLong { len: 3, max: 2 }));
        assert!(matches!(parse("file:/nowhere/at/all", 9), Err(PayloadError::File { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(args in "(hex|text|)?:?\\PC{0,20}") {
            let _ = parse(&args, 9);
        }
    }
}
