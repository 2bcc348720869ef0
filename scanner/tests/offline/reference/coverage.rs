//! The table of `estimates.md`: how often the intervals of scans in the lab contained the truth
//! (`scanner/tests/lab/coverage.rs`), and how wide they were.

use serde_json::Value;

use super::{page_has, table};
use crate::documents::document;

/// The truth and the bounds, for each quantity.
type Run = [[f64; 3]; 4];

/// How many intervals contain the truth, and their median width in percent of the average truth.
fn told(runs: &[Run], quantity: usize) -> String {
    let of_quantity = runs.iter().map(|run| run[quantity]);
    // A bound of 100 % is a little less as it was computed.
    let is_inside = |[truth, lower, upper]: &[f64; 3]| lower - 1e-9 <= *truth && *truth <= upper + 1e-9;
    let inside = of_quantity.clone().filter(is_inside).count();
    let truth = of_quantity.clone().map(|[truth, ..]| truth).sum::<f64>() / runs.len() as f64;
    let mut widths: Vec<f64> = of_quantity.map(|[_, lower, upper]| upper - lower).collect();
    widths.sort_by(f64::total_cmp);
    let (below, above) = (widths[(widths.len() - 1) / 2], widths[widths.len() / 2]);
    let percent = 100.0 * (below + above) / 2.0 / truth;
    if percent < 10.0 { format!("{inside} ({percent:.1} %)") } else { format!("{inside} ({percent:.0} %)") }
}

#[test]
fn how_often_the_truth_is_inside() {
    let stored: Value = serde_json::from_str(&document("bench/results/coverage.json")).unwrap();
    let rows = stored["cells"].as_array().unwrap().iter().map(|cell| {
        let runs: Vec<Run> = serde_json::from_value(cell["runs"].clone()).unwrap();
        assert_eq!(Some(runs.len() as u64), stored["settings"]["scans"].as_u64());
        let text = |key: &str| cell[key].as_str().unwrap().to_owned();
        let [hit_rate, loss, canaries, missed] = [0, 1, 2, 3].map(|quantity| told(&runs, quantity));
        let lost = format!("{} %", cell["loss_percent"]);
        [text("answers_by"), format!("`{}`", text("probes")), lost, hit_rate, loss, canaries, missed]
    });
    let made = table(
        ["hosts", "probes", "lost", "hit rate", "loss by second probes", "loss by canaries", "missed hosts"],
        rows,
    );
    let [machine, settings] = ["machine", "settings"].map(|key| &stored[key]);
    let told = format!(
        "{made}\n{} scans per row, of {} targets with {} hosts; {} cores of an {}; Linux {}; veth.\n",
        settings["scans"],
        settings["targets"],
        settings["hosts"],
        machine["cores"],
        machine["cpu_model"].as_str().unwrap(),
        machine["kernel"].as_str().unwrap(),
    );
    page_has("estimates.md", &told);
}
