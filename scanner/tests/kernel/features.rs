//! The XDP features of a driver, as we read them from the kernel and as libbpf does.

use lab::have_root;
use libbpf_rs::libbpf_sys;
use support::network::{enter_namespace, index, ip, veth_pair};
use xdpmap::nic::XdpFeatures;

/// What libbpf reads.
fn by_libbpf(ifindex: u32) -> XdpFeatures {
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    #[expect(unsafe_code, reason = "libbpf is C")]
    // SAFETY: the structure says how long it is, and outlives the call.
    let status = unsafe { libbpf_sys::bpf_xdp_query(ifindex.cast_signed(), 0, &raw mut options) };
    assert_eq!(status, 0, "interface {ifindex}");
    XdpFeatures::new(options.feature_flags)
}

/// Of drivers that support everything, something and nothing.
#[test]
fn the_same_as_libbpf_reads() {
    if !have_root() {
        return;
    }
    enter_namespace();
    let left = veth_pair();
    ip("tuntap add dev tap0 mode tap");
    ip("tuntap add dev tun0 mode tun");
    let all = [index("lo"), left, index("right"), index("tap0"), index("tun0")];
    let ours = all.map(|ifindex| XdpFeatures::of(ifindex).expect("the kernel answers"));
    assert_eq!(ours, all.map(by_libbpf));
    assert!(ours[1].native() && !ours[0].native(), "{ours:?}");
}
