//! A server's password, however it is given: it reaches the server and no one else.

use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Lab, have_root};
use support::{Scans as _, read};

const PASSWORD: &str = "s3cretPW";
const PORT: &str = "6390";

/// A lab with a Redis server on the scanning side that asks for the password.
fn guarded() -> Lab {
    let mut lab = Lab::new(1);
    let scan = lab.scan.clone();
    let arguments = ["--port", PORT, "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD];
    lab.start(&scan, "redis-server", arguments);
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask(&lab, "PING") != "PONG" {
        assert!(Instant::now() < deadline, "redis-server does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    lab
}

fn ask(lab: &Lab, command: &str) -> String {
    let arguments = ["-p", PORT, "--no-auth-warning", "-a", PASSWORD];
    let output = lab.output_in_ns(&lab.scan, "redis-cli", arguments.into_iter().chain(command.split(' ')));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Everything that a run leaves where others can read it, which must not contain the password.
#[track_caller]
fn left_by(lab: &Lab, command: &mut Command, code: i32) -> String {
    let file = |name: &str| lab.folder().join(name);
    for name in ["log", "metadata", "metrics"] {
        let _ = std::fs::remove_file(file(name));
    }
    let output = command.output().unwrap();
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let text =
        String::from_utf8_lossy(&printed).into_owned() + &read(&file("log")) + &read(&file("metadata"));
    let text = text + &read(&file("metrics"));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

/// From a URL, an option, a file and the environment.
#[test]
fn a_password_is_the_servers_alone() {
    if !have_root() {
        return;
    }
    let lab = guarded();
    let file = |name: &str| lab.folder().join(name);
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{PORT}/0");
    std::fs::write(file("password"), PASSWORD).unwrap();
    std::fs::write(file("conf"), format!("output-file = \"{url}\"\noutput-module = redis\n")).unwrap();
    let from_file = format!("port={PORT},password-file={}", file("password").display());
    let scan = |key: &str| {
        let mut command = lab.xdpmap("-p 80 -r 2000 -c 1 -v 5 198.18.0.0/28");
        command.arg("-m").arg(file("metadata")).arg("-l").arg(file("log"));
        command.arg("--metrics-file").arg(file("metrics"));
        let option = if key == "option" { from_file.as_str() } else { "" };
        command.args(["-f", "saddr", "--output-args", &format!("key={key},format=json,{option}")]);
        command
    };
    let typed = ["-O", "redis", "-o", &url];
    let [conf, metadata] = [file("conf"), file("metadata")];
    for key in ["url", "option", "file", "environment"] {
        let complete = |command: &mut Command| {
            match key {
                "url" => command.args(typed),
                "option" => command.args(["-O", "redis"]),
                "file" => command.arg("-C").arg(&conf),
                _ => command.env("XDPMAP_OUTPUT_FILE", &url).env("XDPMAP_OUTPUT_MODULE", "redis"),
            };
        };
        let mut command = scan(key);
        complete(&mut command);
        left_by(&lab, &mut command, 0);
        assert!(read(&metadata).contains("\"end_reason\":\"complete\""), "{key}");
        assert_eq!(ask(&lab, &format!("LLEN {key}")), "16", "{key}");
        let mut command = scan(key);
        complete(&mut command);
        let config = left_by(&lab, command.arg("--print-config"), 0);
        assert_eq!(config.contains("its password is left out"), key != "option", "{key}: {config}");
    }
}

/// Errors are reported without it.
#[test]
fn errors_do_not_repeat_a_password() {
    if !have_root() {
        return;
    }
    let lab = guarded();
    let run = |arguments: &str, code| {
        left_by(&lab, &mut lab.xdpmap(&format!("-p 80 -n 1 -c 0 {arguments} 198.18.0.0/28")), code)
    };
    for (arguments, words) in [
        (format!("-O redis -o redis://:not-{PASSWORD}@127.0.0.1:{PORT}"), "redis at 127.0.0.1"),
        (format!("-O redis -o redis://:{PASSWORD}@127.0.0.1:1"), "check that the server runs"),
        (format!("-O redis -o redis:/:{PASSWORD}@127.0.0.1"), "is not a server's URL"),
        (format!("-O redis -o rediss://:{PASSWORD}@127.0.0.1"), "rediss://..."),
        (format!("-O redis --output-args password:{PASSWORD}"), "'password' is not an argument"),
        (format!("-O redis redis://:{PASSWORD}@127.0.0.1"), "redis://"),
        (format!("-O redis --no-such=redis://:{PASSWORD}@127.0.0.1"), "--no-such"),
        (format!("-O redis -r redis://:{PASSWORD}@127.0.0.1"), "--rate"),
    ] {
        let said = run(&arguments, 2);
        assert!(said.contains(words), "{arguments}: {said}");
    }
}
