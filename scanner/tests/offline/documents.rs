//! What the documents say of flags and exit codes, held against the program; and the flags that its texts name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use support::read;
use support::scanner::xdpmap;
use xdpmap::control_socket::Status;
use xdpmap::engine::{Counts, RepeatPolicy};
use xdpmap::exit::Exit;
use xdpmap::governor::State;
use xdpmap::ledger::{EndFacts, Facts, Ledger, OutputFacts, RowKind};
use xdpmap::results::counts::Counts as ResultCounts;

/// With these in it, a line of a document is about other programs, or about the companions.
const FOREIGN: [&str; 38] = [
    "bench/run.sh",
    "engine --once ",
    "tee ",
    "ztee",
    "xdpmap iterate ",
    "xdpmap blocklist ",
    "xdpmap tee ",
    "xdpmap checkpoint ",
    "xdpmap verify ",
    "xdpmap merge ",
    "xdpmap diff ",
    "cargo ",
    "rustup ",
    "demo.sh",
    "tune-nic.sh",
    "docker ",
    "--cap-add",
    "--network host",
    "--ulimit",
    "--security-opt",
    "--cpuset-cpus",
    "llvm-",
    "bpftool ",
    "ip netns ",
    "clippy",
    "git ",
    "groupadd ",
    "usermod ",
    "systemctl ",
    "curl ",
    "--collector.",
    "sbatch ",
    "srun ",
    "kubectl ",
    "aws batch ",
    "parallel ",
    "nmap -n ",
    "xmllint ",
];
/// Rows of docs/zmap-compatibility.md for flags that the help does not show.
const NOT_SHOWN: [&str; 3] = ["| not yet |", "| not |", "| old |"];
/// Flags of other programs that the code names.
const OTHERS: [&str; 7] =
    ["--all", "--array", "--array-properties", "--long", "--ntasks", "--only", "--ultra"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The help of a program beside the scan.
fn help(other: &str) -> String {
    let output = xdpmap().args([other, "--help"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A document's text, by its path in the repository.
pub(crate) fn document(path: &str) -> String {
    let text = read(&root().join(path));
    assert!(!text.is_empty(), "{path} is missing");
    text
}

/// Paths of the documents in the repository's root, in `docs`, and in its folders.
fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/guide", "docs/reference"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = files.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The cells of a table's rows: of those tables whose header has `column` as its first cell.
pub(crate) fn rows<'a>(text: &'a str, column: &str) -> Vec<Vec<&'a str>> {
    let (mut rows, mut is_within) = (vec![], false);
    for line in text.lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) else {
            is_within = false;
            continue;
        };
        let cells: Vec<&str> = cells.split(" | ").map(str::trim).collect();
        if is_within && !cells[0].starts_with("---") {
            rows.push(cells);
        } else {
            is_within |= cells[0] == column;
        }
    }
    rows
}

/// The command line, with `--help` and `--version`.
fn command() -> Command {
    let mut command = xdpmap::cli::command();
    command.build();
    command
}

/// The options of the command line: what has a long name.
fn options(command: &Command) -> Vec<(&Arg, &str)> {
    command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?))).collect()
}

/// An option as tables name it, such as `-p`, `--target-ports` with their backticks.
fn named(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    format!("{short}`--{}`", arg.get_long().unwrap())
}

/// The long flags in a text.
fn flags(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let begins = text.match_indices("--").map(|(at, _)| at);
    let begins = begins.filter(|&at| !text[..at].ends_with(is_part));
    let flags = begins.map(|at| {
        let end = text[at..].find(|c: char| !is_part(c)).map_or(text.len(), |len| at + len);
        &text[at..end]
    });
    let is_whole =
        |flag: &&str| flag[2..].starts_with(|c: char| c.is_ascii_lowercase()) && !flag.ends_with('-');
    flags.filter(is_whole).collect()
}

/// The library's sources without their tests, which name flags that do not exist, and their paths below `src`. Without
/// styles, too: there a word with two dashes is a property.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], vec![]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "tests.rs" && name != "style.css") {
                let text = read(&path);
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                files.push((path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), code));
            }
        }
    }
    files
}

/// Each option has one row in the tables of the comparison with ZMap, and each old spelling says what it stands for.
#[test]
fn every_flag_is_compared_with_zmap() {
    let (command, text) = (command(), document("docs/zmap-compatibility.md"));
    let mut expected: Vec<(&str, Option<&str>)> = vec![];
    for (arg, long) in options(&command) {
        expected.push((long, None));
        expected.extend(arg.get_all_aliases().into_iter().flatten().map(|alias| (alias, Some(long))));
    }
    let mut listed = vec![];
    for column in ["ZMap", "xdpmap", "ZMap 1, 2"] {
        for cells in rows(&text, column).into_iter().filter(|cells| cells[1] != "not yet") {
            let stands_for = flags(cells[1]).first().map(|flag| &flag[2..]).filter(|_| column == "ZMap 1, 2");
            listed.extend(flags(cells[0]).into_iter().map(|flag| (&flag[2..], stands_for)));
        }
    }
    expected.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, expected);
}

/// Tables of flags have the short names and the defaults that the program has.
#[test]
fn tables_have_short_names_and_defaults() {
    let command = command();
    let option =
        |long: &str| options(&command).into_iter().find(|(_, name)| *name == long).map(|(arg, _)| arg);
    let (compared, listed) = (document("docs/zmap-compatibility.md"), document("docs/reference/flags.md"));
    let tables = [rows(&compared, "ZMap"), rows(&compared, "xdpmap"), rows(&listed, "flag")];
    let plain = |text: &str| text.replace([',', '`', ';'], "");
    let mut defaults = 0;
    for cells in tables.iter().flatten().filter(|cells| cells[1] != "not yet" && cells[0] != "`TARGETS`") {
        let mut parts = cells[0].split(", ");
        let mut of_row = vec![];
        while let Some(part) = parts.next() {
            let long = if part.starts_with("`--") { part } else { parts.next().unwrap_or_default() };
            let arg = option(long.trim_matches(['`', '-'])).unwrap_or_else(|| panic!("{}: {long}", cells[0]));
            of_row.push(arg);
        }
        let names: Vec<String> = of_row.iter().map(|arg| named(arg)).collect();
        assert_eq!(cells[0], names.join(", "));
        let [arg] = of_row[..] else { continue };
        let values: Vec<_> = arg.get_default_values().iter().filter_map(|value| value.to_str()).collect();
        let [value] = values[..] else { continue };
        let text = cells.last().unwrap();
        let said = match text.split_once(" by default") {
            Some((before, _)) => before.rsplit(' ').next(),
            None => Some(*text).filter(|_| tables[2].contains(cells)),
        };
        if let Some(said) = said.filter(|_| arg.get_action().takes_values()) {
            assert_eq!(plain(said), value, "{}", cells[0]);
            defaults += 1;
        }
    }
    assert!(defaults > 10, "only {defaults} defaults were found");
}

/// No document names a flag that is in the help of neither a scan, nor the doctor, nor ctl, nor what reads stored
/// results, unless it says so.
#[test]
fn flags_in_documents_exist() {
    let command = command();
    let others =
        ["calibrate", "doctor", "ctl", "verify", "merge", "diff", "report", "map", "probing-txt"].map(help);
    let of_scans = options(&command)
        .into_iter()
        .filter(|(arg, _)| !arg.is_hide_set())
        .map(|(_, long)| format!("--{long}"));
    let of_others = others.iter().flat_map(|text| flags(text)).map(str::to_owned);
    let shown: BTreeSet<String> = of_scans.chain(of_others).collect();
    // One page is made of these flags, and of those of all other commands.
    for path in documents().into_iter().filter(|path| !path.ends_with("reference/flags.md")) {
        let text = read(&path);
        let is_about_us = |line: &&str| !FOREIGN.iter().chain(&NOT_SHOWN).any(|words| line.contains(words));
        for flag in text.lines().filter(is_about_us).flat_map(flags) {
            assert!(shown.contains(flag), "{}: {flag} is not in xdpmap --help", path.display());
        }
    }
}

/// Messages, help and comments in the code name flags that exist.
#[test]
fn flags_in_the_code_exist() {
    let command = command();
    let mut known: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    for (arg, long) in options(&command) {
        let aliases = arg.get_all_aliases().into_iter().flatten();
        known.extend(aliases.chain([long]).map(|name| format!("--{name}")));
    }
    let companions =
        ["iterate", "blocklist", "tee", "ctl", "verify", "merge", "diff", "report", "map", "probing-txt"];
    for other in companions.into_iter().chain(["calibrate", "doctor"]) {
        known.extend(flags(&help(other)).into_iter().map(str::to_owned));
    }
    for (path, code) in code() {
        for flag in flags(&code) {
            assert!(known.contains(flag), "{path}: there is no flag {flag}");
        }
    }
}

/// Rooms below the command line do not know how a user asks for things: what they say names no flag, and whoever
/// asked them adds it.
#[test]
fn rooms_below_the_command_line_name_no_flags() {
    let command = command();
    let ours: BTreeSet<String> = options(&command).into_iter().map(|(_, long)| format!("--{long}")).collect();
    let library = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let rooms: Vec<&str> = library
        .lines()
        .filter_map(|line| Some(line.strip_prefix("//! - [`")?.split_once("`]")?.0))
        .skip_while(|room| *room != "cli")
        .skip(1)
        .collect();
    assert!(rooms.len() > 10, "{rooms:?}");
    // They have the words of the command line as their subject, or hold the help of an output or of a probe module.
    let of_flags = |path: &str| {
        ["exit.rs", "secrets.rs", "results/sink/mod.rs"].contains(&path) || path.starts_with("probe/")
    };
    let mut files = 0;
    let mut named = vec![];
    for (path, code) in code() {
        let room = path.split('/').next().unwrap_or_default();
        if of_flags(&path) || !rooms.contains(&room.trim_end_matches(".rs")) {
            continue;
        }
        files += 1;
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let ours = flags(line).into_iter().filter(|flag| ours.contains(*flag));
            named.extend(ours.map(|_| format!("{path}: {}", line.trim())));
        }
    }
    assert!(named.is_empty(), "{named:#?}");
    assert!(files > 60, "{files}");
}

/// The reference page has every field of the status that the control socket gives, and no other.
#[test]
fn fields_of_the_status_are_described() {
    let text = document("docs/reference/control.md");
    let cells = rows(&text, "field of `status`");
    let described: Vec<&str> = cells.iter().flat_map(|cells| cells[0].split(", ")).collect();
    let described: BTreeSet<&str> = described.iter().map(|name| name.trim_matches('`')).collect();
    let status = Status {
        paused_by: vec!["command".to_owned()],
        remaining_s: Some(1.0),
        rate_auto: Some(State::default()),
        end_reason: Some("complete".to_owned()),
        hitrate_interval_percent: Some([1.0, 2.0]),
        canary_loss_percent: Some([1.0, 0.5, 2.0]),
        missed_interval_percent: Some([3.0, 4.0]),
        ..Status::default()
    };
    let status = serde_json::to_value(status).unwrap();
    let given: BTreeSet<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, given);
}

/// A ledger with all accounts in which nothing was counted, while a scan runs or when it has ended.
pub(crate) fn empty_ledger(has_ended: bool) -> Ledger {
    let output = OutputFacts { place: "FILE".to_owned(), ..OutputFacts::default() };
    let end = EndFacts { packet_sockets: Some([0; 2]), outputs: Some(vec![output]), ..EndFacts::default() };
    Ledger::of(&Facts {
        counts: &Counts::default(),
        results: &ResultCounts::default(),
        verdicts: &[],
        copies: 1,
        has_resets: true,
        repeats: RepeatPolicy::LeaveOut,
        end: has_ended.then_some(end),
    })
}

/// The reference page has every row of the ledger with its text, and no other. For each loss it names tests that force
/// it, or says why none can.
#[test]
fn rows_of_the_ledger_are_described() {
    let page = Path::new("docs/reference/ledger.md");
    let text = document(page.to_str().unwrap());
    let cells = rows(&text, "row");
    let mut expected = vec![];
    for account in &empty_ledger(true).accounts {
        let name = account.name.replace("output-1", "output-N");
        expected.push((format!("`{name}`"), account.text.to_string(), false));
        for row in account.parts.iter().chain(&account.notes) {
            let is_loss = row.kind == RowKind::Loss;
            expected.push((format!("`{name}.{}`", row.name), row.text.to_string(), is_loss));
        }
    }
    let mut listed: Vec<_> = cells.iter().map(|cells| (cells[0].to_owned(), cells[1].to_owned())).collect();
    let mut named: Vec<_> = expected.iter().map(|(name, text, _)| (name.clone(), text.clone())).collect();
    listed.sort_unstable();
    named.sort_unstable();
    assert_eq!(listed, named);
    for cells in &cells {
        let is_loss = expected.iter().any(|(name, _, is_loss)| name == cells[0] && *is_loss);
        let links: Vec<&str> = cells[2].split("[`").skip(1).collect();
        assert!(!is_loss || !links.is_empty() || cells[2].contains("cannot be forced"), "{}", cells[0]);
        for link in links {
            let (name, path) = link.split_once("`](").expect("a link to a test");
            let path = page.parent().unwrap().join(path.split_once(')').expect("its end").0);
            let source = read(&root().join(&path));
            assert!(
                source.contains(&format!("#[test]\nfn {name}("))
                    || source.contains(&format!("#[test]\n    fn {name}(")),
                "{} has no test {name}",
                path.display()
            );
        }
    }
}

/// The reference page has every exit code and its meaning, and no other.
#[test]
fn exit_codes_have_their_meaning() {
    let text = document("docs/reference/signals-and-exit-codes.md");
    let listed: Vec<(String, String)> = rows(&text, "exit code")
        .into_iter()
        .map(|cells| (cells[0].to_owned(), cells[1].replace('`', "")))
        .collect();
    let expected = Exit::ALL.map(|exit| (exit.number().to_string(), exit.meaning().to_owned()));
    assert_eq!(listed, expected);
}

/// Whatever else names an exit code names one that exists.
#[test]
fn exit_codes_exist() {
    let page = document("docs/using.md").replace('\n', " ");
    let (privilege, interface) = (Exit::Privilege, Exit::Interface);
    let words = format!(
        "it is {} if {}, and {} if the interface",
        privilege.number(),
        privilege.meaning(),
        interface.number()
    );
    assert!(page.contains(&words), "docs/using.md does not say: {words}");
    let numbers = Exit::ALL.map(|exit| exit.number().to_string());
    for path in documents() {
        let text = read(&path).replace('\n', " ");
        for after in text.split("exit code ").skip(1) {
            let number: String = after.chars().take_while(char::is_ascii_digit).collect();
            assert!(number.is_empty() || numbers.contains(&number), "{}: exit code {number}", path.display());
        }
    }
}
