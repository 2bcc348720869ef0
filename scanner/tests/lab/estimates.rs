//! What scans say of what they did not see, where the lab hides something from them.

use lab::{Lab, have_root};
use serde_json::Value;
use support::Scans as _;
use support::scanner::xdpmap;

/// Hosts that are all there.
pub(crate) const NETWORK: &str = "198.18.0.0/18";
pub(crate) const HOSTS: u64 = 1 << 14;

/// Has the far side drop those packets that it receives and that nftables' `which` is about, and no others any more.
pub(crate) fn drop_some(lab: &Lab, which: &str) {
    let rules = "add table ip lossy; flush table ip lossy; \
                 add chain ip lossy input { type filter hook input priority 0; }; add rule ip lossy input";
    lab.in_ns(&lab.net, "nft", [format!("{rules} {which} drop")]);
}

pub(crate) fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// Two places that do not see a tenth of the hosts each: what both do not see is within the interval.
#[test]
fn two_places() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let mut found = vec![];
    for place in 1..3 {
        // One in ten hosts, which are others with each seed.
        drop_some(&lab, &format!("jhash ip daddr mod 10 seed {place} 0"));
        let name = |kind: &str| lab.folder().join(format!("{kind}{place}")).display().to_string();
        let arguments = format!(
            "-M icmp_echoscan -r 20000 -c 1 -e {place} -f saddr,success -o {} -m {} {NETWORK}",
            name("r"),
            name("m")
        );
        let output = lab.xdpmap(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("hit rate "), "{said}");
        let metadata: Value = serde_json::from_str(&support::read(name("m").as_ref())).unwrap();
        let evidence = &metadata["estimates"]["evidence"];
        assert_eq!((&evidence["targets"], &evidence["covered"]), (&HOSTS.into(), &1.0.into()));
        assert_eq!(evidence["found"], metadata["success_unique"]);
        found.push(metadata["success_unique"].as_f64().unwrap());
    }
    assert!(found.iter().all(|found| (0.88..0.92).contains(&(found / HOSTS as f64))), "{found:?}");
    let mut command = xdpmap();
    command.args(["merge", "--vantages", "m1", "m2", "-m", "both.json"]).current_dir(lab.folder());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_str(&support::read(&lab.folder().join("both.json"))).unwrap();
    let missed = HOSTS as f64 - number(&value, "/found");
    let [lower, upper] = ["lower", "upper"].map(|key| number(&value, &format!("/missed_by_both/{key}")));
    assert!(lower <= missed && missed <= upper, "{missed}: {value}");
    assert!(upper - lower < missed, "{missed}: {value}");
    // All of them answer.
    let [lower, upper] =
        ["lower", "upper"].map(|key| number(&value, &format!("/estimates/hit_rate_percent/{key}")));
    assert!(98.0 < lower && lower <= 100.0 && 100.0 - upper < 1e-9, "{value}");
    for place in 0..2 {
        let percent = |key: &str| number(&value, &format!("/vantages/{place}/missed_percent/{key}"));
        let truth = 100.0 * (1.0 - found[place] / HOSTS as f64);
        assert!(percent("lower") <= truth && truth <= percent("upper"), "{truth}: {value}");
    }
}
