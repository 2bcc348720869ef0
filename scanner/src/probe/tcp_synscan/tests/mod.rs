use super::*;
use crate::probe::testing::{
    SOURCE, TARGET, assert_is_sound, classify, frames, header_of, icmp_error, packet, patched, segment,
    settings,
};
use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};
use proptest::prelude::*;
use wire::packet::{BATCH_MAX, LinkHeader, Patch};

mod fields;

fn answer(frame: &[u8], flags: u8, acknowledge: u32) -> Vec<u8> {
    let (ip, probe) = (packet(frame), segment(frame));
    let mut reply = vec![];
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(ip.destination.to_be_bytes(), ip.source.to_be_bytes(), 60)
        .tcp(probe.destination_port, probe.source_port, 77, 1000)
        .ack(probe.sequence.wrapping_add(acknowledge));
    builder.write(&mut reply, &[]).unwrap();
    reply[47] = flags;
    reply
}

proptest! {
    /// etherparse, which knows nothing of templates, agrees with every field and both checksums.
    #[test]
    fn frames_are_right(address: u32, port: u16, layout in 0usize..4) {
        let (layout, _) = OPTION_LAYOUTS[layout];
        let probe = TcpSynScan::new(&settings(1), Args { layout, rtt: false });
        let frame = &frames(&probe, &[(address, port)])[0];
        assert_is_sound(frame);
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let ip = packet.net.as_ref().unwrap().ipv4_ref().unwrap().header();
        prop_assert_eq!(ip.destination(), address.to_be_bytes());
        prop_assert_eq!(ip.source(), SOURCE.to_be_bytes());
        prop_assert_eq!(ip.ttl(), 64);
        prop_assert!(!ip.dont_fragment());
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("no TCP") };
        prop_assert_eq!(tcp.destination_port(), port);
        prop_assert!((32_768..=61_000).contains(&tcp.source_port()));
        prop_assert!(tcp.syn() && !tcp.ack() && !tcp.rst() && !tcp.fin());
        prop_assert_eq!(tcp.window_size(), 65_535);
        prop_assert!(tcp.options_iterator().all(|option| option.is_ok()));
    }

    /// Answers to each copy are recognised and tell the copy; one wrong bit anywhere that matters refuses them.
    #[test]
    fn replies_prove_the_probe(address: u32, port: u16, copies in 1u32..5, bit in 0usize..32) {
        let probe = TcpSynScan::new(&settings(copies), Args::default());
        for (copy, frame) in frames(&probe, &[(address, port)]).iter().enumerate() {
            for (flags, ahead, kind) in [(0x12, 1, ReplyKind::SynAck), (0x14, 1, ReplyKind::Rst), (0x04, 0, ReplyKind::Rst)] {
                let reply = answer(frame, flags, ahead);
                let found = classify(&probe, &reply).unwrap();
                prop_assert_eq!((found.kind, usize::from(found.probe)), (kind, copy));
                prop_assert_eq!((found.target, found.target_port), (address, port));
            }
            prop_assert_eq!(classify(&probe, &answer(frame, 0x12, 0)), None);
            prop_assert_eq!(classify(&probe, &answer(frame, 0x10, 1)), None);
            prop_assert_eq!(classify(&probe, &answer(frame, 0x13, 1)), None);
            for field in [26, 30, 42] { // responder, our address, acknowledgement
                let mut forged = answer(frame, 0x12, 1);
                forged[field + bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(classify(&probe, &forged), None);
            }
        }
    }

    /// An ICMP error proves the probe by its quote, of which 8 bytes suffice: ports and sequence number.
    #[test]
    fn icmp_errors_prove_the_probe(address: u32, port: u16, quoted in 0usize..40, bit in 0usize..32) {
        let probe = TcpSynScan::new(&settings(2), Args::default());
        for (copy, frame) in frames(&probe, &[(address, port)]).iter().enumerate() {
            let error = icmp_error(frame, 3, 13, quoted);
            let Some(found) = classify(&probe, &error) else {
                prop_assert!(quoted < 8);
                continue;
            };
            prop_assert!(quoted >= 8);
            prop_assert_eq!((found.kind, usize::from(found.probe)), (ReplyKind::Icmp, copy));
            prop_assert_eq!((found.target, found.target_port, found.responder), (address, port, 0xc000_0209));
            prop_assert!(!found.wants_reset);
            for field in [30, 54, 58, 66] { // our address; of the quote: ours, the target's, the sequence number
                let mut forged = error.clone();
                forged[field + bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(classify(&probe, &forged), None);
            }
        }
    }

    /// Over a link that carries bare packets, probes, resets and answers are the same but for the Ethernet header.
    #[test]
    fn links_without_a_header(address: u32, port: u16, layout in 0usize..4, rtt: bool) {
        let (layout, _) = OPTION_LAYOUTS[layout];
        let args = Args { layout, rtt: rtt && layout.timestamp_offset().is_some() };
        let [ethernet, bare] = [LinkHeader::Ethernet, LinkHeader::Bare]
            .map(|link| TcpSynScan::new(&ProbeSettings { link, ..settings(1) }, args));
        let [frame, bare_frame] = [&ethernet, &bare].map(|probe| frames(probe, &[(address, port)]).remove(0));
        prop_assert_eq!(&frame[14..], &bare_frame[..]);
        let reply = answer(&frame, 0x12, 1);
        let [found, bare_found] = [(&ethernet, &reply[..]), (&bare, &reply[14..])]
            .map(|(probe, reply)| classify(probe, reply).unwrap());
        prop_assert_eq!(ProvenReply { ip_offset: 0, ..found }, bare_found);
        let [reset, bare_reset] = [(&ethernet, &found), (&bare, &bare_found)].map(|(probe, found)| {
            let mut patches = PatchBatch::default();
            probe.reset(found, &mut patches);
            patched(probe.reset_template().unwrap(), &patches).remove(0)
        });
        prop_assert_eq!(&reset[14..], &bare_reset[..]);
        prop_assert_eq!(classify(&bare, &reply), None);
    }

    #[test]
    fn classify_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), frame_len: u32) {
        let probe = TcpSynScan::new(&settings(1), Args::default());
        let _ = probe.classify(RxFrame { captured: &bytes, frame_len, queue: 0 });
    }
}

/// The option bytes of each layout: sizes and order as `zmap-compatibility` promises.
#[test]
fn option_layouts() {
    use TcpOptionElement::{
        MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale,
    };
    let mss = MaximumSegmentSize(1460);
    let sack = SelectiveAcknowledgementPermitted;
    let time = Timestamp(0x0102_0304, 0);
    let expected = [
        (OptionLayout::SmallestProbes, 58, vec![mss.clone()]),
        (OptionLayout::Windows, 66, vec![mss.clone(), Noop, WindowScale(8), Noop, Noop, sack.clone()]),
        (OptionLayout::Linux, 74, vec![mss.clone(), sack.clone(), time.clone(), Noop, WindowScale(7)]),
        (OptionLayout::Bsd, 78, vec![mss, Noop, WindowScale(6), Noop, Noop, time, sack]),
    ];
    for (layout, frame_len, elements) in expected {
        let probe = TcpSynScan::new(&settings(1), Args { layout, rtt: false });
        let frame = &frames(&probe, &[(TARGET, 80)])[0];
        assert_eq!(frame.len(), frame_len);
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
        assert_eq!(tcp.options_iterator().collect::<Result<Vec<_>, _>>().unwrap(), elements, "{layout:?}");
        assert_eq!(layout.name().parse(), Ok(layout));
    }
    assert!("win95".parse::<OptionLayout>().is_err());
}

/// With `rtt` a SYN carries its time, keeps all of its cookie, and its echo gives the round-trip time.
#[test]
fn round_trip_times() {
    let sent_ns = 1_769_857_200_000_123_456;
    for (args, frame_len) in [("linux,rtt", 74), ("rtt,bsd", 78), ("rtt", 74)] {
        let probe = TcpSynScan::new(&settings(1), args.parse().unwrap());
        assert!(probe.tells_time());
        let mut targets = TargetBatch { len: 1, time_ns: sent_ns, ..TargetBatch::default() };
        (targets.addresses[0], targets.ports[0]) = (TARGET, 443);
        let mut patches = probe.template().batch();
        probe.emit(&targets, probe.check().copies.ordinary(), &mut patches);
        let frame = &patched(probe.template(), &patches)[0];
        assert_is_sound(frame);
        assert_eq!(frame.len(), frame_len);
        let timestamps = |frame: &[u8]| wire::packet::TcpOptions::parse(&frame[34..]).timestamps.unwrap();
        assert_eq!(timestamps(frame), (microseconds(sent_ns), 0));
        let plain = TcpSynScan::new(&settings(1), Args::default());
        let cookie_of = |frame: &[u8]| (segment(frame).sequence, segment(frame).source_port);
        assert_eq!(cookie_of(frame), cookie_of(&frames(&plain, &[(TARGET, 443)])[0]));

        let options =
            [[8, 10, 0, 0, 0, 9].as_slice(), &microseconds(sent_ns).to_be_bytes(), &[1, 1]].concat();
        let mut reply = answer(frame, 0x12, 1);
        reply.extend(options);
        reply[46] = 0x80; // a header of 32 bytes
        reply[17] += 12;
        let found = classify(&probe, &reply).unwrap();
        let mut header = header_of(&found, reply.len());
        for (late_ns, expected) in [(7_000, Some(7)), (0, Some(0)), (-7_000, None)] {
            header.time_ns = sent_ns.wrapping_add_signed(late_ns);
            assert_eq!(rtt_us(&reply::Reply::new(&header, &reply, false)), expected);
        }
        header.flags = 0;
        assert_eq!(rtt_us(&reply::Reply::new(&header, &reply, false)), None);
    }
    for refused in ["windows,rtt", "smallest-probes,rtt", "linux,bsd", "rtt,", "linux,rtt,bsd"] {
        assert!(refused.parse::<Args>().is_err(), "{refused}");
    }
}

/// A reset has the form that the responder of a half-open connection accepts: only the flag RST, and as sequence number
/// what the responder acknowledged.
#[test]
fn resets_are_acceptable() {
    let probe = TcpSynScan::new(&settings(1), Args::default());
    let syn = &frames(&probe, &[(TARGET, 443)])[0];
    let reply = classify(&probe, &answer(syn, 0x12, 1)).unwrap();
    assert!(reply.wants_reset);
    let mut patches = PatchBatch::default();
    probe.reset(&reply, &mut patches);
    let reset = &patched(probe.reset_template().unwrap(), &patches)[0];
    let (syn, rst) = (segment(syn), segment(reset));
    assert_eq!(rst.flags, TCP_RST);
    assert_eq!(rst.sequence, syn.sequence.wrapping_add(1));
    assert_eq!((rst.source_port, rst.destination_port), (syn.source_port, 443));
    assert_eq!((packet(reset).source, packet(reset).destination), (SOURCE, TARGET));
    assert_is_sound(reset);
}

/// Several source addresses are used in ZMap's order, and a reply to any of them counts.
#[test]
fn source_addresses_rotate() {
    let mut several = settings(2);
    several.sources.addresses = vec![SOURCE, SOURCE + 1, SOURCE + 2];
    let probe = TcpSynScan::new(&several, Args::default());
    let all = frames(&probe, &[(9, 80), (10, 80)]);
    let sources: Vec<u32> = all.iter().map(|frame| packet(frame).source).collect();
    assert_eq!(sources, [SOURCE, SOURCE + 1, SOURCE + 1, SOURCE + 2]);
    for frame in &all {
        assert!(classify(&probe, &answer(frame, 0x12, 1)).is_some());
    }
    const { assert!(BATCH_MAX >= super::super::PROBES_MAX as usize) }
}

/// Whatever the processor has, the patches are those that the fields' own definitions give, one by one.
#[test]
fn every_level_makes_the_same_patches() {
    let addresses = [SOURCE, SOURCE + 1, SOURCE + 9];
    for (pool, copies, port_in_cookie) in [
        (&addresses[..1], 1, true),
        (&addresses[..1], 1, false),
        (&addresses[..1], 5, true),
        (&addresses[..], 1, true),
        (&addresses[..], 3, false),
    ] {
        let mut settings = ProbeSettings { port_in_cookie, ..settings(copies) };
        settings.sources.addresses = pool.to_vec();
        settings.copies = settings.copies.with_canaries();
        let one = settings.copies.canary(11).unwrap();
        for (numbers, len) in [0, 1, 3, 8, 17, BATCH_MAX / copies as usize]
            .map(|len| (settings.copies.ordinary(), len))
            .into_iter()
            .chain([(one, 19)])
        {
            let copies = numbers.count;
            let mut batch = TargetBatch { len, ..TargetBatch::default() };
            for i in 0..len {
                batch.addresses[i] = (i as u32).wrapping_mul(0x9e37_79b9);
                batch.ports[i] = (i as u16).wrapping_mul(40_503);
            }
            let template =
                TcpSynScan::new(&settings, Args { layout: OptionLayout::Linux, rtt: false }).template;
            let expected = |i: usize| {
                let (target, copy) = (i / copies as usize, numbers.first + i as u32 % copies);
                let (address, port) = (batch.addresses[target], batch.ports[target]);
                let source = settings.sources.address(address, copy);
                let cookie = settings.check(ProbeForm::TcpSyn).cookie(source, address, port);
                let source_port = settings.sources.ports.source_port(cookie, copy);
                let ports = u32::from(source_port) << 16 | u32::from(port);
                template.finish(source, address, [ports, cookie.sequence()], cookie.ip_id())
            };
            let expected: Vec<Patch> = (0..len * copies as usize).map(expected).collect();
            for level in Level::available() {
                let probe = TcpSynScan::new(&settings, Args { layout: OptionLayout::Linux, rtt: false })
                    .at_level(level);
                let mut patches = PatchBatch { len: 77, ..PatchBatch::default() }; // what an earlier batch left
                probe.emit(&batch, numbers, &mut patches);
                let made: Vec<Patch> = (0..patches.len).map(|i| patches.get(i)).collect();
                assert_eq!(made, expected, "{level:?}, {len} targets x {numbers:?}");
            }
        }
    }
}
