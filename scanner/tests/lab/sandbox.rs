//! The sandbox of a running scan: every thread has the filter of its class, and nothing that a scan needs is refused,
//! whatever widens it. What is refused is tested beside the code (`src/sandbox`), and in all other tests here the
//! sandbox is on as well.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lab::tools::{path_of, tool};
use lab::wires::two_wires;
use lab::{Lab, have_root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::live::live_lab;
use support::redis::Redis;
use support::scanner::{binary, xdpmap};
use support::{Scans as _, read};

/// A number from the status of a process's thread.
fn status(folder: &Path, name: &str) -> Option<u32> {
    let text = read(&folder.join("status"));
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// The threads of a process, by name, and each one's mode of seccomp, number of filters, and `no_new_privs`.
fn threads(pid: u32) -> Vec<(String, [Option<u32>; 3])> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let state = |task: PathBuf| {
        let name = read(&task.join("comm")).trim().to_owned();
        (name, ["Seccomp", "Seccomp_filters", "NoNewPrivs"].map(|line| status(&task, line)))
    };
    tasks.map(state).collect()
}

/// Waits until a scan has sent for a second.
fn begun(command: &mut Command) -> (Child, std::thread::JoinHandle<Vec<String>>) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    for line in log.by_ref() {
        said.push(line);
        if said.last().unwrap().contains("send: ") {
            let rest = std::thread::spawn(move || log.collect());
            return (child, rest);
        }
    }
    panic!("it has ended with {:?}: {said:?}", child.wait());
}

/// All threads have one filter each, in every mode and with every kind of output, and the metadata says so.
#[test]
fn every_thread_has_the_filter_of_its_class() {
    if !have_root() {
        return;
    }
    let lab = live_lab(2);
    let redis = Redis::start(lab.folder());
    for (mode, flag) in [("copy", ""), ("live", ""), ("packet", ""), ("copy", "--no-sandbox")] {
        let metadata = lab.folder().join("metadata");
        let mut command = lab
            .xdpmap(&format!("-p 80 -r 500 -c 1 --io-mode {mode} {flag} --rotate-seconds 60 198.18.0.0/16"));
        command.args(["-O", "csv", "-o"]).arg(lab.folder().join(format!("{mode}{flag}.csv")));
        command.args(["-O", "redis", "--output-args", &format!("socket={},key={mode}", redis.socket())]);
        for (flag, name) in [("-u", "status"), ("--probes-file", "probes"), ("--metrics-file", "prom")] {
            command.arg(flag).arg(lab.folder().join(name));
        }
        command.args(["--metrics-listen", "0"]);
        let (mut child, log) = begun(command.arg("-m").arg(&metadata));
        let threads = threads(child.id());
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let said = log.join().unwrap();
        let expected =
            if flag.is_empty() { [Some(2), Some(1), Some(1)] } else { [Some(0), Some(0), Some(1)] };
        for (name, found) in &threads {
            assert_eq!(*found, expected, "{mode} {flag}: {name}, of {threads:?}");
        }
        let mut names = vec![
            "xdpmap",
            "redis",
            "probes",
            "closer",
            "blocklist",
            "checkpoint",
            "collector",
            "signals",
            "watch",
            "control",
            "metrics",
            "metrics-file",
            "worker-0",
        ];
        names.extend((mode == "live").then_some("live-sender"));
        for name in names {
            assert!(threads.iter().any(|(found, _)| found == name), "no thread {name} in {threads:?}");
        }
        let metadata = support::ledger::metadata(&metadata);
        let sandbox = &metadata["sandbox"];
        let mut classes = vec!["blocklist", "checkpoint", "collector", "control", "metrics", "metrics_file"];
        classes.extend(["monitor", "redis", "worker"]);
        classes.extend((mode == "live").then_some("live_sender"));
        classes.sort_unstable();
        if flag.is_empty() {
            let on = classes.iter().map(|class| ((*class).to_owned(), "on".into()));
            assert_eq!(sandbox["seccomp"], serde_json::Value::Object(on.collect()), "{said:?}");
            assert!(sandbox["landlock"].as_str().is_some_and(|state| !state.is_empty() && state != "off"));
        } else {
            assert_eq!(*sandbox, serde_json::json!({"landlock": "off", "seccomp": {}}));
        }
    }
}

/// xdpmap on the scanning side, with each call that fails written to a file.
struct Traced {
    command: Command,
    trace: PathBuf,
}

impl Traced {
    fn new(lab: &Lab, interfaces: &str, arguments: &str) -> Self {
        let trace = lab.folder().join("trace");
        let mut command = lab.shielded();
        command.arg(path_of("strace")).args(["-f", "-Z", "-s", "200", "-o"]).arg(&trace);
        command.args([binary(), "-i", interfaces, "--allow-reserved"]).args(arguments.split_whitespace());
        command.current_dir(lab.folder());
        Self { command, trace }
    }

    /// Checks a scan that has ended: nothing that it tried was forbidden. Returns its log.
    fn check(&self, what: &str, output: &Output) -> String {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{what}: {stderr}");
        let trace = read(&self.trace);
        assert!(trace.contains("ENOENT"), "{what}: nothing was traced: {trace}");
        // The loader asks whether the kernel takes a program that it does not; and glibc asks how much memory there
        // may be, in threads that open no file.
        let is_known = |line: &&str| {
            line.contains("BPF_PROG_LOAD") && line.contains("EACCES")
                || line.contains("/proc/sys/vm/overcommit_memory")
        };
        let refused: Vec<_> = trace
            .lines()
            .filter(|line| line.contains(" EPERM ") || line.contains(" EACCES "))
            .filter(|line| !is_known(line))
            .collect();
        assert!(refused.is_empty(), "{what}: {refused:#?}\n{stderr}");
        stderr
    }

    fn run(&mut self, what: &str) -> Output {
        let output = self.command.output().unwrap();
        self.check(what, &output);
        output
    }
}

fn metadata(lab: &Lab) -> serde_json::Value {
    support::ledger::metadata(&lab.folder().join("metadata"))
}

/// Every kind of file, in every mode: all results are there, and nothing was refused.
#[test]
fn files_are_written() {
    if !have_root() {
        return;
    }
    let lab = live_lab(2);
    let redis = Redis::start(lab.folder());
    for mode in ["copy", "generic", "live", "packet"] {
        let folder = lab.folder().join(mode);
        std::fs::create_dir(&folder).unwrap();
        // The metadata replaces a file, through a link to another folder.
        std::fs::write(lab.folder().join("metadata"), "of yesterday").unwrap();
        std::os::unix::fs::symlink("../metadata", folder.join("link")).unwrap();
        let mut traced = Traced::new(
            &lab,
            "scan0",
            &format!(
                "-p 80 -n 3000 -r 1500 -c 1 --io-mode {mode} -f saddr --rotate-bytes 5000 198.18.0.0/17"
            ),
        );
        for module in ["csv", "json", "parquet", "pcap"] {
            traced.command.args(["-O", module, "-o"]).arg(folder.join("results").with_extension(module));
        }
        let server = format!("socket={},key={mode},format=csv,batch=100", redis.socket());
        traced.command.args(["-O", "redis", "-o", "-", "--output-args", &server]);
        for (flag, name) in [
            ("-u", "status.csv"),
            ("--probes-file", "probes"),
            ("-m", "link"),
            ("--log-file", "log"),
            ("--metrics-file", "scan.prom"),
        ] {
            traced.command.arg(flag).arg(folder.join(name));
        }
        traced.run(mode);
        let metadata = metadata(&lab);
        assert_eq!((&metadata["io_mode"], &metadata["output_lost"]), (&mode.into(), &0.into()), "{mode}");
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let (csv, others): (Vec<_>, Vec<_>) = files.partition(|file| {
            file.extension().is_some_and(|it| it == "csv") && !file.ends_with("status.csv")
        });
        let rows: usize = csv.iter().map(|file| read(file).lines().count() - 1).sum();
        assert!(csv.len() > 5 && rows == 3000, "{mode}: {rows} in {csv:?}");
        assert!(others.iter().all(|file| file.extension().is_none_or(|it| it != "part")), "{others:?}");
        assert_eq!(redis.ask(&["LLEN", mode]).trim(), "3000", "{mode}");
        assert!(read(&folder.join("status.csv")).lines().count() > 2, "{mode}");
        assert!(read(&folder.join("scan.prom")).contains("xdpmap_probes_sent_total 3000\n"), "{mode}");
        assert!(!lab.has_xdp());
    }
}

/// Metrics are served, and what is no request for them is refused.
#[test]
fn metrics_are_served() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let flags = "-p 80 -n 3000 -r 1000 -c 1 -q -o results -m metadata --metrics-listen 9815 198.18.0.0/17";
    let mut traced = Traced::new(&lab, "scan0", flags);
    let scan = traced.command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let fetched = |page: &str| {
        let retry = ["--retry", "9", "--retry-connrefused", "--retry-delay", "1"];
        let page = format!("http://127.0.0.1:9815{page}");
        let words = ["-s", "-o", "/dev/null", "-w", "%{http_code}", &page];
        lab.in_ns(&lab.scan, "curl", retry.iter().chain(&words))
    };
    assert_eq!(["/metrics", "/", "/metrics"].map(fetched), ["200", "404", "200"]);
    traced.check("served metrics", &scan.wait_with_output().unwrap());
    assert_eq!(metadata(&lab)["sandbox"]["seccomp"]["metrics"], "on");
}

/// A block list is read again, also one with host names and one that was replaced by another file.
#[test]
fn a_block_list_is_read_again() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let (list, socket) = (lab.folder().join("lists/block.conf"), lab.folder().join("socket/scan.sock"));
    for file in [&list, &socket] {
        std::fs::create_dir(file.parent().unwrap()).unwrap();
    }
    std::fs::write(&list, "localhost\n").unwrap();
    let arguments = "-p 80 -n 3000 -r 1000 -c 1 -q -m metadata -o results 198.18.0.0/17";
    let mut traced = Traced::new(&lab, "scan0", arguments);
    traced.command.arg("--control").arg(&socket).arg("-b").arg(&list);
    let scan = traced.command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..400 {
        if xdpmap::control_socket::Connection::open(&socket).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let new = list.with_extension("new");
    std::fs::write(&new, "198.18.64.0/18\nlocalhost\n").unwrap();
    std::fs::rename(&new, &list).unwrap();
    let said = xdpmap().arg("ctl").arg(&socket).arg("reload").output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let output = scan.wait_with_output().unwrap();
    let log = traced.check("a reload", &output);
    assert!(log.contains("addresses taken out of the scan: 16384"), "{log}");
    assert_eq!(metadata(&lab)["blocklist_changes"][0]["entries"], 2);
}

/// Pipes, devices and standard output stay usable, also if they are opened at the end.
#[test]
fn pipes_are_written() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let fifo = lab.folder().join("fifo");
    run("mkfifo", [&fifo]);
    assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());
    let reader = fifo.clone();
    let reading = std::thread::spawn(move || read(&reader));
    let mut traced =
        Traced::new(&lab, "scan0", "-p 80 -n 500 -r 1000 -c 1 -q -f saddr -m /dev/stderr 198.18.0.0/17");
    traced.command.args(["-O", "csv", "-o"]).arg(&fifo).args(["-O", "json", "-o", "-"]);
    let output = traced.run("pipes");
    assert_eq!(reading.join().unwrap().lines().count(), 501);
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 500);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.lines().any(|line| line.starts_with('{') && line.contains("\"sandbox\":{\"landlock\":")),
        "{log}"
    );
    // It is opened at the end of the scan.
    let reader = fifo.clone();
    let reading = std::thread::spawn(move || read(&reader));
    Traced::new(&lab, "scan0", "-p 80 -n 100 -c 0 -q -o /dev/null -m fifo 198.18.0.0/17").run("a pipe");
    assert!(reading.join().unwrap().starts_with("{\"local_hostname\""));
    let mut traced = Traced::new(&lab, "scan0", "-p 80 -n 100 -c 0 -q -o /dev/null -m - 198.18.0.0/17");
    let output = traced.run("a device");
    assert!(output.stdout.starts_with(b"{\"local_hostname\""));
}

/// Two interfaces, neighbours on their links, replies over the other one.
#[test]
fn several_interfaces_are_used() {
    if !have_root() {
        return;
    }
    let lab = two_wires();
    let mut traced = Traced::new(
        &lab,
        "scan0,scan1",
        "-p 80 -r 2000 -c 1 -q -f saddr -o results -m metadata 198.18.0.0/21 198.19.0.0/24",
    );
    traced.run("two interfaces");
    let found = metadata(&lab);
    assert!(read(&lab.folder().join("results")).lines().count() > 2048, "{found}");
    assert!(found["interfaces"][0]["neighbors"]["answered"].as_u64() > Some(0), "{found}");
    let mut traced = Traced::new(
        &lab,
        "scan0",
        "-p 80 -n 500 -c 1 -q --reply-interface scan1 -f saddr -o results -m metadata 198.18.0.0/17",
    );
    traced.run("replies over another interface");
    assert_eq!(metadata(&lab)["reply_iface"], "scan1");
}

/// A Redis server over TCP on the scanning side, which keeps what it has acknowledged.
fn redis_over_tcp(lab: &Lab) -> Child {
    let mut server = lab.command_in_ns(&lab.scan, "redis-server");
    server.args(["--port", "6390", "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"]);
    server.args(["--save", "", "--loglevel", "warning"]).current_dir(lab.folder());
    let server = server.stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..400 {
        if over_tcp(lab, &["PING"]).trim() == "PONG" {
            return server;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    end(server);
    panic!("redis-server does not answer");
}

fn over_tcp(lab: &Lab, command: &[&str]) -> String {
    let mut client = lab.command_in_ns(&lab.scan, "redis-cli");
    String::from_utf8(client.args(["-p", "6390"]).args(command).output().unwrap().stdout).unwrap()
}

fn end(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A server is reached again after it was gone: over TCP, by its address and by its name, and at its Unix socket.
#[test]
fn servers_are_reached_again() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for (number, host) in
        ["host=127.0.0.1,port=6390", "host=localhost,port=6390", "socket"].iter().enumerate()
    {
        enum Server {
            Tcp(Child),
            Unix(Redis),
        }
        let is_unix = *host == "socket";
        let start = || {
            if is_unix { Server::Unix(Redis::start(lab.folder())) } else { Server::Tcp(redis_over_tcp(&lab)) }
        };
        let stop = |server: Server| match server {
            Server::Tcp(child) => end(child),
            Server::Unix(redis) => drop(redis),
        };
        let server = start();
        let host = match &server {
            Server::Unix(redis) => format!("socket={}", redis.socket()),
            Server::Tcp(_) => (*host).to_owned(),
        };
        let arguments = format!("{host},key=k{number},format=csv,batch=50");
        let mut traced = Traced::new(
            &lab,
            "scan0",
            "-p 80 -n 4000 -r 1000 -c 1 -O redis -f saddr -m metadata 198.18.0.0/17",
        );
        let scan = traced.command.args(["--output-args", &arguments]);
        let scan = scan.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(2000));
        stop(server);
        std::thread::sleep(Duration::from_millis(500));
        let server = start();
        let output = scan.wait_with_output().unwrap();
        let log = traced.check(&host, &output);
        assert!(log.contains("trying again") && log.contains("is back after"), "{host}: {log}");
        let key = format!("k{number}");
        let count = match &server {
            Server::Unix(redis) => redis.ask(&["LLEN", &key]),
            Server::Tcp(_) => over_tcp(&lab, &["LLEN", &key]),
        };
        // A batch whose answer was lost may be there twice.
        let count: usize = count.trim().parse().unwrap();
        assert!((4000..=4050).contains(&count), "{host}: {count}");
        assert_eq!(metadata(&lab)["sandbox"]["seccomp"]["redis"], "on");
        stop(server);
    }
}

/// The time zone is known to a scan that has logged nothing before it was confined.
#[test]
fn the_time_zone_is_known() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let flags = "-p 80 -n 10 -c 0 -q -v 0 --disable-syslog -o results -m metadata 198.18.0.0/17";
    let mut scan = lab.xdpmap(flags);
    let output = scan.env("TZ", "Asia/Kathmandu").current_dir(lab.folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = metadata(&lab);
    assert!(found["send_start_time"].as_str().is_some_and(|time| time.ends_with("+0545")), "{found}");
}

/// A third interrupt ends the scan as without a handler: the thread for signals may send one to its own process.
#[test]
fn interrupts_end_a_scan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let fifo = lab.folder().join("fifo");
    run("mkfifo", [&fifo]);
    // A reader that never reads.
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut command = lab.xdpmap("-p 80 -r 20000 -c 60 --output-wait 60 -O json 198.18.0.0/17");
    let (mut child, _log) = begun(command.arg("-o").arg(&fifo));
    let send = |signal| kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    send(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    // The second one ends the scan soon, so the third has to come at once; two of a kind would count as one.
    send(Signal::SIGINT);
    send(Signal::SIGTERM);
    let status = child.wait().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert!(
        [Signal::SIGINT, Signal::SIGTERM].map(|signal| Some(signal as i32)).contains(&signal),
        "{status}"
    );
}

/// The guardian of steering confines itself before it reports that it is ready, and can then remove its journals.
#[test]
fn a_guardian_is_confined() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let run_folder = lab.folder().join("run");
    std::fs::create_dir_all(run_folder.join("xdpmap")).unwrap();
    let namespace = lab.in_ns(&lab.scan, "stat", ["-Lc", "%i", "/proc/self/ns/net"]);
    // Of an interface that is gone, so that there is nothing to restore.
    let name = "gone0@02:00:5e:10:00:01.rss.json";
    let journal = serde_json::json!({
        "version": 1, "interface": "gone0", "ifindex": 4_000_000, "mac": "02:00:5e:10:00:01",
        "namespace": namespace.trim().parse::<u64>().unwrap(),
        "boot_id": read(Path::new("/proc/sys/kernel/random/boot_id")).trim(),
        "pid": std::process::id(), "before": [0, 1, 0, 1], "set": [1, 1, 1, 1],
    });
    for (confined, ready, seccomp) in [(&["confined"] as &[&str], "ready on\n", 2), (&[], "ready \n", 0)] {
        let path = run_folder.join("xdpmap").join(name);
        std::fs::write(&path, journal.to_string()).unwrap();
        let mut command = lab.shielded();
        command.args(["sh", "-c", "mount --bind \"$0\" /run && exec \"$@\""]).arg(&run_folder);
        command.arg(binary()).arg("steering-guardian").args(confined).arg(name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut guardian = command.spawn().unwrap();
        let mut said = BufReader::new(guardian.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, ready);
        for (name, state) in threads(guardian.id()) {
            assert_eq!(state[0], Some(seccomp), "{name}");
        }
        guardian.stdin.take().unwrap().flush().unwrap();
        let output = guardian.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        line.clear();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("gone0: the interface is gone"), "{line}");
        assert!(!path.exists(), "the journal is removed");
    }
    // The tools of tests are there.
    assert!(tool("strace").arg("-V").output().unwrap().status.success());
}
