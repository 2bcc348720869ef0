//! What a scan will do: validated, immutable, decided before the first packet.
//!
//! The plan owns every decision. It is made from the command line and from facts about the network, and the parts that
//! carry the scan out are made from nothing else. If planning fails, nothing has been changed.

mod attachment;
pub mod batch;
mod blocklist;
mod canaries;
mod checkpoint;
mod described;
mod error;
mod files;
mod inputs;
mod interfaces;
mod kept;
mod load;
mod network;
mod next_hops;
mod on_link;
mod output;
mod parse;
mod proof;
mod rate;
mod reasons;
mod report;
mod resume;
mod routes;
mod second;
mod targets;
mod told;
mod top_ports;
mod workers;

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::time::Duration;

use wire::packet::{LinkHeader, MacAddr, VlanTags, wire_len};
use wire::proof::{Copies, Key, PortRange, Proof, SourcePool};

pub use self::targets::{HostList, TargetPlan, TargetRequest};
pub use blocklist::{Blocklist, BlocklistSource, DEFAULT_BLOCKLIST, ReadAgain};
pub use canaries::CanaryPlan;
pub use checkpoint::{CheckpointPlan, beside as checkpoint_beside, path_of as checkpoint_of};
pub use error::{PACKET_MAY_HELP, PlanError, list_remedy, network_text};
pub use files::{distinct_files, place_of_file};
pub use inputs::InputList;
use interfaces::Interfaces;
pub use interfaces::ReplyPlan;
pub use kept::Kept;
pub use load::Load;
pub use network::NetworkPlan;
pub use on_link::OnLinkPlan;
pub use output::{DedupPlan, OutputPlan};
pub use parse::bandwidth;
pub use rate::rate_of_bandwidth;
pub use reasons::{NAMED_MAX as REASONS_NAMED_MAX, Reason, Reasons};
pub use report::{ControlPlace, MetricsPlan, ReportPlan};
pub use resume::{Resumed, Resumption, resume, resume_command, resume_or_start};
pub use second::SecondPlan;
pub use workers::WorkerPlan;

use crate::checkpoint::Checkpoint;
use crate::cli::{Args, Rate, Toggle};
use crate::engine::{RATE_MAX_PPS, cores};
use crate::printable::printable;
use crate::probe::attribution::Uri;
use crate::probe::{Carried, Module, PROBES_MAX, Probe, ProbeSettings, Visitor};
use crate::results::sink::{Module as OutputFormat, SinkConfig};

/// The seed that these random bytes stand for.
///
/// It is below 2^53: readers of JSON that take all numbers for floating point (RFC 8259, section 6), such as jq 1.6 and
/// JavaScript, change larger ones, and another seed is another order.
pub fn drawn_seed(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes) >> 11
}

/// A scan.
#[derive(Debug)]
pub struct Plan {
    /// Which targets, in which order.
    pub targets: TargetPlan,
    /// What the networks receive of which most is probed, if the rate is limited.
    pub loads: Vec<Load>,
    /// What is sent to each target.
    pub probe: ProbePlan,
    /// Second probes some time after the first ones.
    pub second: Option<SecondPlan>,
    /// Probes to hosts that have answered before.
    pub canaries: CanaryPlan,
    /// Through which interface and to which gateway.
    pub network: NetworkPlan,
    /// The other interfaces that share the work, if there are any, each with its own gateway and addresses.
    pub other_networks: Vec<NetworkPlan>,
    /// Another interface on which replies may arrive.
    pub replies: Option<ReplyPlan>,
    /// How fast, and until when.
    pub limits: LimitPlan,
    /// With which workers.
    pub workers: WorkerPlan,
    /// Whether the NIC is set to steer replies to the queues that are read.
    pub steer: bool,
    /// Whether the running scan is confined.
    pub sandbox: bool,
    /// What is done with the replies.
    pub output: OutputPlan,
    /// The checkpoint that the scan keeps.
    pub checkpoint: Option<CheckpointPlan>,
    /// What is reported about the scan, and where.
    pub report: ReportPlan,
    /// Print the probes instead of sending them.
    pub dryrun: bool,
    /// Print only the targets, in binary; only with `dryrun`.
    pub fast_dryrun: bool,
    /// Whether a large scan begins without a moment in which it can be ended.
    pub begins_at_once: bool,
    /// What the user should know before the first packet.
    pub warnings: Vec<String>,
    /// What every run of the scan keeps.
    pub kept: Kept,
    /// Why the scan could not start now. Only a plan that is printed has it: otherwise it is an error.
    pub obstacle: Option<String>,
}

/// The probes of a scan.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// The probe module, with its arguments.
    pub module: Module,
    /// Its arguments as they were given.
    pub args: Option<String>,
    /// Where it is described who sends the probes and why, if that was given.
    pub attribution: Option<Uri>,
    /// The numbers of the probes to each target.
    pub copies: Copies,
    /// IP time to live.
    pub ttl: u8,
    /// Whether to reset the connections that SYN-ACKs have left half open.
    pub reset: bool,
    /// Whether a reply counts only if it comes from the port that was probed.
    pub port_in_cookie: bool,
    /// The scan's secret.
    pub key: Key,
    /// Source ports.
    pub source_ports: PortRange,
}

impl ProbePlan {
    /// How hard its replies are to forge.
    pub fn proof(&self) -> Proof {
        self.module.proof(self.source_ports, self.copies.to_a_target())
    }

    /// The URI of `--attribution`, if any, and which probes have it in them.
    pub fn attributed(&self) -> Option<(&Uri, Carried)> {
        self.attribution.as_ref().map(|uri| (uri, self.module.carries(uri)))
    }

    /// Length of a probe's frame without FCS and VLAN tags. If lengths differ, the longest.
    pub fn frame_len(&self) -> usize {
        struct FrameLen;
        impl Visitor for FrameLen {
            type Output = usize;
            fn visit<P: Probe>(self, probes: &[P]) -> usize {
                probes.iter().map(|probe| probe.template().bytes().len()).max().unwrap_or(0)
            }
        }
        self.module.visit(&[self.settings(&[], [MacAddr([0; 6]); 2], VlanTags::default(), 0)], FrameLen)
    }

    /// The settings of the probe module. `macs` are our MAC address and the gateway's.
    fn settings(
        &self,
        sources: &[Ipv4Addr],
        macs: [MacAddr; 2],
        tags: VlanTags,
        timestamp: u32,
    ) -> ProbeSettings {
        ProbeSettings {
            key: self.key,
            sources: SourcePool {
                addresses: sources.iter().map(|&address| address.into()).collect(),
                ports: self.source_ports,
            },
            other_sources: Vec::new(),
            copies: self.copies,
            link: LinkHeader::Ethernet,
            source_mac: macs[0],
            gateway_mac: macs[1],
            tags,
            ttl: self.ttl,
            timestamp,
            reset: self.reset,
            port_in_cookie: self.port_in_cookie,
        }
    }
}

/// How fast, and until when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitPlan {
    /// Probes per second over all workers; 0 is no limit.
    pub rate_pps: f64,
    /// Whether the rate is found while the scan runs; then `rate_pps` is the most that it may be.
    pub finds_rate: bool,
    /// The rate of all shards together, of which `rate_pps` is this one's share, if that was given.
    pub total_rate_pps: Option<f64>,
    /// The value of `--bandwidth`. If it is given, resets count towards the rate, because the limit protects the link.
    pub bandwidth_bps: Option<u64>,
    /// Most probes that are sent at a time. At least as many as go to one target.
    pub batch: usize,
    /// Stop sending after this.
    pub max_runtime: Option<Duration>,
    /// Stop after this many results.
    pub max_results: Option<NonZeroU64>,
    /// Wait for late replies.
    pub cooldown: Duration,
    /// End when the kernel has refused to send more often than this.
    pub max_send_failures: Option<u64>,
    /// End when the hit rate in percent stays below this; 0 is no limit.
    pub min_hitrate_percent: f64,
    /// End when the link stays down longer than this.
    pub max_link_down: Duration,
}

/// The random part of a plan. The caller draws it, so that a plan is a function of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Randomness {
    /// The seed, unless one is given.
    pub seed: u64,
    /// The cookie key.
    pub key: Key,
    /// Seconds since the Unix epoch, used as TSval in the TCP option layouts that have timestamps.
    pub timestamp: u32,
}

impl Plan {
    /// Makes every decision. Reads the lists that are named, and queries the kernel about the interface. Changes
    /// nothing, except that the kernel may add a neighbour entry when it resolves the gateway.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(args: &Args, draw: &Randomness) -> Result<Self, PlanError> {
        Self::make(args, draw, None)
    }

    /// Makes the decisions of a scan that goes on from a checkpoint. `args` and `draw` are the checkpoint's.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn resumed(args: &Args, draw: &Randomness, checkpoint: &Checkpoint) -> Result<Self, PlanError> {
        Self::make(args, draw, Some(checkpoint))
    }

    fn make(args: &Args, draw: &Randomness, resumed: Option<&Checkpoint>) -> Result<Self, PlanError> {
        let mut warnings = Vec::new();
        distinct_files(args)?;
        parse::refuse_unfit(args)?;
        let mut probe = probe_plan(args, draw)?;
        let mut request = TargetRequest::of_scan(args, &probe.module)?;
        if let Some(checkpoint) = resumed {
            request.blocked_at_start = Some(checkpoint.request.blocked.clone());
            request.withdrawn_before =
                checkpoint.withdrawn().map_err(|what| PlanError::usage("resume", what))?;
        }
        let mut targets = TargetPlan::new(&request, draw.seed, &mut warnings)?;
        let most = [targets.max_targets, args.scan.max_results];
        if let Some(checkpoint) = resumed {
            checkpoint::go_on(&mut targets, checkpoint)?;
        }
        warnings.extend(targets.unprotected());
        let unfit = probe.module.fit(targets.space.ports());
        warnings.extend(unfit.map(|what| format!("--probe-args auto: {what}")));
        if let Some((_, Carried::None(why))) = probe.attributed() {
            let name = probe.module.info().name;
            warnings.push(format!(
                "--attribution: it is only in the metadata; no probe of {name} carries it, because {why}"
            ));
        }
        let second = SecondPlan::new(args, &mut probe)?;
        let mut limits = limit_plan(args, &probe, &targets)?;
        let canaries = CanaryPlan::new(args, &mut probe, targets.expected())?;
        let probes = second::expected_probes(&targets, &probe, second.as_ref());
        rate::refuse_endless(&limits, probes, args)?;
        let output = OutputPlan::new(args, probe.module.info(), targets.space.ports().len())?;
        let inputs = inputs::Inputs::of(args, &targets);
        let mut checkpoint = CheckpointPlan::new(args, &output, &targets, &inputs, draw, resumed)?;
        let output = match resumed {
            Some(checkpoint) => output.going_on(checkpoint, &mut limits)?,
            None => output,
        };
        let report = ReportPlan::new(args, &inputs)?;
        warnings.extend(report::remarks(args).into_iter().chain(output.misnamed()));
        if args.engine.sender_threads == Some(0) {
            return Err(PlanError::usage("--sender-threads", "give a number from 1 on"));
        }
        let found = Interfaces::find(args, &targets, limits, probe.frame_len(), &mut warnings)?;
        let Interfaces { mut networks, replies, limits, obstacle } = found;
        let sources: Vec<Ipv4Addr> = networks.iter().flat_map(|network| network.sources.clone()).collect();
        proof::check(&probe, &sources, args, &mut warnings)?;
        let queues = networks.iter().map(|network| network.queues.len() as u32).sum();
        let senders: Vec<u32> = networks.iter().map(|network| network.senders).collect();
        // All workers run on one NUMA node. If the NICs are on several, the first NIC decides.
        let node = networks.iter().find_map(|network| network.device().and_then(|device| device.numa_node));
        let cores = cores::choose_near(&args.engine.cores, node)?;
        let workers = WorkerPlan::new(args, cores, queues, &senders, &mut warnings);
        let network = networks.remove(0);
        let holds_frames = |sink: &SinkConfig| sink.module == OutputFormat::Pcap;
        let has_frames = output.sinks.iter().any(holds_frames) || output.probes_file.is_some();
        if has_frames && networks.iter().any(|other| other.link != network.link) {
            let what = "a pcap file cannot hold frames both with and without an Ethernet header; scan through one \
                        interface at a time";
            return Err(PlanError::usage("--interface", what));
        }
        let output = output.of_frames(network.link);
        let kept = Kept::of(&targets, &probe, second.as_ref(), &output, most);
        let output = output.described(&described::scan(&targets, &probe, &kept, &report));
        match (resumed, &mut checkpoint) {
            (Some(before), _) => kept.check(before)?,
            (None, Some(new)) => kept.write_into(&mut new.request),
            (None, None) => {}
        }
        let (dryrun, fast_dryrun) = (args.scan.is_dry(), args.scan.fast_dryrun);
        let to_each = f64::from(probe.copies.probes()) + second.map_or(0.0, |second| second.share);
        let loads = load::loads(&targets, to_each, limits.rate_pps);
        let heavy = loads.iter().filter(|load| load.is_heavy() && !dryrun);
        warnings.extend(heavy.map(|load| format!("{}; a lower --rate does less harm", load.told())));
        Ok(Self {
            targets,
            loads,
            probe,
            second,
            canaries,
            network,
            limits,
            workers,
            steer: args.engine.steer,
            sandbox: !args.engine.no_sandbox,
            output,
            checkpoint,
            report,
            dryrun,
            fast_dryrun,
            begins_at_once: args.scan.yes,
            warnings,
            kept,
            obstacle,
            other_networks: networks,
            replies,
        })
    }

    /// The network side of each interface.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkPlan> + Clone {
        std::iter::once(&self.network).chain(&self.other_networks)
    }

    /// Bytes that a probe takes on the wire, with its framing. If lengths differ, the most.
    pub fn probe_wire_len(&self) -> usize {
        let tags = self.networks().map(|network| network.tags.len()).max().unwrap_or(0);
        wire_len(self.probe.frame_len() + 4 * tags)
    }

    /// Source addresses of the scan, of all interfaces.
    pub fn sources(&self) -> Vec<Ipv4Addr> {
        self.networks().flat_map(|network| &network.sources).copied().collect()
    }

    /// The settings of the probe module for each interface.
    pub fn settings(&self, draw: &Randomness) -> Vec<ProbeSettings> {
        let all = self.sources();
        let own = |network: &NetworkPlan| {
            let macs = [network.source_mac, network.gateway_mac];
            let settings = self.probe.settings(&network.sources, macs, network.tags, draw.timestamp);
            let others = all.iter().filter(|source| !network.sources.contains(source));
            ProbeSettings {
                other_sources: others.map(|&source| source.into()).collect(),
                reset: settings.reset && !self.dryrun,
                link: network.link,
                ..settings
            }
        };
        self.networks().map(own).collect()
    }
}

/// What was typed, as text. Bytes that are not text are escaped.
fn text_of(typed: &OsStr) -> String {
    typed.to_str().map_or_else(|| printable(typed), str::to_owned)
}

fn probe_plan(args: &Args, draw: &Randomness) -> Result<ProbePlan, PlanError> {
    let (name, module_args) = (&args.probe.probe_module, args.probe.probe_args.as_deref());
    let attribution = args.probe.attribution.as_ref();
    let module = match attribution {
        Some(uri) => Module::attributed(name, module_args, uri)?,
        None => Module::parse_os(name, module_args)?,
    };
    if args.scan.fast_dryrun && !module.info().has_ports() {
        let what =
            format!("{} probes no ports, and a fast dry run writes ports; use --dryrun", module.info().name);
        return Err(PlanError::usage("--fast-dryrun", what));
    }
    let port_in_cookie = match args.network.validate_source_port {
        Some(Toggle::Enable) => true,
        Some(Toggle::Disable) => false,
        None => module.validates_source_port(),
    };
    let source_ports = parse::source_ports(&args.network.source_port)?;
    if !(1..=PROBES_MAX).contains(&args.scan.probes) {
        return Err(PlanError::usage("--probes", format!("give a number from 1 to {PROBES_MAX}")));
    }
    module.check_copies(args.scan.probes)?;
    if source_ports.count < args.scan.probes {
        let copies = args.scan.probes;
        let what =
            format!("each of the {copies} probes to a target needs a different source port; give more ports");
        return Err(PlanError::usage("--source-port", what));
    }
    Ok(ProbePlan {
        module,
        args: module_args.map(text_of),
        attribution: attribution.cloned(),
        copies: Copies::of(args.scan.probes),
        ttl: args.probe.probe_ttl,
        reset: !args.probe.no_rst,
        port_in_cookie,
        key: draw.key,
        source_ports,
    })
}

fn limit_plan(args: &Args, probe: &ProbePlan, targets: &TargetPlan) -> Result<LimitPlan, PlanError> {
    let (most_pps, most_bps, finds_rate) = match &args.scan.rate {
        Rate::Pps(pps) | Rate::Steps(pps) => (*pps, None, false),
        Rate::Auto => (0.0, None, true),
        Rate::AutoPps(pps) => (*pps, None, true),
        Rate::AutoBandwidth(most) => {
            (0.0, Some(bandwidth(most).map_err(|what| PlanError::usage("--rate", what))?), true)
        }
    };
    let given_bps = args.scan.bandwidth.as_deref().map(parse::bandwidth_bps).transpose()?;
    let bandwidth_bps = given_bps.or(most_bps);
    let rate_pps = match (bandwidth_bps, args.scan.total_rate) {
        (Some(bps), _) => rate::of_bandwidth(bps, wire_len(probe.frame_len()))?,
        (None, Some(total_pps)) => rate::of_total(total_pps, targets.shard, targets.shards)?,
        (None, None) => most_pps,
    };
    if rate_pps > RATE_MAX_PPS {
        let flag = match (given_bps, args.scan.total_rate) {
            (Some(_), _) => "--bandwidth",
            (None, Some(_)) => "--total-rate",
            (None, None) => "--rate",
        };
        return Err(PlanError::usage(
            flag,
            "no NIC sends that many packets per second; --rate 0 means no limit",
        ));
    }
    let above_zero = |flag, number: Option<u64>| match number.map(NonZeroU64::new) {
        Some(None) => Err(PlanError::usage(flag, "give a number above 0, or leave it out for no limit")),
        number => Ok(number.flatten()),
    };
    let max_results = above_zero("--max-results", args.scan.max_results)?;
    let max_runtime = above_zero("--max-runtime", args.scan.max_runtime)?;
    Ok(LimitPlan {
        rate_pps,
        finds_rate: finds_rate && !args.scan.is_dry(),
        total_rate_pps: args.scan.total_rate,
        bandwidth_bps,
        max_runtime: max_runtime.map(|seconds| Duration::from_secs(seconds.get())),
        max_results,
        cooldown: Duration::from_secs(args.scan.cooldown_time),
        batch: args.scan.batch.max(probe.copies.probes()) as usize,
        max_send_failures: u64::try_from(args.scan.max_sendto_failures).ok(),
        min_hitrate_percent: args.scan.min_hitrate,
        max_link_down: Duration::from_secs(args.scan.max_link_down),
    })
}
