//! Watches the interface while a scan runs. A link that goes down pauses the sending until it is back, and so does a
//! gateway that moves to another MAC address. If the interface, its XDP program or its queues are taken away, the scan
//! ends. If the process did not run for a while, what was under way then is probed again.
//!
//! Neither a completion nor an accepted frame is a delivery: with the link down, AF_XDP in copy mode goes on completing
//! the frames that it gets. So all targets whose probes were handed over after the interface was last seen well, and up
//! to [`MARGIN`] before, are probed again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::absence::{Absence, Absent};
use super::ending::OnPanic;
use super::gateways::{GatewayWatch, Move};
use crate::engine::{Control, EndReason};
use crate::nic::Interface;
use crate::nic::watch::{LinkStatus, LinkWatch, rx_queues};
use crate::sandbox::{self, Class};

/// How often the interface is checked if the kernel sends no notification before. Lower: more system calls. Higher:
/// more probes are repeated after an outage that the kernel does not report.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often its queues are counted. Lower: more system calls. Higher: replies on a new queue are lost for longer.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// How long before the interface was last seen well a lost probe may have left. Replies that are under way when the
/// link goes down are lost with it, and most take less than a second. It also covers a driver that notices late. Lower:
/// targets with slow replies are missed. Higher: more targets are probed twice.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a link must have been up before sending resumes. Lower: probes are lost on a link that is not stable yet.
/// Higher: every outage takes longer.
const SETTLE: Duration = Duration::from_millis(250);
/// How long after the link is back looking up the gateway may fail before the link alone is trusted. Lower: probes are
/// lost while routes are missing. Higher: networks where no look-up is possible resume later.
const PATIENCE: Duration = Duration::from_secs(3);

/// An interface to watch.
pub(super) struct Watched {
    /// The interface that frames go through.
    pub(super) device: Interface,
    /// The gateways whose MAC addresses were resolved. They must answer again before sending resumes.
    pub(super) gateways: Option<GatewayWatch>,
    /// Whether frames can be sent to a gateway's new MAC address.
    pub(super) follows_gateways: bool,
    /// The kernel's ID of our XDP program, if there is one.
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
    /// Whether it was over before the scan ended.
    pub(super) is_over: bool,
}

/// A running watch.
pub(super) struct Watch {
    finished: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Outage>>,
}

impl Watch {
    /// Watches from now on, as long as no link stays down longer than `max_down`. All interfaces must be well now.
    ///
    /// # Errors
    /// No thread or no socket can be created.
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
            let status = links.look(watched.device.index)?.unwrap_or_default();
            watchers.push(Watcher::new(watched, max_down, Arc::clone(control), &status));
        }
        let control = Arc::clone(control);
        let on_panic = OnPanic::new(&control, EndReason::SendFailed);
        let watch = move || {
            let _on_panic = on_panic;
            sandbox::enter(Class::Monitor);
            let mut absence = Absence::new();
            while !stop.load(Ordering::Relaxed) {
                links.wait(LOOK_EVERY);
                if let Some(absent) = absence.look() {
                    return_after(&absent, &control);
                }
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

    /// Ends the watch. Returns what it has seen.
    pub(super) fn stop(self) -> Vec<Outage> {
        self.finished.store(true, Ordering::Relaxed);
        // A panic has been reported where it happened.
        self.thread.join().unwrap_or_default()
    }
}

/// Nothing has run for a while: what was under way then is probed again.
fn return_after(absent: &Absent, control: &Control) {
    let Absent { who, lasted, since } = absent;
    let seconds = lasted.as_secs_f64();
    let doubt_from = since.checked_sub(MARGIN).unwrap_or(*since);
    if control.had_sent_by(doubt_from) || control.is_stopping() {
        warn!(target: "link", "{who} did not run for {seconds:.1} s, and late replies may be lost");
    } else {
        // The look at the links that follows ends the hold.
        control.hold(doubt_from);
        warn!(target: "link", "{who} did not run for {seconds:.1} s; probes that may have been lost are repeated");
    }
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    /// It was up at the last check, and has been since the last outage.
    Well,
    /// It is down, or was between two checks; noticed at that time.
    Down { since: Instant },
    /// It is up again since `back`, but may not be stable yet.
    Settling { since: Instant, back: Instant },
}

/// The result of a check of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkChange {
    Nothing,
    /// The link was lost. Frames that left after the given time may be lost as well.
    Lost {
        doubt_from: Instant,
    },
    /// The link has been back for long enough.
    Back,
}

/// The state of one link: a function of what was seen and when.
#[derive(Debug)]
struct LinkJudge {
    state: LinkState,
    /// When a check began that found it well.
    well_at: Instant,
    times_lost: u32,
}

impl LinkJudge {
    fn new(now: Instant, status: &LinkStatus) -> Self {
        Self { state: LinkState::Well, well_at: now, times_lost: status.times_lost }
    }

    /// Processes a check that began at `asked`.
    fn see(&mut self, asked: Instant, status: &LinkStatus) -> LinkChange {
        let lost_again = std::mem::replace(&mut self.times_lost, status.times_lost) != status.times_lost;
        let is_well = status.is_linked && !lost_again;
        match self.state {
            LinkState::Well if is_well => self.well_at = asked,
            LinkState::Well => {
                self.state = LinkState::Down { since: asked };
                let doubt_from = self.well_at.checked_sub(MARGIN).unwrap_or(self.well_at);
                return LinkChange::Lost { doubt_from };
            }
            LinkState::Down { since } | LinkState::Settling { since, .. }
                if !status.is_linked || lost_again =>
            {
                self.state = LinkState::Down { since };
            }
            LinkState::Down { since } => self.state = LinkState::Settling { since, back: asked },
            LinkState::Settling { back, .. } if asked.saturating_duration_since(back) >= SETTLE => {
                return LinkChange::Back;
            }
            LinkState::Settling { .. } => {}
        }
        LinkChange::Nothing
    }

    /// Ends the outage.
    fn recover(&mut self, now: Instant) {
        (self.state, self.well_at) = (LinkState::Well, now);
    }

    /// Since when it has been up again, if it may not be stable yet.
    fn back(&self) -> Option<Instant> {
        match self.state {
            LinkState::Settling { back, .. } => Some(back),
            LinkState::Well | LinkState::Down { .. } => None,
        }
    }

    /// Since when it has not been well.
    fn since(&self) -> Option<Instant> {
        match self.state {
            LinkState::Well => None,
            LinkState::Down { since } | LinkState::Settling { since, .. } => Some(since),
        }
    }
}

/// The watch on one interface.
struct Watcher {
    watched: Watched,
    max_down: Duration,
    control: Arc<Control>,
    judge: LinkJudge,
    outages: Vec<Outage>,
    /// When the queues are counted next.
    count_at: Instant,
    /// Since when a gateway has had its new MAC address, while that is recent, and the outage's place in `outages`.
    moved: Option<(Instant, usize)>,
    /// Whether another XDP program on the interface has been reported.
    told_rival: bool,
}

impl Watcher {
    fn new(watched: Watched, max_down: Duration, control: Arc<Control>, status: &LinkStatus) -> Self {
        let now = Instant::now();
        Self {
            watched,
            max_down,
            control,
            judge: LinkJudge::new(now, status),
            outages: Vec::new(),
            count_at: now + COUNT_EVERY,
            moved: None,
            told_rival: false,
        }
    }

    fn is_well(&self) -> bool {
        self.judge.state == LinkState::Well && self.moved.is_none()
    }

    fn look(&mut self, links: &mut LinkWatch) {
        let asked = Instant::now();
        let status = match links.look(self.watched.device.index) {
            Ok(Some(status)) => status,
            Ok(None) => return self.end(EndReason::InterfaceLost, "the interface is gone"),
            // The next check may succeed. Frames since the last check that did are in doubt.
            Err(_) => return,
        };
        self.check_program(&status);
        self.check_queues(asked, &status.name);
        match self.judge.see(asked, &status) {
            LinkChange::Nothing => {}
            LinkChange::Lost { doubt_from } => self.lose(doubt_from),
            LinkChange::Back => self.go_on(asked),
        }
        // While the link is down no host answers, and after a lost request the kernel waits before the next.
        if self.judge.state == LinkState::Well {
            self.look_at_gateways(asked);
        }
        let Some(since) = self.judge.since() else { return };
        let lasted = asked.saturating_duration_since(since);
        if let Some(outage) = self.outages.iter_mut().rfind(|outage| !outage.gateway_moved) {
            outage.lasted = lasted;
        }
        if lasted >= self.max_down && self.control.is_held() && !self.control.is_stopping() {
            let seconds = self.max_down.as_secs();
            let why = format!("the link has been down for {seconds} s, the limit of --max-link-down");
            self.end(EndReason::LinkDown, &why);
        }
    }

    fn lose(&mut self, doubt_from: Instant) {
        let (interface, most) = (&self.watched.device.name, self.max_down.as_secs());
        self.outages.push(outage(interface, false));
        if self.control.had_sent_by(doubt_from) {
            warn!(target: "link", "{interface}: the link is down, and late replies may be lost");
        } else {
            self.control.hold(doubt_from);
            warn!(
                target: "link",
                "{interface}: the link is down; sending is paused until it is back, for at most {most} s"
            );
        }
    }

    /// Resumes sending, if the gateway is there as well.
    fn go_on(&mut self, now: Instant) {
        // If the gateway cannot be looked up, the link alone decides. A link that has just come up may not have its
        // routes yet.
        let since_back = self.judge.back().map_or(Duration::ZERO, |back| now.saturating_duration_since(back));
        // A switch may need some time before it forwards anything.
        let gateways = self.watched.gateways.as_mut();
        if !gateways.is_none_or(|gateways| gateways.answer(now, since_back > PATIENCE)) {
            return;
        }
        self.judge.recover(now);
        if let Some(outage) = self.outages.iter_mut().rfind(|outage| !outage.gateway_moved) {
            outage.is_over = true;
            let (interface, seconds) = (&outage.interface, outage.lasted.as_secs_f64());
            let goes_on = self.control.is_held() && !self.control.is_stopping();
            let what = if goes_on { "; probes that may have been lost are repeated" } else { "" };
            info!(target: "link", "{interface}: the link is back after {seconds:.1} s{what}");
        }
    }

    /// Follows gateways that move. As after a lost link, targets whose probes left since the gateway was last seen are
    /// probed again.
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
            warn!(target: "link", "{interface}: {what}, and late replies may be lost");
            return;
        }
        self.control.hold(doubt_from);
        warn!(target: "link", "{interface}: {what}; probes follow, and those that may have been lost are repeated");
        let at = self.moved.map_or(self.outages.len(), |(_, at)| at);
        if at == self.outages.len() {
            self.outages.push(outage(interface, true));
        }
        self.moved = Some((now, at));
    }

    fn check_program(&mut self, status: &LinkStatus) {
        let Some(ours) = self.watched.program else { return };
        let rival = status.programs.iter().find(|&&id| id != ours);
        if !status.programs.contains(&ours) {
            let why = match rival {
                Some(id) => format!("its XDP program was replaced by another (id {id})"),
                None => "its XDP program was detached".to_owned(),
            };
            return self.end(EndReason::ProgramLost, &why);
        }
        if let Some(id) = rival.filter(|_| !std::mem::replace(&mut self.told_rival, rival.is_some())) {
            warn!(
                target: "link",
                "{}: another XDP program (id {id}) is attached next to ours, and may take replies before it does",
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
            let why = format!("it has {queues} RX queues now, but had {before} when the scan began");
            self.end(EndReason::QueuesChanged, &why);
        }
    }

    /// Ends the scan. Probes that were handed over since the interface was last seen well stay in doubt.
    fn end(&self, reason: EndReason, why: &str) {
        self.end_since(self.judge.well_at, reason, why);
    }

    /// Ends the scan. Probes that were handed over since `well_at` stay in doubt.
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

    /// Checks a link at these milliseconds: up or down, with this many losses. Returns what each check shows, with the
    /// begin of the doubtful time in milliseconds from the start (10 s after the judge's).
    fn judged(looks: &[(u64, bool, u32)]) -> Vec<Option<i64>> {
        let start = Instant::now() + Duration::from_secs(10);
        let mut judge = LinkJudge::new(start, &LinkStatus::default());
        let mut see = |&(ms, is_linked, times_lost): &(u64, bool, u32)| {
            let at = start + Duration::from_millis(ms);
            match judge.see(at, &LinkStatus { is_linked, times_lost, ..LinkStatus::default() }) {
                LinkChange::Nothing => None,
                LinkChange::Lost { doubt_from } if doubt_from >= start => {
                    Some((doubt_from - start).as_millis() as i64)
                }
                LinkChange::Lost { doubt_from } => Some(-((start - doubt_from).as_millis() as i64)),
                LinkChange::Back => {
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

    /// A link that was lost and is back between two checks is detected by its count, even while another outage settles.
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
