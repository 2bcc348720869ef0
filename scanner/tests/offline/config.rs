//! Config files and the environment, through the real binary.

use std::ffi::OsStr;

use support::sandbox::{Sandbox, dry};
use support::scanner::xdpmap;
use xdpmap::cli::{CommandError, Surroundings};

/// What Debian's ZMap 2 and ZMap 4 ship, in their forms.
const ZMAP_CONF: &str = "\
### Probe Module to use
#probe-module tcp_synscan

### Destination port to scan
target-port 443
rate = 20000   # packets a second
blacklist-file \"good.conf\"
cooldown-time=1
quiet
summary
";

/// The options that `--print-config` prints, in order.
fn printed(sandbox: &Sandbox, variables: &[(&str, &str)], arguments: &str) -> String {
    let output =
        sandbox.run(xdpmap().envs(variables.iter().copied()), &format!("{arguments} --print-config"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn flags_over_environment_over_files() {
    let sandbox = Sandbox::new();
    let home = sandbox.path().join("xdpmap");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("xdpmap.conf"), "rate 100\nprobes 2\noutput-module json\ntarget-ports 443\n")
        .unwrap();
    let variables = [("XDG_CONFIG_HOME", sandbox.path().to_str().unwrap()), ("XDPMAP_RATE", "200")];
    let text = printed(&sandbox, &variables, "-p 80");
    let has = |line: &str| assert!(text.lines().any(|given| given == line), "{line}: {text}");
    has("target-ports 80");
    has("rate 200  # the environment's XDPMAP_RATE");
    has(&format!("probes 2  # {}:2", home.join("xdpmap.conf").display()));
    has(&format!("output-module json  # {}:3", home.join("xdpmap.conf").display()));
    has("cooldown-time 8");
    let typed = printed(&sandbox, &variables, "-p 80 -r 300");
    assert!(typed.contains("rate 300\n"), "{typed}");
    // A file that is named is the only one.
    let named = printed(&sandbox, &variables[..1], "-C /dev/null -p 80");
    assert!(named.contains("rate 10000\n") && !named.contains("output-module"), "{named}");
}

/// The output is a file that gives the same options again.
#[test]
fn printed_config_is_a_config_file() {
    let sandbox = Sandbox::new();
    let text = printed(&sandbox, &[], "-p 80,443 -B 2.5G -e 7 -f saddr,ttl -d --notes a#b --cores 0");
    std::fs::write(sandbox.path().join("own.conf"), &text).unwrap();
    let without_places = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    let again = printed(&sandbox, &[], "-C own.conf");
    assert_eq!(without_places(&again), without_places(&text));
    assert!(text.contains("bandwidth 2.5G\n") && !text.contains("\nrate "), "{text}");
}

/// An existing zmap.conf is read, with a warning about names that have changed; its content is in the metadata.
#[test]
fn zmaps_own_file() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("zmap.conf"), ZMAP_CONF).unwrap();
    let output = sandbox.run(&mut dry(), "-C zmap.conf -S 192.0.2.7 -e 7 -m new.json 8.8.8.0/29 9.9.9.0/30");
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    for words in
        ["zmap.conf:5: target-port is called target-ports now", "zmap.conf:7: blacklist-file is called"]
    {
        assert!(log.contains(words), "{words}: {log}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("dest: 443 ").count(), 4, "8.8.8.0/24 is in the block list: {text}");
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
    assert_eq!((&metadata["rate"], &metadata["blocklist_filename"]), (&20_000.into(), &"good.conf".into()));
    assert!(metadata["config_arguments"].as_array().unwrap().contains(&"--rate=20000".into()));
    assert_eq!(metadata["default_mode"], 1);
}

/// Fields and formats mean the same in a file as typed: the implicit filter is off.
#[test]
fn fields_in_a_file_count_as_given() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("own.conf"), "output-fields saddr\n").unwrap();
    let output = sandbox.run(&mut dry(), "-C own.conf -p 80 -S 192.0.2.7 -n 1 -m new.json");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("writing all replies"));
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
    assert_eq!(metadata["default_mode"], 0);
}

#[test]
fn mistakes_name_file_and_line() {
    let sandbox = Sandbox::new();
    for (text, words) in [
        ("rate fast\n", &["own.conf:1: ", "--rate", "such as 5000 or 0.5"][..]),
        ("# ours\n\nsede 5\n", &["own.conf:3: ", "'--sede'", "'--seed'"]),
        ("quiet\nquiet\n", &["own.conf:2: ", "twice"]),
        ("notes \"open\n", &["own.conf:1: ", "quote"]),
        ("output-module xlsx\n", &["own.conf:1: ", "'xlsx'", "json"]),
        // Errors that only the plan can detect.
        ("target-ports htp\n", &["--target-ports", "htp", "is set in own.conf:1"]),
        ("target-ports 80\nshards 3\nshard 3\nseed 1\n", &["--shard:", "from 0 to 2", "own.conf:3"]),
        (
            "target-ports 80\nnetmap-wait-ping 8.8.8.8\n",
            &["--netmap-wait-ping", "ping 8.8.8.8", "own.conf:2"],
        ),
    ] {
        std::fs::write(sandbox.path().join("own.conf"), text).unwrap();
        sandbox.refuses(dry().args(["-C", "own.conf", "-o", "old.csv", "-m", "old.json"]), "", 2, words);
    }
    sandbox.refuses(&mut dry(), "-C none.conf", 2, &["--config", "none.conf", "check the path"]);
    sandbox.refuses(&mut dry(), "-C . -p 80", 2, &["--config", "directory"]);
    let mut command = dry();
    command.env("XDPMAP_RATE", "fast");
    sandbox.refuses(&mut command, "-p 80", 2, &["XDPMAP_RATE", "such as 5000 or 0.5"]);
}

/// The scan of every night in the document on installing is one.
#[test]
fn the_nightly_scan_is_accepted() {
    let text = crate::documents::document("docs/install.md");
    let (_, rest) = text.split_once("nightly.conf <<END\n").unwrap();
    let (config, _) = rest.split_once("END\n").unwrap();
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("own.conf"), config).unwrap();
    let options = printed(&sandbox, &[], "-C own.conf");
    assert!(config.lines().count() > 3);
    for line in config.lines() {
        assert!(
            options.lines().any(|option| option.starts_with(&format!("{line}  # "))),
            "{line}: {options}"
        );
    }
}

/// Whether a config file that sets this option is refused for it.
fn is_typed_only(sandbox: &Sandbox, arg: &clap::Arg) -> bool {
    let path = sandbox.path().join("own.conf");
    std::fs::write(&path, arg.get_long().unwrap_or_default()).unwrap();
    let line = [OsStr::new("xdpmap"), OsStr::new("-C"), path.as_os_str()];
    let refused = xdpmap::cli::parse(line, &Surroundings::default());
    matches!(refused, Err(CommandError::Layer(why)) if why.contains("for the command line only"))
}

/// The file that comes with the program has every option in its section, in a form that is accepted, and with its
/// default if there is one. As it stands, it sets none.
#[test]
fn the_shipped_file_has_all_options() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/xdpmap.conf");
    let text = support::read(&path);
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("own.conf"), &text).unwrap();
    assert_eq!(printed(&sandbox, &[], "-C own.conf"), printed(&sandbox, &[], "-C /dev/null"));
    let mut command = xdpmap::cli::command();
    command.build();
    let (mut names, mut heading) = (vec![], "");
    for line in text.lines() {
        heading = line.strip_prefix("### ").unwrap_or(heading);
        let Some(entry) =
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        else {
            continue;
        };
        std::fs::write(sandbox.path().join("own.conf"), entry).unwrap();
        let name = entry.split(' ').next().unwrap();
        let shown = printed(&sandbox, &[], "-C own.conf");
        let set = shown.lines().any(|line| line.starts_with(name) && line.ends_with("  # own.conf:1"));
        assert!(set, "{entry}: {shown}");
        let option = command.get_arguments().find(|arg| arg.get_long() == Some(name)).unwrap();
        assert_eq!(option.get_help_heading(), Some(heading), "{entry}");
        if let [default] = option.get_default_values()
            && option.get_action().takes_values()
        {
            assert_eq!(entry.split_once(' ').map(|(_, value)| value), default.to_str(), "{entry}");
        }
        names.push(name.to_owned());
    }
    let is_for_files = |arg: &&clap::Arg| {
        let prints = arg.get_help().is_some_and(|help| help.to_string().ends_with("and exit"));
        !arg.is_hide_set() && !prints && !is_typed_only(&sandbox, arg)
    };
    let listed = command.get_arguments().filter(is_for_files).filter_map(clap::Arg::get_long);
    let mut expected: Vec<String> = listed.map(str::to_owned).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
}

/// The shipped block list excludes the reserved networks, and nothing else.
#[test]
fn the_shipped_block_list_is_the_floor() {
    let sandbox = Sandbox::new();
    let list = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/blocklist.conf");
    let excluded = |list: &str| -> serde_json::Value {
        let mut command = dry();
        command.args(["-b", list]);
        let output = sandbox.run(&mut command, "-p 80 -S 192.0.2.7 -n 1 -q -v 0 -m new.json");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
        metadata["blocklisted_networks"].clone()
    };
    assert_eq!(excluded(list.to_str().unwrap()), excluded("/dev/null"));
}
