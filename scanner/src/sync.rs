//! What threads use to hand over without locks. The program in `models/` compiles that code with loom's atomics and
//! threads under the same names, and tries every order in which threads can meet.

pub(crate) use std::sync::atomic;
pub(crate) use std::thread;
