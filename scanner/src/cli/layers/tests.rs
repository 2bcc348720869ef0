use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::*;
use crate::cli::{Rate, command};

/// Files in a folder that goes away with this.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn around(&self, variables: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
            files: ["user.conf", "system.conf"].map(|name| self.0.path().join(name)).into(),
            saved: None,
        }
    }

    fn read(&self, line: &str, variables: &[(&str, &str)]) -> Result<CommandLine, String> {
        let line = format!("xdpmap {line}").replace("DIR", self.0.path().to_str().unwrap());
        CommandLine::read(&command(), line.split_whitespace(), &self.around(variables)).map_err(|error| {
            match error {
                CommandError::Typed(error) => complaint(&error),
                CommandError::Layer(text) => text,
            }
        })
    }
}

#[test]
fn each_layer_yields_to_those_above() {
    let folder = Folder::new(&[
        ("user.conf", "rate 200\nseed 2\nquiet\n"),
        ("system.conf", "rate 100\nseed 1\nprobes 3\nverbosity 1\nquiet\nblacklist-file /b\n"),
    ]);
    let variables =
        [("XDPMAP_RATE", "300"), ("XDPMAP_QUIET", "no"), ("XDPMAP_NONESUCH", "1"), ("XDPMAP_SEED", "")];
    let read = folder.read("-r 400 -p 80 8.8.8.8", &variables).unwrap();
    let scan = &read.args.scan;
    assert_eq!((scan.rate.clone(), scan.seed, scan.probes), (Rate::Pps(400.0), Some(2), 3));
    assert_eq!(read.args.logging.quiet, 0, "switched off above");
    assert_eq!(read.args.logging.verbosity, 1);
    assert_eq!(read.args.basic.blocklist_file, [Path::new("/b")]);
    assert_eq!(read.args.targets, ["8.8.8.8"]);
    assert_eq!(folder.read("", &variables).unwrap().args.scan.rate, Rate::Pps(300.0));
    assert_eq!(folder.read("", &[]).unwrap().args.scan.rate, Rate::Pps(200.0));
    assert_eq!(folder.read("", &[]).unwrap().args.logging.quiet, 1);
    assert_eq!(read.warnings.len(), 2);
    assert!(read.warnings[0].contains("XDPMAP_NONESUCH sets nothing"));
    assert!(read.warnings[1].contains("system.conf:6: blacklist-file is called blocklist-file now"));
}

/// Whatever is not its default has a place, in the order of the lines of the options.
#[test]
fn every_option_has_its_origin() {
    let folder = Folder::new(&[
        ("user.conf", "# ours\nrate 200\nexclude 192.0.2.1\nquiet 2\nsteer no\n"),
        ("system.conf", "rate 100\nprobes 3\nblocklist-file /s\n"),
    ]);
    let variables = [("XDPMAP_EXCLUDE", "192.0.2.5"), ("XDPMAP_COOLDOWN_TIME", "3")];
    let read = folder.read("-p 80 -b /a -b /b --exclude 192.0.2.6 -B 1M 8.8.8.8", &variables).unwrap();
    let file = |line: &str| Origin::ConfigFile(folder.0.path().join(line).display().to_string());
    let variable = |name: &str| Origin::Environment(name.to_owned());
    let typed = || Origin::CommandLine;
    let mut expected = vec![
        ("blocklist-file", typed()),
        ("blocklist-file", typed()),
        ("exclude", variable("XDPMAP_EXCLUDE")),
        ("exclude", file("user.conf:3")),
        ("exclude", typed()),
        ("target-ports", typed()),
        ("bandwidth", typed()),
        ("cooldown-time", variable("XDPMAP_COOLDOWN_TIME")),
        ("probes", file("system.conf:2")),
        ("quiet", file("user.conf:4")),
    ];
    let names = config::parse(&read.args.in_force).unwrap().into_iter().map(|line| line.name);
    let found: Vec<String> = read.args.origins.iter().map(|set| set.flag.clone()).collect();
    let in_order: Vec<String> = names.filter(|name| found.contains(name)).collect();
    assert_eq!(found, in_order);
    let mut found: Vec<_> =
        read.args.origins.iter().map(|set| (set.flag.as_str(), set.origin.clone())).collect();
    for list in [&mut expected, &mut found] {
        list.sort_by_key(|(flag, _)| *flag);
    }
    assert_eq!(found, expected);
}

/// A block list that is named takes the place of those of lower layers. Networks that any layer excludes are excluded,
/// and each is printed with its place.
#[test]
fn what_is_excluded_adds_up() {
    let folder = Folder::new(&[
        (
            "user.conf",
            "exclude 192.0.2.1\nexclude 192.0.2.2,192.0.2.3\nblocklist-file /u\nblocklist-file /v\n",
        ),
        ("system.conf", "exclude 192.0.2.4\nblocklist-file /s\n"),
    ]);
    let read = folder.read("--exclude 192.0.2.6 -b /a -b /b", &[("XDPMAP_EXCLUDE", "192.0.2.5")]).unwrap();
    let excluded = ["192.0.2.5", "192.0.2.1", "192.0.2.2,192.0.2.3", "192.0.2.4", "192.0.2.6"];
    assert_eq!(read.args.basic.exclude, excluded);
    assert_eq!(read.args.basic.blocklist_file, ["/a", "/b"].map(Path::new));
    let named = folder.read("", &[]).unwrap();
    assert_eq!(named.args.basic.blocklist_file, ["/u", "/v"].map(Path::new));
    let text = String::from_utf8(read.to_config(&command())).unwrap();
    let of_exclude = text.lines().filter(|line| line.starts_with("exclude "));
    let places = ["XDPMAP_EXCLUDE", "user.conf:1", "user.conf:2", "system.conf:1", "192.0.2.6"];
    let lines: Vec<&str> = of_exclude.collect();
    assert_eq!(lines.len(), places.len(), "{text}");
    for ((line, network), place) in lines.into_iter().zip(excluded).zip(places) {
        assert!(line.starts_with(&format!("exclude {network}")) && line.ends_with(place), "{line}");
    }
    std::fs::write(folder.0.path().join("printed.conf"), &text).unwrap();
    let again = folder.read("-C DIR/printed.conf", &[]).unwrap();
    assert_eq!(again.args.basic.exclude, excluded);
    assert_eq!(again.args.basic.blocklist_file, read.args.basic.blocklist_file);
    let both = Folder::new(&[("user.conf", "blacklist-file /a\nblocklist-file /b\n")]);
    assert!(both.read("", &[]).unwrap_err().contains("set twice"));
}

/// How often a flag is given has a form in config files and in the environment.
#[test]
fn flags_that_count() {
    let folder = Folder::new(&[("user.conf", "quiet 2\n")]);
    let read = folder.read("", &[]).unwrap();
    assert_eq!(read.args.logging.quiet, 2);
    assert_eq!(read.args.inherited, ["-qq"]);
    let text = String::from_utf8(read.to_config(&command())).unwrap();
    assert!(text.contains("\nquiet 2  # "), "{text}");
    for (value, times) in [("1", 1), ("0", 0), ("yes", 1), ("3", 3)] {
        assert_eq!(folder.read("", &[("XDPMAP_QUIET", value)]).unwrap().args.logging.quiet, times, "{value}");
    }
    assert!(folder.read("", &[("XDPMAP_QUIET", "10")]).unwrap_err().contains("'10'"));
    let typed = Folder::new(&[]).read("-q -q", &[]).unwrap();
    assert!(String::from_utf8(typed.args.in_force).unwrap().contains("\nquiet 2\n"));
    std::fs::write(folder.0.path().join("printed.conf"), &text).unwrap();
    assert_eq!(folder.read("-C DIR/printed.conf", &[]).unwrap().args.logging.quiet, 2);
    assert_eq!(folder.read("-q", &[]).unwrap().args.logging.quiet, 1);
    let plain = Folder::new(&[]).read("", &[]).unwrap();
    assert!(!String::from_utf8(plain.to_config(&command())).unwrap().contains("quiet"));
}

#[test]
fn what_excludes_an_option_hides_it() {
    let folder = Folder::new(&[("user.conf", "bandwidth 10M\n"), ("system.conf", "rate 100\nlog-file /x\n")]);
    let read = folder.read("-L /logs", &[]).unwrap();
    assert_eq!(read.args.scan.bandwidth.as_deref(), Some("10M"));
    assert_eq!((read.args.scan.rate, read.args.logging.log_file.is_some()), (Rate::Pps(10_000.0), false));
    assert_eq!(folder.read("-r 5", &[]).unwrap().args.scan.bandwidth, None);
}

#[test]
fn a_named_file_is_the_only_one() {
    let folder =
        Folder::new(&[("user.conf", "rate 200\n"), ("own.conf", "seed 9\noutput-fields 'saddr, ttl'\n")]);
    let read = folder.read("-C DIR/own.conf", &[]).unwrap();
    assert_eq!((read.args.scan.rate, read.args.scan.seed), (Rate::Pps(10_000.0), Some(9)));
    assert_eq!(read.args.output.output_fields.as_deref(), Some("saddr, ttl"));
    let path = folder.0.path().join("own.conf");
    assert_eq!(
        folder.read("", &[("XDPMAP_CONFIG", path.to_str().unwrap())]).unwrap().args.scan.seed,
        Some(9)
    );
    assert_eq!(folder.read("-C /dev/null", &[]).unwrap().args.scan.rate, Rate::Pps(10_000.0));
    assert!(folder.read("-C DIR/none.conf", &[]).unwrap_err().contains("none.conf"));
}

#[test]
fn errors_name_the_place() {
    for (text, words) in [
        ("rate fast", &["user.conf:2: ", "--rate", "such as 5000 or 0.5"][..]),
        ("sede 5", &["user.conf:2: ", "'--sede'", "'--seed'"]),
        ("max-t 5", &["user.conf:2: ", "'max-t'", "in full"]),
        ("rate", &["user.conf:2: ", "--rate", "value is required"]),
        ("quiet perhaps", &["user.conf:2: ", "'perhaps'", "yes or no"]),
        ("config /x", &["user.conf:2: ", "command line only"]),
        ("rate 5\nrate 6", &["user.conf:3: ", "twice"]),
        ("rate 5\nbandwidth 5M", &["--rate", "cannot be used with", "user.conf:2", "user.conf:3"]),
        ("rate 5 6", &["user.conf:2: ", "quotes"]),
    ] {
        let folder = Folder::new(&[("user.conf", &format!("# ours\n{text}\n"))]);
        let error = folder.read("-p 80", &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)) && !error.contains('\n'), "{text}: {error}");
    }
    let folder = Folder::new(&[]);
    let error = folder.read("", &[("XDPMAP_RATE", "fast")]).unwrap_err();
    assert!(error.contains("XDPMAP_RATE: ") && error.contains("such as 5000 or 0.5"), "{error}");
}

/// A variable that sets nothing is reported, with a suggestion if there is a similar option.
#[test]
fn variables_that_set_nothing_are_told() {
    let folder = Folder::new(&[]);
    let warned = |variable: &str, value: &str| folder.read("-p 80", &[(variable, value)]).unwrap().warnings;
    for (variable, words) in [
        ("XDPMAP_BLOCKLIST", "is XDPMAP_BLOCKLIST_FILE meant?"),
        ("XDPMAP_BLOKLIST_FILE", "is XDPMAP_BLOCKLIST_FILE meant?"),
        ("XDPMAP_Blocklist_File", "is XDPMAP_BLOCKLIST_FILE meant?"),
        ("XDPMAP_CONFIG_FILE", "is XDPMAP_CONFIG meant?"),
        ("XDPMAP_XYZZY", "see xdpmap --help"),
        ("XDPMAP_", "see xdpmap --help"),
        ("XDPMAP_PRINT_CONFIG", "for the command line only"),
        ("XDPMAP_BLACKLIST_FILE", "blacklist-file is called blocklist-file now"),
    ] {
        let warnings = warned(variable, "x");
        assert_eq!(warnings.len(), 1, "{variable}: {warnings:?}");
        assert!(warnings[0].contains(variable) && warnings[0].contains(words), "{warnings:?}");
        assert!(warned(variable, "").is_empty(), "an empty variable is none");
    }
    for variable in NO_OPTIONS {
        assert!(warned(variable, "x").is_empty(), "{variable}");
    }
    let old = folder.read("-p 80", &[("XDPMAP_BLACKLIST_FILE", "/b")]).unwrap();
    assert_eq!(old.args.basic.blocklist_file, [Path::new("/b")]);
    let twice = [("XDPMAP_BLACKLIST_FILE", "/a"), ("XDPMAP_BLOCKLIST_FILE", "/b")];
    assert!(folder.read("-p 80", &twice).unwrap_err().contains("set twice"));
}

/// A file that may be there, and cannot be looked at, is not passed over.
#[test]
fn only_a_file_that_does_not_exist_is_absent() {
    let folder = Folder::new(&[("file", "")]);
    assert!(folder.read("-p 80", &[]).is_ok());
    let link = folder.0.path().join("system.conf");
    for (to, words) in [("nowhere", "broken link"), ("system.conf", "symbolic links")] {
        std::os::unix::fs::symlink(to, &link).unwrap();
        let error = folder.read("-p 80", &[]).unwrap_err();
        assert!(error.contains(words) && error.contains("-C /dev/null"), "{error}");
        assert!(folder.read("-p 80 -C /dev/null", &[]).is_ok());
        std::fs::remove_file(&link).unwrap();
    }
}

#[test]
fn encodings_of_a_file() {
    let folder = Folder::new(&[("user.conf", "\u{feff}rate 200\r\n# ours\r\nseed 2\r\n")]);
    let read = folder.read("", &[]).unwrap();
    assert_eq!((read.args.scan.rate, read.args.scan.seed), (Rate::Pps(200.0), Some(2)));
    std::fs::write(folder.0.path().join("user.conf"), b"rate 5\nnotes caf\xe9\n").unwrap();
    let error = folder.read("", &[]).unwrap_err();
    assert!(
        error.contains("user.conf:2: '--notes=caf\\xe9' is not UTF-8, and this option needs text"),
        "{error}"
    );
    std::fs::write(folder.0.path().join("user.conf"), b"\xff\xfer\0a\0").unwrap();
    let error = folder.read("", &[]).unwrap_err();
    assert!(error.contains("user.conf is UTF-16 text"), "{error}");
}

/// Names of files are bytes, in a config file as on the command line, and are printed as they are.
#[test]
fn names_that_are_not_utf_8() {
    let folder = Folder::new(&[]);
    let text = b"blocklist-file 'caf\xe9 1'\nprobe-args file:\xe9\n";
    std::fs::write(folder.0.path().join("user.conf"), text).unwrap();
    let read = folder.read("-p 80", &[]).unwrap();
    let bytes = |name: &OsStr| name.as_bytes().to_vec();
    let named = read.args.basic.blocklist_file.iter().map(|path| bytes(path.as_os_str()));
    assert_eq!(named.collect::<Vec<_>>(), [b"caf\xe9 1"]);
    assert_eq!(read.args.probe.probe_args.as_deref().map(bytes).as_deref(), Some(&b"file:\xe9"[..]));
    let printed = read.to_config(&command());
    assert!(printed.windows(11).any(|part| part == b"\"caf\xe9 1\"  #"), "{}", printed.escape_ascii());
    std::fs::write(folder.0.path().join("printed.conf"), &printed).unwrap();
    let again = folder.read("-C DIR/printed.conf", &[]).unwrap();
    assert_eq!(again.args.basic.blocklist_file, read.args.basic.blocklist_file);
    // What is text says so, and which it is.
    for words in
        [&[&b"--notes"[..], b"caf\xe9"][..], &[b"--notes=caf\xe9"], &[b"-b", b"\xe9", b"-e\xe9"], &[b"\xe9"]]
    {
        let words = words.iter().map(|word| OsStr::from_bytes(word));
        let line = [OsStr::new("xdpmap")].into_iter().chain(words);
        let Err(CommandError::Typed(error)) = CommandLine::read(&command(), line, &folder.around(&[])) else {
            panic!("what is not UTF-8 is no text");
        };
        let error = complaint(&error);
        assert!(
            error.contains("\\xe9' is not UTF-8, and this option needs text") && !error.contains("-b"),
            "{error}"
        );
    }
}

#[test]
fn later_errors_are_placed_too() {
    let folder = Folder::new(&[("user.conf", "shards 3\n")]);
    let read = folder.read("--shard 4", &[]).unwrap();
    let placed = read.place("--shard: 4 is too many for --shards 3");
    assert!(placed.ends_with("user.conf:1") && placed.contains("; --shards is set in "), "{placed}");
    assert_eq!(read.place("--shards-x: no"), "--shards-x: no");
}

/// What is printed is read again as the same, whatever the values.
#[test]
fn printed_config_is_usable() {
    let folder = Folder::new(&[("user.conf", "blocklist-file 'a b'\nquiet\n")]);
    let notes = "it's \"so\" # \\n\nhere";
    let line = [
        "xdpmap",
        "-B",
        "10M",
        "--cores",
        "0,1",
        "-f",
        "saddr,ttl",
        "--notes",
        notes,
        "-O",
        "csv",
        "-o",
        "x=y",
        "-O",
        "json",
        "-o",
        "x y,z",
        "9.9.9.9",
    ];
    let read = CommandLine::read(&command(), line, &folder.around(&[])).unwrap();
    let text = String::from_utf8(read.to_config(&command())).unwrap();
    assert!(
        text.contains("user.conf:1\n") && text.contains("bandwidth 10M\n") && text.contains("9.9.9.9"),
        "{text}"
    );
    std::fs::write(folder.0.path().join("printed.conf"), &text).unwrap();
    let again = folder.read("-C DIR/printed.conf 9.9.9.9", &[]).unwrap();
    let without_place = |args: &Args| {
        let mut args = args.clone();
        args.basic.config = None;
        args.inherited.clear();
        args.origins.clear();
        format!("{args:?}")
    };
    assert_eq!(without_place(&again.args), without_place(&read.args), "{text}");
}
