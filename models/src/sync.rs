//! loom's atomics and threads, under the names by which the project's code imports the standard library's.

pub(crate) use loom::sync::atomic;

pub(crate) mod thread {
    use std::time::Duration;

    pub(crate) use loom::thread::Thread;

    /// Without a limit: a wake-up that is missed is then a thread that sleeps for ever.
    pub(crate) fn park_timeout(_: Duration) {
        loom::thread::park();
    }
}
