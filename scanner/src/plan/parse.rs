//! The small languages of single flags: rates, counts, ports, source addresses, queues.

use std::net::Ipv4Addr;

use wire::proof::PortRange;

use super::PlanError;
use crate::cli::{Args, IoMode};
use crate::units;

/// Most source addresses of a scan (`XDPMAP_SOURCES_MAX` in `abi.h`).
pub(super) const SOURCES_MAX: usize = 256;

/// Bits per second, with an optional decimal suffix K, M or G: `10M`, `2.5g`.
pub(super) fn bandwidth_bps(text: &str) -> Result<u64, PlanError> {
    bandwidth(text).map_err(|what| PlanError::usage("--bandwidth", what))
}

/// As `--bandwidth` is given: bits per second, with an optional suffix K, M or G and an optional unit, `bit` or `bps`.
///
/// # Errors
/// Why it is none, without the flag.
pub fn bandwidth(text: &str) -> Result<u64, String> {
    const UNITS: [&str; 3] = ["bit/s", "bit", "bps"];
    let amount = UNITS.into_iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(text);
    let bps = units::amount(amount).filter(|bps| (1.0..=1e15).contains(bps));
    bps.map(|bps| bps as u64).ok_or_else(|| {
        format!("'{text}' is not a bandwidth; give bits per second such as 800K, 10M or 1Gbit")
    })
}

/// A count of bytes with an optional decimal suffix K, M or G.
pub(super) fn bytes(flag: &'static str, text: &str) -> Result<u64, PlanError> {
    units::count(text).filter(|&count| count > 0).ok_or_else(|| {
        PlanError::usage(
            flag,
            format!("'{text}' is not a number of bytes; give one such as 4096, 100M or 2G"),
        )
    })
}

/// A number of targets, or a share of `allowed` with `%`.
pub(super) fn max_targets(text: &str, allowed: u64) -> Result<u64, PlanError> {
    let error = || {
        let what =
            format!("'{text}' is not a number of targets; give a number above 0, or a share such as 0.5%");
        PlanError::usage("--max-targets", what)
    };
    let Some(share) = text.strip_suffix('%') else {
        return units::count(text).filter(|&count| count > 0).ok_or_else(error);
    };
    let plain = share.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let share: f64 = share.parse().ok().filter(|_| plain).ok_or_else(error)?;
    if share <= 0.0 || share > 100.0 {
        return Err(error());
    }
    Ok(((allowed as f64 * share / 100.0) as u64).clamp(1, allowed.max(1)))
}

/// A source port or a range of them.
pub(super) fn source_ports(text: &str) -> Result<PortRange, PlanError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parse = |text: &str| text.parse::<u16>().ok();
    match (parse(first), parse(last)) {
        (Some(first), Some(last)) if first <= last => {
            Ok(PortRange { first, count: u32::from(last - first) + 1 })
        }
        _ => {
            let what = format!("'{text}' is not a port or a range of ports; give one such as 32768-61000");
            Err(PlanError::usage("--source-port", what))
        }
    }
}

/// Source addresses: a comma-separated list of addresses and `a-b` ranges, each address once.
pub(super) fn source_addresses(text: &str) -> Result<Vec<Ipv4Addr>, PlanError> {
    let mut addresses = Vec::new();
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let parse = |text: &str| text.trim().parse::<Ipv4Addr>().ok().map(u32::from);
        let (Some(first), Some(last)) = (parse(first), parse(last)) else {
            let what = format!(
                "'{item}' is not an IPv4 address or a range; give for example 192.0.2.1,192.0.2.8-192.0.2.15"
            );
            return Err(PlanError::usage("--source-ip", what));
        };
        if first > last || (last - first) as usize >= SOURCES_MAX {
            let what =
                format!("'{item}' is not a range of 1 to {SOURCES_MAX} addresses; write the lower one first");
            return Err(PlanError::usage("--source-ip", what));
        }
        addresses.extend((first..=last).map(Ipv4Addr::from));
    }
    let odd =
        |address: &&Ipv4Addr| address.is_unspecified() || address.is_loopback() || address.octets()[0] >= 224;
    if let Some(odd) = addresses.iter().find(odd) {
        let what = format!("{odd} is not an address that a host can send from; give one that replies reach");
        return Err(PlanError::usage("--source-ip", what));
    }
    let mut seen = addresses.clone();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != addresses.len() {
        return Err(PlanError::usage("--source-ip", "an address is named twice; name each once"));
    }
    if addresses.len() > SOURCES_MAX {
        return Err(PlanError::usage(
            "--source-ip",
            format!("more than {SOURCES_MAX} addresses; give fewer"),
        ));
    }
    Ok(addresses)
}

/// The RX queues that `text` lists, such as `0,2-3`, of an interface that has `count`; without a text, all of them.
pub(super) fn queues(text: Option<&str>, interface: &str, count: u32) -> Result<Vec<u32>, PlanError> {
    let Some(text) = text else { return Ok((0..count).collect()) };
    let mut queues = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) else {
            return Err(PlanError::usage(
                "--queues",
                format!("'{part}' is not a queue; give a list such as 0,2-3"),
            ));
        };
        if first > last || last >= count {
            let what = format!("'{part}' is not among the queues of {interface}, which are 0-{}", count - 1);
            return Err(PlanError::usage("--queues", what));
        }
        queues.extend(first..=last);
    }
    queues.sort_unstable();
    queues.dedup();
    Ok(queues)
}

/// Refuses ZMap's flags that have no meaning here, with what to do instead.
pub(super) fn refuse_unfit(args: &Args) -> Result<(), PlanError> {
    if let Some(address) = &args.network.netmap_wait_ping {
        let what = format!(
            "xdpmap does not use netmap, and the link stays up; to wait for it, ping {address} first"
        );
        return Err(PlanError::usage("--netmap-wait-ping", what));
    }
    if args.engine.io_mode == IoMode::Packet {
        refuse_queue_flags(args)?;
    }
    Ok(())
}

/// Refuses options about RX queues where a scan cannot choose queues: over AF_PACKET.
pub(super) fn refuse_queue_flags(args: &Args) -> Result<(), PlanError> {
    const HEARS_ALL: &str = "AF_PACKET receives from all queues; leave it out, or use another --io-mode";
    let engine = &args.engine;
    let flags = [
        ("--queues", engine.queues.is_some(), HEARS_ALL),
        ("--steer", engine.steer, HEARS_ALL),
        (
            "--busy-poll",
            engine.busy_poll.is_some(),
            "AF_PACKET gets its packets from the network stack, and no driver's queue is its to poll; leave it out, or use \
             another --io-mode",
        ),
    ];
    match flags.into_iter().find(|(_, is_given, _)| *is_given) {
        Some((flag, _, what)) => Err(PlanError::usage(flag, what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn bandwidths() {
        for (text, bps) in [
            ("10M", 10_000_000),
            ("2.5g", 2_500_000_000),
            ("800k", 800_000),
            ("1000", 1_000),
            ("100Mbit", 100_000_000),
            ("1Gbit/s", 1_000_000_000),
        ] {
            assert_eq!(bandwidth_bps(text).unwrap(), bps);
        }
        for bad in ["", "M", "-5M", "5MB", "1e5", "0", "inf", "nan", "5 M", "9999999999G", "ü"] {
            assert!(bandwidth_bps(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, count) in [("1", 1), ("10K", 10_000), ("3m", 3_000_000), ("2G", 2_000_000_000)] {
            assert_eq!(bytes("--rotate-bytes", text).unwrap(), count);
        }
        for bad in ["", "0", "K", "-1", "+1", "1.0001K", "1KB", "99999999999G", "ü"] {
            assert!(bytes("--rotate-bytes", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!(max_targets("1000", 10).unwrap(), 1000);
        assert_eq!(max_targets("1%", 65_536).unwrap(), 655);
        assert_eq!(max_targets("100%", 65_536).unwrap(), 65_536);
        assert_eq!(max_targets("0.0001%", 10).unwrap(), 1);
        for bad in ["", "0", "-1", "0%", "101%", "x%", "%", "1 %"] {
            assert!(max_targets(bad, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_and_addresses() {
        assert_eq!(source_ports("40000").unwrap(), PortRange { first: 40_000, count: 1 });
        assert_eq!(source_ports("0-65535").unwrap(), PortRange { first: 0, count: 65_536 });
        for bad in ["", "5-4", "70000", "1-2-3", "-5"] {
            assert!(source_ports(bad).is_err(), "{bad}");
        }
        assert_eq!(source_addresses("192.0.2.1,192.0.2.8-192.0.2.10").unwrap().len(), 4);
        for bad in ["", "192.0.2.1,192.0.2.1", "192.0.2.9-192.0.2.1", "10.0.0.0-10.0.1.0", "::1", "a"] {
            assert!(source_addresses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queue_lists() {
        let parse = |text: &str| queues(Some(text), "eth0", 4);
        assert_eq!(queues(None, "eth0", 3).unwrap(), [0, 1, 2]);
        assert_eq!(parse("3,0-1,1").unwrap(), [0, 1, 3]);
        assert_eq!(parse(" 2 , 3 - 3").unwrap(), [2, 3]);
        for wrong in ["", "4", "0-4", "2-1", "a", "1,,2", "-1", "1-2-3"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.to_string().starts_with("--queues: '"), "{error}");
            assert_eq!(error.exit_code(), Exit::Usage);
        }
    }
}
