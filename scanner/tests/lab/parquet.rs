//! Parquet as others read it: pyarrow, pandas and DuckDB see the types, the values of the CSV, and of which scan it is.

use std::path::Path;

use lab::tools::tool;
use lab::{HOSTS, Lab, have_root};
use serde_json::Value;
use support::{Scans as _, read};

/// What three readers find in Parquet files, beside the CSV of the same scan.
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
    // The number is uint64 in all three, but each has words of its own for types.
    let types = [
        ("saddr", ["string", "string[pyarrow]", "VARCHAR"]),
        ("saddr_raw", ["uint64", "uint64[pyarrow]", "UBIGINT"]),
        ("target_num", ["uint64", "uint64[pyarrow]", "UBIGINT"]),
        ("sport", ["uint64", "uint64[pyarrow]", "UBIGINT"]),
        ("success", ["bool", "bool[pyarrow]", "BOOLEAN"]),
        (
            "timestamp",
            ["timestamp[us, tz=UTC]", "timestamp[us, tz=UTC][pyarrow]", "TIMESTAMP WITH TIME ZONE"],
        ),
    ];
    for (place, reader) in ["pyarrow", "pandas", "duckdb"].into_iter().enumerate() {
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
