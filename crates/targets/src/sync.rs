//! The atomics of what threads share without locks. The program in `models/` compiles that code with loom's atomics
//! under the same name, and tries every order in which threads can meet.

pub(crate) use std::sync::atomic;
