//! What a scan that goes on keeps: the decisions about what is asked of whom, and about what is written of the answers.
//!
//! What always holds: how the scan is carried out is not among them, such as interfaces, source addresses, rates and
//! workers. So a plan that is made of the same options has the same hash in every run of a scan, unless a file that
//! they name has changed since, or another version of xdpmap decides otherwise.

use std::net::Ipv4Addr;

use sha2::{Digest as _, Sha256};
use targets::{PortList, TargetBatch};
use wire::packet::{LinkHeader, MacAddr, VlanTags};
use wire::proof::Key;

use super::output::DedupPlan;
use super::{OutputPlan, PlanError, ProbePlan, SecondPlan, TargetPlan};
use crate::checkpoint::{Checkpoint, Decision, Request, digits};
use crate::probe::{Probe, Visitor};
use crate::results::sink::{Module as OutputFormat, SinkConfig};

/// Ports to which a probe is made for its hash. Fewer would not tell two tables of payloads apart that differ in rare
/// ports only; more would delay the start.
const PORTS_TRIED: usize = 1_024;
/// The flag of a decision that another interface changes.
const INTERFACE: &str = "interface";
/// Source and target of these probes: addresses of RFC 5737, which nobody has.
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// What a scan that goes on keeps.
#[derive(Clone, Debug)]
pub struct Kept {
    decisions: Vec<Decision>,
    hash: String,
}

impl Kept {
    /// That of a plan. `most` are the most targets and the most results of all its runs together.
    pub(super) fn of(
        targets: &TargetPlan,
        probe: &ProbePlan,
        second: Option<&SecondPlan>,
        output: &OutputPlan,
        most: [Option<u64>; 2],
    ) -> Self {
        let [max_targets, max_results] = most.map(|most| most.map_or_else(none, |most| most.to_string()));
        let ports = probe.source_ports;
        let mut decisions = vec![
            decision("shard", format!("{} of {}", targets.shard, targets.shards)),
            decision("max-targets", max_targets),
            decision("max-results", max_results),
            decision("probe-module", probe.module.info().name),
            decision("probes", probe.copies.probes().to_string()),
            decision("probe-ttl", probe.ttl.to_string()),
            decision("source-port", format!("{} ports from {} on", ports.count, ports.first)),
            decision("no-rst", yes_or_no(!probe.reset)),
            decision("validate-source-port", yes_or_no(probe.port_in_cookie)),
            decision("probe-args", format!("probes of SHA-256 {}", probe.sha256(targets.space.ports()))),
            decision("dedup-method", dedup(output.dedup)),
            decision("successes-only", yes_or_no(output.filter.successes_only)),
            decision("output-filter", output.filter_text.clone().unwrap_or_else(none)),
        ];
        if let Some(most) = output.max_ports_per_host {
            decisions.push(decision("max-ports-per-host", most.to_string()));
        }
        if let Some(second) = second {
            decisions.push(decision("recheck", format!("{} %", second.percent())));
            decisions.push(decision("probe-gap", format!("{} s", second.gap.as_secs_f64())));
        }
        for sink in &output.sinks {
            decisions.push(decision("output-module", sink.module.name()));
            if sink.has_fields() {
                decisions.push(decision("output-fields", fields(sink)));
            }
            if let Some(partitions) = sink.partitions {
                decisions.push(decision("partition", partitions.by.column()));
            }
            if sink.module == OutputFormat::Pcap {
                decisions.push(decision(INTERFACE, frames(sink.link)));
            }
        }
        let mut hash = Sha256::new();
        hash.update(b"xdpmap plan 2\n");
        hash.update(targets.order_hash.0);
        for Decision { flag, value } in &decisions {
            // Lengths first, so that no text can be taken for two.
            hash.update(format!("{} {flag} {} {value}\n", flag.len(), value.len()));
        }
        Self { decisions, hash: digits(&hash.finalize()) }
    }

    /// SHA-256 over the targets, their order and all decisions, in hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Writes it into what a checkpoint keeps of a new scan.
    pub(super) fn write_into(&self, request: &mut Request) {
        request.plan_hash.clone_from(&self.hash);
        request.plan.clone_from(&self.decisions);
    }

    /// Refuses to go on from a checkpoint of another plan.
    ///
    /// # Errors
    /// The first decision that differs, with its flag.
    pub(super) fn check(&self, checkpoint: &Checkpoint) -> Result<(), PlanError> {
        let before = &checkpoint.request;
        if before.plan_hash == self.hash {
            return Ok(());
        }
        let started =
            format!("the files and the xdpmap ({}) that the scan was started with", checkpoint.program);
        let mut pairs = before.plan.iter().zip(&self.decisions);
        let what = match pairs.find(|(before, now)| before != now) {
            Some((Decision { flag, value: before }, now)) if *flag == now.flag => {
                let remedy = if flag == INTERFACE { "another interface" } else { &started };
                format!("--{flag}: it would be {} instead of {before}; go on with {remedy}", now.value)
            }
            _ => format!("its decisions are others; go on with {started}"),
        };
        Err(PlanError::usage(
            "resume",
            format!("the plan is not the checkpoint's: {what}, or start a new scan"),
        ))
    }
}

fn decision(flag: &str, value: impl Into<String>) -> Decision {
    Decision { flag: flag.to_owned(), value: value.into() }
}

fn none() -> String {
    "none".to_owned()
}

fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

fn dedup(plan: DedupPlan) -> String {
    match plan {
        DedupPlan::Window(size) => format!("the last {size}"),
        DedupPlan::Full => "by address".to_owned(),
        DedupPlan::Targets => "by address and port".to_owned(),
        DedupPlan::None => none(),
    }
}

/// The columns of an output, in their order.
fn fields(sink: &SinkConfig) -> String {
    let names: Vec<&str> = sink.fields.fields().iter().map(|field| field.name).collect();
    names.join(",")
}

/// What frames begin with, which a file has but one kind of.
fn frames(link: LinkHeader) -> &'static str {
    match link {
        LinkHeader::Ethernet => "frames with an Ethernet header",
        LinkHeader::Bare => "bare IP packets",
    }
}

impl ProbePlan {
    /// SHA-256 of its probes to an address, apart from what a run decides or draws: MAC and source addresses, cookies,
    /// times.
    fn sha256(&self, ports: &PortList) -> String {
        let mut settings = self.settings(&[SOURCE], [MacAddr([0; 6]); 2], VlanTags::default(), 0);
        settings.key = Key::from_bytes([0; 16]);
        let ports = ports.as_slice().iter().copied().take(PORTS_TRIED).collect();
        self.module.visit(&[settings], ProbesTo(ports))
    }
}

/// The hash of the probes to these ports.
struct ProbesTo(Vec<u16>);

impl Visitor for ProbesTo {
    type Output = String;

    fn visit<P: Probe>(self, probes: &[P]) -> String {
        let mut hash = Sha256::new();
        let mut target = TargetBatch { len: 1, ..TargetBatch::default() };
        target.addresses[0] = TARGET.into();
        for probe in probes {
            let template = probe.template();
            let mut patches = template.batch();
            for port in &self.0 {
                target.ports[0] = *port;
                probe.emit(&target, probe.check().copies.ordinary(), &mut patches);
                for copy in 0..patches.len {
                    let mut frame = template.bytes().to_vec();
                    let len = template.layout().finish(&mut frame, &patches, copy);
                    hash.update(&frame[..len]);
                }
            }
        }
        digits(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::path::Path;

    use super::super::{Plan, Randomness, Resumed, resume};
    use super::*;
    use crate::checkpoint::file::Held;
    use crate::cli::{self, Surroundings};

    const DRAW: Randomness = Randomness { seed: 5, key: Key { k0: 7, k1: 7 }, timestamp: 9 };

    /// A plan that is made where nothing is sent: of these words, with results in this folder.
    fn plan(folder: &Path, words: &str) -> Plan {
        let line = format!("xdpmap --plan -i lo -S 192.0.2.7 -b /dev/null -o FOLDER/r.csv {words}");
        let line = line.replace("FOLDER", folder.to_str().unwrap());
        let line = cli::parse(line.split_whitespace().map(OsString::from), &Surroundings::default());
        Plan::new(&line.unwrap_or_else(|error| panic!("{error:?}")).args, &DRAW).unwrap()
    }

    /// What comes of a checkpoint when its scan goes on, with these words.
    fn gone_on(file: &Path, words: &[&str]) -> Result<Plan, String> {
        let arguments: Vec<OsString> = [file.as_os_str().to_owned(), "--plan".into()]
            .into_iter()
            .chain(words.iter().map(Into::into))
            .collect();
        let Resumed::Scan(resumption) = resume(&arguments)? else { panic!("there is something left to do") };
        Plan::resumed(&resumption.line.args, &resumption.draw, &resumption.checkpoint)
            .map_err(|error| error.to_string())
    }

    /// A scan goes on by its plan, however it is carried out; one that would ask or keep something else is refused, and
    /// what would differ is named.
    #[test]
    fn another_plan_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let payload = folder.path().join("payload");
        fs::write(&payload, "one").unwrap();
        let words =
            "-M udp -p 9,10 --probe-args file:FOLDER/payload -n 100 -N 50 -O csv -f saddr,sport 8.8.8.0/24";
        let begun = plan(folder.path(), words);
        let kept = begun.checkpoint.unwrap();
        assert_eq!(kept.request.plan_hash, begun.kept.hash());
        let started = "2026-01-31T12:00:00Z".to_owned();
        let mut checkpoint =
            Checkpoint::new(kept.request.clone(), &begun.targets.open, kept.outputs.clone(), started);
        checkpoint.counts.results = 20;
        let file = folder.path().join("r.csv.xdpmap");
        let write = |checkpoint: &Checkpoint| Held::at(file.clone()).write(checkpoint).unwrap();
        write(&checkpoint);
        for words in [&[][..], &["-r", "5"], &["-S", "192.0.2.9", "-T", "1"]] {
            let rest = gone_on(&file, words).unwrap();
            assert_eq!(rest.kept.hash(), begun.kept.hash(), "{words:?}");
            assert_eq!(rest.limits.max_results.map(u64::from), Some(30));
        }
        fs::write(&payload, "two").unwrap();
        let error = gone_on(&file, &[]).unwrap_err();
        assert!(
            error.contains("--probe-args: it would be probes of SHA-256 ") && error.lines().count() == 1,
            "{error}"
        );
        assert!(error.contains("go on with the files and the xdpmap"), "{error}");
        fs::write(&payload, "one").unwrap();
        gone_on(&file, &[]).unwrap();
        // As if another version had decided otherwise.
        for (flag, before) in [
            ("shard", "0 of 2"),
            ("max-targets", "none"),
            ("max-results", "51"),
            ("probes", "2"),
            ("validate-source-port", "yes"),
            ("dedup-method", "none"),
            ("output-module", "json"),
            ("output-fields", "saddr"),
        ] {
            let mut other = checkpoint.clone();
            let decision = other.request.plan.iter_mut().find(|decision| decision.flag == flag).expect(flag);
            assert_ne!(decision.value, before);
            before.clone_into(&mut decision.value);
            other.request.plan_hash = "0".repeat(64);
            write(&other);
            let error = gone_on(&file, &[]).unwrap_err();
            assert!(error.contains(&format!("--{flag}: it would be ")), "{error}");
            assert!(error.contains(&format!(" instead of {before}; go on with ")), "{error}");
        }
        let mut other = checkpoint.clone();
        other.request.plan_hash = "0".repeat(64);
        write(&other);
        assert!(gone_on(&file, &[]).unwrap_err().contains("its decisions are others"));
    }

    /// What AS numbers stand for is decided when a scan begins: another table is another scan, if it changes the
    /// targets.
    #[test]
    fn another_table_of_systems_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("table");
        fs::write(&table, "8.8.8.0/24 64500\n8.8.9.0/24 64501\n").unwrap();
        let begun = plan(folder.path(), "-p 80 --asn-file FOLDER/table AS64500");
        assert_eq!(begun.targets.space.len(), 256);
        let kept = begun.checkpoint.unwrap();
        let started = "2026-01-31T12:00:00Z".to_owned();
        let checkpoint = Checkpoint::new(kept.request, &begun.targets.open, kept.outputs, started);
        let file = folder.path().join("r.csv.xdpmap");
        Held::at(file.clone()).write(&checkpoint).unwrap();
        gone_on(&file, &[]).unwrap();
        fs::write(&table, "8.8.8.0/24 64500\n8.8.9.0/24 64500\n").unwrap();
        let error = gone_on(&file, &[]).unwrap_err();
        assert!(
            error.contains(&format!("--asn-file: {} is not what it was", table.display()))
                && error.lines().count() == 1,
            "{error}"
        );
    }

    /// All that is asked or kept is in the hash, and what the key and the time draw is not.
    #[test]
    fn what_the_hash_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let hash = |words: &str| plan(folder.path(), words).kept.hash().to_owned();
        let one = hash("-p 80,81 8.8.8.0/24");
        assert_eq!(one, hash("-p 80,81 -r 7 -c 1 -T 1 8.8.8.0/24"));
        for other in [
            "-p 80 8.8.8.0/24",
            "-p 80,81 8.8.9.0/24",
            "-p 80,81 -e 6 8.8.8.0/24",
            "-p 80,81 -e 5 --shards 2 --shard 0 8.8.8.0/24",
            "-p 80,81 -n 5 8.8.8.0/24",
            "-p 80,81 -N 5 8.8.8.0/24",
            "-p 80,81 -P 2 8.8.8.0/24",
            "-p 80,81 -s 40000-50000 8.8.8.0/24",
            "-p 80,81 --no-rst 8.8.8.0/24",
            "-p 80,81 --probe-ttl 9 8.8.8.0/24",
            "-p 80,81 --probe-args linux 8.8.8.0/24",
            "-p 80,81 -M tcp_synackscan 8.8.8.0/24",
            "-p 80,81 -O json 8.8.8.0/24",
            "-p 80,81 -f saddr,sport,ttl 8.8.8.0/24",
            "-p 80,81 --output-filter success=1 8.8.8.0/24",
            "-p 80,81 --dedup-method none 8.8.8.0/24",
            "-p 80,81 --max-ports-per-host 1 8.8.8.0/24",
        ] {
            assert_ne!(hash(other), one, "{other}");
        }
        let mut other = DRAW;
        (other.key, other.timestamp) = (Key { k0: 8, k1: 8 }, 10);
        let words =
            "xdpmap --plan -i lo -S 192.0.2.7 -b /dev/null -p 80,81 --probe-args linux -e 5 8.8.8.0/24";
        let line = cli::parse(words.split_whitespace().map(OsString::from), &Surroundings::default());
        let args = line.unwrap_or_else(|error| panic!("{error:?}")).args;
        let hashes = [DRAW, other].map(|draw| Plan::new(&args, &draw).unwrap().kept.hash().to_owned());
        assert_eq!(hashes[0], hashes[1]);
    }
}
