//! What was typed: flags as values; no side effects but for the lists that are printed on demand.

mod args;

use std::fmt::Write as _;
use std::io::Write as _;

pub use args::{Args, DedupMethod, IoMode, OutputModule};

use crate::results::fields::FIELDS;
use crate::results::format::Format;

/// The text that a `--list-...` flag asks for, if one is given.
pub fn list(args: &Args) -> Option<String> {
    let mut text = String::new();
    if args.list_probe_modules {
        text.push_str("tcp_synscan\n");
    } else if args.list_output_modules {
        Format::ALL.iter().for_each(|format| text.push_str(&format!("{}\n", format.name())));
    } else if args.list_output_fields {
        for field in &FIELDS {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:<20} {:<6}: {}", field.name, field.kind.name(), field.doc);
        }
    } else {
        return None;
    }
    Some(text)
}

/// Prints `text` to standard output; a reader that went away is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
