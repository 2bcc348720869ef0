//! Which targets, in which order, and which share of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use targets::bulk::Bulk;
use targets::list::{HostName, List, OnBadEntry, Purpose};
use targets::names;
use targets::ranges::RangeSet;
use targets::space::Fingerprint;
use targets::{AddressSet, Interval, PairSet, Permutation, PortList, Systems, TargetSpace, reserved, shard};

use super::blocklist::{Blocked, Blocklist, BlocklistSource, DEFAULT_BLOCKLIST, read, warn_of_ipv6};
use super::{PlanError, parse, top_ports};
use crate::cli::{Args, ShardChoice};
use crate::lists::{self, STANDARD_INPUT};
use crate::printable::printable;
use crate::probe::{Module, ModuleInfo, Ports};

/// The targets that were requested.
#[derive(Clone, Debug, Default)]
pub struct TargetRequest {
    /// Addresses, prefixes, ranges and host names of the command line.
    pub typed: Vec<String>,
    /// Networks to choose from (`-w`).
    pub allowlist: Option<PathBuf>,
    /// Networks to leave out (`-b`). If none is given, [`DEFAULT_BLOCKLIST`], if it exists.
    pub blocklists: Vec<PathBuf>,
    /// More networks to leave out, as they were typed: each value has one, or several with commas between them.
    pub excluded: Vec<String>,
    /// Addresses to choose from (`-I`).
    pub list_of_ips: Option<PathBuf>,
    /// (address, port) pairs to choose from (`--pairs-file`).
    pub pairs: Option<PathBuf>,
    /// The ports; not for a list of pairs, which has its own.
    pub ports: Option<PortList>,
    /// The table of AS numbers.
    pub asn_file: Option<PathBuf>,
    /// Whether reserved networks that `--allow-reserved` can lift may be probed if they are named.
    pub allow_reserved: bool,
    /// Whether bad lines of files are left out.
    pub ignore_errors: bool,
    /// The seed, if one was given.
    pub seed: Option<u64>,
    /// The number of shards that the scan is split into.
    pub shards: Option<u32>,
    /// Which of the shards this one is.
    pub shard: Option<u32>,
    /// Only the first N targets: a number, or a share with `%`.
    pub max_targets: Option<String>,
    /// In a scan that goes on, what the block list had at its start: without it, targets would have other indices. What
    /// the list has gained since is left out as well.
    pub blocked_at_start: Option<RangeSet>,
    /// In such a scan, what was left out in that way by the runs before.
    pub withdrawn_before: RangeSet,
}

impl TargetRequest {
    /// The targets that the command line of a scan requests.
    pub(super) fn of_scan(args: &Args, module: &Module) -> Result<Self, PlanError> {
        let info = module.info();
        let top = args.basic.top_ports.as_deref().map(|text| top_ports::read(text, module)).transpose()?;
        let ports = match (&args.basic.pairs_file, top) {
            (Some(_), _) if !info.has_ports() => {
                let what = format!("{} probes no ports; give addresses, with --list-of-ips-file", info.name);
                return Err(PlanError::usage("--pairs-file", what));
            }
            (Some(_), Some(_)) => {
                let what = "the pairs contain the ports, so leave --top-ports out";
                return Err(PlanError::usage("--pairs-file", what));
            }
            (Some(_), None) => args.basic.target_ports.as_deref().map(PortList::parse).transpose()?,
            (None, Some(top)) => Some(top),
            (None, None) => Some(ports(args.basic.target_ports.as_deref(), info)?),
        };
        Ok(Self {
            typed: args.targets.clone(),
            allowlist: args.basic.allowlist_file.clone(),
            blocklists: args.basic.blocklist_file.clone(),
            excluded: args.basic.exclude.clone(),
            list_of_ips: args.basic.list_of_ips_file.clone(),
            pairs: args.basic.pairs_file.clone(),
            asn_file: args.basic.asn_file.clone(),
            ports,
            allow_reserved: args.basic.allow_reserved,
            ignore_errors: args.basic.ignore_blocklist_errors,
            seed: args.scan.seed,
            shards: args.sharding.shards,
            shard: number_of(args)?,
            max_targets: args.scan.max_targets.clone(),
            blocked_at_start: None,
            withdrawn_before: RangeSet::default(),
        })
    }

    /// Whether any targets are named. Otherwise they are all of IPv4.
    fn is_named(&self) -> bool {
        !self.typed.is_empty()
            || self.allowlist.is_some()
            || self.list_of_ips.is_some()
            || self.pairs.is_some()
    }

    fn on_bad(&self) -> OnBadEntry {
        if self.ignore_errors { OnBadEntry::Skip } else { OnBadEntry::Fail }
    }
}

/// The targets of a scan.
#[derive(Debug)]
pub struct TargetPlan {
    /// The allowed (address, port) pairs.
    pub space: Arc<TargetSpace>,
    /// Their order.
    pub permutation: Permutation,
    /// Whether the seed was given rather than drawn.
    pub seed_given: bool,
    /// Which shard, from 0.
    pub shard: u32,
    /// How many shards there are.
    pub shards: u32,
    /// The shard's arc of the order.
    pub arc: Interval,
    /// The parts of the arc that are still to be probed, ascending and disjoint.
    pub open: Vec<Interval>,
    /// The part of it that is open for second probes, if there are any.
    pub second_open: Vec<Interval>,
    /// Only the first N targets of those.
    pub max_targets: Option<u64>,
    /// What the block lists had when the scan first started: targets are numbered without it.
    pub blocked: RangeSet,
    /// What they have gained since, in this run or another: numbered like other targets, and never probed.
    pub withdrawn: RangeSet,
    /// The block lists in force.
    pub blocklists: Vec<Blocklist>,
    /// Which files of them are read again.
    pub blocklist_source: BlocklistSource,
    /// The allow list, if any.
    pub allowlist_file: Option<String>,
    /// The list of addresses or of pairs, if any.
    pub hosts: Option<HostList>,
    /// The targets of the command line, as they were typed.
    pub typed: Vec<String>,
    /// The host names of all lists, and the addresses that they resolved to.
    pub names: Vec<HostName>,
    /// The networks that the command line and the allow list name together; empty for all of IPv4.
    pub explicit: RangeSet,
    /// What is never probed: the block list and the reserved networks.
    pub excluded: RangeSet,
    /// The reserved networks among it.
    pub floor: RangeSet,
    /// Hash of the targets and their order: the same on every machine whose shards belong together.
    pub order_hash: Fingerprint,
}

/// A list of single hosts, and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostList {
    /// Its name, as it was given; `-` is standard input.
    pub file: String,
    /// Different targets in it.
    pub distinct: u64,
    /// Repeats of a target.
    pub duplicates: u64,
    /// Different targets that the other lists and the reserved networks leave out.
    pub left_out: u64,
}

impl TargetPlan {
    /// Decides on the targets. Reads the lists and resolves host names, and does nothing else. `seed` is used if the
    /// request has no seed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(request: &TargetRequest, seed: u64, warnings: &mut Vec<String>) -> Result<Self, PlanError> {
        exclusive(request)?;
        let systems = request.asn_file.as_deref().map(systems).transpose()?;
        let mut asked = vec![typed(&request.typed, systems.as_deref())?];
        if let Some(path) = &request.allowlist {
            asked.push(read(path, Purpose::Probe, request.on_bad(), systems.as_deref(), warnings)?);
        }
        asked.iter().try_for_each(|list| reserved::check_targets(list, request.allow_reserved))?;
        let (files, typed) = (&request.blocklists, &request.excluded);
        let listed = Blocked::read(files, typed, request.on_bad(), systems, warnings)?;
        let explicit: RangeSet =
            asked.iter().flat_map(|list| &list.entries).map(|entry| entry.range).collect();
        if request.allow_reserved && !request.is_named() {
            warnings.push(
                "--allow-reserved has no effect here: it only allows reserved networks that are named as targets"
                    .to_owned(),
            );
        }
        let floor = reserved::floor(request.allow_reserved && request.is_named());
        let networks_named = !request.typed.is_empty() || request.allowlist.is_some();
        let today = listed.networks;
        let blocked = request.blocked_at_start.clone().unwrap_or_else(|| today.clone());
        let withdrawn = today.union(&request.withdrawn_before).subtract(&blocked);
        let permitted = RangeSet::paint(networks_named.then_some(&explicit), &blocked, &floor);
        let names = asked.into_iter().flat_map(|list| list.names).chain(listed.names).collect();
        if permitted.is_empty() {
            return Err(nothing_left(request, &explicit, &listed.lists));
        }
        let (space, hosts) = space(request, &permitted, warnings)?;
        let excluded = blocked.union(&withdrawn).union(&floor);
        let seed = request.seed.unwrap_or(seed);
        let permutation = Permutation::new(space.len(), seed)?;
        let (index, shards) = shard_of(request)?;
        let max_targets =
            request.max_targets.as_deref().map(|text| parse::max_targets(text, space.len())).transpose()?;
        Ok(Self {
            order_hash: space.order_fingerprint(&permutation),
            arc: shard(permutation.order(), index, shards),
            open: vec![shard(permutation.order(), index, shards)],
            second_open: vec![shard(permutation.order(), index, shards)],
            blocked,
            withdrawn,
            space: Arc::new(space),
            permutation,
            seed_given: request.seed.is_some(),
            shard: index,
            shards,
            max_targets,
            blocklists: listed.lists,
            blocklist_source: listed.source,
            allowlist_file: request.allowlist.as_ref().map(printable),
            hosts,
            typed: request.typed.clone(),
            names,
            explicit,
            excluded,
            floor,
        })
    }

    /// Whether all of IPv4 that is not reserved is the target.
    pub fn is_whole_internet(&self) -> bool {
        self.typed.is_empty() && self.allowlist_file.is_none() && self.hosts.is_none()
    }

    /// The warning before a scan of the whole Internet without any block list.
    pub(super) fn unprotected(&self) -> Option<String> {
        if !self.is_whole_internet() || self.blocklists.iter().any(|list| list.addresses > 0) {
            return None;
        }
        let names: Vec<String> = self.blocklists.iter().map(Blocklist::name).collect();
        let list = match &names[..] {
            [] => format!("there is no {DEFAULT_BLOCKLIST} and no -b"),
            [name] => format!("{name} contains no addresses"),
            names => format!("{} contain no addresses", names.join(", ")),
        };
        Some(format!(
            "the whole Internet is scanned without a block list: {list}; list there the networks that have opted out"
        ))
    }

    /// How many targets this scan will probe, accurate to the few group elements that stand for no target.
    pub fn expected(&self) -> u64 {
        self.targets_in(&self.open).min(self.max_targets.unwrap_or(u64::MAX))
    }

    /// How many targets the second walk will come to, as accurately.
    pub fn expected_second(&self) -> u64 {
        let before = self.targets_in(&self.second_open).saturating_sub(self.targets_in(&self.open));
        before + self.expected()
    }

    /// How many targets the runs before have probed, as accurately.
    pub fn expected_before(&self) -> u64 {
        self.targets_in(&[self.arc]).saturating_sub(self.targets_in(&self.open))
    }

    fn targets_in(&self, open: &[Interval]) -> u64 {
        let order = u128::from(self.permutation.order());
        let open: u64 = open.iter().map(Interval::len).sum();
        (u128::from(open) * u128::from(self.space.len()) / order) as u64
    }
}

/// Refuses options that exclude each other.
fn exclusive(request: &TargetRequest) -> Result<(), PlanError> {
    let lists = [
        ("--allowlist-file", request.allowlist.as_slice()),
        ("--blocklist-file", request.blocklists.as_slice()),
        ("--list-of-ips-file", request.list_of_ips.as_slice()),
        ("--pairs-file", request.pairs.as_slice()),
        ("--asn-file", request.asn_file.as_slice()),
    ];
    let is_input = |path: &PathBuf| path == Path::new(STANDARD_INPUT);
    let lists = lists.into_iter().flat_map(|(flag, paths)| paths.iter().map(move |path| (flag, path)));
    let mut from_input = lists.filter(|(_, path)| is_input(path));
    if let (Some((first, _)), Some((flag, _))) = (from_input.next(), from_input.next()) {
        let what = format!("standard input (-) is also {first}, and can be read only once; name a file");
        return Err(PlanError::usage(flag, what));
    }
    let what = match (&request.pairs, &request.list_of_ips, &request.ports) {
        (Some(_), Some(_), _) => "give one list of hosts: this or --list-of-ips-file",
        (Some(_), _, Some(_)) => "the pairs contain the ports, so leave --target-ports out",
        _ => return Ok(()),
    };
    Err(PlanError::usage("--pairs-file", what))
}

/// The targets as numbers, and how much of the list of hosts is used, if there is one.
fn space(
    request: &TargetRequest,
    permitted: &RangeSet,
    warnings: &mut Vec<String>,
) -> Result<(TargetSpace, Option<HostList>), PlanError> {
    if let Some(path) = &request.pairs {
        let bulk = lists::read_pairs(path, request.on_bad())?;
        warn_of(&bulk, warnings);
        let (file, targets) = (printable(path), bulk.targets);
        let (pairs, left_out) = PairSet::new(targets.into_iter(), permitted);
        let distinct = pairs.len() + left_out.removed;
        let hosts = HostList { file, distinct, duplicates: left_out.duplicates, left_out: left_out.removed };
        let space = TargetSpace::of_pairs(pairs).ok_or_else(|| no_host_left("--pairs-file", &hosts))?;
        return Ok((space, Some(hosts)));
    }
    let ports = request.ports.clone().unwrap_or_else(PortList::portless);
    let Some(path) = &request.list_of_ips else {
        return Ok((TargetSpace::new(AddressSet::new(permitted), ports), None));
    };
    let mut bulk = lists::read_addresses(path, request.on_bad())?;
    warn_of(&bulk, warnings);
    let settled = bulk.targets.settle(permitted);
    let addresses = AddressSet::from_pages(&bulk.targets);
    let hosts = HostList {
        file: printable(path),
        distinct: settled.distinct,
        duplicates: settled.duplicates,
        left_out: settled.removed,
    };
    if addresses.is_empty() {
        return Err(no_host_left("--list-of-ips-file", &hosts));
    }
    Ok((TargetSpace::new(addresses, ports), Some(hosts)))
}

fn no_host_left(flag: &'static str, hosts: &HostList) -> PlanError {
    let what = match hosts.left_out {
        0 => format!("{} names no IPv4 target; add one", lists::name(Path::new(&hosts.file))),
        count => format!(
            "the other lists and the reserved networks leave none of its {count} targets; name others, or see \
             --allow-reserved"
        ),
    };
    PlanError::usage(flag, what)
}

/// The table of AS numbers.
fn systems(path: &Path) -> Result<Arc<Systems>, PlanError> {
    let systems = lists::read_systems(path)?;
    if systems.is_empty() {
        let what = format!("{} has no IPv4 prefix; name a table of IPv4", lists::name(path));
        return Err(PlanError::usage("--asn-file", what));
    }
    Ok(Arc::new(systems))
}

/// The targets of the command line. A target that would be left out silently is an error, because the user typed it.
fn typed(targets: &[String], systems: Option<&Systems>) -> Result<List, PlanError> {
    let mut list = List::from_words(targets, Purpose::Probe, systems)?;
    if list.ipv6.count > 0 {
        let what =
            format!("target {} is IPv6, which cannot be scanned yet; leave it out", list.ipv6.first_line);
        return Err(PlanError::usage("command line", what));
    }
    list.look_up(&names::system, OnBadEntry::Fail)?;
    Ok(list)
}

fn nothing_left(request: &TargetRequest, explicit: &RangeSet, blocklists: &[Blocklist]) -> PlanError {
    match (&request.allowlist, blocklists) {
        (Some(path), _) if explicit.is_empty() => {
            let what = format!("{} names no IPv4 address; add one, or name targets", lists::name(path));
            PlanError::usage("--allowlist-file", what)
        }
        (_, [Blocklist { file: None, .. }]) => {
            let what = "what it names and the reserved networks leave no target; exclude less, or name other targets";
            PlanError::usage("--exclude", what)
        }
        (_, [_, ..]) => {
            let names: Vec<String> = blocklists.iter().map(Blocklist::name).collect();
            let what = format!(
                "{} and the reserved networks leave no target; shorten the {}, or name other targets",
                names.join(", "),
                if names.len() == 1 { "list" } else { "lists" }
            );
            PlanError::usage("--blocklist-file", what)
        }
        (_, []) => {
            let what = "all of them are in reserved networks; name others, or see --allow-reserved";
            PlanError::usage("targets", what)
        }
    }
}

/// The ports to probe. For a module without ports, the port number that stands for none.
fn ports(asked: Option<&str>, module: &ModuleInfo) -> Result<PortList, PlanError> {
    const FLAG: &str = "--target-ports";
    match (asked, module.ports) {
        (None, Ports::None) => Ok(PortList::portless()),
        (Some(_), Ports::None) => {
            Err(PlanError::usage(FLAG, format!("{} probes no ports; leave it out", module.name)))
        }
        (Some(ports), _) => Ok(PortList::parse(ports)?),
        (None, Ports::Or(port)) => Ok(PortList::single(port)),
        (None, Ports::Named) => {
            let what = format!("{} needs ports to probe; give them, such as -p 443", module.name);
            Err(PlanError::usage(FLAG, what))
        }
    }
}

/// The number of the shard, which is decided by now.
fn number_of(args: &Args) -> Result<Option<u32>, PlanError> {
    match args.sharding.shard {
        None => Ok(None),
        Some(ShardChoice::Number(number)) => Ok(Some(number)),
        Some(ShardChoice::Auto) => {
            Err(PlanError::usage("--shard", "no batch system was asked; give a number"))
        }
    }
}

fn shard_of(request: &TargetRequest) -> Result<(u32, u32), PlanError> {
    let (shard, shards) = match (request.shard, request.shards) {
        (None, None) => return Ok((0, 1)),
        (None, Some(_)) => {
            let what = "also give --shard: which of them this machine scans, from 0";
            return Err(PlanError::usage("--shards", what));
        }
        (Some(_), None) => {
            let what = "also give --shards: how many the scan is split into";
            return Err(PlanError::usage("--shard", what));
        }
        (Some(shard), Some(shards)) => (shard, shards),
    };
    if !(1..=65_535).contains(&shards) {
        return Err(PlanError::usage("--shards", "give a number from 1 to 65535"));
    }
    if shard >= shards {
        let what = format!("shards are numbered from 0, so give one from 0 to {}", shards - 1);
        return Err(PlanError::usage("--shard", what));
    }
    if shards > 1 && request.seed.is_none() {
        let what = "shards use the same order, so each needs the same --seed; give one";
        return Err(PlanError::usage("--shards", what));
    }
    Ok((shard, shards))
}

/// Warns of entries in a list of hosts that are not used.
fn warn_of<T>(bulk: &Bulk<T>, warnings: &mut Vec<String>) {
    warn_of_ipv6(&bulk.file, bulk.ipv6, warnings);
    warnings.extend(bulk.warnings.iter().map(ToString::to_string));
    if bulk.bad.count > 0 {
        warnings.push(format!("{}: {} bad entries are left out", bulk.file, bulk.bad.count));
    }
}
