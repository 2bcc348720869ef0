//! Config files and the environment, through the real binary.

use crate::support::sandbox::{Sandbox, dry};
use crate::support::scanner::xdpmap;

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

/// What is printed is a file that gives the same again.
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

/// An existing zmap.conf is read, with a warning about names that have changed; what it says is in the metadata.
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
    assert!(String::from_utf8_lossy(&output.stderr).contains("what is written: all replies"));
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
        ("output-module xml\n", &["own.conf:1: ", "'xml'", "json"]),
        // What only the plan can know.
        ("target-ports http\n", &["--target-ports", "http", "is set in own.conf:1"]),
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

/// The file that comes with the program has every option, each in a form that is taken, and sets none as it stands.
#[test]
fn the_shipped_file_has_all_options() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/xdpmap.conf");
    let text = crate::support::read(&path);
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("own.conf"), &text).unwrap();
    assert_eq!(printed(&sandbox, &[], "-C own.conf"), printed(&sandbox, &[], "-C /dev/null"));
    let mut names = vec![];
    for line in text.lines() {
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
        names.push(name.to_owned());
    }
    let command = xdpmap::cli::command();
    let listed = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long);
    let only_typed =
        ["config", "print-config", "list-probe-modules", "list-output-fields", "list-output-modules"];
    let expected: Vec<&str> = listed.filter(|name| !only_typed.contains(name)).collect();
    names.sort();
    let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
    expected.sort();
    assert_eq!(names, expected);
}

/// The shipped block list excludes what is reserved, and nothing else.
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
