//! The server of the output `redis`: a URL, or arguments.

use xdpmap::results::sink::{RecordFormat, RedisTarget};

pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (url, args) = text.split_once('\n').unwrap_or((text, ""));
    // It reads a file.
    if args.contains("password-file") || text.contains("password-file") {
        return;
    }
    for (file, args) in [(url, args), ("-", url), (url, "")] {
        if let Err(error) = RedisTarget::parse(file, args, RecordFormat::Packed) {
            assert!(!error.is_empty());
        }
    }
}
