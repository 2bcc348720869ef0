//! `xdpmap report` and `xdpmap map` draw what is stored, whatever its format, and say what they could not read.

use std::fs::{self, File};

use support::scanner::xdpmap;

use super::{FIELDS, Folder, gzip, some};

/// A scan of 48 hosts and two ports with 25 successes, in all formats.
fn scan() -> Folder {
    let folder = Folder::new();
    let options = format!("-o r.csv -o r.json -o r.parquet -f {FIELDS} -p 80,443 -e 7 -b b.conf 8.8.8.0/26");
    folder.scan("m.json", &options, some);
    gzip(&folder.at("r.csv"));
    folder
}

#[test]
fn every_format_gives_the_same_map() {
    let folder = scan();
    let map = |file: &str| {
        assert_eq!(folder.said(&format!("map {file} --prefix 8.8.8.0/24 -o {file}.svg")), (0, String::new()));
        folder.read(&format!("{file}.svg"))
    };
    let of_csv = map("r.csv");
    assert!(of_csv.contains(">25 hits</text>") && of_csv.contains(">8.8.8.0/24</text>"), "{of_csv}");
    for file in ["r.json", "r.parquet", "r.csv.gz"] {
        assert_eq!(map(file), of_csv, "{file}");
    }
    for (file, form) in [("r.csv.gz", "svg"), ("r.csv", "svg"), ("r.json", "png")] {
        let mut piped = xdpmap();
        piped.args(["map", "-", "-o", "-", "-O", form, "--prefix", "8.8.8.0/24"]);
        let output = piped.stdin(File::open(folder.at(file)).unwrap()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{file}: {output:?}");
        assert!(form == "png" || output.stdout == of_csv.as_bytes(), "{file}");
        assert!(form == "svg" || output.stdout.starts_with(b"\x89PNG"), "{file}");
    }
    // Several files, and rows that are no success.
    for (arguments, hits) in
        [("r.csv r.json", 50), ("--all r.csv", 96), ("--all r.csv --prefix 8.8.8.32/28", 32)]
    {
        let prefix = if arguments.contains("--prefix") { "" } else { "--prefix 8.8.8.0/24" };
        let output = folder.run(&format!("map {arguments} {prefix} -o all.svg"));
        assert!(output.status.success(), "{output:?}");
        assert!(folder.read("all.svg").contains(&format!(">{hits} hits</text>")), "{arguments}");
    }
}

#[test]
fn a_map_says_what_is_wrong() {
    let folder = scan();
    folder.write("cut.csv", "saddr,success\n8.8.8.20,1\nx,1\n8.8.8.2");
    for (arguments, code, words) in [
        ("r.csv -o map.jpg", 2, "ends in .png or .svg"),
        ("r.csv -o map.png --prefix 8.0.0.0/9", 2, "--prefix: 8.0.0.0/9 is not a square"),
        ("r.csv -o map.png --prefix here", 2, "--prefix: 'here' is not a network"),
        ("none.csv -o map.png", 2, "cannot read none.csv"),
        ("r.csv -o none/map.png", 2, "cannot open none/map.png"),
        ("- - -o map.png", 2, "can be read once only"),
        ("cut.csv -o map.png", 1, "cut.csv: no address is understood in 1 row"),
        ("cut.csv -o map.png", 1, "cut.csv: it ends in the middle of line 4"),
        ("r.csv -o map.png --prefix 9.0.0.0/8", 0, "25 hits are outside of 9.0.0.0/8"),
    ] {
        let output = folder.run(&format!("map {arguments}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(words), "{arguments}: {said}");
        assert_eq!(folder.at("map.png").exists(), code < 2, "{arguments}");
        let _ = fs::remove_file(folder.at("map.png"));
    }
    let output = xdpmap()
        .args(["map", "-", "-o", "x.png"])
        .stdin(File::open(folder.at("r.parquet")).unwrap())
        .output();
    assert!(String::from_utf8_lossy(&output.unwrap().stderr).contains("name the file"));
}

#[test]
fn a_report_has_what_is_known() {
    let folder = scan();
    folder.write(
        "u.csv",
        "time-elapsed,sent-total,recv-success-total,recv-total\n1,50,10,50\n2,96,25,96\n3,96,25,96\n",
    );
    folder.change("m.json", |value| {
        value["estimates"] = serde_json::json!({
            "hit_rate_percent": {"value": 26.0, "lower": 20.0, "upper": 33.0},
            "evidence": {},
        });
        value["canaries"] = serde_json::json!({"sent": 7});
        value["hitrate"] = 26.0.into();
        value["rtt_us"] = serde_json::json!({"count": 96, "p50": 1500, "max": 2_000_000});
    });
    assert_eq!(folder.said("report m.json -u u.csv -o r.html"), (0, String::new()));
    let page = folder.read("r.html");
    for part in [
        "between 20.0 and 33.0 %",
        "<h2>Canaries</h2>",
        "1.50 ms",
        ">443</th>",
        ">synack</th>",
        "<td>8.8.8.30</td>",
        "25 successes",
        "class=\"line a\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // The results of another name, one of the outputs, and none.
    fs::rename(folder.at("r.csv"), folder.at("moved.csv")).unwrap();
    for file in ["moved.csv", "r.json"] {
        assert_eq!(folder.said(&format!("report m.json {file} -o r.html")).0, 0, "{file}");
        assert!(folder.read("r.html").contains("25 successes"), "{file}");
    }
    for file in ["moved.csv", "r.json", "r.parquet"] {
        fs::remove_file(folder.at(file)).unwrap();
    }
    let output = folder.run("report m.json -o r.html");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("so there is no map"), "{said}");
    let page = folder.read("r.html");
    assert!(
        page.contains("so there is no map") && !page.contains("id=\"map\"") && page.contains("id=\"flow\""),
        "{page}"
    );
}

/// What routers said is unreachable is on both pictures, where results have it, and is no hit.
#[test]
fn unreachable_networks_are_shown() {
    let folder = scan();
    let rows = "saddr,success,classification,icmp_type\n8.8.8.20,1,synack,\n8.8.8.40,0,icmp,3\n8.8.8.41,0,icmp,3\n\
                8.8.8.42,0,icmp,11\n8.8.8.43,0,rst,\n";
    folder.write("r.csv", rows);
    assert_eq!(folder.said("map r.csv --prefix 8.8.8.0/24 -o map.svg"), (0, String::new()));
    let map = folder.read("map.svg");
    for part in [">1 hit</text>", ">2 unreachable</text>", ">unreachable</text>"] {
        assert!(map.contains(part), "{part}: {map}");
    }
    assert_eq!(folder.said("map --all r.csv --prefix 8.8.8.0/24 -o map.svg"), (0, String::new()));
    assert!(
        folder.read("map.svg").contains(">5 hits</text>") && !folder.read("map.svg").contains("unreachable")
    );
    for file in ["r.json", "r.parquet"] {
        fs::remove_file(folder.at(file)).unwrap();
    }
    folder.change("m.json", |value| {
        let account = &mut value["ledger"]["accounts"]["targets"];
        account["total"] = 103.into();
        account["parts"]["unreachable"] = 7.into();
    });
    folder.run("report m.json r.csv -o r.html");
    let page = folder.read("r.html");
    for part in [
        "unreachable, without one: routers said so",
        "2 answers say that a host is unreachable.",
        "7 targets were not probed",
        "u2",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_report_is_about_one_scan() {
    let folder = scan();
    folder.scan("n.json", "-o n.csv -p 80 -b b.conf 8.8.8.0/26", some);
    folder.write("u.csv", "a,b\n1,2\n");
    for (arguments, words) in [
        ("report r.csv -o r.html", "r.csv is not the metadata of a scan"),
        ("report m.json n.json -o r.html", "there are 2 scans"),
        ("report m.json", "--output-file"),
        ("report m.json -u u.csv -o r.html", "-u: u.csv: it has no status updates"),
        ("report m.json none.csv -o r.html", "cannot read none.csv"),
    ] {
        let output = folder.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words), "{arguments}: {said}");
        assert!(said.lines().count() == 1 && !folder.at("r.html").exists(), "{arguments}: {said}");
    }
}
