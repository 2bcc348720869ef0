//! Results in forms of nmap and masscan, read by programs that are not ours: xmllint with nmap's DTD, ndiff,
//! python-libnmap, IVRE and jq; and compared with what nmap itself writes about the same hosts.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::tools::{path_of, tool};
use lab::{HOSTS, Lab, have_root, run};
use support::{Scans as _, read};

use crate::checkpoint::resume;

/// Those of 192.0.2.0/28 that have nginx.
const SERVERS: [[u8; 4]; 3] = [[192, 0, 2, 2], [192, 0, 2, 7], [192, 0, 2, 11]];

/// Prints a line for each open port of a report: address, port, protocol, state, reason.
const LIBNMAP: &str = "import sys
from libnmap.parser import NmapParser
report = NmapParser.parse_fromfile(sys.argv[1])
for host in report.hosts:
    for port, protocol in host.get_open_ports():
        service = host.get_service(port, protocol)
        print(host.address, port, protocol, service.state, service.reason)
print(report.hosts_up, report.hosts_total, report.elapsed >= 0, report.started > 1700000000)
";

/// Has IVRE store a report in a database of files in a folder, and prints a line for each port that it has then.
const IVRE: &str = "import os, sys
folder = sys.argv[1] + '/ivre'
os.mkdir(folder)
os.environ['IVRE_CONF'] = folder + '/conf'
with open(folder + '/conf', 'w') as conf:
    conf.write(f'DB = \"tinydb://{folder}/db\"')
from ivre.db import db
db.nmap.init()
assert db.nmap.store_scan(sys.argv[2], source='a scan')
for host in db.nmap.get(db.nmap.flt_empty):
    for port in host['ports']:
        if port['port'] != -1:
            print(host['addr'], port['port'], port['protocol'], port['state_state'], port['state_reason'])
";

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

fn each(line: impl Fn(Ipv4Addr) -> String) -> BTreeSet<String> {
    SERVERS.iter().map(|&address| line(address.into())).collect()
}

/// Whether nmap's own DTD has this form. It knows no other scanner than nmap, whose name is put in.
#[track_caller]
fn assert_valid(file: &Path) {
    let nmaps = file.with_extension("nmaps.xml");
    let text = read(file);
    assert!(text.contains("scanner=\"masscan\""), "{text}");
    std::fs::write(&nmaps, text.replacen("scanner=\"masscan\"", "scanner=\"nmap\"", 1)).unwrap();
    let output = tool("xmllint")
        .args(["--noout", "--dtdvalid", "/usr/share/nmap/nmap.dtd"])
        .arg(&nmaps)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}

fn libnmap(file: &Path) -> BTreeSet<String> {
    let output = tool("python3").args(["-c", LIBNMAP]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&String::from_utf8_lossy(&output.stdout))
}

/// Host, port, state and protocol of each open port in nmap's form for grep, by the fields that its guide names.
fn grepped(file: &Path) -> BTreeSet<String> {
    let program = "/Ports: / { split($0, parts, \"\\t\"); split(parts[1], host, \" \"); sub(\"Ports: \", \"\", parts[2]); \
                   split(parts[2], port, \"/\"); print host[2], port[1], port[2], port[3] }";
    lines(&run("awk", ["-F", "\t", program, &file.display().to_string()]))
}

#[test]
fn others_read_them() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    run("ip", ["-n", &lab.net, "route", "add", "local", "192.0.2.0/24", "dev", "lo"]);
    lab.start_nginx(&SERVERS.map(Ipv4Addr::from));
    let at = |name: &str| lab.folder().join(name);
    let mut scan = lab.xdpmap("-p 80 -r 1000 -c 1 -q 192.0.2.0/28");
    for (module, file) in
        [("xml", "r.xml"), ("grepable", "r.gnmap"), ("list", "r.list"), ("masscan-json", "r.json")]
    {
        scan.args(["-O", module, "-o"]).arg(at(file));
    }
    let output = scan.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    assert_valid(&at("r.xml"));
    let mut expected = each(|host| format!("{host} 80 tcp open syn-ack"));
    expected.insert("3 3 True True".to_owned());
    assert_eq!(libnmap(&at("r.xml")), expected);
    let mut ivre = tool("python3");
    let output = ivre.args(["-c", IVRE]).arg(lab.folder()).arg(at("r.xml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stored = lines(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(stored, each(|host| format!("{host} 80 tcp open syn-ack")));
    let open = each(|host| format!("{host} 80 open tcp"));
    assert_eq!(grepped(&at("r.gnmap")), open);
    let listed = read(&at("r.list"));
    let records = listed.strip_prefix("#masscan\n").unwrap().strip_suffix("# end\n").unwrap();
    let records: BTreeSet<String> =
        records.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(records, each(|host| format!("open tcp 80 {host}")));
    let filter = ".[] | [.ip, (.timestamp | tonumber > 1700000000), .ports[].port, .ports[].proto, .ports[].status, \
                  .ports[].reason, .ports[].ttl] | join(\" \")";
    let json = at("r.json").display().to_string();
    assert_eq!(
        lines(&run("jq", ["-r", filter, &json])),
        each(|host| format!("{host} true 80 tcp open syn-ack 64"))
    );

    // What nmap writes about these hosts says the same, in both of its forms.
    let mut nmap = tool("ip");
    nmap.args(["netns", "exec", &lab.scan]).arg(path_of("nmap"));
    nmap.args(["-n", "-Pn", "-sS", "--open", "-p", "80", "192.0.2.0/28", "-oX"]).arg(at("nmap.xml"));
    let output = nmap.arg("-oG").arg(at("nmap.gnmap")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let without_total = |file: &str| -> BTreeSet<String> {
        libnmap(&at(file)).into_iter().filter(|line| line.contains("open")).collect()
    };
    assert_eq!(without_total("nmap.xml"), without_total("r.xml"));
    assert_eq!(grepped(&at("nmap.gnmap")), open);
    // ndiff: nothing has changed from one scan of ours to the next, and a port that has closed is named.
    let again = "-p 80 -r 1000 -c 1 -q 192.0.2.0/28 --exclude 192.0.2.7 -o";
    let output = lab.xdpmap(again).arg(at("again.xml")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_valid(&at("again.xml"));
    let ndiff = |one: &str, other: &str| {
        let output = tool("ndiff").args([at(one), at(other)]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(ndiff("r.xml", "r.xml").0, Some(0));
    let (code, text) = ndiff("r.xml", "again.xml");
    assert!(code == Some(1) && text.contains("-192.0.2.7") && !text.contains("192.0.2.11"), "{text}");
}

/// masscan reads what `--for masscan` writes, as what to scan and as what to leave out. It only lists its targets, in a
/// network namespace that has no interface. What has ports, as for nuclei, it refuses.
#[test]
fn masscan_reads_its_lists() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    lab.start_nginx(&HOSTS.servers());
    let at = |name: &str| lab.folder().join(name);
    for (reader, file) in [("masscan", "hosts"), ("nuclei", "pairs")] {
        let mut scan = lab.xdpmap(&format!("-p 80 -r 20000 -c 1 -q --for {reader} 198.18.0.0/19"));
        let output = scan.arg("-o").arg(at(file)).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let listed = |words: &[&str]| {
        let mut masscan = tool("unshare");
        masscan.args(["--net", "timeout", "30"]).arg(path_of("masscan")).arg("-sL").args(words);
        let output = masscan.current_dir(lab.folder()).output().unwrap();
        (output.status.success(), lines(&String::from_utf8_lossy(&output.stdout)))
    };
    let hosts = lines(&read(&at("hosts")));
    assert!(hosts.len() > 30, "{hosts:?}");
    for flag in ["-iL", "--includefile"] {
        assert_eq!(listed(&[flag, "hosts"]), (true, hosts.clone()), "{flag}");
    }
    let (is_well, left) = listed(&["198.18.0.0/19", "--excludefile", "hosts"]);
    assert!(is_well && left.is_disjoint(&hosts));
    assert_eq!(left.len() + hosts.len(), 1 << 13);
    assert_eq!(listed(&["-iL", "pairs"]), (false, BTreeSet::new()));
}

/// A scan that is killed leaves whole files, and they are whole when it has gone on. An echo scan has no ports.
#[test]
fn they_are_whole_after_a_kill() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let at = |name: &str| lab.folder().join(name);
    let mut scan = lab.xdpmap("-M icmp_echoscan -r 2000 -c 1 -q --checkpoint-interval 1 198.18.0.0/19");
    scan.arg("--checkpoint").arg(at("c.xdpmap"));
    for (module, file) in [("xml", "k.xml"), ("masscan-json", "k.json")] {
        scan.args(["-O", module, "-o"]).arg(at(file));
    }
    let json = at("k.json").display().to_string();
    let found = || run("jq", ["-r", ".[].ip", &json]).lines().count();
    let mut running = scan.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(at("k.json")).is_ok_and(|text| text.contains("\"ip\"")) {
        assert!(Instant::now() < deadline, "no result comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert_valid(&at("k.xml"));
    assert!(found() > 0);
    let resumed = resume(&lab, &at("c.xdpmap"), "").output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_valid(&at("k.xml"));
    let distinct = lines(&run("jq", ["-r", ".[].ip", &json]));
    assert_eq!((distinct.len(), found()), (1 << 13, 1 << 13));
    let up = "count(//host/status[@state='up'])";
    let counted = run("xmllint", ["--xpath", up, &at("k.xml").display().to_string()]);
    assert_eq!(counted.trim(), "8192");
    assert!(read(&at("k.xml")).contains("<hosts up=\"8192\" down=\"0\" total=\"8192\"/>"));
}
