//! `xdpmap iterate`: prints the targets of a scan in the order in which the scan would probe them.
//!
//! The same flags, including shards and `-n`, give the same targets in the same order as in a scan.

use std::io::{self, Write};
use std::path::PathBuf;

use rustix::rand::{GetRandomFlags, getrandom};
use targets::{Cursor, PortList, TargetBatch};
use tracing::warn;
use wire::packet::BATCH_MAX;

use super::Failure;
use super::options::{LogOptions, start_log};
use crate::cli::{ShardChoice, shard_choice};
use crate::plan::{TargetPlan, TargetRequest, batch, drawn_seed};

const NAME: &str = "iterate";

/// Print targets in the random order in which a scan would probe them. Sends nothing.
///
/// TARGETS are IPv4 addresses, CIDR blocks, ranges, host names or, with --asn-file, AS numbers; without any, all of
/// IPv4 that is not reserved is printed. One target per line: an address or, with -p or --pairs-file, an address and a
/// port as 192.0.2.1,80.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap iterate",
    version,
    after_help = "Examples:
  xdpmap iterate                             all public IPv4 addresses
  xdpmap iterate -b excluded.conf -n 1000    a thousand of them, but for those listed
  xdpmap iterate -p 80,8000-8100 -e 5 -n 1%  one in a hundred of all addresses with each of these ports",
    max_term_width = 110
)]
pub(super) struct IterateOptions {
    /// Addresses, CIDR blocks, a-b ranges, host names, AS numbers
    #[arg(value_name = "TARGETS")]
    targets: Vec<String>,

    /// Ports: a list with ranges and names (80,https,8000-8100), * for all
    #[arg(short = 'p', long, alias = "target-port", value_name = "PORTS")]
    target_ports: Option<String>,

    /// Networks to leave out, one per line. May be given several times. For any list, - is standard input [default:
    /// /etc/xdpmap/blocklist.conf if it exists]
    #[arg(short = 'b', long, alias = "blacklist-file", value_name = "FILE")]
    blocklist_file: Vec<PathBuf>,

    /// Networks to leave out as well: addresses, CIDR blocks, a-b ranges, host names and AS numbers, comma separated.
    /// May be given several times
    #[arg(long, value_name = "NETWORKS")]
    exclude: Vec<String>,

    /// Networks to choose from, one per line, in addition to TARGETS
    #[arg(short = 'w', long, alias = "whitelist-file", value_name = "FILE")]
    allowlist_file: Option<PathBuf>,

    /// Single addresses to choose from, one per line
    #[arg(short = 'I', long, value_name = "FILE")]
    list_of_ips_file: Option<PathBuf>,

    /// Addresses to choose from, each with its port, as 192.0.2.1:80 or 192.0.2.1,80, one per line
    #[arg(long, value_name = "FILE")]
    pairs_file: Option<PathBuf>,

    /// Table of AS numbers and their prefixes, for targets and lists that have some, as AS64500
    #[arg(long, value_name = "FILE")]
    asn_file: Option<PathBuf>,

    /// Also print private, shared, benchmarking and documentation networks that are named as targets
    #[arg(long)]
    allow_reserved: bool,

    /// Skip bad lines of lists, with a warning; addresses that can be read in bad lines of the block list are left out
    #[arg(long, alias = "ignore-blacklist-errors")]
    ignore_blocklist_errors: bool,

    /// Seed of the order [default: random]
    #[arg(short = 'e', long, value_name = "N")]
    seed: Option<u64>,

    /// Print at most this many targets, or this share of all allowed targets (1%)
    #[arg(short = 'n', long, value_name = "N|N%")]
    max_targets: Option<String>,

    /// Split the order into this many shards; needs --shard and --seed
    #[arg(long, value_name = "N")]
    shards: Option<u32>,

    /// Which shard to print, from 0, with --shards; or auto: the task of a batch system that this is, as in a scan
    #[arg(long, value_name = "N|auto", value_parser = shard_choice)]
    shard: Option<ShardChoice>,

    #[command(flatten)]
    log: LogOptions,
}

pub(super) fn run(options: IterateOptions) -> Result<(), Failure> {
    start_log(NAME, &options.log)?;
    let with_ports = options.target_ports.is_some() || options.pairs_file.is_some();
    let failed = |error: crate::plan::PlanError| Failure {
        component: NAME,
        text: error.to_string(),
        exit_code: error.exit_code(),
    };
    let ports = options.target_ports.as_deref().map(PortList::parse).transpose();
    let (shard, shards) =
        batch::shard_of(options.shard, options.shards, &batch::variables()).map_err(failed)?;
    let request = TargetRequest {
        typed: options.targets,
        allowlist: options.allowlist_file,
        blocklists: options.blocklist_file,
        excluded: options.exclude,
        list_of_ips: options.list_of_ips_file,
        pairs: options.pairs_file,
        asn_file: options.asn_file,
        ports: ports.map_err(|error| failed(error.into()))?,
        allow_reserved: options.allow_reserved,
        ignore_errors: options.ignore_blocklist_errors,
        seed: options.seed,
        shards,
        shard,
        max_targets: options.max_targets,
        ..TargetRequest::default()
    };
    let seed =
        random_seed().map_err(|error| Failure::io(NAME, "getting random numbers from the kernel", &error))?;
    let mut warnings = Vec::new();
    let plan = TargetPlan::new(&request, seed, &mut warnings).map_err(failed)?;
    for warning in warnings {
        warn!(target: "iterate", "{warning}");
    }
    match print(&plan, with_ports, io::stdout().lock()) {
        // A reader that has read enough is not an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::io(NAME, "standard output", &error)),
        Ok(()) => Ok(()),
    }
}

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    // Always the full length: for up to 256 bytes the kernel never returns less.
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(drawn_seed(bytes))
}

/// Prints the plan's targets.
fn print(plan: &TargetPlan, with_ports: bool, mut out: impl Write) -> io::Result<()> {
    let mut cursor = Cursor::new(&plan.permutation, plan.arc);
    let mut left = plan.max_targets.unwrap_or(u64::MAX);
    let mut indices = [0; BATCH_MAX];
    let mut batch = TargetBatch::default();
    // The longest line is 255.255.255.255,65535.
    let mut text = Vec::with_capacity(BATCH_MAX * 22);
    while left > 0 {
        let wanted = left.min(BATCH_MAX as u64) as usize;
        let count = cursor.fill(&mut indices[..wanted]);
        if count == 0 {
            break;
        }
        plan.space.resolve(&indices[..count], &mut batch);
        text.clear();
        for (&address, &port) in batch.addresses.iter().zip(&batch.ports).take(batch.len) {
            push_address(&mut text, address);
            if with_ports {
                text.push(b',');
                push_number(&mut text, port);
            }
            text.push(b'\n');
        }
        out.write_all(&text)?;
        left -= count as u64;
    }
    out.flush()
}

fn push_address(text: &mut Vec<u8>, address: u32) {
    for (i, part) in address.to_be_bytes().into_iter().enumerate() {
        if i > 0 {
            text.push(b'.');
        }
        push_number(text, part.into());
    }
}

fn push_number(text: &mut Vec<u8>, number: u16) {
    let mut digits = [0; 5];
    let (mut rest, mut start) = (number, digits.len());
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    proptest! {
        #[test]
        fn addresses_and_ports_are_written_as_ever(address: u32, port: u16) {
            let mut text = vec![];
            push_address(&mut text, address);
            text.push(b',');
            push_number(&mut text, port);
            prop_assert_eq!(String::from_utf8(text).unwrap(), format!("{},{port}", Ipv4Addr::from_bits(address)));
        }
    }

    /// Shards and limits are those of the order.
    #[test]
    fn shards_make_up_the_order() {
        let printed = |shard: u32, shards: u32, max: Option<&str>| {
            let request = TargetRequest {
                typed: vec!["1.2.3.0/24".to_owned(), "8.8.8.8-8.8.8.10".to_owned()],
                ports: Some(PortList::parse("80,443").unwrap()),
                seed: Some(9),
                shards: Some(shards),
                shard: Some(shard),
                max_targets: max.map(str::to_owned),
                blocklists: vec!["/dev/null".into()],
                ..TargetRequest::default()
            };
            let plan = TargetPlan::new(&request, 0, &mut vec![]).unwrap();
            let mut out = vec![];
            print(&plan, true, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let whole = printed(0, 1, None);
        assert_eq!(whole.lines().count(), 2 * 259);
        assert_eq!((0..3).map(|shard| printed(shard, 3, None)).collect::<String>(), whole);
        assert_eq!(printed(0, 1, Some("10")), whole.split_inclusive('\n').take(10).collect::<String>());
    }
}
