//! Mistakes on the command line.

use support::sandbox::{Sandbox, dry, refusal};
use support::scanner::xdpmap;

/// Each is refused in one line that names the flag or file and what to do; files of an earlier scan stay as they are.
#[test]
fn mistakes_are_named_with_their_remedy() {
    const HELP: &str = "see xdpmap --help";
    let sandbox = Sandbox::new();
    let table = "http 80/tcp 0.5\nhttps 443/tcp 0.2\nssh 22/tcp 0.3\ndomain 53/udp 0.4\n";
    std::fs::write(sandbox.path().join("ports.txt"), table).unwrap();
    for (arguments, words) in [
        // Unknown flags, or flags that lack something.
        ("--nonesuch", &["'--nonesuch'", HELP][..]),
        ("-p 80 --sede 5", &["'--sede'", "'--seed'", HELP]),
        ("-p", &["--target-ports", "required", HELP]),
        ("", &["--target-ports", "-p 443"]),
        ("-p 80 -p 81", &["--target-ports", "multiple times", HELP]),
        // Habits from other scanners.
        ("-p 80 --excludefile ours.conf", &["no --excludefile", "-b FILE"]),
        ("-p 80 --max-rate=100", &["no --max-rate", "-r PPS"]),
        ("-p 80 --resume paused.conf", &["xdpmap resume"]),
        ("-p 80 -oX scan.xml", &["-oX is nmap's", "-o FILE"]),
        ("-p 80 -iL hosts", &["-iL is nmap's", "-w FILE"]),
        ("-p 80 doctor", &["doctor is a command", "xdpmap doctor"]),
        ("-p 80 doctr", &["is the command doctor meant"]),
        // Numbers.
        ("-p 80 -r fast", &["--rate", "'fast'", "such as 5000 or 0.5"]),
        ("-p 80 -r -5", &["--rate", "'-5'", "such as 5000 or 0.5"]),
        ("-p 80 -r 10kk", &["--rate", "'10kk'", "such as 5000 or 0.5"]),
        ("-p 80 -r 99999999999999999999", &["--rate", "0 means no limit"]),
        ("-p 80 -r 0.00001", &["--rate", "from 0.0001 on", "0 for no limit"]),
        ("-p 80 -r 1e3", &["--rate", "'1e3'", "such as 5000 or 0.5"]),
        ("-p 80 -r inf", &["--rate", "'inf'"]),
        ("-p 80 -B 1000000G", &["--bandwidth", "--rate 0"]),
        ("-p 80 -r 2000000000", &["--rate", "0 means no limit"]),
        ("-p 80 -r auto:0", &["--rate", "'auto:0'", "after auto:", "50K", "1Gbit"]),
        ("-p 80 -r auto:", &["--rate", "'auto:'", "50K", "1Gbit"]),
        ("-p 80 -r automatic", &["--rate", "'automatic'", "such as 5000", "auto:50K"]),
        ("-p 80 -r auto:5Xbit", &["--rate", "'5Xbit'", "1Gbit"]),
        ("-p 80 -r auto:2000000000", &["--rate", "no NIC"]),
        ("-p 80 -B 10X", &["--bandwidth", "'10X'", "10M"]),
        ("-p 80 -B -5M", &["--bandwidth", "'-5M'", "10M"]),
        ("-p 80 -B 0", &["--bandwidth", "'0'", "10M"]),
        ("-p 80 -n 0", &["--max-targets", "above 0"]),
        ("-p 80 -n 101%", &["--max-targets", "'101%'", "0.5%"]),
        ("-p 80 -n many", &["--max-targets", "'many'", "0.5%"]),
        ("-p 80 -t 0", &["--max-runtime", "above 0"]),
        ("-p 80 -t 1.5", &["--max-runtime", "'1.5'", "whole number"]),
        ("-p 80 -N 0", &["--max-results", "above 0"]),
        ("-p 80 -P 0", &["--probes", "1 to 255"]),
        ("-p 80 -P 256", &["--probes", "1 to 255"]),
        ("-p 80 --recheck 101%", &["--recheck", "'101%'", "0 to 100", "1%"]),
        ("-p 80 --recheck some", &["--recheck", "'some'", "1%"]),
        ("-p 80 --recheck 1% -P 2", &["--recheck", "leave --probes out", "--probes 2 --probe-gap 30s"]),
        ("-p 80 --recheck 1% --dedup-method none", &["--recheck", "--dedup-method none", "leave one"]),
        ("-p 80 --probe-gap 5s", &["--probe-gap", "only one probe", "--probes 2", "--recheck 1%"]),
        ("-p 80 -P 3 --probe-gap 5s", &["--probe-gap", "--probes 2", "leave it out"]),
        ("-p 80 -P 2 --probe-gap 0", &["--probe-gap", "'0'", "from 0.01"]),
        ("-p 80 -P 2 --probe-gap soon", &["--probe-gap", "'soon'", "1m"]),
        ("-p 80 --recheck 1% -s 40000", &["--recheck", "--source-port", "2 ports or more"]),
        ("-p 80 -P 2 --probe-gap 5s -s 40000", &["--source-port", "each of the 2 probes", "give more ports"]),
        (
            "-M dns --probe-args A,a.example;A,b.example -p 53 -P 2 --probe-gap 5s",
            &["--probe-args", "different questions", "a single question"],
        ),
        ("-p 80 -c soon", &["--cooldown-time", "'soon'", "whole number"]),
        ("-p 80 -e 0x7", &["--seed", "'0x7'", "whole number"]),
        ("-p 80 -T 0", &["--sender-threads", "from 1"]),
        ("-p 80 --cores 0,x", &["--cores", "'x'", "whole number"]),
        ("-p 80 --cores 99999", &["--cores", "99999", "may use ("]),
        ("-p 80 --probe-ttl 0", &["--probe-ttl", "1 to 255"]),
        ("-p 80 --probe-ttl 256", &["--probe-ttl", "1 to 255"]),
        ("-p 80 -v 6", &["--verbosity", "0 to 5"]),
        ("-p 80,81 --dedup-window-size 0", &["--dedup-window-size", "--dedup-method none"]),
        ("-p 80,81 --dedup-window-size 99999999999999", &["--dedup-window-size", "1 to 100000000"]),
        // Ports.
        ("-p 70000", &["--target-ports", "70000", "0 to 65535"]),
        ("-p 81-80", &["--target-ports", "81-80", "write 80-81"]),
        ("-p htp", &["--target-ports", "htp", "80,443", "https"]),
        ("-p 80,", &["--target-ports", "item 2", "80,443"]),
        ("-p 80 --top-ports 5:good.conf", &["--top-ports", "--target-ports", "cannot be used with"]),
        ("--top-ports 100", &["--top-ports", "100:FILE", "nmap-services"]),
        ("--top-ports many:good.conf", &["--top-ports", "'many:good.conf'", "100:ports.txt"]),
        ("--top-ports 0:good.conf", &["--top-ports", "'0:good.conf'", "100:ports.txt"]),
        ("--top-ports 5:missing.txt", &["--top-ports", "missing.txt", "No such file"]),
        ("--top-ports 5:-", &["--top-ports", "standard input", "name one"]),
        ("--top-ports 5:good.conf", &["--top-ports: good.conf: line 1", "80/tcp 0.48"]),
        ("--top-ports 4:ports.txt", &["--top-ports: ports.txt: it has 3 TCP ports", "from 1 to 3"]),
        (
            "--top-ports 2:ports.txt -M udp --probe-args auto",
            &["--top-ports: ports.txt: it has 1 UDP port", "from 1 to 1"],
        ),
        ("--top-ports 2:ports.txt -M icmp_echoscan", &["--top-ports", "icmp_echoscan probes no ports"]),
        ("--top-ports 2:ports.txt --pairs-file pairs.txt", &["--pairs-file", "leave --top-ports out"]),
        ("-p ''", &["--target-ports", "item 1", "80,443"]),
        ("-p 80 -s 61000-32768", &["--source-port", "'61000-32768'", "32768-61000"]),
        ("-p 80 -s 65536", &["--source-port", "'65536'", "32768-61000"]),
        ("-p 80 -s 40000 -P 2", &["--source-port", "2 probes", "give more"]),
        // Addresses.
        ("-p 80 -S 192.0.2", &["--source-ip", "'192.0.2'", "192.0.2.1"]),
        ("-p 80 -S 192.0.2.1,::1", &["--source-ip", "'::1'", "192.0.2.1"]),
        ("-p 80 -S 192.0.2.9-192.0.2.1", &["--source-ip", "192.0.2.9-192.0.2.1", "lower one first"]),
        ("-p 80 -S 192.0.2.1,192.0.2.1", &["--source-ip", "twice"]),
        ("-p 80 -S 10.0.0.0-10.0.0.200,10.0.1.0-10.0.1.200", &["--source-ip", "256", "fewer"]),
        ("-p 80 -S 224.0.0.1", &["--source-ip", "224.0.0.1", "replies"]),
        ("-p 80 -S 0.0.0.0", &["--source-ip", "0.0.0.0", "replies"]),
        ("-p 80 --exclude", &["--exclude", "value is required"]),
        ("-p 80 --exclude 10.0.0.0/33", &["--exclude: ", "\"10.0.0.0/33\"", "0 to 32"]),
        ("-p 80 --exclude 1.1.1.1 --exclude 8.8.8.8,", &["--exclude: ", "names no network", "192.0.2.0/24"]),
        ("-p 80 --exclude 8.8.8.8,nonesuch.example", &["--exclude: ", "\"nonesuch.example\"", "addresses"]),
        // Bad lines may be skipped in files only.
        ("-p 80 --exclude 1.1.1 --ignore-blocklist-errors", &["--exclude: ", "\"1.1.1\""]),
        // Unavailable things.
        ("--generate manual", &["--generate", "'manual'", "man, man-blocklist", "complete-bash"]),
        ("-p 80 -M tcp_fin", &["--probe-module", "\"tcp_fin\"", "--list-probe-modules"]),
        ("-p 80 --probe-args amiga", &["--probe-args", "'amiga'", "windows"]),
        ("-p 80 -f saddr,nonesuch", &["--output-fields", "\"nonesuch\"", "--list-output-fields"]),
        ("-p 80 -f saddr,saddr", &["--output-fields", "\"saddr\"", "once"]),
        ("-p 80 -f ''", &["--output-fields", "saddr,sport"]),
        ("-p 80 -O xlsx", &["--output-module", "'xlsx'", "csv, json"]),
        ("-p 80 --output-filter ttl=1&&sadr=2", &["--output-filter", "column 8", "do you mean saddr?"]),
        ("-p 80 --output-filter zzz=1", &["--output-filter: column 1", "\"zzz\"", "--list-output-fields"]),
        ("-p 80 --output-filter ttl=x", &["--output-filter", "column 5", "a number"]),
        ("-p 80 -O csv -O json -O csv", &["--output-file", "standard output", "name a file"]),
        ("-p 80 -O pcap -f saddr", &["--output-fields", "pcap"]),
        ("-p 80 -O hostport -f saddr", &["--output-fields", "hostport"]),
        ("-p 80 -O hostport -o new.json -O json", &["--output-module", "--successes-only"]),
        ("-p 80 -O xml -f saddr", &["--output-fields", "forms of nmap"]),
        ("-p 80 -O list -o new.json -O json", &["--output-module", "list", "--successes-only"]),
        ("-p 80 --for zgrab2 -O csv", &["--for", "--output-module", "cannot be used with"]),
        ("-p 80 --for lzr -f saddr", &["--for", "--output-fields", "cannot be used with"]),
        ("-M icmp_echoscan --for lzr", &["--for: lzr", "icmp_echoscan", "-M tcp_synscan"]),
        ("-M udp -p 53 --probe-args auto --for lzr", &["--for: lzr", "udp", "-M tcp_synscan"]),
        ("-p 80 --for burp", &["--for", "'burp'", "nuclei"]),
        ("-p 80 -O redis", &["--output-file", "'old.csv'", "redis://host:port"]),
        ("-p 80 -O csv -O redis --output-args hots=1", &["--output-args", "hots", "host, port"]),
        ("-p 80 -o new.csv --rotate-bytes 1Q", &["--rotate-bytes", "'1Q'", "100M"]),
        ("-p 80 --atomic-output --append", &["--atomic-output", "--append", "cannot be used with"]),
        ("-p 80,81 --max-ports-per-host 0", &["--max-ports-per-host", "1"]),
        (
            "-p 80,81 --max-ports-per-host 3 --dedup-method none",
            &["--max-ports-per-host", "leave --dedup-method out"],
        ),
        (
            "-p 80,81 --max-ports-per-host 3 --dedup-method window",
            &["--max-ports-per-host", "--dedup-method"],
        ),
        ("-p 80 -o new.parquet --atomic-output", &["--atomic-output", "Parquet", "leave this out"]),
        ("-p 80 -o new.parquet --partition port --atomic-output", &["--atomic-output", "Parquet"]),
        ("-p 80 -o new.csv --partition port", &["--partition", "only Parquet", "-O parquet -o FOLDER"]),
        (
            "-M icmp_echoscan -o new.parquet --partition port",
            &["--partition", "no ports", "--partition shard"],
        ),
        ("-p 80 -O parquet --partition shard", &["--output-file", "no folder", "name another"]),
        ("-p 80 -o new.parquet --partition host", &["--partition", "'host'", "port"]),
        (
            "-p 80 --attribution https://me:word@example.org/",
            &["--attribution", "every probe would carry", "password", "without them"],
        ),
        ("-p 80 --rotate-seconds 0", &["--rotate-seconds", "from 1"]),
        ("-p 80 --io-mode packet --steer", &["--steer", "AF_PACKET", "leave it out"]),
        ("-p 80 --io-mode packet --queues 0", &["--queues", "AF_PACKET", "leave it out"]),
        ("-p 80 --io-mode packet --busy-poll", &["--busy-poll", "AF_PACKET", "leave it out"]),
        ("-p 80 --io-mode warp", &["--io-mode", "'warp'", "zerocopy"]),
        ("-p 80 --busy-poll=0", &["--busy-poll", "'0'", "from 1 to 65535"]),
        ("-p 80 --busy-poll=much", &["--busy-poll", "'much'", "whole number"]),
        ("-p 80 --dedup-method bloom", &["--dedup-method", "'bloom'", "window"]),
        ("-p 80 --metrics-file -", &["--metrics-file", "name a file"]),
        ("-p 80 --metrics-file old.json", &["--metrics-file", "old.json", "--metadata-file", "another file"]),
        ("-p 80 --metrics-listen 127.0.0.1", &["--metrics-listen", "'127.0.0.1'", "127.0.0.1:9815"]),
        (
            "-p 80 --metrics-listen localhost:9815",
            &["--metrics-listen", "'localhost:9815'", "or a port alone"],
        ),
        ("-p 80 --metrics-listen 65536", &["--metrics-listen", "'65536'"]),
        ("-p 80 --metrics-listen 127.0.0.1:http", &["--metrics-listen", "'127.0.0.1:http'"]),
        ("-p 80 --control old.csv", &["--control", "old.csv", "--output-file", "name another"]),
        ("-p 80 --control good.conf", &["--control", "good.conf", "is not a socket", "name another"]),
        ("-p 80 --control -", &["--control", "give a path", "none"]),
        ("-p 80 --control ''", &["--control"]),
        ("-p 80 --control new.sock -u new.sock", &["--control", "new.sock", "--status-updates-file"]),
        // Contradictions.
        ("-p 80 --plan", &["--plan", "--dryrun", "cannot be used with"]),
        ("-p 80 -r 5 -B 5M", &["--rate", "--bandwidth", "cannot be used with"]),
        ("-p 80 --shards 3 -e 1", &["--shards", "also give --shard:"]),
        ("-p 80 --shard 0 -e 1", &["--shard:", "also give --shards:"]),
        ("-p 80 --shards 3 --shard 0", &["--shards", "--seed"]),
        ("-p 80 --shards 3 --shard 3 -e 1", &["--shard:", "from 0 to 2"]),
        ("-p 80 --shards 0 --shard 0 -e 1", &["--shards", "1 to 65535"]),
        ("-p 80 --shards 65536 --shard 0 -e 1", &["--shards", "1 to 65535"]),
    ] {
        sandbox.refuses(dry().args(["-o", "old.csv", "-m", "old.json"]), arguments, 2, words);
    }
}

/// What is wrong with a command for a running scan. Those that are well formed find none.
#[test]
fn commands_to_a_scan_are_checked() {
    let sandbox = Sandbox::new();
    let ctl = |arguments: &str, code, words: &[&str]| {
        sandbox.refuses(xdpmap().args(["ctl"]), arguments, code, words);
    };
    for (arguments, words) in [
        ("", &["COMMAND", "xdpmap ctl --help"][..]),
        ("halt", &["'halt'", "status, watch, pause"]),
        ("good.conf halt", &["'halt'", "status, watch, pause"]),
        ("status now", &["'now'", "too many"]),
        ("a b c d", &["xdpmap ctl --help"]),
        ("rate", &["rate: give a value"]),
        ("rate fast", &["rate: 'fast'", "such as 5000 or 0.5"]),
        ("rate -5", &["rate: '-5'", "such as 5000 or 0.5"]),
        ("rate 2000000000", &["rate: '2000000000'", "0 means no limit"]),
        ("bandwidth 10X", &["bandwidth: '10X'", "10M"]),
        ("--nonesuch status", &["'--nonesuch'", "xdpmap ctl --help"]),
    ] {
        ctl(arguments, 2, words);
    }
    ctl("./none.sock status", 1, &["./none.sock", "No such file", "running scan"]);
    ctl("./old.csv pause", 1, &["./old.csv"]);
}

#[test]
fn mac_addresses_are_checked() {
    let sandbox = Sandbox::new();
    for flag in ["--gateway-mac", "--source-mac"] {
        let arguments = format!("-d -p 80 -i lo -o old.csv -m old.json {flag} 02:00:00:00:00");
        sandbox.refuses(&mut xdpmap(), &arguments, 2, &[flag, "'02:00:00:00:00'", "02:00:5e:10:00:01"]);
    }
}

/// What is wrong where results go to a server alone.
#[test]
fn outputs_without_a_file_are_checked() {
    let sandbox = Sandbox::new();
    sandbox.refuses(&mut dry(), "-p 80 -O redis -f saddr", 2, &["--output-fields", "packed"]);
    for arguments in ["-p 80 --atomic-output", "-p 80 --atomic-output -o - -o /dev/null"] {
        sandbox.refuses(&mut dry(), arguments, 2, &["--atomic-output", "no output is a regular file", "-o"]);
    }
}

/// Targets that may not be probed, or of which none are left.
#[test]
fn targets_are_checked() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        ("8.8.8.0/33", &["command line, target 1", "8.8.8.0/33", "0 to 32"][..]),
        ("8.8.8.8 1.2.3", &["command line, target 2", "1.2.3", "192.0.2.0/24"]),
        ("8.8.8.9-8.8.8.1", &["command line, target 1", "lower address first"]),
        ("8.8.8.8 scanme.example", &["command line, target 2", "scanme.example", "addresses"]),
        ("8.8.8.8 2001:db8::1", &["command line", "target 2", "IPv6", "leave it out"]),
        ("198.18.0.0/16", &["198.18.0.0/16", "benchmarking", "--allow-reserved"]),
        ("10.1.2.3", &["10.1.2.3", "private use", "--allow-reserved"]),
        ("-w good.conf", &["good.conf:1", "198.51.100.0/24", "--allow-reserved"]),
        ("127.0.0.1 --allow-reserved", &["127.0.0.1", "loopback", "never probed", "remove it"]),
        ("224.0.0.0/24 --allow-reserved", &["multicast", "never probed"]),
        ("8.8.8.8 -b all.conf", &["all.conf", "leave no target", "shorten"]),
        ("-b all.conf", &["--blocklist-file", "all.conf", "leave no target"]),
        ("8.8.8.8 -b good.conf -b all.conf", &["--blocklist-file: good.conf, all.conf", "shorten the lists"]),
        ("8.8.8.8 -b all.conf -b bad.conf", &["bad.conf:4: ", "8.8.8.0/33"]),
        ("8.8.8.8 -b - -b -", &["--blocklist-file", "can be read only once"]),
        ("8.8.8.8 --exclude 8.0.0.0/8", &["--exclude: ", "leave no target", "exclude less"]),
        ("8.8.8.8 -b good.conf --allow-reserved", &["--blocklist-file", "good.conf", "leave no target"]),
        ("-w empty.conf", &["--allowlist-file", "empty.conf", "no IPv4 address", "add one"]),
    ] {
        sandbox.refuses(dry().args(["-p", "80", "-o", "old.csv", "-m", "old.json"]), arguments, 2, words);
    }
}

/// A reserved network that cannot be lifted stays excluded, even if it is not named and everything that can be lifted
/// is.
#[test]
fn hard_reserved_networks_are_never_probed() {
    let sandbox = Sandbox::new();
    let arguments = "-p 80 -S 192.0.2.7 --allow-reserved 126.255.255.0-128.0.0.255 -q -v 0";
    let output = sandbox.run(&mut dry(), arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let targets = text.lines().filter_map(|line| line.split("daddr: ").nth(1)?.split(' ').next());
    let targets: Vec<&str> = targets.collect();
    assert_eq!(targets.len(), 512);
    assert!(targets.iter().all(|address| !address.starts_with("127.")));
}

/// What a calibration cannot do is said before anything is sent.
#[test]
fn calibrations_are_refused() {
    for (arguments, words) in [
        ("-r 5000", &["--rate", "--max-rate PPS"][..]),
        ("-p 80 -B 10M", &["--bandwidth", "--max-rate PPS"]),
        ("-p 80 --max-rate 10", &["--max-rate", "'10'", "1000 or more"]),
        ("-p 80 --max-rate fast", &["--max-rate", "'fast'", "such as 20K"]),
        ("-p 80 --max-rate 2000000000", &["no NIC sends that many"]),
        ("-p 80 -m meta.json", &["--metadata-file", "leave it out"]),
        ("-p 80 --shards 3 --shard 0", &["--shard", "leave it out"]),
        ("-p 80 -o a.svg -o b.svg", &["--output-file", "one file"]),
        ("-p 80 -o -", &["--output-file", "standard output"]),
        ("-p 80 -b /nonexistent", &["/nonexistent"]),
        ("-p htp", &["--target-ports"]),
        ("-p 80 --nonesuch", &["'--nonesuch'"]),
        ("-p 80 --canaries 50", &["--canaries", "0 to 10"]),
    ] {
        let output = xdpmap().args(["calibrate", "-i", "lo"]).args(arguments.split(' ')).output().unwrap();
        let line = refusal(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {line}");
        assert!(words.iter().all(|word| line.contains(word)), "{arguments}: {line}");
    }
}

/// With silence requested, an error is reported nevertheless.
#[test]
fn quiet_errors_are_heard() {
    let output = dry().args(["-q", "-v", "0", "-p", "htp"]).output().unwrap();
    assert!(refusal(&output).contains("--target-ports"));
    assert_eq!(output.status.code(), Some(2));
}

/// A terminal escape in an argument does not reach a terminal.
#[test]
fn what_is_typed_is_printed_escaped() {
    for (flag, value) in [("-p", "\u{1b}[2J\n80"), ("-r", "\u{1b}[2J\n80"), ("-S", "\u{1b}[2J\n80")] {
        let output =
            dry().args(["-p", "80"].iter().filter(|_| flag != "-p")).args([flag, value]).output().unwrap();
        let line = refusal(&output);
        assert!(!line.contains('\u{1b}') && output.status.code() == Some(2), "{line:?}");
    }
}

/// A scan that would outlast the workers' clocks is refused.
#[test]
fn a_scan_without_an_end() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &str, code, words: &[&str]| {
        sandbox.refuses(xdpmap().args(["-i", "lo", "-o", "old.csv"]), arguments, code, words);
    };
    refused("-p 80 -r 100", 2, &["--rate: at 100 packets/s the scan would take 428 days", "--max-runtime"]);
    refused("-p 80,443 -P 2 -r 800", 2, &["214 days"]);
    for limited in ["-p 80 -r 100 -t 60", "-p 80 -r 100 -n 1000", "-p 80 -r 100 -e 1 --shards 4 --shard 0"] {
        refused(limited, 4, &["lo"]);
    }
}
