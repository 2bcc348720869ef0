//! Watches the interface while a scan runs: a link that goes down holds the sending until it is back, and whatever takes
//! the interface, the XDP program or queues away ends the scan. A gateway that moves to another MAC address holds it, too.
//!
//! Neither a completion nor an accepted frame is a delivery: with the link down, AF_XDP in copy mode goes on completing
//! what it is given. So what was handed over from [`MARGIN`] before the interface was last seen well is probed again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::ending::OnPanic;
use super::gateways::{GatewayWatch, Move};
use crate::engine::{Control, EndReason};
use crate::nic::Interface;
use crate::nic::watch::{LinkWatch, Sight, rx_queues};

/// How often the interface is looked at, if the kernel gives no notice before.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often its queues are counted.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// How long before the interface was last seen well a probe may have left that was lost: replies under way when the link
/// goes down are lost with it, and most take less than a second. It also covers a driver that notices late.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a link must have been back before anything is sent.
const SETTLE: Duration = Duration::from_millis(250);
/// How long the gateway may not even be asked for.
const PATIENCE: Duration = Duration::from_secs(3);

/// An interface to be watched.
pub(super) struct Watched {
    /// What frames go through.
    pub(super) device: Interface,
    /// The gateways whose MAC addresses were looked up: they must answer again before the sending goes on.
    pub(super) gateways: Option<GatewayWatch>,
    /// Whether frames can be sent to where a gateway has moved.
    pub(super) follows_gateways: bool,
    /// The kernel's number of our XDP program, if there is one.
    pub(super) program: Option<u32>,
}

/// A time without a link, or in which a gateway moved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outage {
    pub(super) interface: String,
    /// Whether it was a gateway that moved.
    pub(super) gateway_moved: bool,
    /// When it was noticed.
    pub(super) began: Timestamp,
    /// How long nothing was sent.
    pub(super) lasted: Duration,
    /// Whether it was over before the scan was.
    pub(super) is_over: bool,
}

/// A running watch.
pub(super) struct Watch {
    finished: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Outage>>,
}

impl Watch {
    /// Watches from now on, for as long as no link stays down longer than `max_down`; all must be well now.
    ///
    /// # Errors
    /// No thread or no socket is to be had.
    pub(super) fn start(
        watched: Vec<Watched>,
        max_down: Duration,
        control: &Arc<Control>,
    ) -> io::Result<Self> {
        let mut links = LinkWatch::open()?;
        let finished = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&finished);
        let mut watchers = Vec::with_capacity(watched.len());
        for watched in watched {
            let sight = links.look(watched.device.index)?.unwrap_or_default();
            watchers.push(Watcher::new(watched, max_down, Arc::clone(control), &sight));
        }
        let control = Arc::clone(control);
        let on_panic = OnPanic::new(&control, EndReason::SendFailed);
        let watch = move || {
            let _on_panic = on_panic;
            while !stop.load(Ordering::Relaxed) {
                links.wait(LOOK_EVERY);
                watchers.iter_mut().for_each(|watcher| watcher.look(&mut links));
                if control.is_held() && !control.is_stopping() && watchers.iter().all(Watcher::is_well) {
                    control.resume();
                }
            }
            watchers.into_iter().flat_map(|watcher| watcher.outages).collect()
        };
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(watch)?;
        Ok(Self { finished, thread })
    }

    /// Ends the watch: what it has seen.
    pub(super) fn stop(self) -> Vec<Outage> {
        self.finished.store(true, Ordering::Relaxed);
        // A panic has been reported where it happened.
        self.thread.join().unwrap_or_default()
    }
}

/// How a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was up when last seen, and has been ever since the last outage.
    Well,
    /// It is down, or was between two looks; noticed at that time.
    Down { since: Instant },
    /// It is back since then, and may not be what it was yet.
    Settling { since: Instant, back: Instant },
}

/// What a look at a link shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Nothing,
    /// The link was lost. What left after the time given may be lost, too.
    Lost {
        doubt_from: Instant,
    },
    /// The link has been back for long enough.
    Back,
}

/// The judgement of one link: a function of what was seen and when.
#[derive(Debug)]
struct Judge {
    state: State,
    /// When a look that found it well began.
    well_at: Instant,
    times_lost: u32,
}

impl Judge {
    fn new(now: Instant, sight: &Sight) -> Self {
        Self { state: State::Well, well_at: now, times_lost: sight.times_lost }
    }

    /// Takes what a look showed that began at `asked`.
    fn see(&mut self, asked: Instant, sight: &Sight) -> Finding {
        let lost_again = std::mem::replace(&mut self.times_lost, sight.times_lost) != sight.times_lost;
        let is_well = sight.is_linked && !lost_again;
        match self.state {
            State::Well if is_well => self.well_at = asked,
            State::Well => {
                self.state = State::Down { since: asked };
                let doubt_from = self.well_at.checked_sub(MARGIN).unwrap_or(self.well_at);
                return Finding::Lost { doubt_from };
            }
            State::Down { since } | State::Settling { since, .. } if !sight.is_linked || lost_again => {
                self.state = State::Down { since };
            }
            State::Down { since } => self.state = State::Settling { since, back: asked },
            State::Settling { back, .. } if asked.saturating_duration_since(back) >= SETTLE => {
                return Finding::Back;
            }
            State::Settling { .. } => {}
        }
        Finding::Nothing
    }

    /// The outage is over.
    fn recover(&mut self, now: Instant) {
        (self.state, self.well_at) = (State::Well, now);
    }

    /// Since when it has been back, if it may still not be what it was.
    fn back(&self) -> Option<Instant> {
        match self.state {
            State::Settling { back, .. } => Some(back),
            State::Well | State::Down { .. } => None,
        }
    }

    /// Since when it has not been well.
    fn since(&self) -> Option<Instant> {
        match self.state {
            State::Well => None,
            State::Down { since } | State::Settling { since, .. } => Some(since),
        }
    }
}

/// The watch on one interface.
struct Watcher {
    watched: Watched,
    max_down: Duration,
    control: Arc<Control>,
    judge: Judge,
    outages: Vec<Outage>,
    /// When queues are counted again.
    count_at: Instant,
    /// Since when a gateway has been where it is now, while that is new, and its place in `outages`.
    moved: Option<(Instant, usize)>,
    /// Whether a foreign program beside ours has been told of.
    told_rival: bool,
}

impl Watcher {
    fn new(watched: Watched, max_down: Duration, control: Arc<Control>, sight: &Sight) -> Self {
        let now = Instant::now();
        Self {
            watched,
            max_down,
            control,
            judge: Judge::new(now, sight),
            outages: Vec::new(),
            count_at: now + COUNT_EVERY,
            moved: None,
            told_rival: false,
        }
    }

    fn is_well(&self) -> bool {
        self.judge.state == State::Well && self.moved.is_none()
    }

    fn look(&mut self, links: &mut LinkWatch) {
        let asked = Instant::now();
        let sight = match links.look(self.watched.device.index) {
            Ok(Some(sight)) => sight,
            Ok(None) => return self.end(EndReason::InterfaceLost, "the interface is gone"),
            // The next look may succeed, and the doubt goes back to the last that did.
            Err(_) => return,
        };
        self.check_program(&sight);
        self.check_queues(asked, &sight.name);
        match self.judge.see(asked, &sight) {
            Finding::Nothing => {}
            Finding::Lost { doubt_from } => self.lose(doubt_from),
            Finding::Back => self.go_on(asked),
        }
        // While the link is down nobody answers, and a request that is lost makes the kernel wait before the next.
        if self.judge.state == State::Well {
            self.look_at_gateways(asked);
        }
        let Some(since) = self.judge.since() else { return };
        let lasted = asked.saturating_duration_since(since);
        if let Some(outage) = self.outages.iter_mut().rfind(|outage| !outage.gateway_moved) {
            outage.lasted = lasted;
        }
        if lasted >= self.max_down && self.control.is_held() && !self.control.is_stopping() {
            let seconds = self.max_down.as_secs();
            let why = format!("the link has been down for {seconds} s, and --max-link-down allows no more");
            self.end(EndReason::LinkDown, &why);
        }
    }

    fn lose(&mut self, doubt_from: Instant) {
        let (interface, most) = (&self.watched.device.name, self.max_down.as_secs());
        self.outages.push(outage(interface, false));
        if self.control.had_sent_by(doubt_from) {
            warn!(target: "link", "{interface}: the link is down, and replies that are late may be lost");
        } else {
            self.control.hold(doubt_from);
            warn!(target: "link", "{interface}: the link is down; nothing is sent until it is back, for {most} s at most");
        }
    }

    /// Goes on, if the gateway is there as well.
    fn go_on(&mut self, now: Instant) {
        // Where there is no way to ask, the link alone must do. One that has just come up may not have its routes yet.
        let since_back = self.judge.back().map_or(Duration::ZERO, |back| now.saturating_duration_since(back));
        // A switch may take its time before it forwards anything.
        let gateways = self.watched.gateways.as_mut();
        if !gateways.is_none_or(|gateways| gateways.answer(now, since_back > PATIENCE)) {
            return;
        }
        self.judge.recover(now);
        if let Some(outage) = self.outages.iter_mut().rfind(|outage| !outage.gateway_moved) {
            outage.is_over = true;
            let (interface, seconds) = (&outage.interface, outage.lasted.as_secs_f64());
            let goes_on = self.control.is_held() && !self.control.is_stopping();
            let what = if goes_on { "; what may have been lost is probed again" } else { "" };
            info!(target: "link", "{interface}: the link is back after {seconds:.1} s{what}");
        }
    }

    /// Follows gateways that move, as after a lost link: what left since they were last seen is probed again.
    fn look_at_gateways(&mut self, now: Instant) {
        if let Some(moved) = self.watched.gateways.as_mut().and_then(|gateways| gateways.look(now)) {
            self.follow(now, &moved);
        } else if let Some((since, outage)) = self.moved
            && now.saturating_duration_since(since) >= SETTLE
        {
            self.moved = None;
            let outage = &mut self.outages[outage];
            (outage.lasted, outage.is_over) = (now.saturating_duration_since(since), true);
        }
    }

    fn follow(&mut self, now: Instant, moved: &Move) {
        let interface = &self.watched.device.name;
        let Move { address, from, to, .. } = moved;
        let what = format!("gateway {address} was at {from} and is at {to} now");
        if !self.watched.follows_gateways {
            let why = format!("{what}, where live frames cannot follow; scan with another --io-mode");
            return self.end_since(moved.well_at, EndReason::GatewayChanged, &why);
        }
        let doubt_from = moved.well_at.checked_sub(MARGIN).unwrap_or(moved.well_at);
        if self.control.had_sent_by(doubt_from) {
            warn!(target: "link", "{interface}: {what}, and replies that are late may be lost");
            return;
        }
        self.control.hold(doubt_from);
        warn!(target: "link", "{interface}: {what}; probes follow, and what may have been lost is probed again");
        let at = self.moved.map_or(self.outages.len(), |(_, at)| at);
        if at == self.outages.len() {
            self.outages.push(outage(interface, true));
        }
        self.moved = Some((now, at));
    }

    fn check_program(&mut self, sight: &Sight) {
        let Some(ours) = self.watched.program else { return };
        let rival = sight.programs.iter().find(|&&id| id != ours);
        if !sight.programs.contains(&ours) {
            let why = match rival {
                Some(id) => format!("its XDP program was replaced by another (id {id})"),
                None => "its XDP program was taken off".to_owned(),
            };
            return self.end(EndReason::ProgramLost, &why);
        }
        if let Some(id) = rival.filter(|_| !std::mem::replace(&mut self.told_rival, rival.is_some())) {
            warn!(
                target: "link",
                "{}: another XDP program (id {id}) is beside ours, and may take replies before it",
                self.watched.device.name
            );
        }
    }

    fn check_queues(&mut self, now: Instant, name: &str) {
        if now < self.count_at || self.watched.program.is_none() {
            return;
        }
        self.count_at = now + COUNT_EVERY;
        let before = self.watched.device.rx_queues;
        if let Some(queues) = rx_queues(name).filter(|&queues| queues > 0 && queues != before) {
            let why = format!("it has {queues} RX queues now, and had {before} when the scan began");
            self.end(EndReason::QueuesChanged, &why);
        }
    }

    /// Ends the scan. What was handed over since the interface was last seen well stays in doubt.
    fn end(&self, reason: EndReason, why: &str) {
        self.end_since(self.judge.well_at, reason, why);
    }

    /// Ends the scan. What was handed over since `well_at` stays in doubt.
    fn end_since(&self, well_at: Instant, reason: EndReason, why: &str) {
        if self.control.is_stopping() {
            return;
        }
        let doubt_from = well_at.checked_sub(MARGIN).unwrap_or(well_at);
        if !self.control.had_sent_by(doubt_from) {
            self.control.hold(doubt_from);
        }
        error!(target: "link", "{}: {why}; no more probes", self.watched.device.name);
        self.control.stop(reason);
    }
}

/// An outage that has just been noticed.
fn outage(interface: &str, gateway_moved: bool) -> Outage {
    Outage {
        interface: interface.to_owned(),
        gateway_moved,
        began: Timestamp::now(),
        lasted: Duration::ZERO,
        is_over: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sees a link at these milliseconds, up or down, with so many losses; what each look shows, with the doubt's age in
    /// milliseconds from the start (10 s after the judge's).
    fn judged(looks: &[(u64, bool, u32)]) -> Vec<Option<i64>> {
        let start = Instant::now() + Duration::from_secs(10);
        let mut judge = Judge::new(start, &Sight::default());
        let mut see = |&(ms, is_linked, times_lost): &(u64, bool, u32)| {
            let at = start + Duration::from_millis(ms);
            match judge.see(at, &Sight { is_linked, times_lost, ..Sight::default() }) {
                Finding::Nothing => None,
                Finding::Lost { doubt_from } if doubt_from >= start => {
                    Some((doubt_from - start).as_millis() as i64)
                }
                Finding::Lost { doubt_from } => Some(-((start - doubt_from).as_millis() as i64)),
                Finding::Back => {
                    judge.recover(at);
                    Some(i64::MAX)
                }
            }
        };
        looks.iter().map(&mut see).collect()
    }

    const BACK: Option<i64> = Some(i64::MAX);

    #[test]
    fn a_loss_puts_in_doubt_what_left_before_it() {
        assert_eq!(judged(&[(20, true, 0), (40, true, 0)]), [None, None]);
        assert_eq!(judged(&[(2_000, true, 0), (2_020, false, 1)]), [None, Some(1_000)]);
        assert_eq!(judged(&[(20, false, 1)]), [Some(-1_000)]);
        let late = judged(&[(2_000, true, 0), (7_000, false, 1)]);
        assert_eq!(late[1], Some(1_000), "a look that came late reaches further back");
    }

    #[test]
    fn a_link_that_is_back_must_stay_so() {
        let looks = [
            (20, false, 1),
            (500, true, 1),
            (600, false, 2),
            (700, true, 2),
            (900, true, 2),
            (950, true, 2),
            (970, true, 2),
        ];
        assert_eq!(judged(&looks), [Some(-1_000), None, None, None, None, BACK, None]);
    }

    /// A link that was lost and is back between two looks is seen by its count, also while another outage settles.
    #[test]
    fn a_short_loss_is_seen_by_the_count() {
        let looks = [
            (20, true, 0),
            (40, true, 1),
            (60, true, 1),
            (200, true, 2),
            (220, true, 2),
            (460, true, 2),
            (480, true, 2),
        ];
        assert_eq!(judged(&looks), [None, Some(-980), None, None, None, None, BACK]);
    }
}
