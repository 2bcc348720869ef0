//! Findings as aligned text.

use std::fmt::Write as _;

use super::finding::{Finding, Verdict};

/// Column where the text of a finding starts.
const INDENT: usize = 21;
/// Column where lines are wrapped.
const WIDTH: usize = 110;
const RESET: &str = "\x1b[0m";

/// Findings under a heading.
pub(super) fn section(heading: &str, findings: &[Finding], coloured: bool) -> String {
    let mut text = format!("{heading}\n");
    for finding in findings {
        let word = format!("{:4}", finding.verdict.name());
        let word = match coloured {
            true => format!("{}{word}{RESET}", colour(finding.verdict)),
            false => word,
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "  {word}  {:12} ", finding.topic);
        wrap(&mut text, &finding.found, 0);
        if let Some(means) = &finding.means {
            text.push_str(&" ".repeat(INDENT));
            wrap(&mut text, means, 0);
        }
        if let Some(remedy) = &finding.remedy {
            // On one line, so that it can be copied.
            let _ = writeln!(text, "{:INDENT$}> {remedy}", "");
        }
    }
    text
}

fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "\x1b[32m",
        Verdict::Note => "\x1b[36m",
        Verdict::Warn => "\x1b[33m",
        Verdict::Fail => "\x1b[31m",
    }
}

/// Writes words from column `INDENT` on, in as many lines as needed.
fn wrap(text: &mut String, words: &str, mut column: usize) {
    for word in words.split(' ') {
        let len = word.chars().count();
        if column > 0 && INDENT + column + 1 + len > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(INDENT));
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += len;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_end_in_time() {
        let long = "word ".repeat(40);
        let findings = [
            Finding::ok("kernel", "6.18"),
            Finding::warn("offloads", "rx-lro is on")
                .means(long.trim_end())
                .remedy("ethtool -K eth0 lro off"),
        ];
        let text = section("host", &findings, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["host", "  ok    kernel       6.18"]);
        assert_eq!(lines[2], "  warn  offloads     rx-lro is on");
        assert_eq!(*lines.last().unwrap(), "                     > ethtool -K eth0 lro off");
        assert!(lines[3..].iter().all(|line| line.starts_with(&" ".repeat(INDENT)) && line.len() <= WIDTH));
        assert_eq!(text.matches("word").count(), 40);
        assert!(section("host", &findings, true).contains("\x1b[33mwarn\x1b[0m  offloads"));
    }
}
