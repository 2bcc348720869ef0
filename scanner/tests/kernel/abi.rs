//! The Rust mirror equals the object's description of itself (its BTF). Needs no root.

use libbpf_rs::btf::types::{Enum, MemberAttr, Struct};
use libbpf_rs::btf::{Btf, HasSize};
use std::mem::offset_of;
use xdpmap::io::bpf::abi::{COUNTERS, Config, Counter, QUEUES_MAX, SOURCES_MAX};
use xdpmap::io::bpf::{live_object, object};
use xdpmap::io::live::abi as live;

fn btf() -> Btf<'static> {
    Btf::from_raw("xdpmap", object()).expect("BTF that parses").expect("an object with BTF")
}

/// Names and offsets of a structure's members, according to its object.
fn members(structure: &Struct<'_>) -> Vec<(String, usize)> {
    let member = |member: libbpf_rs::btf::types::StructMember<'_>| {
        let MemberAttr::Normal { offset } = member.attr else { panic!("a bit field") };
        (member.name.expect("a name").to_string_lossy().into_owned(), offset as usize / 8)
    };
    structure.iter().map(member).collect()
}

/// The same for our structure.
macro_rules! layout {
    ($structure:ty, $($field:ident),* $(,)?) => {
        vec![$((stringify!($field).to_string(), offset_of!($structure, $field)),)*]
    };
}

#[test]
fn the_counters_of_rust_are_those_of_the_object() {
    let btf = btf();
    let theirs: Enum<'_> = btf.type_by_name("xdpmap_counter").expect("the enum");
    let theirs: Vec<_> =
        theirs.iter().map(|m| (m.name.expect("a name").to_string_lossy().into_owned(), m.value)).collect();
    let mut ours: Vec<_> = Counter::ALL
        .iter()
        .map(|counter| (format!("XDPMAP_{}", counter.name().to_uppercase()), *counter as i64))
        .collect();
    ours.push(("XDPMAP_COUNTERS".into(), COUNTERS as i64));
    assert_eq!(ours, theirs);
}

#[test]
fn the_configuration_of_rust_has_the_objects_layout() {
    let btf = btf();
    let theirs: Struct<'_> = btf.type_by_name("xdpmap_config").expect("the struct");
    assert_eq!(theirs.size(), size_of::<Config>());
    assert_eq!(
        layout![
            Config,
            cookie_state,
            source_port_first,
            source_port_count,
            probes,
            drop_invalid,
            source_first,
            source_last,
            sources_dense,
            form,
            cookie_port_mask,
            vlan_tags,
            vlan_ids,
            echo,
            own_sockets,
            reserved
        ],
        members(&theirs)
    );
}

/// The ring that a worker and the live-frame program share, and everything in it.
#[test]
fn the_live_ring_of_rust_has_the_objects_layout() {
    let btf = Btf::from_raw("live", live_object()).expect("BTF that parses").expect("an object with BTF");
    let structure = |name: &str| -> Struct<'_> { btf.type_by_name(name).expect(name) };
    let (ring, entry) = (structure("xdpmap_live_ring"), structure("xdpmap_live_entry"));
    let (refusal, config) = (structure("xdpmap_live_refusal"), structure("xdpmap_live_config"));
    let sizes = [ring.size(), entry.size(), refusal.size(), config.size()];
    let ours = [size_of::<live::Ring>(), size_of::<live::LiveEntry>(), size_of::<live::RefusedBulk>()];
    assert_eq!(sizes[..3], ours);
    assert_eq!(sizes[3], size_of::<live::Config>());
    let of_ring = layout![
        live::Ring,
        head,
        refusals_read,
        unused0,
        accounted,
        sent,
        refused,
        lost,
        refusals_written,
        unused1,
        tail,
        known_head,
        empty,
        halted,
        cpu,
        unused2,
        refusals,
        entries
    ];
    assert_eq!(of_ring, members(&ring));
    let of_entry = layout![
        live::LiveEntry,
        addresses,
        l4_start,
        timestamp,
        ip_id,
        ip_checksum,
        l4_checksum,
        flags,
        reserved
    ];
    assert_eq!(of_entry, members(&entry));
    assert_eq!(layout![live::RefusedBulk, position, count, error], members(&refusal));
    assert_eq!(layout![live::Config, ifindex, frame_len, l4_checksum, template], members(&config));
}

#[test]
fn the_maps_have_the_promised_sizes() {
    let mut builder = libbpf_rs::ObjectBuilder::default();
    let open = builder.open_memory(object()).expect("libbpf opens the object");
    let mut maps: Vec<_> = open
        .maps()
        .map(|map| (map.name().to_string_lossy().into_owned(), map.max_entries()))
        .filter(|(name, _)| !name.ends_with(".rodata"))
        .collect();
    maps.sort();
    let expected = [("counters", COUNTERS as u32), ("sources", SOURCES_MAX as u32), ("xsks", QUEUES_MAX)];
    assert_eq!(maps, expected.map(|(name, entries)| (name.to_string(), entries)));
    let btf = btf();
    let address: Struct<'_> = btf.type_by_name("xdpmap_address").expect("the struct");
    assert_eq!(address.size(), 16);
}

#[test]
fn the_embedded_object_is_aligned_for_elf_readers() {
    assert_eq!(object().as_ptr().align_offset(8), 0);
    assert_eq!(&object()[..4], b"\x7fELF");
}
