//! How another thread learns how far the outputs are, without stopping the collector: it asks, and once everything that
//! was in the rings by then has been written, the collector answers with the length of each file.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::results::output::Place;

/// What the collector answers.
#[derive(Debug)]
pub enum Reached {
    /// How far the outputs are.
    Places(Places),
    /// An output has failed, or takes too long.
    Trouble,
    /// Nothing more is written: the outputs are complete.
    Over,
}

/// How far the outputs are at one moment.
#[derive(Debug, Default)]
pub struct Places {
    /// The outputs, in the order of the flags.
    pub outputs: Vec<Place>,
    /// The journal of repeats, and how many bytes it has, if there is one.
    pub seen: Option<(File, u64)>,
    /// How many results the outputs have.
    pub results: u64,
}

/// The state of a question.
#[derive(Debug, Default)]
enum State {
    /// Nobody asks.
    #[default]
    Quiet,
    Asked,
    Answered(Reached),
    /// The collector has ended.
    Closed,
}

/// Shared by the collector and the one thread that asks.
#[derive(Debug, Default)]
pub struct Barrier {
    /// Whether somebody asks: all that the collector looks at until then.
    wanted: AtomicBool,
    state: Mutex<State>,
    answered: Condvar,
}

impl Barrier {
    /// Waits, but no longer than `patience`, until everything that is in the rings now has been written.
    pub fn wait(&self, patience: Duration) -> Reached {
        let deadline = Instant::now() + patience;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The answer to an earlier question, for which nobody waits any more, would say too little.
        let mut state = self.answered_by(state, deadline);
        match *state {
            State::Closed => return Reached::Over,
            State::Asked => return Reached::Trouble,
            State::Quiet | State::Answered(_) => {}
        }
        *state = State::Asked;
        self.wanted.store(true, Ordering::Release);
        let mut state = self.answered_by(state, deadline);
        match std::mem::take(&mut *state) {
            State::Answered(reached) => reached,
            State::Closed => {
                *state = State::Closed;
                Reached::Over
            }
            unanswered @ (State::Quiet | State::Asked) => {
                *state = unanswered;
                Reached::Trouble
            }
        }
    }

    /// Waits until `deadline` for the answer to a question.
    fn answered_by<'a>(&self, state: MutexGuard<'a, State>, deadline: Instant) -> MutexGuard<'a, State> {
        let left = deadline.saturating_duration_since(Instant::now());
        let is_asked = |state: &mut State| matches!(state, State::Asked);
        let waited = self.answered.wait_timeout_while(state, left, is_asked);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether somebody asks.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Answers.
    pub(super) fn pass(&self, reached: Reached) {
        self.wanted.store(false, Ordering::Release);
        self.change(State::Answered(reached));
    }

    fn change(&self, to: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.answered.notify_all();
    }
}

/// The collector's side. Once it is dropped, also by a panic, nobody will answer any more.
pub(super) struct Answering(pub(super) Arc<Barrier>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.change(State::Closed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn with(results: u64) -> Reached {
        Reached::Places(Places { results, ..Places::default() })
    }

    #[test]
    fn an_answer_is_to_the_question_that_was_asked() {
        let barrier = Arc::<Barrier>::default();
        assert!(matches!(barrier.wait(Duration::ZERO), Reached::Trouble), "nobody answers");
        thread::scope(|scope| {
            let asking = scope.spawn(|| barrier.wait(LONG));
            // The answer to the first question, which is not taken for one to the second.
            barrier.pass(with(1));
            while !barrier.is_wanted() {
                thread::yield_now();
            }
            barrier.pass(with(2));
            assert!(matches!(asking.join().unwrap(), Reached::Places(Places { results: 2, .. })));
        });
        assert!(!barrier.is_wanted());
        drop(Answering(Arc::clone(&barrier)));
        assert!(matches!(barrier.wait(LONG), Reached::Over));
        assert!(matches!(barrier.wait(LONG), Reached::Over), "it stays closed");
    }
}
