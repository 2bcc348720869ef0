//! Checkpoints: what is taken is written again as the same, and errors are one line.

use xdpmap::checkpoint::{Checkpoint, State};

pub fn run(bytes: &[u8]) {
    match Checkpoint::parse(bytes) {
        Ok(checkpoint) => {
            let text = checkpoint.to_text().expect("what was read is text");
            assert_eq!(Checkpoint::parse(&text).as_ref(), Ok(&checkpoint));
            assert!(checkpoint.state == State::Finished || checkpoint.key().is_some());
            let open = checkpoint.open();
            assert!(open.iter().zip(open.iter().skip(1)).all(|(one, next)| one.end <= next.start));
            for output in &checkpoint.outputs {
                assert_eq!(output.reach().is_none(), output.is_stream);
            }
        }
        Err(error) => assert_eq!(error.lines().count(), 1),
    }
}
