//! The place of a worker: its queues of an interface, and its cores.

/// One worker's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Its RX queues, the first of which is also its TX queue; empty where frames belong to no queue (AF_PACKET, a dry
    /// run).
    pub queues: Vec<u32>,
    /// The core that it runs on. Its memory should be on that core's node.
    pub core: usize,
    /// The core of the sender of its live frames, if it has one.
    pub sender_core: Option<usize>,
}
