//! The XDP program, judged in the kernel: `BPF_PROG_TEST_RUN` over named frames, through aya and through libbpf.

mod fixtures;
mod frames;
mod loaders;
mod sockets;

mod abi;
mod attach;
mod cookie;
mod differential;
mod features;
mod forms;
mod verdicts;
