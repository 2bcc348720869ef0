//! Metadata of scans, read back: errors are one line, and shards have possible numbers.

use xdpmap::companions::metadata::Metadata;
use xdpmap::companions::metadata::allowed::Allowed;

pub fn run(bytes: &[u8]) {
    match Metadata::parse(bytes) {
        Ok(metadata) => {
            assert!(metadata.shard_num < metadata.total_shards);
            metadata.run_time();
            match Allowed::of(&metadata, None) {
                Ok(allowed) => {
                    allowed.holds(0x0808_0808, Some(80));
                    // The order of few targets is found fast.
                    if metadata.target_ports.len() < 8 {
                        allowed.order_hash(metadata.seed);
                    }
                }
                Err(error) => assert_eq!(error.lines().count(), 1),
            }
        }
        Err(error) => assert_eq!(error.lines().count(), 1),
    }
}
