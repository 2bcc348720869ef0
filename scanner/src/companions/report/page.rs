//! The page as a whole, with its style and its script inside.
//!
//! What always holds: everything that is not from this program is escaped, and the page's own policy forbids scripts
//! and styles other than the two whose hashes it names, and anything from the network. So text that a server has sent
//! can neither run nor load anything, even if it were not escaped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::findings::Findings;
use super::map::{self, Area};
use super::progress::Interval;
use super::subject::Subject;
use super::{details, figures, flow, sections};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What the page has, apart from the metadata.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    /// The user's title.
    pub(super) title: Option<&'a str>,
    /// The networks of the scan.
    pub(super) area: Option<&'a Area>,
    /// What the results say.
    pub(super) findings: Option<&'a Findings>,
    /// How it went on.
    pub(super) intervals: &'a [Interval],
    /// What a reader has to know about the files.
    pub(super) faults: &'a [String],
}

/// The page.
pub(super) fn page(subject: &Subject, parts: &Parts<'_>) -> Markup {
    let title = parts.title.map_or_else(|| figures::title(subject), str::to_owned);
    // Without a column that says which are successes, all rows are counted.
    let hit = if subject.metadata.has_successes_only() || has_column(subject, "success") {
        "successes"
    } else {
        "results"
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) " - xdpmap scan report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (figures::header(subject, &title))
                    (figures::figures(subject))
                    (figures::remarks(subject, parts.faults))
                    @if !parts.intervals.is_empty() { (sections::over_time(subject, parts.intervals)) }
                    @if let (Some(area), Some(findings)) = (parts.area, parts.findings) {
                        (map::section(area, findings, hit, subject.row("targets", "unreachable")))
                    }
                    (sections::answers(subject, parts.findings))
                    @if let Some(ledger) = &subject.ledger { (flow::section(ledger)) }
                    (details::section(subject))
                }
                footer {
                    p {
                        "Made by xdpmap " (env!("CARGO_PKG_VERSION")) " from the scan's metadata"
                        @if let Some(findings) = parts.findings { ", and from " (findings.names.join(", ")) }
                        ". This page loads nothing."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// Whether an output of the scan has this column, or may have it.
fn has_column(subject: &Subject, column: &str) -> bool {
    let outputs = subject.metadata.outputs.iter().flatten();
    let mut fields = outputs.filter_map(|output| output.fields.as_ref());
    fields.any(|fields| fields.iter().any(|field| field == column))
}

/// The page's policy.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; img-src data:; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::companions::metadata::Metadata;
    use crate::companions::report::subject::tests::subject;

    const HOSTILE: &str = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'";

    /// The parts of a page that only this program has written.
    fn without_own(page: &str) -> String {
        page.replacen(SCRIPT, "", 1).replacen(STYLE, "", 1)
    }

    #[test]
    fn hostile_text_is_escaped() {
        let quoted = serde_json::to_string(HOSTILE).unwrap();
        let subject = subject(&format!(
            ",\"probe_module\":{quoted},\"notes\":{quoted},\"command_line\":[{quoted}],\"canaries\":{{{quoted}:{quoted}}},\
             \"cli_cidr_destinations\":[{quoted}],\"output_error\":{quoted},\"version\":{quoted}"
        ));
        let mut findings = Findings::new(Area::of(&Metadata::default()).unwrap().view);
        findings.kinds.insert(HOSTILE.to_owned(), 3);
        findings.names.push(HOSTILE.to_owned());
        let faults = [HOSTILE.to_owned()];
        let parts =
            Parts { title: Some(HOSTILE), findings: Some(&findings), faults: &faults, ..Parts::default() };
        let page = without_own(&page(&subject, &parts).into_string());
        assert_eq!((page.matches("<script").count(), page.matches("<img").count()), (1, 0), "{page}");
        assert!(page.matches("&lt;script&gt;alert(1)").count() > 8, "{page}");
        assert!(!page.contains("onerror=alert(1)>\""), "{page}");
    }

    /// A style on an element would need a looser policy, and so would a script.
    #[test]
    fn the_policy_is_kept() {
        let page = without_own(&page(&subject(""), &Parts::default()).into_string());
        assert!(
            page.contains("default-src &apos;none&apos;") || page.contains("default-src 'none'"),
            "{page}"
        );
        assert!(!page.contains(" style=") && !page.contains(" onclick="), "{page}");
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("</"), "the script only sets text");
        for address in ["http:", "https:", "//www", "url("] {
            assert!(
                !STYLE.contains(address)
                    && !SCRIPT.replace("http://www.w3.org/2000/svg", "").contains(address)
            );
        }
    }

    proptest! {
        /// Whatever metadata says of itself, it makes a page.
        #[test]
        fn any_values(text in ".{0,40}", number in any::<f64>(), count in any::<u64>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            let number = serde_json::to_string(&number).unwrap();
            let subject = subject(&format!(
                ",\"hitrate\":{number},\"sending_rate\":{number},\"send_seconds\":{number},\"success_unique\":{count},\
                 \"packets_sent\":{count},\"rtt_us\":{{\"count\":{count},\"p50\":{number}}},\"notes\":{quoted},\
                 \"estimates\":{{\"hit_rate_percent\":{{\"value\":{number},\"lower\":0,\"upper\":1}}}}"
            ));
            let page = without_own(&page(&subject, &Parts::default()).into_string());
            prop_assert_eq!(page.matches("<script").count(), 1);
            prop_assert!(page.ends_with("</html>"));
        }
    }
}
