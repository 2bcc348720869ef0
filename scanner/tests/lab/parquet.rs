//! Parquet as others read it: pyarrow, pandas, DuckDB and ClickHouse see the types and the values of the CSV; and of
//! which scan it is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lab::tools::tool;
use lab::{HOSTS, Lab, have_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::truth::{FIELDS, truth, within};
use support::{Scans as _, read};

use crate::checkpoint::{COMMON, NETWORK, assert_whole, into_sending};

/// What four readers find in Parquet files, beside the CSV of the same scan.
fn readers(csv: &Path, files: &[&Path]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/parquet.py");
    let output = tool("python3").arg(script).arg(csv).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn typed_columns() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    lab.start_nginx(&HOSTS.servers());
    let [csv, parquet, metadata] = ["r.csv", "r.parquet", "m.json"].map(|name| lab.folder().join(name));
    let mut scan = lab.xdpmap("-p 80,81 -r 20000 -c 1 -q -e 7 -f *,timestamp,target_num,responder_num");
    scan.arg("-o").arg(&csv).arg("-o").arg(&parquet).arg("-m").arg(&metadata);
    let output = scan.args(["-O", "csv", "-O", "parquet", "198.18.0.0/22"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found = readers(&csv, &[&parquet]);
    assert!(found["rows"].as_u64() > Some(1_000), "{found}");
    // The number is uint64 in all four, but each has words of its own for types.
    let types = [
        ("saddr", ["string", "string[pyarrow]", "VARCHAR", "Nullable(String)"]),
        ("saddr_raw", ["uint64", "uint64[pyarrow]", "UBIGINT", "Nullable(UInt64)"]),
        ("target_num", ["uint64", "uint64[pyarrow]", "UBIGINT", "Nullable(UInt64)"]),
        ("sport", ["uint64", "uint64[pyarrow]", "UBIGINT", "Nullable(UInt64)"]),
        ("success", ["bool", "bool[pyarrow]", "BOOLEAN", "Nullable(Bool)"]),
        (
            "timestamp",
            [
                "timestamp[us, tz=UTC]",
                "timestamp[us, tz=UTC][pyarrow]",
                "TIMESTAMP WITH TIME ZONE",
                "Nullable(DateTime64(6, 'UTC'))",
            ],
        ),
    ];
    for (place, reader) in ["pyarrow", "pandas", "duckdb", "clickhouse"].into_iter().enumerate() {
        let read = &found[reader];
        assert_eq!(read["differing"], 0, "{reader}");
        for (column, names) in &types {
            assert_eq!(read["types"][column], names[place], "{reader}, {column}");
        }
    }
    assert_eq!(found["compression"], "ZSTD");
    assert_eq!(found["same_metadata_in_duckdb"], true);
    // Of which scan it is, in the words of the metadata.
    let written: Value = serde_json::from_str(&read(&metadata)).unwrap();
    let scan = found["metadata"]["xdpmap"].as_object().unwrap();
    for key in ["version", "seed", "targets_hash", "plan_hash", "target_ports", "shard_num", "total_shards"] {
        assert_eq!(scan[key], written[key], "{key}");
    }
    let own = &found["metadata"]["xdpmap.file"];
    assert_eq!((&own["rows"], &own["number"]), (&found["rows"], &1.into()));
    let text = read(&csv);
    let mut times: Vec<&str> = text.lines().skip(1).map(|line| line.rsplit(',').nth(2).unwrap()).collect();
    times.sort_unstable();
    assert_eq!([&own["first_arrival"], &own["last_arrival"]], [times[0], times[times.len() - 1]]);
}

/// What three readers find in a data set, beside the CSV of the same scans.
fn read_data_set(folder: &Path, column: &str, csv: &[PathBuf]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/dataset.py");
    let output = tool("python3").arg(script).arg(folder).arg(column).args(csv).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All three have all rows, and these values of the partitions.
#[track_caller]
fn assert_same(found: &Value, values: &Value) {
    for reader in ["pyarrow", "pandas", "duckdb"] {
        assert_eq!(found[reader]["differing"], 0, "{reader}: {found}");
        assert_eq!(found[reader]["values"], *values, "{reader}: {found}");
    }
}

/// What is in the folders of a data set.
fn files(folder: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(folder).unwrap().map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// A folder for each port, and a checkpoint beside the whole.
#[test]
fn a_folder_for_each_port() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    lab.start_nginx(&HOSTS.servers());
    let [csv, parquet, metadata, picture] =
        ["p.csv", "by-port", "m.json", "map.png"].map(|name| lab.folder().join(name));
    let mut scan =
        lab.xdpmap("-p 80,81,443 -r 20000 -c 1 -q -e 7 --partition port -f saddr,sport,success,ttl");
    scan.arg("-o").arg(&csv).arg("-o").arg(&parquet).arg("-m").arg(&metadata);
    let output = scan.args(["-O", "csv", "-O", "parquet", "198.18.0.0/22"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found = read_data_set(&parquet, "port", std::slice::from_ref(&csv));
    assert!(found["rows"].as_u64() > Some(1_000), "{found}");
    assert_same(&found, &json!([80, 81, 443]));
    assert_eq!(files(&parquet).len(), 3, "no file but one for each port");
    // Companions read it by the metadata, and by its name.
    let run = |arguments: &[&str], path: &Path| {
        let output =
            lab.shielded().arg(support::scanner::binary()).args(arguments).arg(path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    let verified = run(&["verify"], &metadata);
    assert!(verified.contains("all is well: ") && verified.contains("4 files, 1 scan"), "{verified}");
    run(&["map", "-o", picture.to_str().unwrap()], &parquet);
    // A second scan does not mix with it.
    let mut again = lab.xdpmap("-p 80 -r 20000 -c 1 -q -O parquet --partition port --no-checkpoint");
    let again = again.arg("-o").arg(&parquet).arg("198.18.0.0/28").output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(2), "{said}");
    assert!(said.contains("exists from an earlier scan"), "{said}");
}

/// All shards of a scan in one folder, side by side, each with its checkpoint.
#[test]
fn shards_share_a_folder() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    lab.start_nginx(&HOSTS.servers());
    for column in ["shard", "port"] {
        let folder = lab.folder().join(column);
        let csv: Vec<PathBuf> =
            (0..2).map(|shard| lab.folder().join(format!("{column}-{shard}.csv"))).collect();
        for (shard, csv) in csv.iter().enumerate() {
            let arguments =
                format!("-p 80,81 -r 20000 -c 1 -q -e 7 --shards 2 --shard {shard} --partition {column}");
            let mut scan = lab.xdpmap(&format!("{arguments} -f saddr,sport -O parquet -O csv"));
            scan.arg("-o").arg(&folder).arg("-o").arg(csv);
            let output = scan.arg("198.18.0.0/22").output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(lab.folder().join(format!("{column}.shard-0000{shard}.xdpmap")).exists());
        }
        let found = read_data_set(&folder, column, &csv);
        assert!(found["rows"].as_u64() > Some(1_000), "{found}");
        assert_same(&found, &if column == "shard" { json!([0, 1]) } else { json!([80, 81]) });
    }
}

/// Killed at any moment: the same command goes on, and each answer is there, twice only where its host answered both
/// runs.
#[test]
fn a_data_set_goes_on() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let truth = within(&truth(HOSTS, &[]), &[NETWORK]);
    for (number, moment_ms) in [200, 700, 1_400, 2_100].into_iter().enumerate() {
        let folder = lab.folder().join(format!("killed-{number}"));
        let scan = || {
            let arguments = "--resume-or-start -O parquet --partition port";
            let mut scan = lab.xdpmap(&format!("{COMMON} {FIELDS} {arguments} {NETWORK}"));
            scan.arg("-o").arg(&folder);
            scan
        };
        let checkpoint = lab.folder().join(format!("killed-{number}.xdpmap"));
        let mut first = scan().stderr(Stdio::null()).spawn().unwrap();
        into_sending(&checkpoint, moment_ms);
        kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGKILL).unwrap();
        first.wait().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let rest = scan().output().unwrap();
        let said = String::from_utf8_lossy(&rest.stderr);
        assert_eq!(rest.status.code(), Some(0), "{moment_ms}: {said}");
        let files = files(&folder);
        let is_whole = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "parquet");
        assert!(files.len() > 1 && files.iter().all(is_whole), "{files:?}");
        let program = "import sys, pyarrow.dataset as d\nprint('saddr')\n\
                       for r in d.dataset(sys.argv[1], partitioning='hive').to_table().to_pylist():\n\
                       \tassert r['port'] == r['sport'], r\n\
                       \tprint(r['saddr'], r['sport'], r['classification'], int(r['success']), sep=',')";
        let output = tool("python3").args(["-c", program]).arg(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // As with every output: what was sent within interval and overlap, with as much again for a busy machine.
        let most_again = truth.len() as u64 * 20_000 / 32_768 * 6 / 10 + 5;
        assert_whole(&format!("killed after {moment_ms} ms"), &text, &truth, most_again);
    }
}
