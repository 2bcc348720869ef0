//! The programs that tests call, compared with the packages that the scripts install and with the sources of the tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lab::tools::{TOOLS, tool};
use support::read;

/// What every Debian has: nothing needs to install it.
const ESSENTIAL: [&str; 6] = ["bash", "bsdutils", "coreutils", "dash", "mount", "util-linux"];

/// The file that starts all processes of labs and tests.
const STARTER: &str = "../lab/src/tools.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The words of a script that could be names of packages, without comments.
fn words(script: &str) -> BTreeSet<String> {
    let text = read(&root().join("../scripts").join(script));
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = code.flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || "-+.".contains(c))));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Each package of a program that a test calls is one that the test script installs.
#[test]
fn test_scripts_install_what_tests_call() {
    let installed: BTreeSet<String> = words("test.sh").into_iter().chain(words("lib.sh")).collect();
    assert!(installed.contains("tshark"), "{installed:?}");
    let missing: Vec<_> = TOOLS
        .iter()
        .filter(|(_, package)| !installed.contains(*package) && !ESSENTIAL.contains(package))
        .collect();
    assert!(missing.is_empty(), "scripts/test.sh does not install {missing:?}");
}

/// The variables by which a test does more are not among the settings that scripts take away.
#[test]
fn scripts_pass_on_the_variables_of_tests() {
    let contributing = read(&root().join("../CONTRIBUTING.md"));
    let ends = |c: char| !(c.is_ascii_uppercase() || c == '_');
    let names: BTreeSet<&str> =
        contributing.split(ends).filter(|name| name.starts_with("XDPMAP_TEST_")).collect();
    assert!(names.len() > 3, "{names:?}");
    let mut bash = tool("bash");
    bash.args(["-euc", ". ./lib.sh; env"]).current_dir(root().join("../scripts"));
    let output = bash.env("XDPMAP_RATE", "7").envs(names.iter().map(|name| (name, "7"))).output().unwrap();
    let left = String::from_utf8(output.stdout).unwrap();
    let left: BTreeSet<&str> = left.lines().filter_map(|line| line.strip_suffix("=7")).collect();
    assert!(names.is_subset(&left) && !left.contains("XDPMAP_RATE"), "of {names:?} there are {left:?}");
}

/// Every process is started by `lab::tools`, which knows the package and keeps the machine's environment away.
#[test]
fn tests_start_programs_in_one_place() {
    let mut folders =
        vec![root().join("tests"), root().join("src"), root().join("../lab"), root().join("../crates")];
    let mut sources: Vec<PathBuf> = vec![];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                sources.push(entry);
            }
        }
    }
    let name = ["Command", "new("].join("::");
    let is_test = |path: &Path| {
        let path = path.strip_prefix(root()).unwrap();
        let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs");
        (is_test || path.starts_with("../lab")) && path != Path::new(STARTER)
    };
    let tests: Vec<_> = sources.iter().filter(|path| is_test(path)).collect();
    assert!(tests.len() > 50, "{tests:?}");
    let offenders: Vec<_> = tests.iter().filter(|path| read(path).contains(&name)).collect();
    assert!(offenders.is_empty(), "use lab::tools::tool in {offenders:?}");
}
