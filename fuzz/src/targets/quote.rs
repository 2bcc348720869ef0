//! ICMP errors about each module's probe, with some bytes changed and the end cut off.

use crate::support::{TARGET, edited, icmp_error, module, probe_frame, received};

pub fn run(bytes: &[u8]) {
    let [number, kind, code, quoted, edits @ ..] = bytes else { return };
    let (module, port) = module(*number);
    let quoted = usize::from(*quoted);
    let error = icmp_error(&probe_frame(&module, port), *kind, *code, quoted);
    let is_error = matches!(kind, 3 | 4 | 5 | 11 | 12);
    let seen = received(&module, &error);
    assert_eq!(seen.is_some(), is_error && quoted >= 8, "eight bytes suffice, and no fewer");
    if let Some(seen) = seen {
        assert_eq!((seen.reply.target, seen.reply.responder), (TARGET, 0xc000_0209));
    }
    let Some(seen) = received(&module, &edited(error, edits)) else { return };
    if module.info().name.starts_with("tcp_") && seen.fields["success"] == false {
        assert_eq!(seen.reply.target, TARGET, "32 bits are not guessed");
    }
}
