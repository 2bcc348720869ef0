//! Tables of ports and how often each is open. Which ports come first is decided here once more: none that is left out
//! is more frequent than one that is taken.

use targets::ports::ranked::{RankError, Transport, most_frequent};

pub fn run(bytes: &[u8]) {
    for transport in [Transport::Tcp, Transport::Udp] {
        let most = match most_frequent(bytes, transport, usize::MAX) {
            Err(RankError::Count { count, .. }) => count,
            Err(error) => {
                assert_eq!(error.to_string().lines().count(), 1);
                assert_eq!(most_frequent(bytes, transport, 1), Err(error));
                continue;
            }
            Ok(list) => panic!("there are not so many ports: {list}"),
        };
        assert!(
            most_frequent(bytes, transport, 0).is_err() && most_frequent(bytes, transport, most + 1).is_err()
        );
        let mut before = Vec::new();
        for count in [1, most / 2, most].into_iter().filter(|&count| count > 0) {
            let list = most_frequent(bytes, transport, count).expect("it has so many");
            assert_eq!(list.len() as usize, count);
            assert!(
                before.iter().all(|port| list.contains(*port)),
                "a longer list has what a shorter one has"
            );
            before = list.as_slice().to_vec();
        }
    }
}
