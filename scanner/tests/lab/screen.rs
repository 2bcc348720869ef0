//! The terminal view, on a real pseudo-terminal whose screen pyte keeps: `--live`, and `xdpmap ctl watch --live`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lab::{Lab, have_root};
use serde_json::Value;
use support::scanner::binary;
use support::{Scans as _, read};

use crate::control::{sleep_ms, sockets};

/// A program on a terminal.
struct Terminal {
    process: Child,
    steps: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Terminal {
    /// Starts the command behind `inside` on a terminal of this size, below a folder that the program may write to.
    fn start(mut inside: Command, size: (u16, u16), command: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/screen.py");
        let [columns, rows] = [size.0, size.1].map(|number| number.to_string());
        let python = lab::tools::path_of("python3");
        inside.arg(python).arg(script).args([columns, rows]).args(command).env("TERM", "xterm-256color");
        let mut process = inside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (steps, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, steps, answers: BufReader::new(answers) }
    }

    /// Does a step, and returns its answer.
    fn step(&mut self, step: &str) -> Value {
        writeln!(self.steps, "{step}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{step}: {error}: {line}"))
    }

    fn screen(answer: &Value) -> String {
        let lines = answer["screen"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits until this text is on the screen, and returns all of it.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let answer = self.step(&format!("wait 60 {text}"));
        let screen = Self::screen(&answer);
        assert_eq!(answer["found"], true, "no \"{text}\":\n{screen}");
        screen
    }

    /// Waits until a text is gone, such as what a shell has said since the view stood there.
    #[track_caller]
    fn wait_while(&mut self, text: &str) -> String {
        let answer = self.step(&format!("gone 60 {text}"));
        let screen = Self::screen(&answer);
        assert_eq!(answer["found"], true, "still \"{text}\":\n{screen}");
        screen
    }

    fn keys(&mut self, keys: &str) {
        let hex: String = keys.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.step(&format!("key {hex}"));
    }

    /// Waits for the program's end. Its terminal is what it was. Returns its exit code, and what is printed behind the
    /// view.
    #[track_caller]
    fn end(mut self) -> (i64, String) {
        let end = self.step("end 60");
        self.process.wait().unwrap();
        for word in ["is_restored", "left_screen", "cursor_shown"] {
            assert_eq!(end[word], true, "{word}: {end:#}");
        }
        (end["status"].as_i64().expect("it has ended"), end["printed"].as_str().unwrap().to_owned())
    }
}

/// A lab with servers, a socket's path and a file for results.
fn lab() -> (Lab, String, PathBuf) {
    let lab = Lab::new(2);
    lab.start_nginx(&[Ipv4Addr::new(198, 18, 0, 7), Ipv4Addr::new(198, 18, 3, 9)]);
    let socket = sockets(&lab).join("scan.sock").display().to_string();
    let results = lab.folder().join("results.csv");
    (lab, socket, results)
}

/// The command line of a scan that is shown, of so many targets that it does not end by itself.
fn live<'a>(socket: &'a str, results: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    live_at("1000", socket, results, more)
}

/// The same at this rate.
fn live_at<'a>(rate: &'a str, socket: &'a str, results: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let line = [
        binary(),
        "--live",
        "-i",
        "scan0",
        "--allow-reserved",
        "-p",
        "80,81",
        "-r",
        rate,
        // What a scan shows at its end stands there for some of the view's seconds.
        "-c",
        "3",
        "--control",
        socket,
        "-o",
        results,
    ];
    [&line, more, &["198.18.0.0/17"]].concat()
}

/// Everything is on the screen, keys change the scan, another size is filled, and at the end the terminal is what it
/// was and the log is printed. The scan is what it would be without a view: its sandbox, its exit code, its files.
#[test]
fn a_scan_on_the_whole_terminal() {
    if !have_root() {
        return;
    }
    let (lab, socket, results) = lab();
    let metadata = lab.folder().join("meta.json");
    let (results_text, meta_text) = (results.display().to_string(), metadata.display().to_string());
    let command = live(&socket, &results_text, &["-m", &meta_text]);
    let mut terminal = Terminal::start(lab.shielded(), (100, 30), &command);
    terminal.wait_for("xdpmap  sending");
    let screen = terminal.wait_for("scan0");
    for words in [
        "of 65,536 targets",
        "hit rate",
        "limit 1,000 p/s",
        "queues: sent, received",
        "losses",
        "[INFO]",
        "q end the scan",
    ] {
        assert!(screen.contains(words), "{words}:\n{screen}");
    }
    assert!(!screen.contains("send: "), "ZMap's line is on the screen:\n{screen}");
    terminal.keys(" ");
    terminal.wait_for("paused (command)");
    terminal.keys("p");
    terminal.wait_for("space pause");
    terminal.keys("+");
    terminal.wait_for("limit 1,100 p/s");
    terminal.keys("--");
    terminal.wait_for("limit 909 p/s");
    terminal.step("resize 60 12");
    sleep_ms(1_500);
    let small = Terminal::screen(&terminal.step("show"));
    assert!(
        small.contains("hit rate") && small.lines().count() == 12 && !small.contains("queues:"),
        "{small}"
    );
    terminal.step("resize 120 40");
    terminal.wait_for("queues: sent, received");
    terminal.keys("q");
    let screen = terminal.wait_for("ends: interrupted");
    assert!(screen.contains("cooldown") || screen.contains("done"), "{screen}");
    let (code, printed) = terminal.end();
    assert_eq!(code, 130, "{printed}");
    assert!(printed.contains("interrupted: no more probes") && printed.contains("[INFO] plan:"), "{printed}");
    let metadata: Value = serde_json::from_str(&read(&metadata)).unwrap();
    assert_eq!((&metadata["end_reason"], &metadata["exit_code"]), (&"interrupted".into(), &130.into()));
    assert_eq!(metadata["rate_changes"], 3);
    assert!(metadata["sandbox"]["seccomp"]["worker"] == "on", "{}", metadata["sandbox"]);
    assert!(results.is_file(), "results are where they were asked for");
}

/// What canaries show, how sure the hit rate is, and how the rate is found are on both screens.
#[test]
fn losses_and_a_search_on_the_screen() {
    if !have_root() {
        return;
    }
    let (lab, socket, results) = lab();
    let results = results.display().to_string();
    let more = ["-M", "tcp_synackscan", "--canaries", "1%"];
    let command = live_at("auto:1500", &socket, &results, &more);
    let mut terminal = Terminal::start(lab.shielded(), (100, 30), &command);
    for words in ["unanswered", "rate auto", "holding (cap)", " to 100.00"] {
        terminal.wait_for(words);
    }
    let watch = [binary(), "ctl", &socket, "watch", "--live"];
    let mut other = Terminal::start(lab.shielded(), (80, 24), &watch);
    for words in ["holding (cap)", "unanswered"] {
        other.wait_for(words);
    }
    other.keys("q");
    assert_eq!(other.end().0, 0);
    terminal.keys("q");
    terminal.wait_for("ends: interrupted");
    assert_eq!(terminal.end().0, 130);
}

/// Whatever ends the scan, the terminal is restored: signals to the view reach the scan, which ends in order; SIGKILL
/// ends only the scan, and the view says so by the same.
#[test]
fn the_terminal_is_restored() {
    if !have_root() {
        return;
    }
    let (lab, socket, results) = lab();
    let results = results.display().to_string();
    for how in ["ctrl-c", "SIGTERM", "SIGKILL of the scan", "twice"] {
        let mut terminal = Terminal::start(lab.shielded(), (80, 24), &live(&socket, &results, &[]));
        terminal.wait_for("hit rate");
        terminal.wait_for("sending");
        let expected = match how {
            "ctrl-c" => {
                terminal.keys("\x03");
                130
            }
            "SIGTERM" => {
                terminal.step("signal 15");
                130
            }
            "twice" => {
                terminal.keys("q");
                terminal.keys("q");
                130
            }
            _ => {
                let folder = fs::read_dir("/proc").unwrap().flatten();
                let is_scan = |path: &PathBuf| {
                    let environment = fs::read(path.join("environ")).unwrap_or_default();
                    let line = fs::read(path.join("cmdline")).unwrap_or_default();
                    let has = |bytes: &[u8], word: &str| {
                        bytes.windows(word.len()).any(|part| part == word.as_bytes())
                    };
                    has(&environment, "LIVE_VIEW_OF_XDPMAP=1") && has(&line, &socket)
                };
                let scan = folder.map(|entry| entry.path()).find(is_scan).expect("the scan's process");
                let pid: i32 = scan.file_name().unwrap().to_str().unwrap().parse().unwrap();
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                    .unwrap();
                -9
            }
        };
        let (code, printed) = terminal.end();
        assert_eq!(code, expected, "{how}: {printed}");
    }
}

/// Ctrl-Z and SIGTSTP stop view and scan, and `fg` continues both. The terminal is one that never answers a question,
/// such as where its cursor is.
#[test]
fn a_stopped_view_goes_on() {
    if !have_root() {
        return;
    }
    let (lab, socket, results) = lab();
    let results = results.display().to_string();
    let script = "set -m; \"$@\" & view=$!; fg %1; echo \"stopped $?\"; sleep 1; \
                  (sleep 3; kill -TSTP $view) & fg %1; echo \"again $?\"; sleep 1; fg %1";
    let command = [&["bash", "-c", script, "bash"][..], &live(&socket, &results, &[])].concat();
    let mut terminal = Terminal::start(lab.shielded(), (100, 30), &command);
    terminal.wait_for("xdpmap  sending");
    terminal.keys("\x1a");
    terminal.wait_for("stopped 147");
    terminal.wait_while("stopped 147");
    // It is drawn from above.
    let screen = terminal.wait_for("queues: sent, received");
    assert!(screen.contains("of 65,536 targets"), "{screen}");
    // A signal that somebody sends does the same.
    terminal.wait_for("again 147");
    terminal.wait_while("again 147");
    terminal.wait_for("queues: sent, received");
    terminal.keys(" ");
    terminal.wait_for("paused (command)");
    terminal.keys("q");
    let (code, printed) = terminal.end();
    assert_eq!(code, 130, "{printed}");
}

/// A scan that runs already is shown by `ctl`, in the same view. Leaving it leaves the scan alone, and a key ends it.
#[test]
fn a_running_scan_is_shown() {
    if !have_root() {
        return;
    }
    let (lab, socket, results) = lab();
    let mut scan = lab.xdpmap("-p 80,81 -r 1000 -c 1 -q 198.18.0.0/17");
    let mut scan =
        scan.args(["--control", &socket, "-o"]).arg(&results).stderr(Stdio::null()).spawn().unwrap();
    while !Path::new(&socket).exists() {
        sleep_ms(20);
    }
    let command = [binary(), "ctl", &socket, "watch", "--live"];
    let mut terminal = Terminal::start(lab.shielded(), (100, 30), &command);
    let screen = terminal.wait_for("port 80");
    assert!(screen.contains("s end the scan  q leave") && screen.contains("sending"), "{screen}");
    terminal.keys("p");
    terminal.wait_for("paused (command)");
    terminal.keys("\x03");
    assert_eq!(terminal.end().0, 0);
    // A signal ends the view alone, and the terminal is restored before.
    for signal in [1, 2, 3, 15] {
        let mut terminal = Terminal::start(lab.shielded(), (80, 24), &command);
        terminal.wait_for("paused (command)");
        terminal.step(&format!("signal {signal}"));
        assert_eq!(terminal.end().0, -signal);
    }
    assert!(scan.try_wait().unwrap().is_none(), "the scan goes on");
    let mut terminal = Terminal::start(lab.shielded(), (80, 24), &command);
    terminal.wait_for("paused (command)");
    terminal.keys("s");
    terminal.wait_for("ends: interrupted");
    assert_eq!(terminal.end().0, 0);
    assert_eq!(scan.wait().unwrap().code(), Some(130));
}

/// Without a terminal, or with one that results would be written to, nothing begins.
#[test]
fn what_a_view_needs() {
    if !have_root() {
        return;
    }
    let (lab, socket, results) = lab();
    let output = lab.xdpmap("--live -p 80 198.18.0.0/24").arg("-o").arg(&results).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && log.contains("--live: standard error is not a terminal"),
        "{log}"
    );
    assert!(!results.exists());
    let results = results.display().to_string();
    for (line, words) in [
        (vec!["-p", "80", "198.18.0.0/24"], "--live: the results would go to the same terminal"),
        (vec!["-p", "80", "--dryrun", "198.18.0.0/24"], "--live shows a scan that runs"),
        (vec!["-p", "80", "-o", &results, "--control", "none", "198.18.0.0/24"], "leave --control none out"),
    ] {
        let command = [&[binary(), "--live", "-i", "scan0", "--allow-reserved"][..], &line].concat();
        let mut terminal = Terminal::start(lab.shielded(), (200, 24), &command);
        terminal.wait_for(words);
        let end = terminal.step("end 20");
        assert_eq!((&end["status"], &end["is_restored"]), (&2.into(), &true.into()), "{end}");
        terminal.process.wait().unwrap();
    }
    // A terminal that cannot move its cursor gets no screen, neither of a new scan nor of a running one.
    for word in ["TERM=dumb", "TERM="] {
        for command in [live(&socket, &results, &[]), vec![binary(), "ctl", &socket, "watch", "--live"]] {
            let command = [&["env", word][..], &command].concat();
            let mut terminal = Terminal::start(lab.shielded(), (200, 24), &command);
            terminal.wait_for("--live: TERM is \"dumb\" or not set");
            let end = terminal.step("end 20");
            assert_eq!((&end["status"], &end["left_screen"]), (&2.into(), &false.into()), "{end}");
            terminal.process.wait().unwrap();
        }
    }
    // A mistake of the scan's own is said when the view has ended.
    let mut terminal =
        Terminal::start(lab.shielded(), (80, 24), &live(&socket, &results, &["-b", "/nonexistent"]));
    terminal.step("wait 5 none");
    let (code, printed) = terminal.end();
    assert!(code == 2 && printed.contains("cannot read /nonexistent"), "{code}: {printed}");
}
