//! Targets on the interface's own network.

use super::*;

/// Targets on the own link: those that have an owner are probed at its MAC address, including copies and resets. The
/// others are counted, and do not use any of the rate.
#[test]
fn neighbors_have_their_own_addresses() {
    let mac = |address: u32| MacAddr([2, 0, 0, 0, 0, address as u8]);
    let network = AddressRange::prefix([198, 18, 7, 0].into(), 25);
    let known: Vec<u32> = (0xc612_0700..0xc612_0780).filter(|address| address % 16 == 3).collect();
    let gateway = MacAddr([4; 6]);
    for (workers, copies) in [(1, 1), (2, 3)] {
        let neighbors = known.iter().map(|&address| (address, mac(address)));
        let networks = vec![(network, Hop::Neighbor)];
        let gateways = Arc::new(Gateways::new([gateway]));
        let neighborhood = Some(Neighborhood::new(networks, neighbors, gateways));
        let destinations: Arc<Mutex<Vec<(MacAddr, u32)>>> = Arc::default();
        let seen = Arc::clone(&destinations);
        let responder: Responder = Arc::new(move |frame: &[u8]| {
            let to = MacAddr(frame[..6].try_into().unwrap());
            seen.lock().unwrap().push((to, packet(frame).destination));
            vec![reply(frame, TCP_SYN | TCP_ACK)]
        });
        // At this rate the 240 unreachable targets would take 600 ms.
        let rate_pps = 400 * u64::from(copies);
        let setup = Setup { workers, copies, responder, neighborhood, rate_pps, ..Setup::default() };
        let outcome = run(&setup);
        let mut destinations = destinations.lock().unwrap().clone();
        assert!(
            destinations
                .iter()
                .all(|(to, address)| *to == if network.contains(*address) { mac(*address) } else { gateway })
        );
        destinations.dedup();
        assert_eq!(outcome.total.targets, 2 * (8 + 128));
        assert_eq!(outcome.total.targets_unreachable, 2 * 120);
        assert_eq!(outcome.total.targets_done(), 512);
        assert_eq!(outcome.total.port.probes_sent, u64::from(copies) * outcome.total.targets);
        let probed: BTreeSet<u32> = outcome.probes.iter().map(|(address, _)| *address).collect();
        let expected = known.iter().copied().chain(0xc612_0780..=0xc612_07ff);
        assert_eq!(probed, expected.collect());
        assert!(outcome.resets > 0);
        for frame in &outcome.reset_frames {
            let (to, address) = (MacAddr(frame[..6].try_into().unwrap()), packet(frame).destination);
            assert_eq!(to, if network.contains(address) { mac(address) } else { gateway });
        }
        let paid = Duration::from_secs(1) * outcome.probes.len() as u32 / rate_pps as u32;
        assert!(outcome.due < paid + Duration::from_millis(400), "{:?} of {paid:?}", outcome.due);
    }
}
