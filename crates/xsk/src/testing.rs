//! Sockets over rings in ordinary memory, for tests and benchmarks of code that uses this crate: no privileges, no
//! interface, no kernel.
//!
//! A stand-in takes the kernel's place. What user space does is the same as with a real socket, up to the system
//! calls. A wake-up ([`Socket::wake_tx`]) completes all frames in the TX ring;
//! [`complete`] completes only some, and shows them; [`deliver`] receives a packet.
//!
//! ```
//! use xsk::{Layout, testing};
//!
//! let layout = Layout { rx_frames: 4, tx_ring_len: 4, tx_frames: 4, tx_longest: 60 };
//! let (mut socket, _frames) = testing::open(layout, 0)?;
//! assert!(testing::deliver(&mut socket, b"a packet"));
//! let received = socket.receive(64, |packet| assert_eq!(packet, b"a packet"));
//! assert_eq!(received, 1);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;

use crate::{Layout, Socket, TxFrame};

/// A socket whose rings lead to a stand-in for the kernel, and its frames to send from in the order of their
/// addresses. It has no file descriptor, and says that it is in copy mode.
///
/// `first` is the index that all four rings begin at. Indices have 32 bits and wrap; a first one near [`u32::MAX`]
/// makes them wrap soon.
///
/// # Errors
/// If there is no memory, or if the length of a ring is no power of two.
pub fn open(layout: Layout, first: u32) -> io::Result<(Socket, Vec<TxFrame>)> {
    Socket::stand_in(layout, first)
}

/// In the kernel's role: completes up to `limit` frames of the TX ring, in their order, and shows the bytes of each to
/// `sent`. Returns how many there were.
///
/// # Panics
/// If the socket is not from [`open`].
pub fn complete(socket: &mut Socket, limit: u32, sent: impl FnMut(&[u8])) -> u32 {
    let (kernel, umem) = socket.kernel_side();
    kernel.complete_some(umem, limit, sent)
}

/// In the kernel's role: receives `packet`. False if the fill ring has no chunk, or if the RX ring is full: the kernel
/// drops the packet then.
///
/// # Panics
/// If the socket is not from [`open`], or if the packet is longer than [`RX_PACKET_MAX`](crate::RX_PACKET_MAX).
pub fn deliver(socket: &mut Socket, packet: &[u8]) -> bool {
    let (kernel, umem) = socket.kernel_side();
    kernel.deliver(umem, packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RxFrame;

    const LAYOUT: Layout = Layout { rx_frames: 4, tx_ring_len: 8, tx_frames: 8, tx_longest: 100 };

    /// Every index around the wrap, with every size of a batch, and with every number of entries in the ring before it.
    #[test]
    fn indices_wrap_anywhere() {
        for first in (0..=20_u32).map(u32::wrapping_neg) {
            for (before, batch) in
                (0..=8).flat_map(|before| (1..=8 - before).map(move |batch| (before, batch)))
            {
                let (mut socket, mut free) = open(LAYOUT, first).unwrap();
                for round in 0..4_u8 {
                    socket.transmit(free.drain(..before), |bytes| {
                        bytes[0] = round;
                        100
                    });
                    socket.transmit(free.drain(..batch), |bytes| {
                        bytes[0] = round;
                        100
                    });
                    assert_eq!(socket.tx_room(u32::MAX) as usize, 8 - before - batch);
                    let sent = complete(&mut socket, u32::MAX, |bytes| {
                        assert_eq!((bytes[0], bytes.len()), (round, 100));
                    });
                    assert_eq!(sent as usize, before + batch);
                    assert_eq!(socket.reap(|frames| free.extend(frames.into_frames())), sent);
                    assert_eq!(free.len(), 8);
                }
            }
        }
    }

    #[test]
    fn lengths_of_rings_are_powers_of_two() {
        for layout in [Layout { tx_ring_len: 6, ..LAYOUT }, Layout { tx_ring_len: 0, ..LAYOUT }] {
            assert!(open(layout, 0).is_err(), "{layout:?}");
        }
        for (rx_frames, rx_ring_len) in [(0, 1), (4, 4), (5, 8), (3584, 4096), (u32::MAX, 0)] {
            assert_eq!(Layout { rx_frames, ..LAYOUT }.rx_ring_len(), rx_ring_len, "{rx_frames}");
        }
    }

    /// A ring may be longer than the frames to receive into are many: no more packets arrive than there are frames.
    #[test]
    fn frames_may_be_fewer_than_the_ring_has_entries() {
        let (mut socket, _frames) = open(Layout { rx_frames: 3, ..LAYOUT }, 0).unwrap();
        for _ in 0..10 {
            assert_eq!(
                (0..4).map(|_| deliver(&mut socket, b"one")).collect::<Vec<_>>(),
                [true, true, true, false]
            );
            assert_eq!(socket.receive(8, |_| {}), 3);
        }
    }

    #[test]
    fn a_stand_in_has_no_descriptor() {
        let (mut socket, _frames) = open(LAYOUT, 0).unwrap();
        assert!(socket.fd().is_none() && !socket.is_zero_copy() && !socket.has_napi());
        assert!(!socket.set_tx_budget(64) && socket.busy_poll(64).is_ok());
        assert!(deliver(&mut socket, b"one") && deliver(&mut socket, b"two"));
        assert_eq!(socket.receive(1, |_| {}), 1);
        let statistics = socket.statistics();
        assert_eq!((statistics.received, statistics.untaken, statistics.arrived()), (1, 1, 2));
    }

    #[test]
    #[should_panic(expected = "more frames than the TX ring has room for")]
    fn the_tx_ring_is_not_overrun() {
        let (mut socket, mut free) = open(Layout { tx_ring_len: 4, ..LAYOUT }, 0).unwrap();
        socket.transmit(free.drain(..3), |_| 60);
        socket.transmit(free.drain(..2), |_| 60);
    }

    #[test]
    #[should_panic(expected = "another socket's packet")]
    fn packets_go_back_to_their_socket() {
        let [(mut one, _), (mut other, _)] = [0, 0].map(|first| open(LAYOUT, first).unwrap());
        assert!(deliver(&mut one, b"a packet"));
        let mut packets: Vec<RxFrame> = Vec::new();
        assert_eq!(one.take(8, &mut packets), 1);
        other.give_back(packets);
    }
}
