//! In-band attribution: a URI in the probe that says where its purpose is described and who answers for it (RFC 9511).
//!
//! Owns the form of the URI, and where a payload has it: at its start with a zero byte behind it, or, where something
//! else comes first, between two zero bytes (section 4 of the RFC).

use std::fmt;
use std::str::FromStr;

/// Most bytes of a URI. More would not fit the inner datagram of `ipip` (200 bytes with the zero byte), nor most notes
/// of it; fewer could cut real ones.
pub const URI_LEN_MAX: usize = 190;

/// Why a URI is refused. The texts complete the flag that gives it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Another scheme, or none.
    #[error(
        "give a web page, a mail address or a phone number as a URI (RFC 9511): \
         https://example.org/.well-known/probing.txt, mailto:ADDRESS or tel:+1-201-555-0123"
    )]
    Scheme,
    /// Not encrypted, which RFC 9116 requires.
    #[error("a web page has to be at https:// (RFC 9116, section 2.5)")]
    Http,
    /// A character that no URI has.
    #[error(
        "{0:?} is not a character of a URI; write it as % and two hexadecimal digits of each of its bytes"
    )]
    Character(char),
    /// A user's name, and perhaps a password, before the host. The text has neither an at sign nor an address, so that
    /// hiding the password leaves it whole.
    #[error("every probe would carry the user's name and the password in it; give the address without them")]
    User,
    /// What follows the scheme is incomplete.
    #[error("{0} is needed behind {1}")]
    Incomplete(&'static str, &'static str),
    /// It is too long.
    #[error("the URI has {0} bytes, and a probe has room for {URI_LEN_MAX}; give a shorter one")]
    TooLong(usize),
}

/// A probe description URI: `https:`, `mailto:` or `tel:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri(String);

impl Uri {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI in `text`, if a probe has room for it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn for_probes(text: &str) -> Result<Self, UriError> {
        match text.parse::<Self>()? {
            Self(text) if text.len() > URI_LEN_MAX => Err(UriError::TooLong(text.len())),
            uri => Ok(uri),
        }
    }

    /// Whether it is a page on the web.
    pub fn is_page(&self) -> bool {
        self.0.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }

    /// A payload that is the URI alone.
    pub fn alone(&self) -> Vec<u8> {
        [self.0.as_bytes(), &[0]].concat()
    }

    /// What follows a payload that does not begin with the URI.
    pub fn behind(&self) -> Vec<u8> {
        [&[0], self.0.as_bytes(), &[0]].concat()
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if let Some(wrong) = text.chars().find(|c| !is_of_uri(*c)) {
            return Err(UriError::Character(wrong));
        }
        let incomplete = |what, scheme| Err(UriError::Incomplete(what, scheme));
        match text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, rest)) if scheme == "https" => {
                let host = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next());
                if host.is_none_or(str::is_empty) {
                    return incomplete("// and the name of a host", "https:");
                }
                // RFC 3986, section 3.2.1: all before the last @ of the authority.
                if host.is_some_and(|host| host.contains('@')) {
                    return Err(UriError::User);
                }
            }
            Some((scheme, rest)) if scheme == "mailto" => {
                let address = rest.split('?').next().unwrap_or_default().rsplit_once('@');
                if address.is_none_or(|(user, host)| user.is_empty() || host.is_empty()) {
                    return incomplete("an address such as scan@example.org", "mailto:");
                }
            }
            Some((scheme, rest)) if scheme == "tel" => {
                if !rest.bytes().any(|byte| byte.is_ascii_digit()) {
                    return incomplete("a number such as +1-201-555-0123", "tel:");
                }
            }
            Some((scheme, _)) if scheme == "http" => return Err(UriError::Http),
            _ => return Err(UriError::Scheme),
        }
        Ok(Self(text.to_owned()))
    }
}

/// Whether a URI may contain it (RFC 3986, section 2).
fn is_of_uri(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        for text in [
            "https://example.org/.well-known/probing.txt",
            "HTTPS://192.0.2.7",
            "https://[2001:db8::1]:8443/x?y#z",
            "https://example.org/@me?to=a@b",
            "mailto:scan@example.org",
            "mailto:scan@example.org?subject=a%20probe",
            "tel:+1-201-555-0123",
        ] {
            assert_eq!(text.parse::<Uri>().unwrap().as_str(), text);
        }
        for (text, words) in [
            ("", "give a web page"),
            ("example.org", "give a web page"),
            ("ftp://example.org", "give a web page"),
            ("http://example.org/", "https://"),
            ("https://", "name of a host"),
            ("https:example.org", "name of a host"),
            ("https:///x", "name of a host"),
            ("https://me:word@example.org/", "every probe would carry"),
            ("https://me@example.org", "every probe would carry"),
            ("https://a@b:c@example.org?x", "every probe would carry"),
            ("mailto:example.org", "scan@example.org"),
            ("mailto:@example.org", "scan@example.org"),
            ("mailto:scan@", "scan@example.org"),
            ("tel:", "+1-201"),
            ("mailto:a b@example.org", "' ' is not a character"),
            ("https://example.org/\u{e9}", "'\u{e9}' is not a character"),
            ("https://example.org/\n", "'\\n' is not a character"),
            (&format!("https://example.org/{}", "x".repeat(200)), "220 bytes"),
        ] {
            let error = Uri::for_probes(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn payloads() {
        let uri: Uri = "mailto:a@b".parse().unwrap();
        assert_eq!(uri.alone(), b"mailto:a@b\0");
        assert_eq!(uri.behind(), b"\0mailto:a@b\0");
    }

    proptest! {
        /// A URI is printable ASCII without blanks, so it ends at the zero byte behind it.
        #[test]
        fn whatever_is_accepted(text in "(https://|mailto:|tel:|http:|x:)?\\PC{0,30}(@\\PC{0,9})?") {
            if let Ok(uri) = Uri::for_probes(&text) {
                prop_assert_eq!(uri.as_str(), &text);
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(uri.behind().len() <= URI_LEN_MAX + 2);
            }
        }
    }
}
