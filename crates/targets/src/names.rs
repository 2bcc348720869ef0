//! Host names as targets: looked up by the system, before the first packet.
//!
//! Only IPv4 addresses count. Several names are looked up at a time, because each may have to wait for a server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most names that are looked up at the same time. Fewer make long lists slower; more could overload a resolver.
pub const PARALLEL_MAX: usize = 16;

/// Why a name has no address. The texts continue after the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// It exists, but not for IPv4.
    #[error("has no IPv4 address")]
    NoIpv4,
    /// It was not found, or no server answered; with the system's error.
    #[error("{0}")]
    Failed(String),
}

/// Finds the addresses of a name: [`system`], except in tests.
pub type Lookup<'a> = &'a (dyn Fn(&str) -> Result<Vec<Ipv4Addr>, Unknown> + Sync);

/// Looks a name up as every other program does: in `/etc/hosts`, DNS, or as `/etc/nsswitch.conf` says.
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

/// The addresses of each of `names`, in their order; each distinct name is looked up once, at most `parallel` of them
/// at a time. If that is one, the calling thread does it.
pub(super) fn look_up_all(
    names: &[&str],
    lookup: Lookup<'_>,
    parallel: usize,
) -> Vec<Result<Vec<Ipv4Addr>, Unknown>> {
    let different: BTreeMap<&str, Mutex<Result<Vec<Ipv4Addr>, Unknown>>> =
        names.iter().map(|&name| (name, Mutex::new(Err(Unknown::NoIpv4)))).collect();
    let work: Vec<_> = different.iter().collect();
    let next = AtomicUsize::new(0);
    let look_up = || {
        while let Some((name, place)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = lookup(name);
            if let Ok(mut place) = place.lock() {
                *place = found;
            }
        }
    };
    match work.len().min(parallel) {
        0 | 1 => look_up(),
        threads => std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(look_up)))),
    }
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
        let found = look_up_all(&names, &lookup, PARALLEL_MAX);
        assert_eq!(calls.load(Ordering::Relaxed), 100);
        assert!((2..=PARALLEL_MAX).contains(&most.load(Ordering::Relaxed)));
        for (name, found) in names.iter().zip(found) {
            let number: u32 = name.parse().unwrap();
            assert_eq!(found.ok(), (!number.is_multiple_of(7)).then(|| vec![Ipv4Addr::from_bits(number)]));
        }
        assert!(look_up_all(&[], &lookup, PARALLEL_MAX).is_empty());
    }

    /// A thread that may not start others looks all of them up itself.
    #[test]
    fn one_at_a_time() {
        let own = std::thread::current().id();
        let lookup = |name: &str| {
            assert_eq!(std::thread::current().id(), own);
            Ok(vec![Ipv4Addr::from_bits(name.parse().unwrap())])
        };
        let found = look_up_all(&["7", "8", "7"], &lookup, 1);
        assert_eq!(found, [7, 8, 7].map(|number| Ok(vec![Ipv4Addr::from_bits(number)])));
    }

    #[test]
    fn the_system_knows_itself() {
        assert_eq!(system("localhost"), Ok(vec![Ipv4Addr::LOCALHOST]));
        // Not a valid host name, so no server is queried.
        let long = system(&"x".repeat(300)).unwrap_err().to_string();
        assert!(long.starts_with("could not be looked up (") && !long.contains('\n'), "{long}");
    }
}
