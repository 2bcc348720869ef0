//! A model of a socket over in-memory rings, driven by bytes: after each step, every frame and every chunk is in
//! exactly one place, and everything comes in the order in which it left. The fuzz target `rings` drives it as well.

use std::collections::{BTreeSet, VecDeque};

use xsk::{Layout, RxFrame, Socket, TxFrame, testing};

/// Rings that are short, so that they are often full and often empty, and more frames than they hold.
const LAYOUT: Layout = Layout { rx_frames: 8, tx_ring_len: 4, tx_frames: 7, tx_longest: 60 };

/// A frame on its way: where it is in UMEM, and the number that was written into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    address: u64,
    number: u32,
}

/// The socket, and where its frames and chunks should be.
struct Model {
    socket: Socket,
    /// Frames that can be sent.
    free: Vec<TxFrame>,
    /// Those in the TX ring.
    sending: VecDeque<Sent>,
    /// Those in the completion ring.
    completed: VecDeque<Sent>,
    /// Packets in the RX ring, by their numbers.
    arrived: VecDeque<u32>,
    /// Packets that were taken and not given back.
    taken: Vec<RxFrame>,
    /// The next number.
    next: u32,
}

/// Goes through `steps`, each a byte that says what to do and one that says how much of it, over rings whose indices
/// begin at `first`. Panics where the socket does not do what the model does.
pub(crate) fn run(first: u32, steps: &[u8]) {
    let (socket, free) = testing::open(LAYOUT, first).expect("memory");
    let (sending, completed, arrived) = Default::default();
    let mut model = Model { socket, free, sending, completed, arrived, taken: Vec::new(), next: 0 };
    for step in steps.chunks_exact(2) {
        model.step(step[0], u32::from(step[1] % 12));
        let frames = model.free.len() + model.sending.len() + model.completed.len();
        assert_eq!(frames, LAYOUT.tx_frames as usize);
    }
    model.all_comes_back();
}

fn number_in(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(u32::MAX, |number| u32::from_ne_bytes(*number))
}

impl Model {
    fn step(&mut self, what: u8, amount: u32) {
        match what % 9 {
            0 => self.transmit(amount),
            1 => self.send(),
            2 => self.complete(amount),
            3 => self.wake(),
            4 => self.reap(),
            5 => self.deliver(amount),
            6 => self.receive(amount),
            7 => self.take(amount),
            _ => self.give_back(amount),
        }
    }

    fn transmit(&mut self, wanted: u32) {
        let room = self.socket.tx_room(wanted);
        let really = LAYOUT.tx_ring_len - self.sending.len() as u32;
        assert!(room == really || (wanted..really).contains(&room), "{room} of {really}, {wanted} wanted");
        let from = self.free.len() - self.free.len().min(wanted.min(room) as usize);
        let sent = (self.next..).zip(&self.free[from..]);
        self.sending.extend(sent.map(|(number, frame)| Sent { address: frame.address(), number }));
        let next = &mut self.next;
        self.socket.transmit(self.free.drain(from..), |bytes| {
            bytes[..4].copy_from_slice(&next.to_ne_bytes());
            *next += 1;
            60
        });
    }

    fn send(&mut self) {
        let Some(mut frame) = self.free.pop() else { return };
        let (address, number) = (frame.address(), self.next);
        self.socket.bytes(&mut frame)[..4].copy_from_slice(&number.to_ne_bytes());
        match self.socket.send(frame, 4) {
            Ok(()) => {
                self.next += 1;
                self.sending.push_back(Sent { address, number });
                let newest = self.socket.newest().next().expect("an entry");
                assert_eq!((newest.address(), newest.frame_len()), (address, 4));
            }
            Err(frame) => {
                assert_eq!(self.sending.len(), LAYOUT.tx_ring_len as usize);
                self.free.push(frame);
            }
        }
    }

    fn complete(&mut self, limit: u32) {
        let room = LAYOUT.tx_ring_len as usize - self.completed.len();
        let mut numbers = Vec::new();
        let count = testing::complete(&mut self.socket, limit, |bytes| numbers.push(number_in(bytes)));
        assert!(count > 0 || limit == 0 || room == 0 || self.sending.is_empty());
        assert!(count as usize <= room.min(limit as usize) && count as usize == numbers.len());
        for number in numbers {
            let sent = self.sending.pop_front().expect("something that was sent");
            assert_eq!(sent.number, number);
            self.completed.push_back(sent);
        }
    }

    /// What is sent by a wake-up is known only by what comes back.
    fn wake(&mut self) {
        self.reap();
        self.socket.wake_tx().expect("a stand-in refuses nothing");
        let mut addresses = Vec::new();
        let free = &mut self.free;
        self.socket.reap(|frames| {
            addresses.extend(frames.addresses());
            free.extend(frames.into_frames());
        });
        assert_eq!(self.sending.is_empty(), addresses.is_empty());
        for address in addresses {
            assert_eq!(self.sending.pop_front().map(|sent| sent.address), Some(address));
        }
    }

    fn reap(&mut self) {
        let before = self.free.len();
        let free = &mut self.free;
        let count = self.socket.reap(|frames| free.extend(frames.into_frames()));
        assert_eq!(count as usize, self.completed.len());
        let addresses = self.free[before..].iter().map(TxFrame::address);
        assert!(addresses.eq(self.completed.drain(..).map(|sent| sent.address)));
    }

    fn deliver(&mut self, count: u32) {
        for _ in 0..count {
            let is_there = self.arrived.len() + self.taken.len() < LAYOUT.rx_frames as usize;
            assert_eq!(testing::deliver(&mut self.socket, &self.next.to_ne_bytes()), is_there);
            if is_there {
                self.arrived.push_back(self.next);
                self.next += 1;
            }
        }
    }

    /// The first of the numbers that have arrived are these.
    fn have_arrived(&mut self, numbers: &[u32], limit: u32) {
        assert!(!numbers.is_empty() || limit == 0 || self.arrived.is_empty());
        assert!(numbers.len() <= limit as usize);
        assert!(self.arrived.drain(..numbers.len()).eq(numbers.iter().copied()));
        assert!(self.socket.untaken() as usize == self.arrived.len());
    }

    fn receive(&mut self, limit: u32) {
        let mut numbers = Vec::new();
        let count = self.socket.receive(limit, |packet| numbers.push(number_in(packet)));
        assert_eq!(count as usize, numbers.len());
        self.have_arrived(&numbers, limit);
    }

    fn take(&mut self, limit: u32) {
        let before = self.taken.len();
        let count = self.socket.take(limit, &mut self.taken);
        let packets = &self.taken[before..];
        assert!(packets.len() == count as usize && packets.iter().all(|packet| packet.packet_len() == 4));
        let numbers: Vec<u32> = packets.iter().map(|packet| number_in(self.socket.packet(packet))).collect();
        self.have_arrived(&numbers, limit);
    }

    fn give_back(&mut self, count: u32) {
        let count = self.taken.len().min(count as usize);
        self.socket.give_back(self.taken.drain(..count));
    }

    /// Nothing has been lost, and nothing is there twice.
    fn all_comes_back(mut self) {
        while !self.sending.is_empty() || !self.completed.is_empty() {
            self.reap();
            self.complete(u32::MAX);
        }
        let addresses: BTreeSet<u64> = self.free.iter().map(TxFrame::address).collect();
        assert_eq!(addresses.len(), LAYOUT.tx_frames as usize);
        while !self.arrived.is_empty() {
            self.receive(u32::MAX);
        }
        self.give_back(u32::MAX);
        // As many packets as there are chunks, each in a chunk of its own.
        self.deliver(LAYOUT.rx_frames + 1);
        let expected: Vec<u32> = self.arrived.iter().copied().collect();
        assert_eq!(expected.len(), LAYOUT.rx_frames as usize);
        while !self.arrived.is_empty() {
            self.take(u32::MAX);
        }
        let numbers: Vec<u32> =
            self.taken.iter().map(|packet| number_in(self.socket.packet(packet))).collect();
        assert_eq!(numbers, expected);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        // Without a kernel, Miri cannot look for the file of earlier failures.
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 2_000 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// No frame and no chunk is ever lost or there twice, also where indices wrap.
        #[test]
        fn frames_are_kept(before_wrap in 0_u32..100, steps in prop::collection::vec(any::<u8>(), 0..400)) {
            super::run(before_wrap.wrapping_neg(), &steps);
        }
    }
}
