//! The targets that a scan was allowed to probe, made again from its metadata.

use std::path::Path;

use targets::list::{OnBadEntry, parse_range};
use targets::{AddressSet, PairSet, Permutation, PortList, RangeSet, TargetSpace};

use super::Metadata;
use crate::lists;

/// The targets of a scan.
#[derive(Debug)]
pub struct Allowed {
    space: TargetSpace,
    /// Whether it is exactly what was scanned. Otherwise a list of hosts is not there any more, and these are the
    /// networks and ports that it could choose from.
    pub is_exact: bool,
    /// What was left out only after the scan had started: results from there may be older.
    late: RangeSet,
}

impl Allowed {
    /// Those of a scan. `hosts` is its list of addresses or of pairs, if it had one and the list is as it was.
    ///
    /// # Errors
    /// The metadata or the list cannot be understood, in one line.
    pub fn of(metadata: &Metadata, hosts: Option<Hosts<'_>>) -> Result<Self, String> {
        let late = networks(&metadata.networks_excluded_late)?;
        let permitted = permitted(metadata)?;
        let ports = PortList::new(metadata.target_ports.iter().copied()).unwrap_or_else(PortList::portless);
        let failed = |error: &dyn ToString| error.to_string();
        let space = match hosts {
            None => TargetSpace::new(AddressSet::new(&permitted), ports),
            Some(Hosts::Addresses(path)) => {
                let mut bulk =
                    lists::read_addresses(path, OnBadEntry::Skip).map_err(|error| failed(&error))?;
                bulk.targets.settle(&permitted);
                TargetSpace::new(AddressSet::from_pages(&bulk.targets), ports)
            }
            Some(Hosts::Pairs(path)) => {
                let bulk = lists::read_pairs(path, OnBadEntry::Skip).map_err(|error| failed(&error))?;
                let (pairs, _) = PairSet::new(bulk.targets.into_iter(), &permitted);
                TargetSpace::of_pairs(pairs).ok_or("the list of pairs has no target of the scan")?
            }
        };
        let is_exact = hosts.is_some() == metadata.list_of_ips_filename.is_some();
        Ok(Self { space, is_exact, late })
    }

    /// Whether a reply about this address and port is about a target; `None` is a port that is not known.
    pub fn holds(&self, address: u32, port: Option<u16>) -> bool {
        self.space.holds(address, port)
    }

    /// Whether the address was left out only after the scan had started.
    pub fn is_late(&self, address: u32) -> bool {
        self.late.contains(address)
    }

    /// Whether targets differ in their ports.
    pub fn has_several_ports(&self) -> bool {
        self.space.ports().len() > 1 || self.space.is_list_of_pairs()
    }

    /// The hash of the targets and their order with this seed; `None` if there is no target.
    pub fn order_hash(&self, seed: u64) -> Option<String> {
        let permutation = Permutation::new(self.space.len(), seed).ok().filter(|_| !self.space.is_empty())?;
        Some(self.space.order_fingerprint(&permutation).to_string())
    }
}

/// The networks that a scan began with: those that were named, without those that were left out from the start.
///
/// # Errors
/// The metadata cannot be understood, in one line.
pub fn permitted(metadata: &Metadata) -> Result<RangeSet, String> {
    let is_named = !metadata.cli_cidr_destinations.is_empty() || metadata.allowlist_filename.is_some();
    let named = networks(&metadata.allowlisted_networks)?;
    let late = networks(&metadata.networks_excluded_late)?;
    let excluded = excluded(metadata)?.subtract(&late);
    Ok(RangeSet::paint(is_named.then_some(&named), &excluded, &RangeSet::default()))
}

/// The networks that were not probed in the end.
///
/// # Errors
/// The metadata cannot be understood, in one line.
pub fn excluded(metadata: &Metadata) -> Result<RangeSet, String> {
    networks(&metadata.blocklisted_networks)
}

/// A list of single hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts<'a> {
    /// Addresses.
    Addresses(&'a Path),
    /// Addresses with their ports.
    Pairs(&'a Path),
}

/// Networks as the metadata writes them.
fn networks(texts: &[String]) -> Result<RangeSet, String> {
    let network = |text: &String| {
        parse_range(text).map_err(|_| format!("'{}' in it is not a network", text.escape_debug()))
    };
    texts.iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            target_ports: vec![80, 443],
            cli_cidr_destinations: vec!["192.0.2.0/24".to_owned()],
            allowlisted_networks: vec!["192.0.2.0/24".to_owned()],
            blocklisted_networks: vec!["192.0.2.0/28".to_owned(), "192.0.2.128/25".to_owned()],
            networks_excluded_late: vec!["192.0.2.192/26".to_owned()],
            ..Metadata::default()
        }
    }

    const NET: u32 = 0xc000_0200;

    #[test]
    fn networks_and_ports() {
        let allowed = Allowed::of(&metadata(), None).unwrap();
        for (host, is_allowed) in
            [(0, false), (15, false), (16, true), (127, true), (128, false), (192, true), (255, true)]
        {
            assert_eq!(allowed.holds(NET + host, Some(80)), is_allowed, "{host}");
        }
        assert!(
            !allowed.holds(NET + 16, Some(81))
                && allowed.holds(NET + 16, None)
                && !allowed.holds(NET + 256, None)
        );
        assert!(allowed.is_exact && allowed.is_late(NET + 192) && !allowed.is_late(NET + 128));
        let everything =
            Metadata { blocklisted_networks: vec!["10.0.0.0/8".to_owned()], ..Metadata::default() };
        let allowed = Allowed::of(&everything, None).unwrap();
        assert!(allowed.holds(0x0800_0001, None) && !allowed.holds(0x0a00_0001, None));
        let bad = Metadata { blocklisted_networks: vec!["10.0.0.0/99".to_owned()], ..Metadata::default() };
        assert!(Allowed::of(&bad, None).unwrap_err().contains("10.0.0.0/99"));
    }

    #[test]
    fn lists_of_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let [ips, pairs] = ["ips", "pairs"].map(|name| folder.path().join(name));
        std::fs::write(&ips, "192.0.2.20\n192.0.2.1\n").unwrap();
        std::fs::write(&pairs, "192.0.2.20:80\n192.0.2.21:443\n").unwrap();
        let metadata = Metadata { list_of_ips_filename: Some("x".to_owned()), ..metadata() };
        let allowed = Allowed::of(&metadata, Some(Hosts::Addresses(&ips))).unwrap();
        assert!(
            allowed.holds(NET + 20, Some(443))
                && !allowed.holds(NET + 1, None)
                && !allowed.holds(NET + 21, None)
        );
        let allowed = Allowed::of(&metadata, Some(Hosts::Pairs(&pairs))).unwrap();
        assert!(
            allowed.holds(NET + 20, Some(80))
                && !allowed.holds(NET + 20, Some(443))
                && allowed.has_several_ports()
        );
        assert!(!Allowed::of(&metadata, None).unwrap().is_exact);
    }

    /// As a scan computes it.
    #[test]
    fn the_hash_is_that_of_a_scan() {
        let allowed = Allowed::of(&metadata(), None).unwrap();
        let set = RangeSet::from_iter(
            ["192.0.2.16-192.0.2.127", "192.0.2.192/26"].map(|text| parse_range(text).unwrap()),
        );
        let space = TargetSpace::new(AddressSet::new(&set), PortList::parse("80,443").unwrap());
        let order = Permutation::new(space.len(), 7).unwrap();
        assert_eq!(allowed.order_hash(7), Some(space.order_fingerprint(&order).to_string()));
        assert_ne!(allowed.order_hash(8), allowed.order_hash(7));
    }
}
