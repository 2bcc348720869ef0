//! What users of other scanners type out of habit, and what xdpmap has in its place.
//!
//! Some of it would be understood as something else: `-oX file` as the output file `X` and a host called `file`. So it
//! is refused, with what to type.

use std::ffi::OsString;

/// The commands beside a scan. They come first on a command line.
pub const COMMANDS: [&str; 14] = [
    "blocklist",
    "calibrate",
    "checkpoint",
    "ctl",
    "diff",
    "doctor",
    "iterate",
    "map",
    "merge",
    "probing-txt",
    "report",
    "resume",
    "tee",
    "verify",
];
/// How similar a word must be to a command to be taken for it (Jaro-Winkler). Lower: names of hosts are refused.
/// Higher: plain typing errors are looked up as hosts.
const ALIKE: f64 = 0.9;

/// Long options of nmap, masscan and naabu, without their dashes, and what to give instead. Sorted.
const OPTIONS: [(&str, &str); 28] = [
    ("adapter", "give -i INTERFACE"),
    ("adapter-ip", "give -S ADDRESS"),
    ("adapter-mac", "give --source-mac MAC"),
    ("adapter-port", "give -s PORTS"),
    ("banners", "xdpmap reads no banners: let zgrab2 or nmap read them, as docs/recipes.md shows"),
    ("echo", "give --print-config"),
    ("exclude-file", "give -b FILE"),
    ("excludefile", "give -b FILE"),
    ("host-timeout", "xdpmap waits for no single host: give -c TIME for late replies"),
    ("include-file", "give -w FILE"),
    ("includefile", "give -w FILE"),
    ("json", "give -O json"),
    ("list", "give -w FILE for networks or -I FILE for addresses"),
    ("max-rate", "give -r PPS"),
    ("max-retries", "give -P N for N probes to each target"),
    ("min-rate", "give -r PPS"),
    ("nmap", "pipe the results to nmap, as docs/recipes.md shows"),
    ("offline", "give --dryrun"),
    ("open", "leave it out: only open ports are written, unless you choose fields or a filter"),
    ("ping", "give -M icmp_echoscan"),
    ("port", "give -p PORTS"),
    ("ports", "give -p PORTS"),
    ("randomize-hosts", "leave it out: the order is always random"),
    ("resume", "give xdpmap resume FILE.xdpmap"),
    ("router-mac", "give -G MAC"),
    ("silent", "give -q"),
    ("threads", "give -T N"),
    ("wait", "give -c TIME"),
];

/// Whole words of nmap that the grammar of ZMap's flags reads differently, and what to give instead.
const WORDS: [(&str, &str); 13] = [
    ("-oA", "give -o FILE, once for each file, each with its -O"),
    ("-oG", "give -o FILE -O grepable"),
    ("-oJ", "give -o FILE -O json, or masscan-json"),
    ("-oL", "give -o FILE -O list"),
    ("-oN", "give -o FILE"),
    ("-oX", "give -o FILE -O xml"),
    ("-iL", "give -w FILE for networks or -I FILE for addresses"),
    ("-iR", "give -n N for N random targets"),
    ("-sS", "leave it out: SYN is what xdpmap sends"),
    ("-sU", "give -M udp"),
    ("-sn", "give -M icmp_echoscan"),
    ("-sP", "give -M icmp_echoscan"),
    ("-Pn", "leave it out: every target is probed"),
];

/// What to give instead of another scanner's option, which is written with its dashes.
pub(super) fn instead_of_option(flag: &str) -> Option<&'static str> {
    let name = flag.strip_prefix("--")?;
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    let at = OPTIONS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    Some(OPTIONS[at].1)
}

/// What is wrong with the first word of `words` that is nmap's and would be understood as something else.
pub(super) fn misread(words: &[OsString]) -> Option<String> {
    let of_nmap = |word: &OsString| WORDS.into_iter().find(|(known, _)| word == known);
    let options = words.iter().take_while(|word| *word != "--");
    let (word, instead) = options.filter_map(of_nmap).next()?;
    let (flag, value) = word.split_at(2);
    Some(format!("{word} is nmap's: {instead} (for the value {value}, write {flag} {value})"))
}

/// What is wrong with targets of which one is, or seems to be, a command.
pub(super) fn misplaced_command(targets: &[String]) -> Option<String> {
    let remedy = |word: &str, name: &str| {
        format!(
            "for a host of the name {word}, write {word}. with a full stop; for the command, xdpmap {name} comes first"
        )
    };
    if targets.iter().any(|word| word == "help") {
        return Some(format!("help is not a target: see xdpmap --help; {}", remedy("help", "--help")));
    }
    if let Some(word) = targets.iter().find(|word| COMMANDS.contains(&word.as_str())) {
        return Some(format!("{word} is a command, and not a target: {}", remedy(word, word)));
    }
    // A name of a host has a dot, as a rule, and an address begins with a digit.
    let word = targets.first().filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))?;
    let likeness = COMMANDS.map(|command| (strsim::jaro_winkler(command, word), command));
    let (likeness, command) = likeness.into_iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    let is_meant = likeness >= ALIKE;
    is_meant.then(|| format!("is the command {command} meant by {word}? {}", remedy(word, command)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn no_option_of_ours_is_redirected() {
        assert!(OPTIONS.is_sorted_by(|one, next| one.0 < next.0));
        let command = command();
        for (name, _) in OPTIONS {
            let ours = command.get_arguments().filter_map(clap::Arg::get_long);
            assert!(ours.into_iter().all(|long| long != name), "{name}");
            assert!(instead_of_option(&format!("--{name}=5")).is_some());
        }
        assert_eq!(instead_of_option("--nonesuch"), None);
    }

    #[test]
    fn words_of_nmap() {
        let words = |line: &str| -> Vec<OsString> { line.split(' ').map(OsString::from).collect() };
        let refused = misread(&words("-p 80 -oX scan.xml")).unwrap();
        assert!(refused.contains("-o FILE") && refused.contains("write -o X"), "{refused}");
        assert_eq!(misread(&words("-p 80 -o X -i L --  -oX")), None);
    }

    #[test]
    fn commands_among_targets() {
        let refused = |line: &str| {
            let targets: Vec<String> = line.split(' ').map(str::to_owned).collect();
            misplaced_command(&targets)
        };
        assert!(refused("10.0.0.1 doctor").unwrap().contains("xdpmap doctor comes first"));
        assert!(refused("doctr").unwrap().contains("is the command doctor meant"));
        assert!(refused("help").unwrap().contains("xdpmap --help"));
        for hosts in ["doctor.", "scanme", "localhost", "doctor.example", "192.0.2.1", "router"] {
            assert_eq!(refused(hosts), None, "{hosts}");
        }
    }
}
