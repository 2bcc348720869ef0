//! The tables of the reference: made from what the program itself reads and writes.
//!
//! A page has a text of its own, and between two comments a part that is made here, from the grammar of the command
//! line, from the fields of the probe modules, and from the comments of the structs that become the metadata and the
//! counters. These tests fail while a page differs. This writes the pages anew:
//!
//! ```text
//! XDPMAP_TEST_WRITE=1 cargo test --package xdpmap --test offline reference
//! ```

mod commented;
mod counters;
mod coverage;
mod fields;
mod flags;
mod metadata;

use support::read;

use crate::documents::root;

/// What stands before and after the part of a page that is made here.
const BEGIN: &str = "<!-- Made by scanner/tests/offline/reference; CONTRIBUTING.md says how. -->\n";
const END: &str = "<!-- The end of what is made. -->\n";
/// With this variable, pages are written instead of compared.
const WRITE: &str = "XDPMAP_TEST_WRITE";

/// Fails unless the page `docs/reference/NAME` has `made` between its comments; or writes it there.
#[track_caller]
fn page_has(name: &str, made: &str) {
    let path = root().join("docs/reference").join(name);
    let page = read(&path);
    let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{name} lacks {BEGIN}"));
    let (found, after) = rest.split_once(END).unwrap_or_else(|| panic!("{name} lacks {END}"));
    let made = format!("\n{}\n\n", made.trim());
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, [before, BEGIN, &made, END, after].concat()).unwrap();
        return;
    }
    let differs = found.lines().zip(made.lines()).find(|(found, made)| found != made);
    assert!(found == made, "{name} is not what the program has: run {WRITE}=1 cargo test ...; {differs:#?}");
}

/// Text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;").trim().to_owned()
}

/// A table with these headings.
fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut text = format!("| {} |\n|{}\n", headings.join(" | "), "---|".repeat(N));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}
