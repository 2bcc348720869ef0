//! How many workers a scan has, and on which cores.

use crate::cli::{Args, IoMode};

/// The workers of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPlan {
    /// How many workers send; each owns a TX queue.
    pub count: u32,
    /// Whether the user gave the number.
    pub count_given: bool,
    /// RX queues, all of which are read.
    pub queues: u32,
    /// Whether the user named them.
    pub queues_given: bool,
    /// The workers' cores, used in turn.
    pub cores: Vec<usize>,
    /// How to reach the NIC.
    pub io_mode: IoMode,
    /// With busy polling, how many packets one call polls the driver for.
    pub busy_poll: Option<u16>,
    /// Whether to drop, rather than pass to the host, packets to our ports that are neither valid replies nor for a
    /// socket of the host.
    pub drop_invalid: bool,
}

impl WorkerPlan {
    /// Decides the number of workers. `queues` counts the RX queues of all interfaces; `senders` lists, per interface,
    /// how many queues can send. Every interface gets at least one worker.
    pub(super) fn new(
        args: &Args,
        cores: Vec<usize>,
        queues: u32,
        senders: &[u32],
        warnings: &mut Vec<String>,
    ) -> Self {
        let least = if args.scan.is_dry() { 1 } else { senders.len() as u32 };
        let most = if args.scan.is_dry() { 1 } else { senders.iter().sum() };
        let count = args.engine.sender_threads.unwrap_or(cores.len() as u32).clamp(least, most);
        if let Some(asked) = args.engine.sender_threads.filter(|&asked| asked > most) {
            warnings.push(format!(
                "--sender-threads: {asked} workers need as many TX queues, and there {} {most}; using {count}",
                if most == 1 { "is" } else { "are" }
            ));
        }
        if let Some(asked) = args.engine.sender_threads.filter(|&asked| asked < least) {
            warnings
                .push(format!("--sender-threads: {asked} is too few for {least} interfaces; using {count}"));
        }
        let count_given = args.engine.sender_threads.is_some();
        Self {
            count,
            count_given,
            queues,
            queues_given: args.engine.queues.is_some(),
            cores,
            io_mode: args.engine.io_mode,
            busy_poll: args.engine.busy_poll,
            drop_invalid: args.engine.drop_invalid,
        }
    }
}
