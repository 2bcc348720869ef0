//! A link that goes down during a scan.

use super::*;

/// How long a worker may be delayed here between the time of its turn, as recorded in the history, and handing over.
/// The watch on a real link allows a second for that.
const TURN_MAX: Duration = Duration::from_millis(30);

/// A link for tests: frames that are sent while it is down are lost, but reported as sent.
#[derive(Default)]
struct Link {
    is_down: AtomicBool,
    delivered: Mutex<BTreeSet<(u32, u16)>>,
}

impl Link {
    fn responder(self: &Arc<Self>) -> Responder {
        let link = Arc::clone(self);
        Arc::new(move |probe: &[u8]| {
            if !link.is_down.load(Ordering::Relaxed) {
                let target = (packet(probe).destination, segment(probe).destination_port);
                link.delivered.lock().unwrap().insert(target);
            }
            vec![]
        })
    }

    /// Goes down after `up`, which is noticed after `late`, and comes back after another `down`, if at all.
    fn fail(&self, control: &Control, up: u64, late: u64, down: Option<u64>) {
        std::thread::sleep(Duration::from_millis(up));
        let doubt_from = Instant::now().checked_sub(TURN_MAX).unwrap();
        self.is_down.store(true, Ordering::Relaxed);
        self.notice(control, doubt_from, late, down);
    }

    /// Like [`Self::fail`], for a link that is already down.
    fn notice(&self, control: &Control, doubt_from: Instant, late: u64, down: Option<u64>) {
        let sleep = |ms| std::thread::sleep(Duration::from_millis(ms));
        sleep(late);
        control.hold(doubt_from);
        let Some(down) = down else { return control.stop(EndReason::LinkDown) };
        sleep(down);
        self.is_down.store(false, Ordering::Relaxed);
        control.resume();
    }
}

/// No target is missed if a link goes down, whether during the scan, twice, or when all had been sent and the cooldown
/// would be over; and the counters show what was probed again.
#[test]
fn a_link_that_goes_down_loses_nothing() {
    for (workers, copies, rate_pps, times) in
        [(1, 1, 4_000, 1), (3, 2, 8_000, 1), (2, 1, 4_000, 2), (2, 1, 0, 1)]
    {
        let link = Arc::new(Link::default());
        let control = Control::new(workers);
        let mut setup = Setup { workers, copies, rate_pps, responder: link.responder(), ..Setup::default() };
        // At full rate everything is sent at once. Then the link is down from the start, which is noticed in the
        // cooldown.
        let at_once = rate_pps == 0;
        let doubt_from = Instant::now();
        if at_once {
            setup.cooldown = Duration::from_millis(500);
            link.is_down.store(true, Ordering::Relaxed);
        }
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                while at_once && control.senders() > 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                for _ in 0..times {
                    match at_once {
                        // Down for longer than the cooldown.
                        true => link.notice(&control, doubt_from, 30, Some(600)),
                        false => link.fail(&control, 40, 30, Some(150)),
                    }
                }
            });
            run_with(&setup, &control)
        });
        let case = format!("{workers} workers at {rate_pps}, {times} times");
        assert_eq!(*link.delivered.lock().unwrap(), whole_space(), "{case}");
        assert_eq!((outcome.end.reason, outcome.total.targets), (EndReason::Complete, 512), "{case}");
        assert!(outcome.total.targets_again > 0, "{case}: the link was never missed");
        let probed = outcome.total.targets + outcome.total.targets_again;
        assert_eq!(outcome.total.tx_submitted, probed * u64::from(copies), "{case}");
        assert_eq!(outcome.probes.len() as u64, outcome.total.port.probes_sent, "{case}");
        assert_eq!((outcome.end.left, outcome.end.in_doubt), (vec![], vec![]), "{case}");
    }
}

/// If the link does not come back, the exponents that are left and those that may be lost are reported: together with
/// what was delivered they are all.
#[test]
fn a_link_that_stays_down_leaves_a_list() {
    for workers in [1, 3] {
        let link = Arc::new(Link::default());
        let control = Control::new(workers);
        let setup = Setup { workers, rate_pps: 4_000, responder: link.responder(), ..Setup::default() };
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| link.fail(&control, 40, 30, None));
            run_with(&setup, &control)
        });
        assert_eq!(outcome.end.reason, EndReason::LinkDown);
        assert_eq!(outcome.total.targets_again, 0);
        let order = Permutation::new(512, setup.seed).unwrap();
        let list = List::from_arguments(&["198.18.7.0/24"]).unwrap();
        let addresses = AddressSet::paint(Some(&list.to_set()), &RangeSet::default(), &RangeSet::default());
        let space = TargetSpace::new(addresses, PortList::parse("80,443").unwrap());
        let targets = |intervals: &[targets::Interval]| -> BTreeSet<(u32, u16)> {
            let exponents = intervals.iter().flat_map(|part| part.start..part.end);
            let indices: Vec<u64> = exponents.filter_map(|exponent| order.index_at(exponent)).collect();
            let target = |index: &u64| {
                let mut batch = targets::TargetBatch::default();
                space.resolve(&[*index], &mut batch);
                (batch.addresses[0], batch.ports[0])
            };
            indices.iter().map(target).collect()
        };
        let (left, in_doubt) = (targets(&outcome.end.left), targets(&outcome.end.in_doubt));
        assert_eq!(left.len() as u64, 512 - outcome.total.targets);
        assert!(!in_doubt.is_empty() && left.is_disjoint(&in_doubt));
        let mut all = link.delivered.lock().unwrap().clone();
        assert!(all.is_disjoint(&left));
        all.extend(left);
        all.extend(in_doubt);
        assert_eq!(all, whole_space(), "{workers} workers");
    }
}
