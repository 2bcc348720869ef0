//! The assurance case, held against the code: the bits of each module, and the tests that it names. Those that
//! `docs/reliability.md` names as well.

use support::read;
use wire::proof::PortRange;
use xdpmap::probe::{MODULES, Module};

use crate::documents::{document, root, rows};

const PAGE: &str = "docs/security.md";

/// The source ports that the page's numbers are for.
const PORTS: PortRange = PortRange { first: 32_768, count: 28_233 };

/// A sum such as `32 + 14.8 - 1`.
fn sum(text: &str) -> f64 {
    let number = |text: &str| text.trim().parse::<f64>().unwrap_or_else(|error| panic!("{text}: {error}"));
    text.split(" + ").fold(0.0, |sum, part| {
        let mut parts = part.split(" - ").map(number);
        sum + parts.next().unwrap_or_default() - parts.sum::<f64>()
    })
}

/// A duration as people say it.
fn spoken(seconds: f64) -> String {
    let years = seconds / (365.25 * 24.0 * 3600.0);
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..5_400.0 => format!("{:.0} minutes", seconds / 60.0),
        _ if years < 1_000.0 => format!("{years:.1} years"),
        _ => format!("{:.0} thousand years", years / 1e3),
    }
}

/// The bits are those of the code, the arithmetic leads to them, and the time follows from them.
#[test]
fn forgeries_have_the_chance_that_is_said() {
    let text = document(PAGE);
    let rows = rows(&text, "module");
    assert_eq!(rows.len(), MODULES.len());
    for (cells, info) in rows.iter().zip(MODULES) {
        let args = (info.name == "udp").then_some("text:x");
        let proof = Module::parse(info.name, args).unwrap().proof(PORTS, 1);
        let [answer, error] = [proof.answer_bits, proof.error_bits].map(|bits| format!("{bits:.1}"));
        let name = format!("`{}`", info.name);
        let every = spoken(proof.answer_bits.exp2() / 1e6);
        assert_eq!([cells[0], cells[1], cells[3], cells[4]], [&name, &answer, &every, &error]);
        assert!((sum(cells[2]) - proof.answer_bits).abs() < 0.06, "{name}: {}", cells[2]);
    }
}

/// The tests that the rows of a page's table name, in this cell: each is in the file that it links to. The table begins
/// with `column`. Returns the numbers of rows and of tests.
fn named_tests(page: &str, column: &str, cell: usize) -> (usize, usize) {
    let text = document(page);
    let claims = rows(&text, column);
    let mut found = 0;
    for cells in &claims {
        let links: Vec<(&str, &str)> = cells[cell]
            .split("[`")
            .skip(1)
            .map(|link| {
                let (name, rest) = link.split_once("`](../").expect("a link to a test");
                (name, rest.split_once(')').expect("its end").0)
            })
            .collect();
        assert!(!links.is_empty(), "{page}: {}: no test", cells[0]);
        for (name, path) in links {
            let source = read(&root().join(path));
            let before = source.split_once(&format!("fn {name}(")).map(|(before, _)| before);
            let before = before.unwrap_or_else(|| panic!("{path} has no {name}"));
            let attributes = before.lines().rev().skip_while(|line| line.trim().is_empty());
            let is_of_it = |line: &&str| line.trim().starts_with(['#', '/']);
            assert!(
                attributes.take_while(is_of_it).any(|line| line.trim() == "#[test]"),
                "{name} is not a test"
            );
            found += 1;
        }
    }
    (claims.len(), found)
}

/// What a row says that cannot happen, and what a row promises after a fault, has a test of that name in that file.
#[test]
fn named_tests_exist() {
    for (page, column, cell, rows, tests) in
        [(PAGE, "", 2, 15, 25), ("docs/reliability.md", "fault", 3, 11, 20)]
    {
        let found = named_tests(page, column, cell);
        assert!(found.0 > rows && found.1 > tests, "{page}: {found:?}");
    }
}
