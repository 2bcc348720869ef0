//! What a request over HTTP asks for, and the answers to it (RFC 9112): GET of one page, each on a connection of its
//! own.

use super::text::CONTENT_TYPE;

/// Most bytes of a request. Prometheus sends some 300, a browser with cookies a few thousand. Lower: such are refused.
/// Higher: more memory for a stranger.
pub const REQUEST_LEN_MAX: usize = 1 << 13;
/// Most header fields of a request, by the same measure.
const FIELDS_MAX: usize = 64;
/// The page.
const PATH: &str = "/metrics";

/// What a request asks for, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// More of it has to come.
    Unfinished,
    /// The metrics.
    Metrics,
    /// Something else, which gets this answer.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP, or too long.
    Bad,
    /// There is no such page.
    NotFound,
    /// The page can be read only.
    Method,
    /// The metrics could not be made.
    Failed,
}

impl Request {
    /// Reads the bytes that have come.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Partial) if bytes.len() < REQUEST_LEN_MAX => Self::Unfinished,
            Ok(httparse::Status::Complete(len)) if len <= REQUEST_LEN_MAX => {
                let path = request.path.unwrap_or_default();
                let path = path.split_once('?').map_or(path, |(path, _)| path);
                match request.method {
                    _ if path != PATH => Self::Refused(Refusal::NotFound),
                    Some("GET") => Self::Metrics,
                    _ => Self::Refused(Refusal::Method),
                }
            }
            _ => Self::Refused(Refusal::Bad),
        }
    }
}

/// The answer with the metrics.
pub fn metrics(text: &[u8]) -> Vec<u8> {
    response("200 OK", "", text)
}

/// The answer to what is refused.
pub fn refused(why: Refusal) -> Vec<u8> {
    let (status, fields) = match why {
        Refusal::Bad => ("400 Bad Request", ""),
        Refusal::NotFound => ("404 Not Found", ""),
        Refusal::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
        Refusal::Failed => ("500 Internal Server Error", ""),
    };
    response(status, fields, format!("{status}; the metrics are at {PATH}\n").as_bytes())
}

/// An answer after which the connection is closed.
fn response(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\n{fields}Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &[u8] =
        b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9815\r\nUser-Agent: Prometheus/2.42.0\r\n\r\n";

    #[test]
    fn what_is_asked() {
        let parsed = |text: &str| Request::parse(text.as_bytes());
        assert_eq!(Request::parse(GET), Request::Metrics);
        for len in 0..GET.len() {
            assert_eq!(Request::parse(&GET[..len]), Request::Unfinished, "{len}");
        }
        assert_eq!(parsed("GET /metrics?a=b HTTP/1.0\r\n\r\n"), Request::Metrics);
        for (text, why) in [
            ("GET / HTTP/1.1\r\n\r\n", Refusal::NotFound),
            ("POST /other HTTP/1.1\r\n\r\n", Refusal::NotFound),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", Refusal::NotFound),
            ("GET http://host/metrics HTTP/1.1\r\n\r\n", Refusal::NotFound),
            ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\n", Refusal::Method),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", Refusal::Method),
            ("get /metrics HTTP/1.1\r\n\r\n", Refusal::Method),
            ("GET /metrics HTTP/2\r\n\r\n", Refusal::Bad),
            ("\u{16}\u{3}\u{1}", Refusal::Bad),
            ("GET /metrics HTTP/1.1\r\nno field\r\n\r\n", Refusal::Bad),
        ] {
            assert_eq!(parsed(text), Request::Refused(why), "{text}");
        }
    }

    /// A request ends at some length, whatever it holds.
    #[test]
    fn long_requests_are_refused() {
        let long = [b"GET /metrics HTTP/1.1\r\nCookie: ", &[b'x'; REQUEST_LEN_MAX][..]].concat();
        assert_eq!(Request::parse(&long[..REQUEST_LEN_MAX - 1]), Request::Unfinished);
        assert_eq!(Request::parse(&long[..REQUEST_LEN_MAX]), Request::Refused(Refusal::Bad));
        let whole = [&long[..], b"\r\n\r\n"].concat();
        assert_eq!(Request::parse(&whole), Request::Refused(Refusal::Bad), "also when its end has come");
        let many = [b"GET /metrics HTTP/1.1\r\n", &b"a: b\r\n".repeat(FIELDS_MAX + 1)[..], b"\r\n"].concat();
        assert_eq!(Request::parse(&many), Request::Refused(Refusal::Bad));
    }

    #[test]
    fn answers() {
        let text = String::from_utf8(metrics(b"xdpmap_held 0\n")).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 14\r\n\
             Connection: close\r\n\r\nxdpmap_held 0\n"
        );
        let text = String::from_utf8(refused(Refusal::Method)).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && text.contains("\r\nAllow: GET\r\n")
        );
    }

    proptest! {
        /// What is refused stays refused when more comes, and the same bytes mean the same.
        #[test]
        fn a_verdict_is_final(bytes in proptest::collection::vec(any::<u8>(), 0..200), more in any::<u8>()) {
            let longer = [&bytes[..], &[more]].concat();
            let first = Request::parse(&bytes);
            if let Request::Refused(_) = first {
                prop_assert!(matches!(Request::parse(&longer), Request::Refused(_)));
            }
            if first == Request::Metrics {
                prop_assert_eq!(Request::parse(&longer), Request::Metrics);
            }
        }

        /// Only the one page is ever given, and only to GET.
        #[test]
        fn one_page(method in "[A-Z]{1,7}", path in "/[a-z/?=.]{0,12}") {
            let parsed = Request::parse(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            let is_page = path == PATH || path.starts_with("/metrics?");
            prop_assert_eq!(parsed == Request::Metrics, method == "GET" && is_page);
        }
    }
}
