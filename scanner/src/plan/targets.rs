//! Which targets, in which order, and which share of them.

use std::path::Path;

use super::{PlanError, parse};
use crate::cli::Args;
use crate::probe::ModuleInfo;
use crate::targets::list::{List, OnBadEntry};
use crate::targets::ranges::RangeSet;
use crate::targets::space::Fingerprint;
use crate::targets::{AddressSet, Interval, Permutation, PortList, TargetSpace, reserved, shard};

/// Used when there is no `--blocklist-file`, if it exists.
pub const DEFAULT_BLOCKLIST: &str = "/etc/xdpmap/blocklist.conf";

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
    pub blocklist_file: Option<String>,
    /// The allow list, if any.
    pub allowlist_file: Option<String>,
    /// The targets of the command line, as they were typed.
    pub typed: Vec<String>,
    /// What the command line and the allow list name together; empty for all of IPv4.
    pub explicit: RangeSet,
    /// What is never probed: the block list and the reserved networks.
    pub excluded: RangeSet,
    /// Hash of the targets and their order: the same on every machine whose shards belong together.
    pub order_hash: Fingerprint,
}

impl TargetPlan {
    pub(super) fn new(
        args: &Args,
        module: &ModuleInfo,
        seed: u64,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let ports = ports(args.target_ports.as_deref(), module)?;
        let on_bad = if args.ignore_blocklist_errors { OnBadEntry::Skip } else { OnBadEntry::Fail };
        let mut asked = vec![typed(&args.targets)?];
        if let Some(path) = &args.allowlist_file {
            asked.push(read(path, on_bad, warnings)?);
        }
        asked.iter().try_for_each(|list| reserved::check_targets(list, args.allow_reserved))?;
        let blocklist = match &args.blocklist_file {
            Some(path) => Some(read(path, on_bad, warnings)?),
            None if Path::new(DEFAULT_BLOCKLIST).exists() => {
                Some(read(Path::new(DEFAULT_BLOCKLIST), on_bad, warnings)?)
            }
            None => None,
        };
        let explicit: RangeSet =
            asked.iter().flat_map(|list| &list.entries).map(|entry| entry.range).collect();
        let named = !args.targets.is_empty() || args.allowlist_file.is_some();
        if args.allow_reserved && !named {
            warnings.push(
                "--allow-reserved does nothing here: it lifts reserved networks that are named as targets"
                    .to_owned(),
            );
        }
        let blocked = blocklist.as_ref().map(List::to_set).unwrap_or_default();
        let floor = reserved::floor(args.allow_reserved && named);
        let addresses = AddressSet::paint(named.then_some(&explicit), &blocked, &floor);
        let blocklist_file = blocklist.and_then(|list| list.file);
        if addresses.is_empty() {
            return Err(nothing_left(args, &explicit, blocklist_file.as_deref()));
        }
        let excluded = blocked.ranges().iter().chain(floor.ranges()).copied().collect();
        let space = TargetSpace::new(addresses, ports);
        let seed = args.seed.unwrap_or(seed);
        let permutation = Permutation::new(space.len(), seed)?;
        let (index, shards) = shard_of(args)?;
        let max_targets =
            args.max_targets.as_deref().map(|text| parse::max_targets(text, space.len())).transpose()?;
        Ok(Self {
            order_hash: space.order_fingerprint(&permutation),
            arc: shard(permutation.order(), index, shards),
            space,
            permutation,
            seed_given: args.seed.is_some(),
            shard: index,
            shards,
            max_targets,
            blocklist_file,
            allowlist_file: args.allowlist_file.as_ref().map(|path| path.display().to_string()),
            typed: args.targets.clone(),
            explicit,
            excluded,
        })
    }

    /// How many targets this scan will probe, to within the few group elements that stand for none.
    pub fn expected(&self) -> u64 {
        let order = u128::from(self.permutation.order());
        let share = u128::from(self.arc.len()) * u128::from(self.space.len()) / order;
        (share as u64).min(self.max_targets.unwrap_or(u64::MAX))
    }
}

/// The targets of the command line. One that would be left out in silence is an error: somebody typed it.
fn typed(targets: &[String]) -> Result<List, PlanError> {
    let list = List::from_arguments(targets)?;
    if list.ipv6.count > 0 {
        let what =
            format!("target {} is IPv6, which cannot be scanned yet; leave it out", list.ipv6.first_line);
        return Err(PlanError::usage("command line", what));
    }
    Ok(list)
}

fn nothing_left(args: &Args, explicit: &RangeSet, blocklist: Option<&str>) -> PlanError {
    match (&args.allowlist_file, blocklist) {
        (Some(path), _) if explicit.is_empty() => {
            let what = format!("{} names no IPv4 address; add one, or name targets", path.display());
            PlanError::usage("--allowlist-file", what)
        }
        (_, Some(blocklist)) => {
            let what = format!(
                "{blocklist} and the reserved networks leave no target; shorten the list, or name other targets"
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
        None => Ok(PortList::parse("0")?),
    }
}

fn shard_of(args: &Args) -> Result<(u32, u32), PlanError> {
    let (shard, shards) = match (args.shard, args.shards) {
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
    if shards > 1 && args.seed.is_none() {
        let what = "shards share one order, so each needs the same --seed; give one";
        return Err(PlanError::usage("--shards", what));
    }
    Ok((shard, shards))
}

fn read(path: &Path, on_bad: OnBadEntry, warnings: &mut Vec<String>) -> Result<List, PlanError> {
    let list = List::read(path, on_bad)?;
    if list.ipv6.count > 0 {
        let (count, line) = (list.ipv6.count, list.ipv6.first_line);
        warnings.push(format!(
            "{}: {count} IPv6 entries are left out (line {line} is the first)",
            path.display()
        ));
    }
    if list.bad.count > 0 {
        warnings.extend(list.warnings.iter().map(ToString::to_string));
        warnings.push(format!("{}: {} bad entries are left out", path.display(), list.bad.count));
    }
    Ok(list)
}
