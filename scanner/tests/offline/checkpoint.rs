//! `xdpmap checkpoint show`, and checkpoints that this version does not read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use support::sandbox::Sandbox;
use support::scanner::xdpmap;

use crate::documents::root;

/// A checkpoint that fuzzing starts from, in a file that only its owner can write.
fn place(sandbox: &Sandbox, example: &str) {
    let text = support::read(&root().join("fuzz/corpus/checkpoint").join(example));
    let file = sandbox.path().join("old.csv.xdpmap");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn shown(sandbox: &Sandbox, arguments: &str) -> String {
    let output = sandbox.run(&mut xdpmap(), &format!("checkpoint show old.csv.xdpmap {arguments}"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything but the key, for people and as JSON; and each option that was set, with its place.
#[test]
fn a_checkpoint_is_shown() {
    let sandbox = Sandbox::new();
    place(&sandbox, "unfinished");
    let text = shown(&sandbox, "");
    let row = |name: &str, value: &str| format!("{name:<15} {value}\n");
    for line in [
        row("state", "unfinished"),
        row("left", "98 places of the order, in 2 intervals"),
        row("list", &format!("--blocklist-file /b: 1234 bytes, SHA-256 {}", "07".repeat(32))),
        row("targets hash", &"01".repeat(32)),
        row("plan hash", &"03".repeat(32)),
        row("folder", "/"),
        "\nblocklist-file /b  # /etc/xdpmap/xdpmap.conf:3\n".to_owned(),
        "\ntarget-ports 80  # the command line\n".to_owned(),
        "\nrate 5000  # the environment's XDPMAP_RATE\n".to_owned(),
        "\ncooldown-time 8\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    let json = shown(&sandbox, "--json");
    assert!(!text.contains("a5a5") && !json.contains("a5a5"), "the key is shown");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let file =
        serde_json::json!({"flag": "blocklist-file", "file": "/b", "sha256": "07".repeat(32), "bytes": 1234});
    assert_eq!(json["lists"], serde_json::json!([file]));
    assert_eq!(json["plan_hash"], "03".repeat(32));
    assert_eq!(json["plan"][1], serde_json::json!({"flag": "probes", "value": "1"}));
    let origins = serde_json::json!([
        {"flag": "blocklist-file", "origin": {"config-file": "/etc/xdpmap/xdpmap.conf:3"}},
        {"flag": "target-ports", "origin": "command-line"},
        {"flag": "rate", "origin": {"environment": "XDPMAP_RATE"}},
    ]);
    assert_eq!(json["origins"], origins);
    // With its remarks, the text is a config file that says the same.
    let options = text.split_once("\n\n").unwrap().1;
    assert_eq!(config(options.as_bytes()), config(json["options"].as_str().unwrap().as_bytes()));
}

fn config(text: &[u8]) -> Vec<xdpmap::cli::config::ConfigLine> {
    xdpmap::cli::config::parse(text).unwrap()
}

/// A checkpoint of another version is refused for that, whatever is to be done with it, and stays as it is.
#[test]
fn another_version_is_refused() {
    let sandbox = Sandbox::new();
    place(&sandbox, "version-1");
    let file = Path::new("old.csv.xdpmap");
    let words =
        ["old.csv.xdpmap: it is of version 1, by xdpmap 0.1.0", "reads version 2", "finish that scan with"];
    for arguments in
        ["resume old.csv.xdpmap".to_owned(), "-i lo -p 80 -o old.csv --resume-or-start 8.8.8.8".to_owned()]
    {
        sandbox.refuses(&mut xdpmap(), &arguments, 2, &words);
    }
    let output = sandbox.run(xdpmap().args(["checkpoint", "show"]).arg(file), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(words.iter().all(|words| said.contains(words)), "{said}");
}
