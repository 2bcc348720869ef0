//! What will be done: validated, immutable, decided before the first packet.
//!
//! Owns every decision of a scan. It is made from the command line and from facts about the network, and it is the
//! only thing that the parts which carry the scan out are made from. A scan whose plan fails has touched nothing.

mod error;
mod interfaces;
mod network;
mod on_link;
mod output;
mod parse;
mod proof;
mod rate;
mod report;
mod routes;
mod targets;

use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::time::Duration;

use sha2::{Digest, Sha256};

pub use error::{EXIT_INTERFACE, EXIT_PRIVILEGES, EXIT_USAGE, PlanError};
pub use interfaces::ReplyPlan;
pub use network::NetworkPlan;
pub use on_link::OnLinkPlan;
pub use output::{DedupPlan, OutputPlan};
pub use parse::distinct_files;
pub use report::ReportPlan;
pub use targets::{Blocklist, DEFAULT_BLOCKLIST, HostList, TargetPlan, TargetRequest};

use crate::cli::{Args, IoMode, Toggle};
use crate::cookie::{Key, PortRange};
use crate::engine::{RATE_MAX_PPS, SCAN_MAX, cores};
use crate::packet::{Link, MacAddr, VlanTags, wire_len};
use crate::probe::{Module, PROBES_MAX, Probe, Proof, Settings, SourcePool, Visitor};
use crate::results::sink::{Module as OutputFormat, SinkConfig};

/// A scan.
#[derive(Debug)]
pub struct Plan {
    /// Which targets, in which order.
    pub targets: TargetPlan,
    /// What each is sent.
    pub probe: ProbePlan,
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
    /// Whether the NIC is to steer replies to the queues that are listened to.
    pub steer: bool,
    /// What becomes of the replies.
    pub output: OutputPlan,
    /// What is said about the scan, and where.
    pub report: ReportPlan,
    /// Print the probes instead of sending them.
    pub dryrun: bool,
    /// Of the probes, print the bare targets, in binary; only with `dryrun`.
    pub fast_dryrun: bool,
    /// What the user should know before the first packet.
    pub warnings: Vec<String>,
}

/// The probes of a scan.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// The probe module, with its arguments.
    pub module: Module,
    /// Its arguments as they were given.
    pub args: Option<String>,
    /// Probes to each target.
    pub copies: u32,
    /// IP time to live.
    pub ttl: u8,
    /// Whether to reset what SYN-ACKs have half opened.
    pub reset: bool,
    /// Whether only the port that was probed may answer.
    pub port_in_cookie: bool,
    /// The scan's secret.
    pub key: Key,
    /// Source ports.
    pub source_ports: PortRange,
}

impl ProbePlan {
    /// How hard its replies are to forge.
    pub fn proof(&self) -> Proof {
        self.module.proof(self.source_ports, self.copies)
    }

    /// Length of a probe's frame without FCS and VLAN tags, the longest if they differ.
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

    /// What a probe is made from. `macs` are ours and the gateway's.
    fn settings(&self, sources: &[Ipv4Addr], macs: [MacAddr; 2], tags: VlanTags, timestamp: u32) -> Settings {
        Settings {
            key: self.key,
            sources: SourcePool {
                addresses: sources.iter().map(|&address| address.into()).collect(),
                ports: self.source_ports,
            },
            other_sources: Vec::new(),
            copies: self.copies,
            link: Link::Ethernet,
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
    /// Probes a second over all workers; 0 is no limit.
    pub rate_pps: f64,
    /// What `--bandwidth` asked for. Resets are paid for as well then: the link is what is to be spared.
    pub bandwidth_bps: Option<u64>,
    /// Most probes that are sent at a time; at least those to one target.
    pub batch: usize,
    /// Stop sending after this.
    pub max_runtime: Option<Duration>,
    /// Stop after so many results.
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

/// The workers of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPlan {
    /// How many; each owns a TX queue.
    pub count: u32,
    /// Whether the user said how many.
    pub count_given: bool,
    /// RX queues, all of which are read.
    pub queues: u32,
    /// Whether the user said which.
    pub queues_given: bool,
    /// Their cores, used in turn.
    pub cores: Vec<usize>,
    /// How to reach the NIC.
    pub io_mode: IoMode,
    /// Packets that a call polls the driver for, where workers poll.
    pub busy_poll: Option<u16>,
    /// Drop rather than pass what is aimed at our ports and is neither a valid reply nor for a socket of the host.
    pub drop_invalid: bool,
}

/// What a plan takes from chance: drawn by the caller, so that a plan is a function of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// The seed, unless one is given.
    pub seed: u64,
    /// The cookie key.
    pub key: Key,
    /// Seconds since the Unix epoch: TSval of the option layouts that have one.
    pub timestamp: u32,
}

impl Plan {
    /// Decides everything. Reads the lists named and asks the kernel about the interface; changes nothing, but for
    /// the neighbour entry of the gateway, which the kernel is asked to resolve if it is missing.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(args: &Args, draw: &Draw) -> Result<Self, PlanError> {
        let mut warnings = Vec::new();
        distinct_files(args)?;
        parse::refuse_unfit(args)?;
        let mut probe = probe_plan(args, draw)?;
        let request = TargetRequest::of_scan(args, probe.module.info())?;
        let targets = TargetPlan::new(&request, draw.seed, &mut warnings)?;
        warnings.extend(targets.unprotected());
        warnings.extend(probe.module.fit(targets.space.ports()));
        let mut limits = limit_plan(args, &probe, 0)?;
        refuse_endless(&limits, targets.expected(), probe.copies, args)?;
        let mut output = OutputPlan::new(args, &probe.module.info().fields, targets.space.ports().len())?;
        let report = ReportPlan::new(args)?;
        warnings.extend(report::remarks(args));
        if args.engine.sender_threads == Some(0) {
            return Err(PlanError::usage("--sender-threads", "give a number from 1 on"));
        }
        let mut networks = interfaces::networks(args, &targets, limits.rate_pps, &mut warnings)?;
        if networks.iter().any(|network| network.no_xdp.is_some()) && !args.scan.is_dry() {
            parse::refuse_queue_flags(args)?;
        }
        let sources: Vec<Ipv4Addr> = networks.iter().flat_map(|network| network.sources.clone()).collect();
        proof::check(&probe, &sources, args, &mut warnings)?;
        let tags = networks.iter().map(|network| network.tags.len()).max().unwrap_or(0);
        if tags > 0 {
            limits = limit_plan(args, &probe, 4 * tags)?;
        }
        let queues = networks.iter().map(|network| network.queues.len() as u32).sum();
        let senders: Vec<u32> = networks.iter().map(|network| network.senders).collect();
        // One node for all workers: with cards on several, that of the first.
        let node = networks.iter().find_map(|network| network.device().and_then(|device| device.numa_node));
        let cores = cores::choose_near(&args.engine.cores, node)?;
        let workers = worker_plan(args, cores, queues, &senders, &mut warnings);
        let replies = interfaces::replies(args, &networks)?;
        let network = networks.remove(0);
        let holds_frames = |sink: &SinkConfig| sink.module == OutputFormat::Pcap;
        let has_frames = output.sinks.iter().any(holds_frames) || output.probes_file.is_some();
        if has_frames && networks.iter().any(|other| other.link != network.link) {
            let what = "frames with and without an Ethernet header fit no pcap file; scan through one interface at a time";
            return Err(PlanError::usage("--interface", what));
        }
        output.sinks.iter_mut().for_each(|sink| sink.link = network.link);
        let (dryrun, fast_dryrun) = (args.scan.is_dry(), args.scan.fast_dryrun);
        Ok(Self {
            targets,
            probe,
            network,
            limits,
            workers,
            steer: args.engine.steer,
            output,
            report,
            dryrun,
            fast_dryrun,
            warnings,
            other_networks: networks,
            replies,
        })
    }

    /// The network side of each interface.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkPlan> + Clone {
        std::iter::once(&self.network).chain(&self.other_networks)
    }

    /// Source addresses of the scan, of all interfaces.
    pub fn sources(&self) -> Vec<Ipv4Addr> {
        self.networks().flat_map(|network| &network.sources).copied().collect()
    }

    /// What the probe module is made from, for each interface.
    pub fn settings(&self, draw: &Draw) -> Vec<Settings> {
        let all = self.sources();
        let own = |network: &NetworkPlan| {
            let macs = [network.source_mac, network.gateway_mac];
            let settings = self.probe.settings(&network.sources, macs, network.tags, draw.timestamp);
            let others = all.iter().filter(|source| !network.sources.contains(source));
            Settings {
                other_sources: others.map(|&source| source.into()).collect(),
                reset: settings.reset && !self.dryrun,
                link: network.link,
                ..settings
            }
        };
        self.networks().map(own).collect()
    }

    /// Hash of everything that decides what is sent to whom, but for what is left to chance (the cookie key): equal hashes
    /// mean that the same was asked for.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        let probe = &self.probe;
        hash.update(b"xdpmap plan 1\n");
        hash.update(self.targets.order_hash.0);
        hash.update(format!(
            "shard {}/{} first {:?} probe {} {} x{} ttl {} from {:?} ports {:?}",
            self.targets.shard,
            self.targets.shards,
            self.targets.max_targets,
            probe.module.info().name,
            probe.args.as_deref().unwrap_or_default(),
            probe.copies,
            probe.ttl,
            self.sources(),
            probe.source_ports,
        ));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn probe_plan(args: &Args, draw: &Draw) -> Result<ProbePlan, PlanError> {
    let module = Module::parse(&args.probe.probe_module, args.probe.probe_args.as_deref())?;
    if args.scan.fast_dryrun && !module.info().has_ports {
        let what = format!("{} probes no ports, which it would write; use --dryrun", module.info().name);
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
            format!("each of the {copies} probes to a target needs a source port of its own; give more");
        return Err(PlanError::usage("--source-port", what));
    }
    Ok(ProbePlan {
        module,
        args: args.probe.probe_args.clone(),
        copies: args.scan.probes,
        ttl: args.probe.probe_ttl,
        reset: !args.probe.no_rst,
        port_in_cookie,
        key: draw.key,
        source_ports,
    })
}

fn limit_plan(args: &Args, probe: &ProbePlan, tags_len: usize) -> Result<LimitPlan, PlanError> {
    let bandwidth_bps = args.scan.bandwidth.as_deref().map(parse::bandwidth_bps).transpose()?;
    let rate_pps = match bandwidth_bps {
        Some(bps) => rate::of_bandwidth(bps, wire_len(probe.frame_len() + tags_len))?,
        None => args.scan.rate,
    };
    if rate_pps > RATE_MAX_PPS {
        let flag = if bandwidth_bps.is_some() { "--bandwidth" } else { "--rate" };
        return Err(PlanError::usage(
            flag,
            "no NIC takes that many packets a second; --rate 0 means no limit",
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
        bandwidth_bps,
        max_runtime: max_runtime.map(|seconds| Duration::from_secs(seconds.get())),
        max_results,
        cooldown: Duration::from_secs(args.scan.cooldown_time),
        batch: args.scan.batch.max(probe.copies) as usize,
        max_send_failures: u64::try_from(args.scan.max_sendto_failures).ok(),
        min_hitrate_percent: args.scan.min_hitrate,
        max_link_down: Duration::from_secs(args.scan.max_link_down),
    })
}

/// Refuses a scan that would outlast the clocks of its workers.
fn refuse_endless(limits: &LimitPlan, targets: u64, copies: u32, args: &Args) -> Result<(), PlanError> {
    if limits.rate_pps == 0.0 {
        return Ok(());
    }
    let seconds = targets as f64 * f64::from(copies) / limits.rate_pps;
    let is_limited = limits.max_runtime.is_some_and(|limit| limit <= SCAN_MAX);
    if args.scan.is_dry() || is_limited || seconds <= SCAN_MAX.as_secs_f64() {
        return Ok(());
    }
    const DAY_S: u64 = 24 * 3600;
    let what = format!(
        "at {} packets/s the scan would take {} days, and none may take more than {}: raise the rate, or limit the scan by \
         --shards, --max-targets or --max-runtime",
        limits.rate_pps,
        (seconds / DAY_S as f64).floor(),
        SCAN_MAX.as_secs() / DAY_S
    );
    Err(PlanError::usage("--rate", what))
}

/// `queues` are those of all interfaces; `senders` are those of each that can send, and every interface has a worker at
/// least.
fn worker_plan(
    args: &Args,
    cores: Vec<usize>,
    queues: u32,
    senders: &[u32],
    warnings: &mut Vec<String>,
) -> WorkerPlan {
    let least = if args.scan.is_dry() { 1 } else { senders.len() as u32 };
    let most = if args.scan.is_dry() { 1 } else { senders.iter().sum() };
    let count = args.engine.sender_threads.unwrap_or(cores.len() as u32).clamp(least, most);
    if let Some(asked) = args.engine.sender_threads.filter(|&asked| asked > most) {
        warnings.push(format!(
            "--sender-threads: {asked} workers need as many TX queues, and there {} {most}; using {count}",
            if most == 1 { "is" } else { "are" }
        ));
    }
    if let Some(asked) = args.engine.sender_threads.filter(|&asked| asked < least) {
        warnings.push(format!("--sender-threads: {asked} is too few for {least} interfaces; using {count}"));
    }
    let count_given = args.engine.sender_threads.is_some();
    WorkerPlan {
        count,
        count_given,
        queues,
        queues_given: args.engine.queues.is_some(),
        cores,
        io_mode: args.engine.io_mode,
        busy_poll: args.engine.busy_poll,
        drop_invalid: args.engine.drop_invalid,
    }
}
