//! Host names as targets: the system looks them up, before the first packet.
//!
//! Only IPv4 addresses count. Names are asked for several at a time, as each may have to wait for a server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most names that are looked up at the same time.
pub const PARALLEL_MAX: usize = 16;

/// Why a name has no address. The texts go on after the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// It exists, but not for IPv4.
    #[error("has no IPv4 address")]
    NoIpv4,
    /// It was not found, or nobody answered; with what the system said.
    #[error("{0}")]
    Failed(String),
}

/// Finds the addresses of a name: [`system`], but in tests.
pub type Lookup<'a> = &'a (dyn Fn(&str) -> Result<Vec<Ipv4Addr>, Unknown> + Sync);

/// Asks the system, as every other program does: `/etc/hosts`, DNS, whatever `/etc/nsswitch.conf` says.
///
/// # Errors
/// [`Unknown`].
pub fn system(name: &str) -> Result<Vec<Ipv4Addr>, Unknown> {
    let found = (name, 0)
        .to_socket_addrs()
        .map_err(|error| Unknown::Failed(format!("could not be looked up ({error})")))?;
    let mut addresses: Vec<Ipv4Addr> = found
        .filter_map(|address| match address {
            SocketAddr::V4(address) => Some(*address.ip()),
            SocketAddr::V6(_) => None,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err(Unknown::NoIpv4) } else { Ok(addresses) }
}

/// The addresses of each of `names`, in their order; each different name is looked up once.
pub(super) fn look_up_all(names: &[&str], lookup: Lookup<'_>) -> Vec<Result<Vec<Ipv4Addr>, Unknown>> {
    let different: BTreeMap<&str, Mutex<Result<Vec<Ipv4Addr>, Unknown>>> =
        names.iter().map(|&name| (name, Mutex::new(Err(Unknown::NoIpv4)))).collect();
    let work: Vec<_> = different.iter().collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..work.len().min(PARALLEL_MAX) {
            scope.spawn(|| {
                while let Some((name, place)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = lookup(name);
                    if let Ok(mut place) = place.lock() {
                        *place = found;
                    }
                }
            });
        }
    });
    let found = |name: &&str| different[name].lock().map_or(Err(Unknown::NoIpv4), |found| found.clone());
    names.iter().map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_once_and_in_order() {
        let calls = AtomicUsize::new(0);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let lookup = |name: &str| {
            calls.fetch_add(1, Ordering::Relaxed);
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(2));
            running.fetch_sub(1, Ordering::SeqCst);
            let number: u32 = name.parse().unwrap();
            if number.is_multiple_of(7) {
                Err(Unknown::NoIpv4)
            } else {
                Ok(vec![Ipv4Addr::from_bits(number)])
            }
        };
        let names: Vec<String> = (0..300).map(|i| (i * 37 % 100).to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = look_up_all(&names, &lookup);
        assert_eq!(calls.load(Ordering::Relaxed), 100);
        assert!((2..=PARALLEL_MAX).contains(&most.load(Ordering::Relaxed)));
        for (name, found) in names.iter().zip(found) {
            let number: u32 = name.parse().unwrap();
            assert_eq!(found.ok(), (!number.is_multiple_of(7)).then(|| vec![Ipv4Addr::from_bits(number)]));
        }
        assert!(look_up_all(&[], &lookup).is_empty());
    }

    #[test]
    fn the_system_knows_itself() {
        assert_eq!(system("localhost"), Ok(vec![Ipv4Addr::LOCALHOST]));
        // No host name at all, so nobody is asked.
        let long = system(&"x".repeat(300)).unwrap_err().to_string();
        assert!(long.starts_with("could not be looked up (") && !long.contains('\n'), "{long}");
    }
}
