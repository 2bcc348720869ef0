//! The block lists of a running scan: reads them again, or excludes a network, when somebody wants that.
//!
//! A thread of its own does it, because a list may be long and host names take time. It is started before the scan is
//! confined, and confines itself to the folders of the lists. What always holds: if one list cannot be used, nothing
//! changes; targets are only taken out, and what a list has lost stays blocked. A change is acknowledged once no frame
//! to what it has taken out leaves any more, and it is in the checkpoint.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use targets::list::ListError;
use targets::{AddressRange, RangeSet, TargetSpace};
use tracing::{info, warn};

use super::checkpointing::{Recorded, Recorder};
use super::confine;
use crate::checkpoint::{BlocklistChange, ChangeKind};
use crate::engine::{Control, Exclusions, Phase};
use crate::plan::{BlocklistSource, Plan, PlanError};
use crate::sandbox::{self, Class};

/// How often to look whether the workers have followed. Lower: more CPU time during an outage. Higher: changes are
/// acknowledged later.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Why a change is refused at the end of a scan.
const OVER: &str = "the scan is over: nothing is sent any more";

/// What somebody wants to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Read the lists again.
    Reload,
    /// Exclude this network.
    Exclude(AddressRange),
}

/// What became of a change: why it was refused, if it was.
pub(super) type Outcome = Result<BlocklistChange, String>;

/// A change that was asked for.
pub(super) struct Ticket(Receiver<Outcome>);

impl Ticket {
    /// What became of it, once that is certain; only once.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(OVER.to_owned())),
        }
    }
}

/// A change that is to be made.
struct Job {
    change: Change,
    by: String,
    outcome: Sender<Outcome>,
}

/// Where changes are asked for.
#[derive(Clone)]
pub(super) struct Desk(Sender<Option<Job>>);

impl Desk {
    /// Asks for a change; `by` says who wants it.
    pub(super) fn ask(&self, change: Change, by: String) -> Ticket {
        let (outcome, ticket) = mpsc::channel();
        // If nobody takes it, the ticket says so.
        let _ = self.0.send(Some(Job { change, by, outcome }));
        Ticket(ticket)
    }
}

/// What changes concern, once the scan is about to begin.
pub(super) struct Scene {
    pub(super) space: Arc<TargetSpace>,
    /// The block lists as read at the start: what they have are no targets anyway.
    pub(super) blocked: RangeSet,
    pub(super) exclusions: Arc<Exclusions>,
    pub(super) control: Arc<Control>,
    /// The checkpoint, if the scan keeps one.
    pub(super) recorder: Option<Recorder>,
}

/// The keeper of a scan's block list. Its thread ends when it is dropped; a list that is being read is not waited for.
pub(super) struct Keeper {
    desk: Desk,
    begin: Sender<Scene>,
    changes: Arc<Mutex<Vec<BlocklistChange>>>,
}

impl Keeper {
    /// Starts the thread, which confines itself. This thread must have dropped its privileges, and not be confined yet.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(plan: &Plan) -> io::Result<Self> {
        let (source, paths) = (plan.targets.blocklist_source.clone(), confine::list_paths(plan));
        let (begin, begun) = mpsc::channel();
        let (jobs, wanted) = mpsc::channel();
        let changes = Arc::<Mutex<Vec<BlocklistChange>>>::default();
        let made = Arc::clone(&changes);
        let run = move || {
            sandbox::enter_apart(Class::Blocklist, &paths);
            // Otherwise the scan has not begun.
            if let Ok(scene) = begun.recv() {
                Work { source, scene, changes: made, waiting: Vec::new() }.serve(&wanted);
            }
        };
        thread::Builder::new().name("blocklist".to_owned()).spawn(run)?;
        Ok(Self { desk: Desk(jobs), begin, changes })
    }

    /// Where changes are asked for. They are made once the scan has begun.
    pub(super) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// The scan is about to begin.
    pub(super) fn begin(&self, scene: Scene) {
        // A thread that has panicked has said so.
        let _ = self.begin.send(scene);
    }

    /// The changes so far.
    pub(super) fn changes(&self) -> Vec<BlocklistChange> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.desk.0.send(None);
    }
}

/// A change that has been made and is not certain yet.
struct Waiting {
    change: BlocklistChange,
    generation: u64,
    recorded: Option<Recorded>,
    outcome: Sender<Outcome>,
}

/// What the thread works on.
struct Work {
    source: BlocklistSource,
    scene: Scene,
    changes: Arc<Mutex<Vec<BlocklistChange>>>,
    waiting: Vec<Waiting>,
}

impl Work {
    fn serve(mut self, wanted: &Receiver<Option<Job>>) {
        loop {
            let job = match self.waiting.is_empty() {
                true => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => wanted.recv_timeout(LOOK_EVERY),
            };
            match job {
                Ok(Some(job)) => self.carry_out(job),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.acknowledge();
        }
    }

    fn carry_out(&mut self, job: Job) {
        let Job { change, by, outcome } = job;
        match self.make(change, &by) {
            Ok((change, generation)) => {
                info!(target: "blocklist", "{change}");
                let recorder = self.scene.recorder.as_ref();
                let recorded =
                    recorder.map(|recorder| recorder.record(&change, self.scene.exclusions.excluded()));
                self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change.clone());
                self.waiting.push(Waiting { change, generation, recorded, outcome });
            }
            Err(why) => {
                warn!(target: "blocklist", "{by} wants to change the block list: {why}; nothing is changed");
                // Nobody waits for it after a signal.
                let _ = outcome.send(Err(why));
            }
        }
    }

    /// Makes a change. Returns the generation of the exclusions that has it.
    fn make(&self, change: Change, by: &str) -> Result<(BlocklistChange, u64), String> {
        if self.scene.control.phase() == Phase::Done {
            return Err(OVER.to_owned());
        }
        let (command, what, blocked, entries) = match change {
            Change::Exclude(network) => {
                (ChangeKind::Exclude, Some(network.to_string()), [network].into_iter().collect(), 1)
            }
            Change::Reload => {
                let looks_up = self.source.has_names || !sandbox::is_armed();
                let read = self.source.read_again(looks_up).map_err(|error| in_words(&error))?;
                read.warnings.iter().for_each(|warning| warn!(target: "blocklist", "{warning}"));
                let entries = read.lists.iter().map(|list| list.entries).sum();
                let files: Vec<String> = read.lists.into_iter().filter_map(|list| list.file).collect();
                let files = (!files.is_empty()).then(|| files.join(", "));
                (ChangeKind::Reload, files, read.blocked, entries)
            }
        };
        let Scene { space, exclusions, control, .. } = &self.scene;
        let gained = blocked.subtract(&self.scene.blocked).subtract(&exclusions.excluded());
        let addresses_taken_out = space.addresses().ranges().map(|range| gained.len_in(range)).sum();
        // What is no target costs the workers nothing.
        let gained = if addresses_taken_out > 0 { gained } else { RangeSet::default() };
        let generation = exclusions.extend(&gained);
        control.restart_pace();
        let change = BlocklistChange {
            time: Timestamp::now().to_string(),
            command,
            by: by.to_owned(),
            what,
            entries,
            addresses: blocked.len(),
            addresses_taken_out,
        };
        Ok((change, generation))
    }

    /// Acknowledges what is certain.
    fn acknowledge(&mut self) {
        let Scene { exclusions, control, .. } = &self.scene;
        let is_over = control.phase() == Phase::Done;
        self.waiting.retain(|waiting| {
            let is_recorded = waiting.recorded.as_ref().is_none_or(Recorded::is_over);
            let outcome = match exclusions.is_certain(waiting.generation) && is_recorded {
                true => Ok(waiting.change.clone()),
                false if is_over => Err(OVER.to_owned()),
                false => return true,
            };
            if outcome.is_ok() {
                info!(target: "blocklist", "what was handed over before that change has left");
            }
            // Nobody waits for it after a signal.
            let _ = waiting.outcome.send(outcome);
            false
        });
    }
}

/// Why a list cannot be used. What could be read at the start may be out of reach of a scan that runs.
fn in_words(error: &PlanError) -> String {
    let is_denied = |source: &io::Error| source.kind() == io::ErrorKind::PermissionDenied;
    match error {
        PlanError::List(ListError::Read { source, .. }) if is_denied(source) => format!(
            "{error} (a running scan has dropped its privileges, and may only read the folder that its list was in \
             when it began)"
        ),
        _ => error.to_string(),
    }
}

/// A desk, and a function that waits for the next change that is asked for there: what, by whom, and where the outcome
/// goes.
#[cfg(test)]
pub(super) fn test_desk() -> (Desk, impl Fn() -> (Change, String, Sender<Outcome>)) {
    let (jobs, wanted) = mpsc::channel::<Option<Job>>();
    let next = move || {
        let Job { change, by, outcome } = wanted.recv().unwrap().unwrap();
        (change, by, outcome)
    };
    (Desk(jobs), next)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    use targets::list::{OnBadEntry, parse_range};
    use targets::{AddressSet, PortList};

    use super::*;

    /// A keeper of a scan of 198.51.100.0/24 with one worker, whose block list is the file `list`.
    fn keeper(list: &Path) -> (Keeper, Arc<Exclusions>, Arc<Control>) {
        let source = BlocklistSource {
            named: vec![list.to_owned()],
            on_bad: OnBadEntry::Fail,
            has_names: false,
            systems: None,
        };
        let ((begin, begun), (jobs, wanted)) = (mpsc::channel(), mpsc::channel());
        let changes = Arc::<Mutex<Vec<BlocklistChange>>>::default();
        let keeper = Keeper { desk: Desk(jobs), begin, changes: Arc::clone(&changes) };
        let run = move || {
            let scene: Scene = begun.recv().unwrap();
            Work { source, scene, changes, waiting: Vec::new() }.serve(&wanted);
        };
        thread::spawn(run);
        let addresses = AddressSet::new(&set("198.51.100.0/24"));
        let (exclusions, control) =
            (Arc::new(Exclusions::new(RangeSet::default(), 1)), Arc::new(Control::new(1)));
        keeper.begin(Scene {
            space: Arc::new(TargetSpace::new(addresses, PortList::portless())),
            blocked: set("203.0.113.0/24"),
            exclusions: Arc::clone(&exclusions),
            control: Arc::clone(&control),
            recorder: None,
        });
        (keeper, exclusions, control)
    }

    fn set(network: &str) -> RangeSet {
        [parse_range(network).unwrap()].into_iter().collect()
    }

    fn outcome(ticket: &Ticket) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(outcome) = ticket.outcome() {
                return outcome;
            }
            assert!(Instant::now() < deadline, "no outcome");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A list that is wrong changes nothing; what it has gained is left out once the worker has followed; what it has
    /// lost stays blocked.
    #[test]
    fn lists_only_take_away() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        let (keeper, exclusions, _) = keeper(&list);
        let desk = keeper.desk();
        fs::write(&list, "198.51.100.0/25\nnot an address!\n").unwrap();
        let refused = outcome(&desk.ask(Change::Reload, "user 7".to_owned())).unwrap_err();
        assert!(refused.contains("list:2: "), "{refused}");
        assert!(exclusions.excluded().is_empty() && keeper.changes().is_empty());

        fs::write(&list, "198.51.100.0/25\n203.0.113.0/24\n192.0.2.0/24\n").unwrap();
        let ticket = desk.ask(Change::Reload, "user 7".to_owned());
        thread::sleep(Duration::from_millis(50));
        assert!(ticket.outcome().is_none(), "the worker has not followed");
        assert!(exclusions.excluded().contains(0xc633_6400), "but can");
        exclusions.has_left(0, 1);
        let change = outcome(&ticket).unwrap();
        assert_eq!((change.command, change.by.as_str()), (ChangeKind::Reload, "user 7"));
        assert_eq!((change.entries, change.addresses, change.addresses_taken_out), (3, 640, 128));
        assert_eq!(change.what.as_deref(), list.to_str());

        fs::write(&list, "# nothing\n").unwrap();
        let emptied = outcome(&desk.ask(Change::Reload, "SIGHUP".to_owned())).unwrap();
        assert_eq!((emptied.entries, emptied.addresses_taken_out), (0, 0));
        assert_eq!(exclusions.excluded().len(), 384, "what it has lost stays");
        assert_eq!(keeper.changes(), [change, emptied]);
    }

    /// A network that holds no target costs the workers nothing. Nothing is changed once the scan is over, and who
    /// waits then is told so.
    #[test]
    fn networks_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let (keeper, exclusions, control) = keeper(&folder.path().join("none"));
        let desk = keeper.desk();
        let exclude = |network| Change::Exclude(parse_range(network).unwrap());
        let elsewhere = outcome(&desk.ask(exclude("192.0.2.0/24"), "user 0".to_owned())).unwrap();
        assert_eq!((elsewhere.addresses, elsewhere.addresses_taken_out), (256, 0));
        assert!(exclusions.excluded().is_empty());
        let waits = desk.ask(exclude("198.51.100.7"), "user 0".to_owned());
        thread::sleep(Duration::from_millis(50));
        control.enter(Phase::Done);
        assert_eq!(outcome(&waits), Err(OVER.to_owned()));
        assert_eq!(outcome(&desk.ask(exclude("198.51.100.8"), "user 0".to_owned())), Err(OVER.to_owned()));
        assert_eq!(exclusions.excluded().len(), 1);
        drop(keeper);
        assert_eq!(outcome(&desk.ask(Change::Reload, "user 0".to_owned())), Err(OVER.to_owned()));
    }
}
