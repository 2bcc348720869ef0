//! Text from servers, made safe to show without losing any byte.

use std::fmt::Write as _;

/// Returns `bytes` unchanged if they are UTF-8 without control characters. Otherwise the other bytes are escaped as in
/// names and zone files (RFC 1035, section 5.1): a byte as `\` and three decimal digits, and a backslash as two.
pub fn escaped(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => return text.to_owned(),
        _ => {}
    }
    let mut text = String::with_capacity(2 * bytes.len());
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing into a string does not fail.
            let _ = write!(text, "\\{byte:03}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                control if control.is_control() => {
                    escape(&mut text, control.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => text.push(other),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of an escaped text.
    fn unescaped(text: &str) -> Vec<u8> {
        let (mut rest, mut bytes) = (text.as_bytes(), vec![]);
        while let Some((&byte, tail)) = rest.split_first() {
            let taken = match (byte, tail) {
                (b'\\', [b'\\', ..]) => {
                    bytes.push(b'\\');
                    2
                }
                (b'\\', [a, b, c, ..]) => {
                    bytes.push(str::from_utf8(&[*a, *b, *c]).unwrap().parse().unwrap());
                    4
                }
                _ => {
                    bytes.push(byte);
                    1
                }
            };
            rest = &rest[taken..];
        }
        bytes
    }

    #[test]
    fn examples() {
        assert_eq!(escaped("v=DKIM1\\; k=\u{e9}".as_bytes()), "v=DKIM1\\; k=\u{e9}");
        assert_eq!(escaped(b"\xff\xfe\x00\"\n\\ \xc3\xa9\x7f"), "\\255\\254\\000\"\\010\\\\ \u{e9}\\127");
        assert_eq!(escaped(b"\x1b[31m"), "\\027[31m");
        assert_eq!(escaped("\u{9b}".as_bytes()), "\\194\\155");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'0')], 0..40)) {
            let text = escaped(&bytes);
            prop_assert!(!text.contains(char::is_control));
            let is_plain = text.as_bytes() == bytes;
            prop_assert!(is_plain || unescaped(&text) == bytes, "{text}");
        }
    }
}
