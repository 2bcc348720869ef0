//! The fields of the TCP probes: names, order and meanings are ZMap's.

use crate::reply::fields::FieldInfo;
use crate::reply::fields::FieldType::Int;

/// Fields of the TCP header, after the ports.
pub(super) const SEGMENT: [FieldInfo; 3] = [
    FieldInfo::new("seqnum", Int, "TCP sequence number", |r, _| r.sequence().into()),
    FieldInfo::new("acknum", Int, "TCP acknowledgement number", |r, _| r.acknowledgement().into()),
    FieldInfo::new("window", Int, "TCP window, not scaled", |r, _| r.window().into()),
];

/// Fields of the TCP options.
#[rustfmt::skip]
pub(super) const OPTIONS: [FieldInfo; 5] = [
    FieldInfo::new("tcpopt_mss", Int, "TCP option: maximum segment size in bytes", |r, _| r.tcp_options().mss.into()),
    // A shift too large for a 64-bit number is invalid: null, rather than a wrong number.
    FieldInfo::new("tcpopt_wscale", Int, "TCP option: window scale as a factor, 2^shift", |r, _| {
        r.tcp_options().window_shift.and_then(|shift| 1u64.checked_shl(shift.into())).into()
    }),
    FieldInfo::new("tcpopt_sack_perm", Int, "TCP option: 1 if selective acknowledgements are permitted", |r, _| r.tcp_options().sack_permitted.then_some(1u64).into()),
    FieldInfo::new("tcpopt_ts_val", Int, "TCP option: timestamp value", |r, _| r.tcp_options().timestamps.map(|(value, _)| value).into()),
    FieldInfo::new("tcpopt_ts_ecr", Int, "TCP option: timestamp echo reply", |r, _| r.tcp_options().timestamps.map(|(_, echo)| echo).into()),
];
