//! The names of the source addresses, by reverse DNS: the first thing that people look up who see a probe.
//!
//! What always holds: nothing is asked unless it was requested, because each question is a packet to the resolver of
//! this host, which asks others; what was asked is said; and an answer that does not come is not waited for.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dns_lookup::LookupErrorKind;
use targets::names;

use super::finding::Finding;
use crate::printable::printable;

const TOPIC: &str = "reverse DNS";
/// Where the servers are named (resolv.conf(5)).
const RESOLVER_CONFIG: &str = "/etc/resolv.conf";
/// How long answers are waited for, all together. Shorter: a slow resolver counts as silent. Longer: so does the user.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most addresses that are asked for. A scan that uses more usually has a whole network, whose names are alike.
const ADDRESSES_MAX: usize = 8;

/// What is known of the name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Its name, and whether that is a name of the address.
    Name(String, bool),
    /// It has none.
    Nothing,
    /// The resolver could not find out, and why.
    Failed(String),
}

/// Asks for the names of the source addresses.
pub(super) fn examine(addresses: &[Ipv4Addr]) -> Vec<Finding> {
    let servers = servers(&fs::read_to_string(RESOLVER_CONFIG).unwrap_or_default());
    let addresses = &addresses[..addresses.len().min(ADDRESSES_MAX)];
    if addresses.is_empty() {
        return Vec::new();
    }
    if servers.is_empty() {
        let found = format!("nothing was asked: {RESOLVER_CONFIG} names no server");
        return vec![
            Finding::note(TOPIC, found).means("whether the source addresses have names is not known"),
        ];
    }
    let asked: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let found = format!("asked {} for the names of {}", servers.join(", "), asked.join(", "));
    let mut findings = vec![Finding::note(TOPIC, found)];
    let known = ask(addresses, TIMEOUT, system);
    findings.extend(addresses.iter().zip(known).map(|(address, known)| finding(*address, known)));
    findings
}

/// The servers that a resolver's configuration names.
fn servers(config: &str) -> Vec<String> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().map(printable))?
    };
    config.lines().filter_map(server).collect()
}

/// What `lookup` knows of each address, unless that takes longer than `timeout`.
fn ask(
    addresses: &[Ipv4Addr],
    timeout: Duration,
    lookup: impl Fn(Ipv4Addr) -> Known + Clone + Send + 'static,
) -> Vec<Option<Known>> {
    let deadline = Instant::now() + timeout;
    let (answers, answered) = mpsc::channel();
    for (number, address) in addresses.iter().copied().enumerate() {
        let (answers, lookup) = (answers.clone(), lookup.clone());
        // A thread whose answer comes too late ends with the process. If there is no thread, there is no answer.
        let _ = thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            let _ = answers.send((number, lookup(address)));
        });
    }
    drop(answers);
    let mut known = vec![None; addresses.len()];
    while let Ok((number, answer)) = answered.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        known[number] = Some(answer);
    }
    known
}

/// What this host's resolver knows.
fn system(address: Ipv4Addr) -> Known {
    match dns_lookup::lookup_addr(&IpAddr::V4(address)) {
        Ok(name) => {
            let leads_back = names::system(&name).is_ok_and(|addresses| addresses.contains(&address));
            Known::Name(printable(name), leads_back)
        }
        Err(error) if matches!(error.kind(), LookupErrorKind::NoName) => Known::Nothing,
        Err(error) => Known::Failed(printable(std::io::Error::from(error).to_string())),
    }
}

fn finding(address: Ipv4Addr, known: Option<Known>) -> Finding {
    let finding = match known {
        Some(Known::Name(name, true)) => Finding::ok(TOPIC, format!("{address} is {name}")).means(format!(
            "people who look it up expect https://{name}/.well-known/probing.txt there (xdpmap probing-txt)"
        )),
        Some(Known::Name(name, false)) => Finding::warn(TOPIC, format!("{address} is {name}")).means(
            format!("{name} is not a name of {address}: add an A record, or people find another host"),
        ),
        Some(Known::Nothing) => Finding::warn(TOPIC, format!("{address} has no name"))
            .means("people who see a probe cannot tell who sent it: have a PTR record added that says it"),
        Some(Known::Failed(why)) => Finding::note(TOPIC, format!("{address}: {why}")),
        None => Finding::note(TOPIC, format!("{address}: no answer within {} s", TIMEOUT.as_secs())),
    };
    match address.is_private() {
        true => finding.means("the address is private: other networks see one of a NAT, whose name counts"),
        false => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_servers() {
        let config = "# nameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.2\n  nameserver\t2001:db8::1 # x\n\
                      nameserver\nnameservers 192.0.2.3\n";
        assert_eq!(servers(config), ["192.0.2.2", "2001:db8::1"]);
        assert!(servers("").is_empty());
    }

    /// Answers keep the order of the addresses, and one that does not come holds nothing up.
    #[test]
    fn answers_in_time() {
        let addresses = [1, 2, 3].map(Ipv4Addr::from_bits);
        let lookup = |address: Ipv4Addr| match address.to_bits() {
            2 => {
                thread::sleep(Duration::from_secs(60));
                Known::Nothing
            }
            number => Known::Name(number.to_string(), true),
        };
        let began = Instant::now();
        let known = ask(&addresses, Duration::from_millis(300), lookup);
        assert!(began.elapsed() < Duration::from_secs(10));
        let name = |name: &str| Some(Known::Name(name.to_owned(), true));
        assert_eq!(known, [name("1"), None, name("3")]);
    }

    #[test]
    fn private_addresses_are_seen_by_nobody_else() {
        let private = finding(Ipv4Addr::new(10, 0, 0, 1), Some(Known::Nothing));
        assert!(private.means.unwrap().contains("one of a NAT"));
        let public = finding(Ipv4Addr::new(192, 0, 2, 1), Some(Known::Failed("no luck".to_owned())));
        assert_eq!((public.found.as_str(), public.means), ("192.0.2.1: no luck", None));
    }
}
