//! The commands that scan what is missing: the rest of a shard, by its checkpoint, or a shard as a whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, State};
use crate::cli::config::{self, ConfigLine};
use crate::cli::{self, Surroundings};
use crate::companions::metadata::Metadata;
use crate::companions::metadata::outputs::find;
use crate::companions::verify::Scan;
use crate::input;
use crate::plan::checkpoint_beside;
use crate::printable::printable;

/// Options whose value is a file that a scan writes: each shard needs its own.
const WRITTEN: [&str; 8] = [
    "checkpoint",
    "control",
    "log-file",
    "metadata-file",
    "metrics-file",
    "output-file",
    "probes-file",
    "status-updates-file",
];

/// The command that scans what is missing of the shard with this number; `None` if no command line is known. Only a
/// checkpoint can say which places of the order are left: without one, the command is that of the whole shard, and
/// where only second probes are missing, a comment before it says so.
pub(super) fn command(scans: &[Scan], number: u32) -> Option<String> {
    let own = scans.iter().find(|scan| scan.metadata.shard_num == number);
    // A shard that was killed has left no metadata, but may have left a checkpoint.
    let known = own.map_or(scans, std::slice::from_ref);
    let checkpoints = known.iter().flat_map(|scan| {
        let Metadata { shard_num, .. } = scan.metadata;
        checkpoints(&scan.metadata).into_iter().map(move |path| for_shard(&path, shard_num, number))
    });
    let hash = &scans.first()?.metadata.targets_hash;
    if let Some(path) = checkpoints.into_iter().find(|path| goes_on(path, hash)) {
        return Some(format!("xdpmap resume {}", quoted(&printable(path))));
    }
    let command = own.into_iter().chain(scans).find_map(|scan| whole_shard(&scan.metadata, number))?;
    let remark = match own {
        Some(scan) if scan.metadata.lacks_second_probes_alone() => format!(
            "# shard {number} lacks second probes alone, but its checkpoint, which would send just these, is not there; this \
             scans the whole shard:\n"
        ),
        _ => String::new(),
    };
    // It may be copied from a terminal, so it must be what it seems to be.
    (!command.contains(char::is_control)).then_some(remark + &command)
}

/// Where the checkpoint of a scan may be.
fn checkpoints(metadata: &Metadata) -> Vec<PathBuf> {
    let named = metadata.checkpoint_file.iter().map(PathBuf::from);
    let folder = metadata.path.parent().unwrap_or(Path::new(""));
    let moved = named.clone().filter_map(|path| Some(folder.join(path.file_name()?)));
    let stored = find(metadata);
    let beside =
        stored.iter().filter_map(|stored| stored.files.first()).map(|file| checkpoint_beside(file, None));
    moved.chain(beside).chain(named).collect()
}

/// Whether a file is the checkpoint of a scan of these targets that is not finished.
fn goes_on(path: &Path, targets_hash: &str) -> bool {
    let read = path.is_file().then(|| input::read(path).ok()).flatten();
    let checkpoint = read.and_then(|text| Checkpoint::parse(&text).ok());
    checkpoint.is_some_and(|checkpoint| {
        checkpoint.state == State::Unfinished && checkpoint.request.targets_hash == *targets_hash
    })
}

/// The command that scans the shard with this number, made from that of another one, or of its own.
fn whole_shard(metadata: &Metadata, number: u32) -> Option<String> {
    let (program, typed) = metadata.command_line.split_first()?;
    let words = [program].into_iter().chain(&metadata.config_arguments).chain(typed).map(OsString::from);
    let (options, targets) = in_force(words)?;
    let (defaults, _) = in_force([OsString::from("xdpmap")].into_iter())?;
    let is_set = |option: &&ConfigLine| {
        let is_same = |other: &ConfigLine| other.name == option.name && other.value == option.value;
        !defaults.iter().any(is_same)
    };
    let mut command = String::from("xdpmap");
    for option in options.iter().filter(is_set) {
        let value = option.value.as_ref().map(printable);
        let value = value.map(|value| match option.name.as_str() {
            "shard" => number.to_string(),
            name if WRITTEN.contains(&name) => {
                printable(for_shard(Path::new(&value), metadata.shard_num, number))
            }
            _ => value,
        });
        command += &match value {
            None => format!(" --{}", option.name),
            // A flag that was given several times.
            Some(times) if !cli::takes_value(&option.name) => {
                format!(" --{}", option.name).repeat(times.parse().unwrap_or(1))
            }
            Some(value) if value.starts_with('-') => format!(" --{}={}", option.name, quoted(&value)),
            Some(value) => format!(" --{} {}", option.name, quoted(&value)),
        };
    }
    // The batch system may have said how many there are, and which one each was.
    for (name, value) in [("shards", metadata.total_shards), ("shard", number)] {
        if metadata.total_shards > 1 && options.iter().all(|option| option.name != name) {
            command += &format!(" --{name} {value}");
        }
    }
    for target in targets {
        command += &format!(" {}", quoted(&target));
    }
    let here = std::env::current_dir().ok();
    let folder = metadata.folder.as_deref().filter(|folder| here.as_deref() != Some(Path::new(folder)));
    Some(folder.map_or_else(|| command.clone(), |folder| format!("cd {} && {command}", quoted(folder))))
}

/// The options that a command line sets, and its targets. Config files and the environment are not read: what they set
/// is among the words. `None` if it is not the command line of a scan.
fn in_force(words: impl Iterator<Item = OsString>) -> Option<(Vec<ConfigLine>, Vec<String>)> {
    let surroundings = Surroundings { saved: Some(String::new()), ..Surroundings::default() };
    let line = cli::parse(words, &surroundings).ok()?;
    Some((config::parse(&line.args.in_force).ok()?, line.args.targets))
}

/// The path that a shard has in place of another shard's: the last number in it that is that shard's changes, with its
/// zeros; if there is none, the number of the new shard is added to the name.
fn for_shard(path: &Path, from: u32, to: u32) -> PathBuf {
    let text = printable(path);
    if from == to || text == "-" || text.contains("://") {
        return path.to_owned();
    }
    let digits = |c: char| c.is_ascii_digit();
    let mut end = text.len();
    while let Some(last) = text[..end].rfind(digits) {
        let start = text[..last]
            .rfind(|c: char| !digits(c))
            .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
        let number = &text[start..=last];
        if number.parse() == Ok(from) {
            let width = number.len();
            return PathBuf::from(format!("{}{to:0width$}{}", &text[..start], &text[last + 1..]));
        }
        end = start;
    }
    let stem = path.file_stem().map(printable).unwrap_or_default();
    let ending = path.extension().map(|ending| format!(".{}", printable(ending))).unwrap_or_default();
    path.with_file_name(format!("{stem}-shard{to}{ending}"))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+@%^".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn scan(line: &str, config: &str, number: u32) -> Scan {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let metadata = Metadata {
            command_line: words(line),
            config_arguments: words(config),
            shard_num: number,
            total_shards: 7,
            targets_hash: "ab".to_owned(),
            ..Metadata::default()
        };
        Scan { metadata, stored: vec![] }
    }

    #[test]
    fn a_missing_shard_has_the_command_of_another() {
        let line = "xdpmap -p 80 -e 7 --shards 7 --shard 3 -C /nonexistent -o out/r3.csv -m m-003.json -qq \
                    --exclude 10.1.0.0/16 -b a.conf -b b.conf 10.0.0.0/8";
        let command = command(&[scan(line, "--rate=500 --exclude=10.2.0.0/16", 3)], 5).unwrap();
        let words: Vec<&str> = command.split(' ').collect();
        for pair in [
            ["--target-ports", "80"],
            ["--seed", "7"],
            ["--shards", "7"],
            ["--shard", "5"],
            ["--rate", "500"],
            ["--output-file", "out/r5.csv"],
            ["--metadata-file", "m-005.json"],
            ["--quiet", "--quiet"],
            ["--exclude", "10.1.0.0/16"],
            ["--exclude", "10.2.0.0/16"],
            ["--blocklist-file", "a.conf"],
            ["--blocklist-file", "b.conf"],
        ] {
            assert!(words.windows(2).any(|words| words == pair), "{pair:?}: {command}");
        }
        assert!(
            command.starts_with("xdpmap --")
                && command.ends_with(" 10.0.0.0/8")
                && command.contains(" --quiet")
        );
        assert!(
            !command.contains("--batch") && !command.contains("nonexistent"),
            "defaults are left out: {command}"
        );
        // It is understood, and means the same.
        let (options, targets) = in_force(words.iter().map(OsString::from)).unwrap();
        assert!(options.iter().any(|option| option.name == "shard" && option.value == Some("5".into())));
        assert_eq!(targets, ["10.0.0.0/8"]);
    }

    /// Second probes cannot be sent alone without a checkpoint, and the command says so.
    #[test]
    fn second_probes_that_are_missing() {
        let mut lacking = scan("xdpmap -p 80 --recheck 1% -e 7 --shards 7 --shard 3 -o r3.csv", "", 3);
        lacking.metadata.second_intervals_left = vec![[5, 9]];
        let lines = command(std::slice::from_ref(&lacking), 3).unwrap();
        let (remark, line) = lines.split_once('\n').unwrap();
        assert!(remark.starts_with("# shard 3 lacks second probes alone"), "{lines}");
        assert!(line.starts_with("xdpmap --") && line.contains(" --recheck 1"), "{lines}");
        lacking.metadata.targets_left = 1;
        assert!(command(&[lacking], 3).unwrap().starts_with("xdpmap --"), "not these alone");
    }

    /// The batch system of a shard has said which one it is and how many there are, and the folder names its files.
    #[test]
    fn a_missing_task_has_a_command() {
        let task =
            scan("xdpmap -p 80 -e 7 --shard auto --total-rate 7K --output-dir all --resume-or-start", "", 3);
        let command = command(&[task], 5).unwrap();
        let words: BTreeSet<&str> = command.split(" --").collect();
        let expected =
            ["xdpmap", "target-ports 80", "seed 7", "shard 5", "shards 7", "total-rate 7K", "output-dir all"];
        assert_eq!(words, expected.into(), "{command}");
    }

    #[test]
    fn a_resumed_shard_tells_no_command_line() {
        let resumed = scan("xdpmap resume r3.csv.xdpmap", "", 3);
        assert_eq!(command(&[resumed], 5), None);
        let scans = [
            scan("xdpmap resume r3.csv.xdpmap", "", 3),
            scan("xdpmap -p 80 -e 7 --shards 7 --shard 4 -o r4.csv", "", 4),
        ];
        assert!(
            command(&scans, 3).unwrap().contains("--shard 3 ")
                || command(&scans, 3).unwrap().contains("r3.csv")
        );
    }

    #[test]
    fn names_of_other_shards() {
        for (path, from, to, expected) in [
            ("r3.csv", 3, 5, "r5.csv"),
            ("shard-00017/results.csv", 17, 18, "shard-00018/results.csv"),
            ("shard-00009/r.csv", 9, 10, "shard-00010/r.csv"),
            ("2026/r-2.csv", 2, 11, "2026/r-11.csv"),
            ("results.csv", 3, 5, "results-shard5.csv"),
            ("out/results", 3, 5, "out/results-shard5"),
            ("r3.csv", 3, 3, "r3.csv"),
            ("-", 3, 5, "-"),
            ("\u{e9}7\u{e9}.csv", 7, 8, "\u{e9}8\u{e9}.csv"),
        ] {
            assert_eq!(for_shard(Path::new(path), from, to), Path::new(expected), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_name(path in "[a-z0-9/.\u{e9}-]{1,20}", from in 0u32..100, to in 0u32..100) {
            let renamed = for_shard(Path::new(&path), from, to);
            if path != "-" && Path::new(&path).file_name().is_some() && from != to {
                prop_assert_ne!(renamed, Path::new(&path));
            }
        }

        /// What a shell makes of it is the word.
        #[test]
        fn words_for_shells(word in "[ -~\u{e9}\n]{0,20}") {
            let text = quoted(&word);
            let mut read = String::new();
            let mut rest = text.as_str();
            while let Some(c) = rest.chars().next() {
                rest = &rest[c.len_utf8()..];
                match c {
                    '\'' => {
                        let (inside, after) = rest.split_once('\'').unwrap();
                        read.push_str(inside);
                        rest = after;
                    }
                    '\\' => {
                        read.push_str(&rest[..1]);
                        rest = &rest[1..];
                    }
                    c => {
                        prop_assert!(c.is_ascii_alphanumeric() || "_-./:,=+@%^".contains(c));
                        read.push(c);
                    }
                }
            }
            prop_assert_eq!(read, word);
        }
    }
}
