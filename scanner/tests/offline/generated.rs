//! Manual pages and completions: read by man and bash, and held against the command line.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use lab::tools::tool;
use support::scanner::{binary, xdpmap, xdpmap_as};
use xdpmap::cli::{self, Generated};
use xdpmap::privileges::NEEDS;

/// The names of all that can be generated.
fn names() -> Vec<String> {
    let values = Generated::value_variants().iter().filter_map(Generated::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}

/// Writes what the program prints to a file in `folder`.
fn generate(what: &str, folder: &Path) -> PathBuf {
    let output = xdpmap().args(["--generate", what]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{what}: {output:?}");
    let file = folder.join(what);
    std::fs::write(&file, output.stdout).unwrap();
    file
}

/// The formatter warns of nothing, and each page has its parts.
#[test]
fn pages_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let pages: Vec<String> = names().into_iter().filter(|name| name.starts_with("man")).collect();
    assert_eq!(pages.len(), 2 + cli::COMMANDS.len());
    for name in pages {
        let file = generate(&name, folder.path());
        let mut man = tool("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&file).env("MANWIDTH", "80");
        let output = man.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
        let text = shown(&file);
        let sections: Vec<&str> =
            text.lines().filter(|line| line.starts_with(|c: char| c.is_uppercase())).collect();
        for section in ["NAME", "DESCRIPTION", "SEE ALSO"] {
            assert_eq!(
                sections.iter().filter(|line| **line == section).count(),
                1,
                "{name}: {section}: {text}"
            );
        }
        let is_page = |line: &str| line.starts_with("xdpmap") || line.starts_with("XDPMAP");
        assert!(text.lines().find(|line| !line.is_empty()).is_some_and(is_page), "{name}: {text}");
    }
}

/// The text of a page as a reader sees it, wide enough that no word is divided.
fn shown(file: &Path) -> String {
    let mut man = tool("man");
    let output = man.args(["-E", "UTF-8", "-l"]).arg(file).env("MANWIDTH", "1000").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The page of a scan has every option, module, exit code and other page; that of config files each option that they
/// may have.
#[test]
fn pages_have_every_option() {
    let folder = tempfile::tempdir().unwrap();
    let (scan, config) =
        (shown(&generate("man", folder.path())), shown(&generate("man-conf", folder.path())));
    let mut command = cli::command();
    command.build();
    let options: Vec<&clap::Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let begins = |text: &str, words: &str| {
        text.lines().map(str::trim_start).any(|line| {
            let rest = line.strip_prefix(words);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c == '-' || c.is_ascii_alphanumeric()))
        })
    };
    for arg in &options {
        let Some(long) = arg.get_long() else { continue };
        let names = match arg.get_short() {
            Some(short) => format!("-{short}, --{long}"),
            None => format!("--{long}"),
        };
        assert!(begins(&scan, &names), "{names}: {scan}");
    }
    let settable: Vec<&str> = cli::in_config_files(&command).filter_map(clap::Arg::get_long).collect();
    assert!(
        settable.len() > 60 && !settable.contains(&"generate") && settable.contains(&"list-of-ips-file"),
        "{settable:?}"
    );
    for long in settable {
        assert!(begins(&config, long), "{long}: {config}");
    }
    for module in xdpmap::probe::MODULES {
        assert!(begins(&scan, module.name), "{}", module.name);
    }
    for words in ["141", "xdpmap-ctl(1)", "xdpmap.conf(5)", "/etc/xdpmap/blocklist.conf", "XDPMAP_OPTION"] {
        assert!(scan.contains(words), "{words}: {scan}");
    }
}

/// What bash offers for the last of `words`, in a folder that has some files.
fn completed(script: &Path, words: &[&str]) -> Vec<String> {
    // As readline calls it: the command, the word that is completed, and the one before.
    const COMPLETE: &str = r#"
        set -eu
        source "$1"
        shift
        cd "$1"
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _xdpmap "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null || true
        for word in "${COMPREPLY[@]}"; do printf '%s\n' "$word"; done"#;
    let folder = script.parent().unwrap();
    let mut bash = tool("bash");
    let output = bash.args(["-c", COMPLETE, "bash"]).args([script, folder]).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    let folder = tempfile::tempdir().unwrap();
    let script = generate("complete-bash", folder.path());
    std::fs::write(folder.path().join("targets.txt"), "").unwrap();
    let mut check = tool("bash");
    assert!(check.arg("-n").arg(&script).status().unwrap().success());
    for (line, expected) in [
        // Options, and commands.
        ("xdpmap --chec", &["--checkpoint", "--checkpoint-interval"][..]),
        ("xdpmap che", &["checkpoint"]),
        ("xdpmap ctl --j", &["--json"]),
        ("xdpmap checkpoint ", &["-h", "-V", "--help", "--version", "show"]),
        ("xdpmap doctor --ap", &["--apply"]),
        ("xdpmap resume --sou", &["--source-ip", "--source-mac"]),
        // Values.
        ("xdpmap -M tcp_", &["tcp_synscan", "tcp_synackscan"]),
        ("xdpmap --io-mode ", &["auto", "zerocopy", "live", "copy", "generic", "packet"]),
        ("xdpmap --io-mode = pa", &["packet"]),
        ("xdpmap --dedup-method =", &["default", "none", "full", "window"]),
        ("xdpmap -O p", &["parquet", "pcap"]),
        ("xdpmap -p 80 --on-output-error p", &["pause"]),
        ("xdpmap --validate-source-port e", &["enable"]),
        ("xdpmap --generate complete-", &["complete-bash", "complete-fish", "complete-zsh"]),
        ("xdpmap ctl re", &["resume", "reload"]),
        // Lists.
        ("xdpmap -f sad", &["saddr", "saddr_raw"]),
        ("xdpmap -f saddr,rtt", &["saddr,rtt_us"]),
        ("xdpmap doctor --check --only ring,irq", &["ring,irq", "ring,irqbalance"]),
        // Interfaces of this host.
        ("xdpmap -i l", &["lo"]),
        ("xdpmap -i eth9,l", &["eth9,lo"]),
        ("xdpmap doctor --interface lo", &["lo"]),
        ("xdpmap --reply-interface lo", &["lo"]),
        // Files.
        ("xdpmap -w tar", &["targets.txt"]),
        ("xdpmap -p 80 -o ", &["complete-bash", "targets.txt"]),
        // What a shell cannot know stays as it is.
        ("xdpmap -r 10", &["10"]),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let mut found = completed(&script, &words);
        if line.contains("interface") || line.contains(" -i ") {
            // A machine may have others with such a name.
            found.retain(|name| expected.contains(&name.as_str()));
        }
        found.sort_unstable();
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{line}");
    }
}

/// What is no option or value is not offered: what the help hides, and what is of another command.
#[test]
fn bash_offers_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let script = generate("complete-bash", folder.path());
    let of_scan = completed(&script, &["xdpmap", "-"]);
    assert!(of_scan.len() > 80, "{of_scan:?}");
    for absent in ["--summary", "--netmap-wait-ping", "--blacklist-file", "--json", "--apply"] {
        assert!(!of_scan.contains(&absent.to_owned()), "{absent}");
    }
    let of_doctor = completed(&script, &["xdpmap", "doctor", "-"]);
    assert!(of_doctor.contains(&"--apply".to_owned()) && !of_doctor.contains(&"--rate".to_owned()));
}

/// The page of every command, and every shell, is in the packages. The program knows each name that they give to a
/// companion.
#[test]
fn packages_have_all() {
    let script = crate::documents::document("scripts/package.sh");
    let list = |name: &str| -> Vec<String> {
        let begins = format!("{name}=(");
        let words = script.lines().find_map(|line| line.strip_prefix(&begins)?.strip_suffix(')')).unwrap();
        words.split(' ').map(str::to_owned).collect()
    };
    assert_eq!(list("commands"), cli::COMMANDS);
    for name in names() {
        let is_of_command = name.strip_prefix("man-").is_some_and(|word| cli::COMMANDS.contains(&word));
        let is_there = is_of_command || script.contains(&format!("generate {name} "));
        assert!(is_there, "scripts/package.sh leaves out {name}");
    }
    let folder = tempfile::tempdir().unwrap();
    for companion in list("companions") {
        let link = folder.path().join(format!("xdpmap-{companion}"));
        std::os::unix::fs::symlink(binary(), &link).unwrap();
        let output = xdpmap_as(&link).arg("--help").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains(&format!("Usage: xdpmap-{companion} "))
                || text.contains(&format!("Usage: xdpmap {companion} ")),
            "{text}"
        );
    }
}

/// The package gives the program the capabilities that a scan needs, as the documents do.
#[test]
fn packages_give_what_a_scan_needs() {
    let script = crate::documents::document("scripts/package.sh");
    let given = script.lines().find_map(|line| line.strip_prefix("capabilities=")).unwrap();
    let names: Vec<String> = NEEDS.iter().map(|need| need.name.to_lowercase()).collect();
    let mut words: Vec<&str> = given.strip_suffix("+ep").unwrap().split(',').collect();
    words.sort_unstable();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(words, names);
    for page in ["README.md", "docs/tuning.md"] {
        assert!(crate::documents::document(page).contains(&format!("setcap {given} ")), "{page}");
    }
}
