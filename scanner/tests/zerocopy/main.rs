//! Surveys through real drivers: emulated NICs in a virtual machine, with a kernel whose drivers have AF_XDP zero-copy,
//! and with the oldest kernels that Debian serves. `scripts/lab-zerocopy.sh` boots them, and
//! `scripts/lab-zerocopy/guest.sh` runs the cases (`steering.sh` next to it those of steering). The output of each case
//! is compared with what it must be.

mod pause;
mod power;
mod steering;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lab::tools::clean;
use lab::{GUEST, have_root};
use serde_json::Value;
use support::scanner::binary;
use support::truth::truth;
use support::{ledger, read};

/// Addresses that are probed: 198.18.0.0/20.
const TARGETS: u64 = GUEST.addresses as u64;
/// The exit code of the lab's script if its packages are unavailable.
const CANNOT_BE_HAD: i32 = 77;

/// A guest that ran its cases.
struct Guest {
    folder: PathBuf,
    truth: BTreeSet<String>,
}

impl Guest {
    /// Boots the guest with this kernel and lets it run these cases, a function of guest.sh. `None`, with a warning, if
    /// the packages are unavailable.
    fn run(kernel: &str, cases: &str) -> Option<Self> {
        Self::boot(cases, &["run", kernel])
    }

    /// Boots the guest by this command of the lab's script, and takes what these cases leave into a folder of their
    /// name.
    fn boot(cases: &str, command: &[&str]) -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zerocopy").join(cases);
        let _ = std::fs::remove_dir_all(&folder);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab-zerocopy.sh");
        let mut script = clean(script);
        let output =
            script.env("LAB_CASES", cases).args(command).arg(binary()).arg(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(CANNOT_BE_HAD) {
            eprintln!("SKIPPED the guest '{cases}': {said}");
            return None;
        }
        assert!(output.status.success(), "{cases}: {said}");
        eprintln!("{}", said.trim());
        Some(Self { folder, truth: truth(GUEST, &GUEST.servers()) })
    }

    fn case(&self, name: &str) -> Case<'_> {
        let folder = self.folder.join(name);
        let file = |name: &str| read(&folder.join(name));
        let metadata = serde_json::from_str(&file("metadata.json")).unwrap_or_default();
        ledger::check(&metadata);
        Case {
            name: name.to_owned(),
            code: file("code").trim().to_owned(),
            log: file("log"),
            results: file("results.csv"),
            metadata,
            ping: file("ping"),
            answered: file("answered"),
            truth: &self.truth,
        }
    }
}

/// What one survey left behind.
struct Case<'a> {
    name: String,
    code: String,
    log: String,
    results: String,
    metadata: Value,
    ping: String,
    answered: String,
    truth: &'a BTreeSet<String>,
}

impl Case<'_> {
    fn number(&self, pointer: &str) -> u64 {
        let value = self.metadata.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| {
            panic!("{}: no number {pointer} in {}\n{}", self.name, self.metadata, self.log)
        })
    }

    /// Found exactly who is there, in this mode, with one probe to each target; the host's own packets came through
    /// meanwhile.
    fn found_exactly(&self, mode: &str) {
        let name = &self.name;
        assert_eq!(self.code, "0", "{name}: {}", self.log);
        assert_eq!(self.metadata["io_mode"], mode, "{name}: {}", self.log);
        let found: BTreeSet<String> = self.results.lines().skip(1).map(str::to_owned).collect();
        let missing: Vec<_> = self.truth.difference(&found).take(5).collect();
        let extra: Vec<_> = found.difference(self.truth).take(5).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{name}: missing {missing:?}, extra {extra:?}; the other side took in and sent {:?}; {}\n{}",
            self.answered,
            self.metadata,
            self.log
        );
        for counter in ["/targets_scanned", "/packets_sent", "/counters/tx_submitted", "/counters/tx_sent"] {
            assert_eq!(self.number(counter), TARGETS, "{name}: {counter}\n{}", self.log);
        }
        assert!(self.ping.contains("10 packets transmitted, 10 packets received"), "{name}: {}", self.ping);
    }

    /// As [`Self::found_exactly`], through AF_XDP: the XDP program's books, the sockets' and the workers' balance, and
    /// it has let the host's packets pass.
    fn found_all(&self, mode: &str) {
        self.found_exactly(mode);
        let name = &self.name;
        let replies = self.number("/counters/rx_synack") + self.number("/counters/rx_rst");
        let lost = ["/counters/rx_record_drops", "/counters/rx_socket_drops", "/counters/rx_invalid"];
        assert_eq!(lost.map(|counter| self.number(counter)), [0; 3], "{name}");
        for counter in ["/counters/rx_frames", "/xdp_counters/valid_redirected", "/output_results"] {
            assert_eq!(self.number(counter), replies, "{name}: {counter}");
        }
        assert_eq!(self.number("/xdp_counters/valid_no_socket"), 0, "{name}");
        let received: Vec<u64> = self.sockets().map(|socket| socket["received"].as_u64().unwrap()).collect();
        assert_eq!(received.iter().sum::<u64>(), replies, "{name}");
        let pings = self.number("/xdp_counters/pass_other_icmp");
        assert!(pings >= 10, "{name}: the host's ping went past the program {pings} times");
    }

    fn sockets(&self) -> impl Iterator<Item = &Value> {
        self.metadata["sockets"].as_array().into_iter().flatten()
    }

    /// One socket on each of this many queues, all of them zero-copy or none, each with a fair share of the replies.
    fn spread_over(&self, queues: u64, zero_copy: bool) {
        let name = &self.name;
        let numbers: Vec<u64> = self.sockets().map(|socket| socket["queue"].as_u64().unwrap()).collect();
        assert_eq!(numbers.iter().copied().collect::<BTreeSet<_>>(), (0..queues).collect(), "{name}");
        assert_eq!(numbers.len() as u64, queues, "{name}");
        for socket in self.sockets() {
            assert_eq!(socket["zero_copy"], zero_copy, "{name}: {socket}");
            let fair = self.truth.len() as u64 / queues;
            let received = socket["received"].as_u64().unwrap();
            assert!(
                received > fair / 2,
                "{name}: {socket}, of {} replies on {queues} queues",
                self.truth.len()
            );
        }
    }

    /// The kernel reports that every socket is polled, and nothing was wrong.
    fn is_polled(&self) {
        assert_eq!(self.number("/busy_poll"), 64, "{}", self.name);
        let polled = self.sockets().all(|socket| socket["busy_polled"] == true);
        assert!(polled && !self.log.contains("--busy-poll"), "{}: {}", self.name, self.log);
    }

    /// The reason why no better mode was used contains all of this.
    fn reason(&self, words: &[&str]) {
        let reason = self.metadata["io_mode_reason"].as_str().unwrap_or_default();
        assert!(words.iter().all(|word| reason.contains(word)), "{}: {reason:?} lacks {words:?}", self.name);
        assert!(self.log.contains("better mode unavailable"), "{}: {}", self.name, self.log);
    }

    /// Did not start: exit code 4, and a line with all of this.
    fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, "4", "{}: {}", self.name, self.log);
        let said = words.iter().all(|word| self.log.contains(word));
        assert!(said, "{}: {:?} lacks {words:?}", self.name, self.log);
    }
}

/// The newest kernel: zero-copy on every queue of igb and virtio-net, every other way to the same result, every
/// fallback with its reason, the doctor and the tuning script.
#[test]
fn zero_copy_of_each_driver() {
    if !have_root() {
        return;
    }
    let Some(guest) = Guest::run("newest", "drivers") else { return };
    for queues in [1, 2, 4, 8] {
        let case = guest.case(&format!("igb-{queues}-zerocopy"));
        case.found_all("zerocopy");
        case.spread_over(queues, true);
        assert_eq!(case.metadata["driver"], "igb");
        // This driver asks to be woken until its interrupt has come, and a call for each of the worker's turns until
        // then would be a hundred thousand. Five probes at a time are due, or fewer in a guest that is slow to wake.
        let wakeups = case.number("/counters/wakeups");
        assert!(wakeups < 3 * TARGETS, "{}: {wakeups} wake-ups for {TARGETS} probes", case.name);
    }
    let resets = [1, 2, 4, 8].map(|queues| guest.case(&format!("igb-{queues}-zerocopy")).log);
    assert!(resets.iter().any(|log| log.contains("the driver reset the NIC")), "{resets:?}");
    let auto = guest.case("igb-4-auto");
    auto.found_all("zerocopy");
    auto.spread_over(4, true);
    assert_eq!(auto.metadata["io_mode_reason"], "");
    for mode in ["live", "copy", "generic"] {
        let case = guest.case(&format!("igb-4-{mode}"));
        case.found_all(mode);
        case.spread_over(4, mode == "live");
        guest.case(&format!("virtio-1-{mode}")).found_all(mode);
    }
    for name in ["igb-4-packet", "virtio-1-packet"] {
        guest.case(name).found_exactly("packet");
    }
    for name in ["igb-4-polled", "virtio-4-polled"] {
        let case = guest.case(name);
        case.found_all("zerocopy");
        case.spread_over(4, true);
        case.is_polled();
    }
    // One worker polls four queues.
    assert_eq!(guest.case("virtio-4-polled").number("/senders"), 1);
    for queues in [1, 4] {
        let case = guest.case(&format!("virtio-{queues}-zerocopy"));
        case.found_all("zerocopy");
        case.spread_over(queues, true);
        assert_eq!(case.metadata["driver"], "virtio_net");
    }
    guest.case("virtio-4-live").refused(&["virtio_net with more queues than processors", "combined 2"]);

    let e1000e = guest.case("e1000e-auto");
    e1000e.found_all("generic");
    e1000e.reason(&["native", "Operation not supported"]);
    for mode in ["zerocopy", "copy"] {
        guest.case(&format!("e1000e-{mode}")).refused(&["e1000e0", "native", "Operation not supported"]);
    }
    let plain = guest.case("plain-auto");
    plain.found_all("copy");
    plain.reason(&["queue 0", "ZeroCopy", "Invalid argument"]);
    guest.case("plain-zerocopy").refused(&["queue 0", "ZeroCopy", "Invalid argument", "--io-mode auto"]);
    doctor_and_tuning(&guest);
}

/// The newest kernel: what is between a NIC and its queues, or its wire.
#[test]
fn zero_copy_on_vlans_and_steered_queues() {
    if !have_root() {
        return;
    }
    let Some(guest) = Guest::run("newest", "wires") else { return };
    tagged_and_cut(&guest);
    bonded(&guest);
    steering::steering(&guest);
}

/// On zero-copy rings: a VLAN, also over AF_PACKET; a link that is lost for five seconds, after which no responder is
/// missing.
fn tagged_and_cut(guest: &Guest) {
    let vlan = guest.case("igb-vlan-zerocopy");
    vlan.found_all("zerocopy");
    vlan.spread_over(4, true);
    let place = (&vlan.metadata["parent_iface"], &vlan.metadata["vlan_ids"]);
    assert_eq!(place, (&"igb0".into(), &serde_json::json!([100])));
    guest.case("igb-vlan-packet").found_exactly("packet");

    let outage = guest.case("igb-outage");
    assert_eq!(outage.code, "0", "{}", outage.log);
    assert_eq!(outage.metadata["io_mode"], "zerocopy");
    let found: BTreeSet<String> = outage.results.lines().skip(1).map(str::to_owned).collect();
    let missing: Vec<_> = guest.truth.difference(&found).take(5).collect();
    assert!(missing.is_empty() && found.len() == guest.truth.len(), "missing {missing:?}\n{}", outage.log);
    let [targets, again, submitted, sent] = ["targets", "targets_again", "tx_submitted", "tx_sent"]
        .map(|counter| outage.number(&format!("/counters/{counter}")));
    assert_eq!((targets, targets + again, submitted), (TARGETS, submitted, sent), "{}", outage.log);
    // At full speed they are those of a second, 1,000; a guest on a busy machine sends fewer.
    assert!(again > 0, "nothing was probed again");
    assert_eq!(outage.number("/targets_left") + outage.number("/targets_in_doubt"), 0);
    let outages = outage.metadata["link_outages"].as_array().unwrap();
    assert_eq!((outages.len(), &outages[0]["recovered"]), (1, &true.into()), "{outages:?}");
    assert!(outages[0]["seconds"].as_f64().unwrap() > 4.5, "{outages:?}");
}

/// A bond, whose members' packets do not reach its sockets, is scanned over AF_PACKET, and so is a VLAN of it; the
/// other modes, and queues, are refused.
fn bonded(guest: &Guest) {
    for name in ["bond-auto", "bond-vlan-auto"] {
        let case = guest.case(name);
        case.found_exactly("packet");
        case.reason(&["it is a bond", "runs on its members"]);
    }
    for mode in ["zerocopy", "copy", "generic", "live"] {
        let case = guest.case(&format!("bond-{mode}"));
        case.refused(&["bond0: it is a bond", "--io-mode packet", "one of its members"]);
    }
    let queues = guest.case("bond-queues");
    assert!(queues.code == "2" && queues.log.contains("--queues: AF_PACKET receives"), "{}", queues.log);
}

/// The output of `xdpmap doctor` about an emulated igb, without the host's part.
const DOCTOR: &str = "\
interface igb0
  ok    link         up, 52:54:00:00:01:00, 1000 Mbit/s
  ok    driver       igb
  ok    XDP          native, zero-copy, redirect; not: redirect target (live frames), multi-buffer
  ok    XDP holder   none
  ok    MTU          1500
  ok    queues       8 to receive; channels: combined 8 of at most 8
  note  rings        receive 512 of at most 4096, transmit 512 of at most 4096
                     a short receive ring loses replies in bursts
                     > ethtool -G igb0 rx 4096
  ok    offloads     none that conflicts with XDP
  ok    interrupts   9 on core 0, 1
  ok    source       198.19.0.1
  ok    gateway      198.19.0.2 at 52:54:00:00:01:01
  ok    io mode      zerocopy
  note  ceiling      unknown: zero-copy has not been measured on real hardware
                     the link's 1000 Mbit/s carry at most 1488095 packets per second
a scan can run
code 0
";

/// The doctor on a real driver, and the tuning script: it sets what it says, undo restores every line of ethtool and
/// every mask of an interrupt, and a tuned NIC still scans.
fn doctor_and_tuning(guest: &Guest) {
    let said = |name: &str| read(&guest.folder.join("tuning").join(name));
    let doctor = said("doctor");
    let interface = doctor.find("interface igb0").map_or("", |start| &doctor[start..]);
    assert_eq!(interface, DOCTOR, "{doctor}");
    for (name, code) in [("check", 1), ("apply", 0), ("check-applied", 0), ("undo", 0)] {
        assert!(said(name).ends_with(&format!("code {code}\n")), "{name}: {}", said(name));
    }
    let (before, applied, after) = (said("before"), said("applied"), said("after"));
    assert!(before.contains("igb0-TxRx-3 2\n") && before.contains("Combined:\t8"), "{before}");
    assert!(applied.contains("Combined:\t2") && applied.contains("rx-usecs: 30"), "{applied}");
    assert!(applied.contains("igb0-rx-1 2\n"), "{applied}");
    assert_eq!(before, after, "undo did not put back what was there: {}", said("undo"));
    let tuned = guest.case("igb-tuned-zerocopy");
    tuned.found_all("zerocopy");
    tuned.spread_over(2, true);
}

/// Kernels whose igb and virtio-net have no zero-copy, among them the oldest that Debian serves and one below our
/// minimum: copy mode, with its reason, and live frames only if they lose nothing.
#[test]
fn drivers_of_old_kernels() {
    if !have_root() {
        return;
    }
    for kernel in ["oldest", "ancient"] {
        let Some(guest) = Guest::run(kernel, kernel) else { continue };
        for name in ["igb-4-auto", "virtio-1-auto", "veth-auto"] {
            let case = guest.case(name);
            case.found_all("copy");
            case.reason(&["queue 0", "ZeroCopy", "Operation not supported"]);
        }
        guest.case("igb-4-auto").spread_over(4, false);
        guest.case("e1000e-auto").found_all("generic");
        guest.case("igb-4-zerocopy").refused(&["ZeroCopy", "Operation not supported", "--io-mode auto"]);
        guest.case("virtio-1-live").refused(&["virtio_net silently loses many of them", "Linux 6.4"]);
        let [igb, veth] = ["igb-4-polled", "veth-polled"].map(|name| guest.case(name));
        match kernel {
            "oldest" => {
                veth.found_all("copy");
                veth.is_polled();
                // The packets of this igb do not show which NAPI serves their queue, which is noticed only then.
                igb.found_all("copy");
                assert!(igb.sockets().all(|socket| socket["busy_polled"] == false));
                let words = "[WARN] summary: --busy-poll: 4 sockets were not polled";
                assert!(igb.log.contains(words), "{}", igb.log);
            }
            _ => {
                for case in [igb, veth] {
                    case.refused(&["--busy-poll: setting SO_PREFER_BUSY_POLL on queue 0", "Linux 5.11"]);
                }
            }
        }
        for name in ["igb-4-live", "veth-live"] {
            let case = guest.case(name);
            match kernel {
                "oldest" => case.found_all("live"),
                _ => case.refused(&["live frames", "Linux 5.18"]),
            }
        }
    }
}
