//! Output filters.

use xdpmap::probe::MODULES;
use xdpmap::results::filter;

pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for module in MODULES {
        if let Err(error) = filter::parse(text, &module.fields) {
            assert!((1..=text.chars().count() + 1).contains(&error.column));
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
