//! Answers of the target to each module's probe, with some bytes changed and the end cut off.

use crate::support::{TARGET, answer, edited, module, probe_frame, received};

pub fn run(bytes: &[u8]) {
    let Some((&number, edits)) = bytes.split_first() else { return };
    let (module, port) = module(number);
    let answer = answer(&probe_frame(&module, port));
    assert!(received(&module, &answer).is_some(), "an unchanged answer is an answer");
    let Some(seen) = received(&module, &edited(answer, edits)) else { return };
    if seen.fields["classification"] == "synack" {
        assert_eq!((seen.reply.target, seen.reply.target_port), (TARGET, port), "32 bits are not guessed");
    }
}
