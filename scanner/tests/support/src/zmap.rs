//! Debian's zmap compared with xdpmap: the same scan by both.

use std::collections::BTreeMap;

use lab::Lab;

/// The fields of one reply, as text: what both write differs in form only.
pub type Row = BTreeMap<String, String>;

/// Runs Debian's zmap 2 in the lab and returns its output, which must be `complete`. Only what it reports about
/// responders is compared; whether it received all answers is not tested here, and it gets three tries. It loses an
/// answer now and then, and with few targets it sometimes stops at an assertion, if no target falls to one of its
/// threads (fixed in ZMap 4). Hence one thread, and another order for each try.
#[track_caller]
pub fn zmap(lab: &Lab, arguments: &str, complete: impl Fn(&str) -> bool) -> String {
    let [empty, results] = ["zmap.empty", "zmap.results"].map(|name| lab.folder().join(name));
    std::fs::write(&empty, "").unwrap();
    let gateway = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/address"]);
    let mut failures = Vec::new();
    for seed in 1..=3 {
        let _ = std::fs::remove_file(&results);
        let common = format!(
            "-C {0} -b {0} -i scan0 -G {1} -r 5000 -c 2 -q --disable-syslog -T 1 -e {seed} -o {2}",
            empty.display(),
            gateway.trim(),
            results.display()
        );
        let all = common.split_whitespace().chain(arguments.split_whitespace());
        let output = lab.output_in_ns(&lab.scan, "zmap", all);
        let written = std::fs::read_to_string(&results).unwrap_or_default();
        if output.status.success() && complete(&written) {
            return written;
        }
        let failure = String::from_utf8_lossy(&output.stderr);
        failures.push(format!("{}: {} lines, {failure}", output.status, written.lines().count()));
    }
    panic!("zmap {arguments} is not complete: {failures:#?}");
}

/// The rows of CSV that has a header row. zmap 2 has hyphens in some names, where ZMap 4 and xdpmap have underscores.
pub fn csv_rows(text: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<_> = reader.headers().unwrap().iter().map(|name| name.replace('-', "_")).collect();
    let row = |record: csv::StringRecord| {
        let cells = names.iter().cloned().zip(record.iter().map(str::to_owned));
        cells.filter(|(_, value)| !value.is_empty()).collect()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// The rows of JSON lines. zmap 2 has numbers for what is true or false, and addresses of 2^31 and more below zero.
pub fn json_rows(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let text = |value: serde_json::Value| match value {
            serde_json::Value::Bool(value) => u8::from(value).to_string(),
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(below_zero @ ..0) => (below_zero + (1 << 32)).to_string(),
                _ => number.to_string(),
            },
            other => other.to_string(),
        };
        object.into_iter().map(|(name, value)| (name.replace('-', "_"), text(value))).collect()
    };
    text.lines().map(row).collect()
}
