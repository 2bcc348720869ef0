//! The numbers of autonomous systems as text.

/// The number of a system, with or without `AS` before it, as one number or as two with a dot between them (RFC 5396).
pub(super) fn number(text: &str) -> Option<u32> {
    let is_prefixed = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("as"));
    let digits = if is_prefixed { &text[2..] } else { text };
    let whole =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
    match digits.split_once('.') {
        None => whole(digits),
        Some((high, low)) => {
            let [high, low] = [high, low].map(|half| whole(half).and_then(|half| u16::try_from(half).ok()));
            Some(u32::from(high?) << 16 | u32::from(low?))
        }
    }
}

/// The number that an entry of a list names as a system: `AS64500` or `AS1.10`. `None` if it is no such name, and
/// `Some(None)` if there is no such number.
pub(super) fn named(entry: &str) -> Option<Option<u32>> {
    let rest = entry.get(..2).filter(|start| start.eq_ignore_ascii_case("as")).map(|_| &entry[2..])?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = match rest.split_once('.') {
        None => is_number(rest),
        Some((high, low)) => is_number(high) && is_number(low),
    };
    is_name.then(|| number(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (entry, number) in
            [("AS64500", Some(64500)), ("as1.10", Some(65546)), ("As4294967295", Some(u32::MAX))]
        {
            assert_eq!(named(entry), Some(number), "{entry}");
        }
        assert_eq!(named("AS4294967296"), Some(None));
        assert_eq!(named("AS65536.1"), Some(None));
        for entry in ["AS", "64500", "asn64500", "as64500.example", "as.1", "AS1.2.3", "AS-1", "\u{e4}s1"] {
            assert_eq!(named(entry), None, "{entry}");
        }
    }
}
