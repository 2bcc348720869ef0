//! `--steer` on emulated igb: what scripts/lab-zerocopy/steering.sh leaves behind.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Case, Guest, TARGETS};
use support::read;

/// The one journal of these cases.
const JOURNAL: &str = "/run/xdpmap/igb0@52:54:00:00:01:00.rss.json\n";

fn said(guest: &Guest, name: &str) -> String {
    read(&guest.folder.join("steering").join(name))
}

/// Whether a table of igb has nothing but queues 1 and 3.
fn is_steered(table: &str) -> bool {
    let mut entries = table.lines().skip(1).flat_map(|line| line.split_whitespace().skip(1));
    entries.clone().count() == 128 && entries.all(|queue| queue == "1" || queue == "3")
}

/// `--steer`: replies come to the chosen queues and to no others, and afterwards the NIC's table is as it was,
/// whichever process was killed; if no process is left to restore it, the doctor does, or the next scan.
pub(crate) fn steering(guest: &Guest) {
    let said = |name: &str| said(guest, name);
    let before = said("before");
    assert!(before.contains("with 4 RX ring(s)") && before.lines().count() > 8, "{before}");
    let case = guest.case("igb-4-steered");
    // No reply came to a queue without a socket.
    case.found_all("zerocopy");
    on_queues_1_and_3(&case);
    let steered = serde_json::json!([{"interface": "igb0", "queues": [1, 3], "entries": 128}]);
    assert_eq!(case.metadata["steered"], steered);
    assert!(case.log.contains("igb0: replies are steered to queues 1,3 (128 entries"), "{}", case.log);
    assert!(!case.log.contains("WARN"), "{}", case.log);

    for name in ["steered", "after-both", "after-both-again"] {
        assert!(is_steered(&said(name)), "{name}: {}", said(name));
    }
    for name in ["after", "after-kill", "after-repair", "after-next"] {
        assert_eq!(said(name), before, "{name}");
    }
    for name in ["journals-after", "journals-after-kill", "journals-after-next"] {
        assert_eq!(said(name), "", "{name}");
    }
    let in_use = said("doctor-in-use");
    assert!(
        in_use.contains("ok    steering     igb0: replies are steered to queues 1,3 by process"),
        "{in_use}"
    );
    assert!(
        said("killed-log").contains("xdpmap: igb0: its RSS indirection table is restored to what it was"),
        "{}",
        said("killed-log")
    );
    let left = said("doctor-left-over");
    assert!(left.contains("warn  steering     igb0: still steered to queues 1,3 by process"), "{left}");
    assert!(left.contains("> xdpmap doctor --repair -i igb0\n"), "{left}");
    let repair = said("repair");
    assert!(
        repair.starts_with("igb0: its RSS indirection table is restored to what it was before process"),
        "{repair}"
    );
    assert!(repair.ends_with("\ncode 0\n") && repair.lines().count() == 2, "{repair}");
    assert_eq!(said("repair-again"), "nothing to restore\ncode 0\n");
    let next = guest.case("igb-4-next");
    next.found_all("zerocopy");
    next.spread_over(4, true);
    assert!(next.log.contains("igb0: its RSS indirection table is restored to what it was"), "{}", next.log);

    beside_one_another(guest);
    by_a_user(guest);
    two_nics_and_a_vlan(guest);

    let open = guest.case("igb-4-open-folder");
    assert_eq!(open.code, "1", "{}", open.log);
    assert!(
        open.log.contains("--steer: recording the RSS indirection table in /run/xdpmap")
            && open.log.contains("others may write"),
        "{}",
        open.log
    );
    guest.case("e1000e-steer").refused(&[
        "e1000e0: --steer",
        "no RSS indirection table",
        "leave the flag out",
    ]);
}

/// While a scan steers, another one is refused. Ctrl-C ends the scan but not its guardian. A killed guardian is
/// reported, and the doctor restores what it has left: not in a dry run, nor if the journal is of another boot, NIC or
/// namespace. What somebody else has set in between stays.
fn beside_one_another(guest: &Guest) {
    let said = |name: &str| said(guest, name);
    let second = guest.case("igb-4-second");
    second.refused(&["igb0: another XDP program is attached", "another scan by xdpmap", "wait for its end"]);
    let taken = guest.case("igb-4-taken");
    taken.refused(&["igb0: --steer", JOURNAL.trim(), "steers replies there; end it, or leave the flag out"]);
    for name in ["after-second", "after-unguarded"] {
        assert!(is_steered(&said(name)), "{name}: {}", said(name));
    }
    for name in ["after-interrupt", "after-repair-unguarded"] {
        assert_eq!(said(name), said("before"), "{name}");
    }
    for name in ["first-log", "unguarded-log", "foreign-log"] {
        let log = said(name);
        assert!(log.contains("summary: interrupted") && log.ends_with("\ncode 130\n"), "{name}: {log}");
        assert_eq!(log.contains("WARN] steer"), name != "first-log", "{name}: {log}");
    }
    let unguarded = said("unguarded-log");
    let words = "igb0: the process that restores the RSS indirection tables has ended (signal: 9 (SIGKILL)); \
                 `xdpmap doctor --repair` restores what is left";
    assert!(unguarded.contains(words), "{unguarded}");
    let dry = said("dry");
    assert!(dry.contains("10 probes printed") && dry.ends_with("\ncode 0\n"), "{dry}");
    assert_eq!(said("journals-after-unguarded"), JOURNAL);

    for (name, why, is_left) in [
        ("boot", "the host has been booted since", false),
        ("mac", "its interface is gone, or has another MAC address", false),
        ("namespace", "another network namespace", true),
    ] {
        let (doctor, repair) = (said(&format!("doctor-stale-{name}")), said(&format!("repair-stale-{name}")));
        // The doctor's lines are folded.
        let words = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("note steering igb0: ") && words.contains(why), "{name}: {doctor}");
        let code = format!("code {}\n", u8::from(is_left));
        assert!(repair.starts_with("igb0: ") && repair.contains(why), "{name}: {repair}");
        assert!(repair.ends_with(&code) && repair.lines().count() == 2, "{name}: {repair}");
        assert!(is_steered(&said(&format!("after-stale-{name}"))), "{name}");
        assert_eq!(said(&format!("journals-stale-{name}")), if is_left { JOURNAL } else { "" }, "{name}");
    }

    let (foreign, log) = (said("foreign"), said("foreign-log"));
    assert!(foreign.contains("0     1     0     1") && !is_steered(&foreign), "{foreign}");
    assert_eq!(said("after-foreign"), foreign);
    assert!(log.contains("somebody else has changed it, so it stays"), "{log}");
    for name in ["journals-after-interrupt", "journals-after-foreign"] {
        assert_eq!(said(name), "", "{name}");
    }
}

/// A user with the documented capabilities can steer, once the folder belongs to the user. The guardian has exactly
/// what it needs; that of root, whose journal was in the user's folder, also what removing it needs.
fn by_a_user(guest: &Guest) {
    let said = |name: &str| said(guest, name);
    let refused = guest.case("igb-4-folder-of-root");
    assert_eq!(refused.code, "3", "{}", refused.log);
    assert!(refused.log.contains("as root: `install -d -m 700 -o 65534 /run/xdpmap`"), "{}", refused.log);
    let case = guest.case("igb-4-user");
    case.found_all("zerocopy");
    on_queues_1_and_3(&case);
    assert!(is_steered(&said("steered-by-user")), "{}", said("user-log"));
    // Set by somebody, and not the driver's own.
    assert_eq!(said("before-user"), said("foreign"));
    for name in ["after-user", "after-user-killed"] {
        assert_eq!(said(name), said("before-user"), "{name}");
        assert_eq!(said(&format!("journals-{name}")), "", "{name}");
    }
    let log = said("user-log");
    assert!(log.contains("xdpmap: igb0: its RSS indirection table is restored to what it was"), "{log}");
    let has = |status: &str, lines: &[&str]| {
        let status = said(status).replace('\t', " ");
        lines.iter().for_each(|line| assert!(status.contains(line), "no {line:?} in {status}"));
    };
    let (net_admin, and_dac_override) = ("0000000000001000", "0000000000001002");
    let sets = |bits: &str| format!("CapPrm: {bits}\nCapEff: {bits}\n");
    has("guardian-of-user", &["Uid: 65534 65534", &sets(net_admin), "NoNewPrivs: 1\n", "session 1\n"]);
    has("guardian-of-root", &["Uid: 0 0", &sets(and_dac_override), "NoNewPrivs: 1\n"]);
}

/// Two NICs in one scan, each with its own table; a VLAN, whose table is that of the NIC below it.
fn two_nics_and_a_vlan(guest: &Guest) {
    let two = guest.case("igb-two-steered");
    two.found_exactly("zerocopy");
    let steered =
        |interface: &str| serde_json::json!({"interface": interface, "queues": [1, 3], "entries": 128});
    assert_eq!(two.metadata["steered"], Value::from_iter([steered("igb0"), steered("igb1")]));
    on_queues_1_and_3(&two);
    assert!(!two.log.contains("WARN"), "{}", two.log);
    let sent = |worker: &Value| worker["counters"]["tx_sent"].as_u64().unwrap();
    let sent: Vec<u64> = two.metadata["workers"].as_array().unwrap().iter().map(sent).collect();
    assert!(sent.len() == 2 && sent.iter().all(|sent| *sent > TARGETS / 8), "{sent:?}");
    let vlan = guest.case("igb-vlan-steered");
    vlan.found_all("zerocopy");
    assert_eq!(vlan.metadata["steered"], Value::from_iter([steered("igb0")]));
    on_queues_1_and_3(&vlan);
    for name in ["igb0", "igb1", "vlan"] {
        let before = said(guest, &format!("before-{name}"));
        assert!(before.contains("with 4 RX ring(s)") && !is_steered(&before), "{before}");
        assert_eq!(said(guest, &format!("after-{name}")), before, "{name}");
    }
    assert_eq!(said(guest, "journals-after-two"), "");
}

/// Replies came to sockets on queues 1 and 3 of each interface, spread over both, and to no other queue.
fn on_queues_1_and_3(case: &Case<'_>) {
    let name = &case.name;
    assert_eq!(case.number("/xdp_counters/valid_no_socket"), 0, "{name}");
    let sockets: Vec<&Value> = case.sockets().collect();
    let steered = case.metadata["steered"].as_array().unwrap();
    assert_eq!(sockets.len(), 2 * steered.len(), "{name}");
    for interface in steered.iter().map(|steered| &steered["interface"]) {
        // Sockets name their interface only if there are several.
        let is_there = |socket: &&&Value| steered.len() == 1 || socket["interface"] == *interface;
        let here: Vec<(u64, u64)> = sockets
            .iter()
            .filter(is_there)
            .map(|socket| (socket["queue"].as_u64().unwrap(), socket["received"].as_u64().unwrap()))
            .collect();
        let replies: u64 = here.iter().map(|(_, received)| received).sum();
        assert_eq!(
            here.iter().map(|(queue, _)| *queue).collect::<BTreeSet<_>>(),
            BTreeSet::from([1, 3]),
            "{name}"
        );
        assert!(here.iter().all(|(_, received)| *received > replies / 3), "{name}: {interface}: {here:?}");
    }
}
