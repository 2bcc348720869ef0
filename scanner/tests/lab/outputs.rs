//! Results where users read them: files of several kinds at once, a real Redis, Parquet through pyarrow, captures
//! through tshark, filters and rotation over a whole scan.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::tools::tool;
use lab::{Lab, have_root, run};
use support::redis::Redis;
use support::{Scans as _, read};

/// Runs pyarrow over Parquet files; returns the program's output.
fn pyarrow(program: &str, files: &[PathBuf]) -> String {
    let output = tool("python3").arg("-c").arg(program).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == extension));
    files.sort();
    files
}

/// One scan, five outputs: all hold the same replies.
#[test]
fn all_kinds_at_once() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let folder = lab.folder().to_owned();
    let redis = Redis::start(&folder);
    let mut scan =
        lab.xdpmap("-p 80 -r 20000 -c 1 -q -f saddr,sport,classification,success,ttl,icmp_type,timestamp_ts");
    let server = format!("socket={},key=replies,format=json,batch=100", redis.socket());
    scan.args(["--output-args", &server]);
    for (module, file) in
        [("csv", "r.csv"), ("json", "r.json"), ("parquet", "r.parquet"), ("pcap", "r.pcap"), ("redis", "-")]
    {
        let file = if file == "-" { file.into() } else { folder.join(file).into_os_string() };
        scan.args(["-O", module, "-o"]).arg(file);
    }
    scan.args(["--output-filter", "saddr in (198.18.0.0/22, 198.18.4.0-198.18.4.9) && !success"]);
    let output = scan.arg("198.18.0.0/20").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("replies that pass the filter (saddr in"), "{stderr}");
    let expected: BTreeSet<String> =
        (0..1034u32).map(|n| std::net::Ipv4Addr::from(0xc612_0000 + n).to_string()).collect();

    let csv = read(&folder.join("r.csv"));
    assert!(csv.starts_with("saddr,sport,classification,success,ttl,icmp_type,timestamp_ts\n"));
    let addresses = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let first_cells: Vec<_> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(first_cells.len(), 1034);
    assert_eq!(addresses(&first_cells.join("\n")), expected);

    let filter =
        r#"select(.classification == "rst" and .success == false and (has("icmp_type") | not)) | .saddr"#;
    let json = folder.join("r.json").display().to_string();
    assert_eq!(addresses(&run("jq", ["-r", filter, json.as_str()])), expected);

    let pcap = folder.join("r.pcap").display().to_string();
    let sources =
        run("tshark", ["-r", pcap.as_str(), "-Y", "tcp.flags.reset == 1", "-T", "fields", "-e", "ip.src"]);
    assert_eq!((sources.lines().count(), addresses(&sources)), (1034, expected.clone()));
    let facts = run("capinfos", ["-t", "-E", "-c", pcap.as_str()]);
    assert!(facts.contains("nanosecond") && facts.contains("Ethernet"), "{facts}");

    let listed = redis.ask(&["LRANGE", "replies", "0", "-1"]);
    assert_eq!(listed.lines().count(), 1034);
    let lines: BTreeSet<_> = listed.lines().collect();
    assert_eq!(lines, read(&folder.join("r.json")).lines().collect());

    let program = "import sys, pyarrow.parquet as p\nt = p.read_table(sys.argv[1])\n\
                   print([(f.name, str(f.type)) for f in t.schema], t['icmp_type'].null_count, t['ttl'].null_count)\n\
                   print('\\n'.join(t['saddr'].to_pylist()))";
    let text = pyarrow(program, &[folder.join("r.parquet")]);
    let (schema, rows) = text.split_once('\n').unwrap();
    assert_eq!(
        schema,
        "[('saddr', 'string'), ('sport', 'uint64'), ('classification', 'string'), ('success', 'bool'), \
         ('ttl', 'uint64'), ('icmp_type', 'uint64'), ('timestamp_ts', 'uint64')] 1034 0"
    );
    assert_eq!((rows.lines().count(), addresses(rows)), (1034, expected));
    assert!(files(&folder, "part").is_empty());
}

/// A server that is killed during a scan and comes back later has every reply in the end.
#[test]
fn redis_comes_back() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let folder = lab.folder().to_owned();
    let mut redis = Redis::start(&folder);
    let mut scan = lab.xdpmap("-p 80 -r 4000 -c 1 -O redis -f saddr 198.18.0.0/18");
    let arguments = format!("socket={},key=s,kind=stream,format=csv,batch=50", redis.socket());
    let scan = scan.args(["--output-args", &arguments]).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1800));
    redis.kill();
    std::thread::sleep(Duration::from_millis(700));
    let redis = Redis::start(&folder);
    let output = scan.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("trying again") && stderr.contains("is back after"), "{stderr}");
    let entries = redis.ask(&["XRANGE", "s", "-", "+"]);
    let records: Vec<_> = entries.lines().filter(|line| line.starts_with("198.18.")).collect();
    let distinct: BTreeSet<_> = records.iter().collect();
    assert_eq!(distinct.len(), 1 << 14);
    // The one batch whose answer was lost may be there twice.
    assert!(records.len() <= (1 << 14) + 50, "{}", records.len());
}

/// An output that is unavailable is reported before the first packet, in one line.
#[test]
fn refused_before_the_first_packet() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let folder = lab.folder().to_owned();
    let redis = Redis::start(&folder);
    redis.ask(&["SET", "text", "1"]);
    let socket = redis.socket();
    let old = folder.join("old.csv");
    std::fs::write(&old, "saddr,ttl\n1.2.3.4,5\n").unwrap();
    let part = folder.join("rotated-00002.csv");
    std::fs::write(&part, "saddr\n").unwrap();
    let old = old.display().to_string();
    let many = folder.join("many/shards").display().to_string();
    let rotated = folder.join("rotated.csv").display().to_string();
    for (arguments, what) in [
        ("-O redis --output-args socket=/no/such/socket".to_owned(), "redis at /no/such/socket"),
        (format!("-O redis --output-args socket={socket},key=text"), "holds a string, not a list"),
        (format!("-O csv --append -o {old}"), "other columns"),
        (format!("-O csv --rotate-bytes 1M -o {rotated}"), "rotated-00002.csv exists"),
        (format!("-O csv -O parquet -o /no/such/folder/r -o {rotated}"), "/no/such/folder/r"),
        (format!("-o {rotated} --checkpoint /no/such/folder/c"), "/no/such/folder/c"),
        (format!("-o {old} --checkpoint /no/such/folder/c"), "/no/such/folder/c"),
        (format!("-o {rotated} -m /no/such/folder/m"), "/no/such/folder/m"),
        (format!("-o {rotated} --probes-file /no/such/folder/p"), "/no/such/folder/p"),
        (format!("-O parquet -o {rotated} --partition port -u /no/such/folder/u"), "/no/such/folder/u"),
        (format!("--output-dir {many} -u /no/such/folder/u"), "/no/such/folder/u"),
    ] {
        let output = lab.xdpmap(&format!("-p 80 {arguments} 198.18.0.0/24")).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(what), "{arguments}: {stderr}");
    }
    assert_eq!(read(Path::new(&old)), "saddr,ttl\n1.2.3.4,5\n");
    assert!(!Path::new(&rotated).exists() && files(&folder, "part").is_empty());
    assert!(!folder.join("many").exists(), "folders that a scan did not use are removed");
}

/// A scan that is killed leaves Parquet files that can all be read, and one part.
#[test]
fn parquet_survives_a_kill() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let folder = lab.folder().to_owned();
    let mut scan = lab.xdpmap("-p 80 -r 3000 -q -O parquet --rotate-seconds 1 198.18.0.0/17");
    let mut scan = scan.arg("-o").arg(folder.join("r.parquet")).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while files(&folder, "parquet").len() < 6 || files(&folder, "part").len() != 1 {
        assert!(Instant::now() < deadline, "{:?}", files(&folder, "parquet"));
        std::thread::sleep(Duration::from_millis(20));
    }
    scan.kill().unwrap();
    scan.wait().unwrap();
    let whole = files(&folder, "parquet");
    assert_eq!(files(&folder, "part").len(), 1);
    let program =
        "import sys, pyarrow.parquet as p\nprint(sum(p.read_table(f).num_rows for f in sys.argv[1:]))";
    let rows: u64 = pyarrow(program, &whole).trim().parse().unwrap();
    assert!(rows > 3000, "{rows}");
}

/// Files of a rotated series are whole and hold each reply once; a second scan is appended, even to one that was cut
/// off.
#[test]
fn rotation_and_append() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let folder = lab.folder().to_owned();
    let scan = |arguments: &str, file: &str| {
        let mut scan = lab.xdpmap(&format!("-p 80 -r 20000 -c 1 -q {arguments}"));
        let output = scan.arg("-o").arg(folder.join(file)).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    scan("-O csv --rotate-bytes 4K 198.18.0.0/22", "r.csv");
    scan("-O csv --rotate-bytes 4K --append 198.18.4.0/22", "r.csv");
    let parts = files(&folder, "csv");
    assert!(parts.len() >= 6, "{parts:?}");
    let mut lines = vec![];
    for part in &parts {
        let text = read(part);
        assert!(text.len() <= 4_000 + 20, "{} bytes", text.len());
        assert!(text.starts_with("saddr\n") && text.ends_with('\n'));
        lines.extend(text.lines().skip(1).map(str::to_owned));
    }
    assert_eq!(lines.len(), 2048);
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 2048);

    for (module, file) in [("csv", "one"), ("json", "lines"), ("pcap", "frames")] {
        scan(&format!("-O {module} 198.18.0.0/24"), file);
        let path = folder.join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let stderr = scan(&format!("-O {module} --append 198.18.1.0/24"), file);
        assert!(stderr.contains("ends within a record"), "{stderr}");
        match module {
            "pcap" => {
                let path = path.display().to_string();
                let frames = run("tshark", ["-r", path.as_str(), "-T", "fields", "-e", "ip.src"]);
                assert_eq!(frames.lines().collect::<BTreeSet<_>>().len(), 511);
                assert_eq!(frames.lines().count(), 511);
            }
            _ => {
                let text = read(&path);
                let records = text.lines().filter(|line| line.contains("198.18.")).count();
                assert_eq!((records, text.matches("saddr\n").count()), (511, usize::from(module == "csv")));
            }
        }
    }
}
