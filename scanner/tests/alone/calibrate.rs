//! `xdpmap calibrate` through a path with a hidden knee.

use std::fs;

use lab::tools::tool;
use lab::{Lab, have_root};
use serde_json::Value;
use support::Scans as _;
use support::scanner::binary;

use crate::policer::{KNEE_PPS, counted, police};

/// The rate that is recommended is just below the knee; loss is seen above it and not below; it stops there; the
/// picture is one; and what is excluded gets nothing.
#[test]
fn recommends_a_rate_below_the_knee_of_a_policer() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let path = police(&lab);
    let picture = lab.folder().join("loss.svg");
    fs::write(&picture, "x".repeat(100_000)).unwrap();
    let mut command = lab.shielded();
    command.args([binary(), "calibrate", "-i", "scan0", "--allow-reserved", "--json", "-o"]).arg(&picture);
    let arguments =
        "--max-rate 20K -p 80-95 --io-mode copy --no-rst --exclude 198.18.128.0/24 198.18.128.0/17";
    let output = command.args(arguments.split(' ')).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key}: {found:#}\n{log}"));
    assert_eq!(
        (&found["outcome"], &found["bottleneck"]),
        (&"knee".into(), &"path".into()),
        "{found:#}\n{log}"
    );
    let [knee, recommended] = ["knee_pps", "recommended_pps"].map(|key| number(key) / KNEE_PPS as f64);
    assert!((0.93..=1.07).contains(&knee), "{knee} of the knee\n{found:#}\n{log}");
    assert!((0.85..=1.0).contains(&recommended), "{recommended} of the knee\n{found:#}\n{log}");
    let stages = found["stages"].as_array().unwrap();
    let with = |finding: &str| stages.iter().filter(|stage| stage["finding"] == finding).collect::<Vec<_>>();
    let rate = |stage: &Value| stage["rate_pps"].as_f64().unwrap() / KNEE_PPS as f64;
    assert!(with("clean").len() >= 4 && with("clean").iter().all(|stage| rate(stage) < 1.02), "{found:#}");
    assert!(!with("loss").is_empty() && with("loss").iter().all(|stage| rate(stage) > 0.98), "{found:#}");
    for stage in with("loss") {
        let lost = |key: &str| stage["lost_percent"][key].as_f64().unwrap();
        let truth = 100.0 * (1.0 - KNEE_PPS as f64 / stage["sent_pps"].as_f64().unwrap());
        assert!(lost("lower") - 2.0 <= truth && truth <= lost("upper") + 2.0, "{truth}: {stage}");
    }
    assert!(log.contains("stages of 3.8 s from 2500 to 20000 probes per second"), "{log}");
    let [passed, dropped] = counted(&path);
    assert!(dropped > 0 && dropped < passed / 4, "it stops above the knee: {dropped} of {passed}");
    let checked = tool("xmllint").arg("--noout").arg(&picture).output().unwrap();
    let text = support::read(&picture);
    assert!(checked.status.success() && text.contains("<svg") && text.len() < 50_000, "{text}");
    assert!(text.contains("recommended"), "{text}");
}
