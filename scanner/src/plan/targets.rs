//! Which targets, in which order, and which share of them.

use std::path::{Path, PathBuf};

use super::{PlanError, parse};
use crate::cli::Args;
use crate::cli::presence::is_there;
use crate::printable::printable;
use crate::probe::ModuleInfo;
use crate::targets::bulk;
use crate::targets::lines::{self, STANDARD_INPUT};
use crate::targets::list::{HostName, List, ListError, OnBadEntry, Unused};
use crate::targets::names;
use crate::targets::ranges::RangeSet;
use crate::targets::space::Fingerprint;
use crate::targets::{AddressSet, Interval, PairSet, Permutation, PortList, TargetSpace, reserved, shard};

/// Used when there is no `--blocklist-file`, unless there is none.
pub const DEFAULT_BLOCKLIST: &str = "/etc/xdpmap/blocklist.conf";

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct TargetRequest {
    /// Addresses, prefixes, ranges and host names of the command line.
    pub typed: Vec<String>,
    /// Networks to choose from (`-w`).
    pub allowlist: Option<PathBuf>,
    /// Networks to leave out (`-b`); if there is none, [`DEFAULT_BLOCKLIST`] unless it does not exist.
    pub blocklist: Option<PathBuf>,
    /// Addresses to choose from (`-I`).
    pub list_of_ips: Option<PathBuf>,
    /// (address, port) pairs to choose from (`--pairs-file`).
    pub pairs: Option<PathBuf>,
    /// The ports; not for a list of pairs, which has its own.
    pub ports: Option<PortList>,
    /// Whether the soft part of the floor may be probed where it is named.
    pub allow_reserved: bool,
    /// Whether bad lines of files are left out.
    pub ignore_errors: bool,
    /// The seed, if one was given.
    pub seed: Option<u64>,
    /// Into how many shards the scan is split.
    pub shards: Option<u32>,
    /// Which of them this one is.
    pub shard: Option<u32>,
    /// Only the first so many targets: a number, or a share with `%`.
    pub max_targets: Option<String>,
}

impl TargetRequest {
    /// What the command line of a scan asks for.
    pub(super) fn of_scan(args: &Args, module: &ModuleInfo) -> Result<Self, PlanError> {
        let ports = match &args.basic.pairs_file {
            Some(_) if !module.has_ports => {
                let what = format!("{} probes no ports; give addresses, by --list-of-ips-file", module.name);
                return Err(PlanError::usage("--pairs-file", what));
            }
            Some(_) => args.basic.target_ports.as_deref().map(PortList::parse).transpose()?,
            None => Some(ports(args.basic.target_ports.as_deref(), module)?),
        };
        Ok(Self {
            typed: args.targets.clone(),
            allowlist: args.basic.allowlist_file.clone(),
            blocklist: args.basic.blocklist_file.clone(),
            list_of_ips: args.basic.list_of_ips_file.clone(),
            pairs: args.basic.pairs_file.clone(),
            ports,
            allow_reserved: args.basic.allow_reserved,
            ignore_errors: args.basic.ignore_blocklist_errors,
            seed: args.scan.seed,
            shards: args.sharding.shards,
            shard: args.sharding.shard,
            max_targets: args.scan.max_targets.clone(),
        })
    }

    /// Whether targets were named at all; otherwise they are all of IPv4.
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
    pub space: TargetSpace,
    /// Their order.
    pub permutation: Permutation,
    /// Whether the seed was given rather than drawn.
    pub seed_given: bool,
    /// Which shard, from 0.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
    /// The shard's arc of the order.
    pub arc: Interval,
    /// Only the first so many targets of the arc.
    pub max_targets: Option<u64>,
    /// The block list in force, if any.
    pub blocklist: Option<Blocklist>,
    /// The allow list, if any.
    pub allowlist_file: Option<String>,
    /// The list of addresses or of pairs, if any.
    pub hosts: Option<HostList>,
    /// The targets of the command line, as they were typed.
    pub typed: Vec<String>,
    /// The host names of all lists, and what they were found to stand for.
    pub names: Vec<HostName>,
    /// What the command line and the allow list name together; empty for all of IPv4.
    pub explicit: RangeSet,
    /// What is never probed: the block list and the reserved networks.
    pub excluded: RangeSet,
    /// Hash of the targets and their order: the same on every machine whose shards belong together.
    pub order_hash: Fingerprint,
}

/// A block list in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocklist {
    /// Its name, as it was given; `-` is standard input.
    pub file: String,
    /// Its entries: networks and host names.
    pub entries: u64,
    /// The addresses in them.
    pub addresses: u64,
}

impl Blocklist {
    fn new(path: &Path, list: &List, blocked: &RangeSet) -> Self {
        // A host name has added what it stands for to the ranges.
        let of_names: usize = list.names.iter().map(|name| name.addresses.len()).sum();
        let entries = (list.entries.len() - of_names + list.names.len()) as u64;
        Self { file: printable(path), entries, addresses: blocked.len() }
    }
}

/// A list of single hosts, and what became of it.
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
    /// Decides it. Reads the lists, looks host names up, touches nothing else. `seed` is the seed if none was asked
    /// for.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(request: &TargetRequest, seed: u64, warnings: &mut Vec<String>) -> Result<Self, PlanError> {
        exclusive(request)?;
        let mut asked = vec![typed(&request.typed)?];
        if let Some(path) = &request.allowlist {
            asked.push(read(path, request.on_bad(), warnings)?);
        }
        asked.iter().try_for_each(|list| reserved::check_targets(list, request.allow_reserved))?;
        let path = match &request.blocklist {
            Some(path) => Some(path.as_path()),
            None => default_blocklist()?,
        };
        let block = if request.ignore_errors { OnBadEntry::Block } else { OnBadEntry::Fail };
        let list = path.map(|path| read(path, block, warnings)).transpose()?;
        let explicit: RangeSet =
            asked.iter().flat_map(|list| &list.entries).map(|entry| entry.range).collect();
        if request.allow_reserved && !request.is_named() {
            warnings.push(
                "--allow-reserved does nothing here: it lifts reserved networks that are named as targets"
                    .to_owned(),
            );
        }
        let blocked = list.as_ref().map(List::to_set).unwrap_or_default();
        let blocklist = path.zip(list.as_ref()).map(|(path, list)| Blocklist::new(path, list, &blocked));
        let floor = reserved::floor(request.allow_reserved && request.is_named());
        let networks_named = !request.typed.is_empty() || request.allowlist.is_some();
        let permitted = RangeSet::paint(networks_named.then_some(&explicit), &blocked, &floor);
        let names = asked.iter().chain(&list).flat_map(|list| list.names.iter().cloned()).collect();
        if permitted.is_empty() {
            return Err(nothing_left(request, &explicit, blocklist.as_ref()));
        }
        let (space, hosts) = space(request, &permitted, warnings)?;
        let excluded = blocked.ranges().iter().chain(floor.ranges()).copied().collect();
        let seed = request.seed.unwrap_or(seed);
        let permutation = Permutation::new(space.len(), seed)?;
        let (index, shards) = shard_of(request)?;
        let max_targets =
            request.max_targets.as_deref().map(|text| parse::max_targets(text, space.len())).transpose()?;
        Ok(Self {
            order_hash: space.order_fingerprint(&permutation),
            arc: shard(permutation.order(), index, shards),
            space,
            permutation,
            seed_given: request.seed.is_some(),
            shard: index,
            shards,
            max_targets,
            blocklist,
            allowlist_file: request.allowlist.as_ref().map(printable),
            hosts,
            typed: request.typed.clone(),
            names,
            explicit,
            excluded,
        })
    }

    /// Whether all of IPv4 that is not reserved is the target.
    pub fn is_whole_internet(&self) -> bool {
        self.typed.is_empty() && self.allowlist_file.is_none() && self.hosts.is_none()
    }

    /// What is to be said before a scan of the whole Internet that nobody is kept out of.
    pub(super) fn unprotected(&self) -> Option<String> {
        let list = match &self.blocklist {
            _ if !self.is_whole_internet() => return None,
            Some(list) if list.addresses > 0 => return None,
            Some(list) => format!("{} holds no address", lines::name(Path::new(&list.file))),
            None => format!("there is no {DEFAULT_BLOCKLIST} and no -b"),
        };
        Some(format!(
            "the whole Internet is scanned without a block list: {list}; keep there who asked not to be probed"
        ))
    }

    /// How many targets this scan will probe, to within the few group elements that stand for none.
    pub fn expected(&self) -> u64 {
        let order = u128::from(self.permutation.order());
        let share = u128::from(self.arc.len()) * u128::from(self.space.len()) / order;
        (share as u64).min(self.max_targets.unwrap_or(u64::MAX))
    }
}

/// The block list that counts where none is named. That it is not there is the only reason to scan without it: one that cannot
/// be looked at may hold whoever asked not to be probed.
fn default_blocklist() -> Result<Option<&'static Path>, PlanError> {
    let path = Path::new(DEFAULT_BLOCKLIST);
    match is_there(path) {
        Ok(is_there) => Ok(is_there.then_some(path)),
        Err(why) => {
            let what = format!(
                "{DEFAULT_BLOCKLIST} {why}, and nothing is scanned without knowing who asked not to be: mend it, or \
                 name the list that counts (-b /dev/null is an empty one)"
            );
            Err(PlanError::usage("--blocklist-file", what))
        }
    }
}

/// What cannot be asked for at once.
fn exclusive(request: &TargetRequest) -> Result<(), PlanError> {
    let lists = [
        ("--allowlist-file", &request.allowlist),
        ("--blocklist-file", &request.blocklist),
        ("--list-of-ips-file", &request.list_of_ips),
        ("--pairs-file", &request.pairs),
    ];
    let is_input = |path: &PathBuf| path == Path::new(STANDARD_INPUT);
    let mut from_input = lists.into_iter().filter(|(_, path)| path.as_ref().is_some_and(is_input));
    if let (Some((first, _)), Some((flag, _))) = (from_input.next(), from_input.next()) {
        let what = format!("standard input (-) is also {first}, and can be read once; name a file");
        return Err(PlanError::usage(flag, what));
    }
    let what = match (&request.pairs, &request.list_of_ips, &request.ports) {
        (Some(_), Some(_), _) => "give one list of hosts: this or --list-of-ips-file",
        (Some(_), _, Some(_)) => "the pairs have their ports, so leave --target-ports out",
        _ => return Ok(()),
    };
    Err(PlanError::usage("--pairs-file", what))
}

/// The targets as numbers, and what became of the list of hosts if there is one.
fn space(
    request: &TargetRequest,
    permitted: &RangeSet,
    warnings: &mut Vec<String>,
) -> Result<(TargetSpace, Option<HostList>), PlanError> {
    if let Some(path) = &request.pairs {
        let bulk = bulk::read_pairs(path, request.on_bad())?;
        warn_of(&bulk.file, bulk.ipv6, bulk.bad, &bulk.warnings, warnings);
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
    let mut bulk = bulk::read_addresses(path, request.on_bad())?;
    warn_of(&bulk.file, bulk.ipv6, bulk.bad, &bulk.warnings, warnings);
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
        0 => format!("{} names no IPv4 target; add one", lines::name(Path::new(&hosts.file))),
        count => format!(
            "the other lists and the reserved networks leave none of its {count} targets; name others, or see \
             --allow-reserved"
        ),
    };
    PlanError::usage(flag, what)
}

/// The targets of the command line. One that would be left out in silence is an error: somebody typed it.
fn typed(targets: &[String]) -> Result<List, PlanError> {
    let mut list = List::from_arguments(targets)?;
    if list.ipv6.count > 0 {
        let what =
            format!("target {} is IPv6, which cannot be scanned yet; leave it out", list.ipv6.first_line);
        return Err(PlanError::usage("command line", what));
    }
    list.look_up(&names::system, OnBadEntry::Fail)?;
    Ok(list)
}

fn nothing_left(request: &TargetRequest, explicit: &RangeSet, blocklist: Option<&Blocklist>) -> PlanError {
    match (&request.allowlist, blocklist) {
        (Some(path), _) if explicit.is_empty() => {
            let what = format!("{} names no IPv4 address; add one, or name targets", lines::name(path));
            PlanError::usage("--allowlist-file", what)
        }
        (_, Some(Blocklist { file, .. })) => {
            let what = format!(
                "{file} and the reserved networks leave no target; shorten the list, or name other targets"
            );
            PlanError::usage("--blocklist-file", what)
        }
        (_, None) => {
            let what = "the reserved networks leave nothing of them; name others, or see --allow-reserved";
            PlanError::usage("targets", what)
        }
    }
}

/// The ports to probe; of a module that knows none, the one that stands for none.
fn ports(asked: Option<&str>, module: &ModuleInfo) -> Result<PortList, PlanError> {
    const FLAG: &str = "--target-ports";
    match asked {
        Some(ports) if module.has_ports => Ok(PortList::parse(ports)?),
        None if module.has_ports => {
            let what = format!("{} needs ports to probe; give them, such as -p 443", module.name);
            Err(PlanError::usage(FLAG, what))
        }
        Some(_) => Err(PlanError::usage(FLAG, format!("{} probes no ports; leave it out", module.name))),
        None => Ok(PortList::portless()),
    }
}

fn shard_of(request: &TargetRequest) -> Result<(u32, u32), PlanError> {
    let (shard, shards) = match (request.shard, request.shards) {
        (None, None) => return Ok((0, 1)),
        (None, Some(_)) => {
            let what = "give --shard too: which of them this machine scans, from 0";
            return Err(PlanError::usage("--shards", what));
        }
        (Some(_), None) => {
            let what = "give --shards too: into how many the scan is split";
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
        let what = "shards share one order, so each needs the same --seed; give one";
        return Err(PlanError::usage("--shards", what));
    }
    Ok((shard, shards))
}

/// Reads a list of networks and looks its host names up.
fn read(path: &Path, on_bad: OnBadEntry, warnings: &mut Vec<String>) -> Result<List, PlanError> {
    let mut list = List::read(path, on_bad)?;
    list.look_up(&names::system, on_bad)?;
    let name = lines::name(path);
    warn_of(&name, list.ipv6, list.bad, &list.warnings, warnings);
    if list.read_in_bad > 0 {
        let count = list.read_in_bad;
        warnings.push(format!(
            "{name}: {count} addresses and networks that can be read in bad entries are blocked"
        ));
    }
    Ok(list)
}

/// Says what of a file is not used.
fn warn_of(file: &str, ipv6: Unused, bad: Unused, bad_lines: &[ListError], warnings: &mut Vec<String>) {
    if ipv6.count > 0 {
        let (count, line) = (ipv6.count, ipv6.first_line);
        warnings.push(format!("{file}: {count} IPv6 entries are left out (line {line} is the first)"));
    }
    warnings.extend(bad_lines.iter().map(ToString::to_string));
    if bad.count > 0 {
        warnings.push(format!("{file}: {} bad entries are left out", bad.count));
    }
}
