//! Requests for metrics: what is asked is the same in whatever pieces it arrives, and nothing but GET of the one page
//! is given it.

use xdpmap::metrics::http::{self, REQUEST_LEN_MAX, Request};

pub fn run(bytes: &[u8]) {
    let mut found = None;
    for len in 0..=bytes.len() {
        let parsed = Request::parse(&bytes[..len]);
        match (found, parsed) {
            (None, Request::Unfinished) => assert!(len < REQUEST_LEN_MAX),
            (None, _) => found = Some(parsed),
            // Why something is refused may be known better later.
            (Some(Request::Refused(_)), Request::Refused(_)) => {}
            (Some(first), parsed) => assert_eq!(first, parsed),
        }
        match parsed {
            Request::Metrics => assert!(bytes[..len].trim_ascii_start().starts_with(b"GET /metrics")),
            Request::Refused(why) => assert!(http::refused(why).starts_with(b"HTTP/1.1 4")),
            Request::Unfinished => {}
        }
    }
}
