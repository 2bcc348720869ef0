//! Secrets: passwords that users put into URLs (`redis://user:password@host`).
//!
//! What always holds: every place that quotes typed, read or received text (the log, errors, `--print-config`, the
//! metadata) passes it through [`redacted`]. In doubt it hides too much rather than a part of a password.

use std::borrow::Cow;

/// Names of URL parameters that hold secrets.
const PARAMETERS: [&str; 2] = ["pass", "password"];

/// `text` with the passwords of its URLs hidden; user names stay. Between two URLs in one text everything may be
/// hidden, because a password may contain anything, even another URL.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let mut hidden = format!("{scheme}://");
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    if let Some(user) = user {
        let (name, password) = user.split_once(':').map_or((user, None), |(name, word)| (name, Some(word)));
        hide_parameters(name, &mut hidden);
        hidden.push_str(if password.is_some() { ":***@" } else { "@" });
    }
    hide_parameters(place, &mut hidden);
    Cow::Owned(hidden)
}

/// Whether `text` contains a secret.
pub fn has_secret(text: &str) -> bool {
    redacted(text) != text
}

/// Appends `rest`, which follows a URL's host, to `out`, with the values of secret parameters hidden.
fn hide_parameters(mut rest: &str, out: &mut String) {
    while let Some(at) = rest.find(['?', '&']) {
        let (before, parameter) = rest.split_at(at + 1);
        out.push_str(before);
        rest = parameter;
        let named =
            PARAMETERS.iter().find_map(|name| Some((name, rest.strip_prefix(name)?.strip_prefix('=')?)));
        if let Some((name, value)) = named {
            out.extend([name, "=***"]);
            let end = value.find(|c: char| c == '&' || c.is_whitespace()).unwrap_or(value.len());
            rest = &value[end..];
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_of_urls_are_hidden() {
        for (text, shown) in [
            ("redis://:secret@192.0.2.1:7/0", "redis://:***@192.0.2.1:7/0"),
            ("--output-file=redis://me:secret@h", "--output-file=redis://me:***@h"),
            ("redis://me:se:c@ret/@h", "redis://me:***@h"),
            ("a redis://x:y@h b http://u:v@k c", "a redis://x:***@k c"),
            ("unix:///run/r.sock?db=1&pass=secret&user=me", "unix:///run/r.sock?db=1&pass=***&user=me"),
            ("unix:///run/r.sock?password=secret is", "unix:///run/r.sock?password=*** is"),
            ("redis://me@h/0", "redis://me@h/0"),
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("me:secret is no URL", "me:secret is no URL"),
            ("", ""),
        ] {
            assert_eq!(redacted(text), shown);
            assert_eq!(has_secret(text), text != shown);
        }
    }

    proptest! {
        #[test]
        fn no_password_is_shown(
            user in "[a-z]{0,4}",
            password in "[!-~]{3,12}Z9Z",
            before in "[a-z =]{0,9}",
            after in "[a-z0-9:/]{0,9}",
        ) {
            let text = format!("{before}redis://{user}:{password}@{after}");
            let shown = redacted(&text).into_owned();
            prop_assert!(!shown.contains("Z9Z"), "{shown}");
            prop_assert_eq!(redacted(&shown), shown.as_str());
        }
    }
}
