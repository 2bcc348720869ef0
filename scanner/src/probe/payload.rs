//! Payloads that `--probe-args` gives: `file:PATH`, `text:...`, `hex:...`, as in ZMap.

use std::fs;

/// Why a payload cannot be had. The texts complete "--probe-args: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Neither of the forms.
    #[error("give the payload as file:PATH, text:TEXT or hex:DIGITS, not \"{0}\"")]
    Form(String),
    /// Not hexadecimal digits, two a byte.
    #[error("hex: takes pairs of hexadecimal digits; \"{0}\" is something else")]
    Hex(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It does not fit.
    #[error("the payload has {len} bytes; a probe holds at most {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The room there is.
        max: usize,
    },
}

/// The payload that `args` gives, at most `len_max` bytes.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(args: &str, len_max: usize) -> Result<Vec<u8>, PayloadError> {
    let payload = match args.split_once(':') {
        Some(("text", text)) => text.as_bytes().to_vec(),
        Some(("hex", digits)) => hex(digits).ok_or_else(|| PayloadError::Hex(digits.to_owned()))?,
        Some(("file", path)) => read(path)?,
        _ => return Err(PayloadError::Form(args.to_owned())),
    };
    if payload.len() > len_max {
        return Err(PayloadError::TooLong { len: payload.len(), max: len_max });
    }
    Ok(payload)
}

/// The bytes of the file at `path`.
pub(super) fn read(path: &str) -> Result<Vec<u8>, PayloadError> {
    fs::read(path).map_err(|error| PayloadError::File { path: path.to_owned(), reason: error.to_string() })
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some((digit(high)? << 4 | digit(low)?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
