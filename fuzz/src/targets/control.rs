//! The control socket: lines are the same in whatever pieces they arrive, and a request that is accepted is written and
//! read again as the same; so is an answer.

use xdpmap::control_socket::{Answer, LINE_MAX, Lines, Request};
use xdpmap::engine::{RATE_MAX_PPS, RATE_MIN_PPS};

/// The lines of a stream that arrives in pieces of this length, and whether it was accepted.
fn split(stream: &[u8], piece_len: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut lines, mut found) = (Lines::default(), vec![]);
    let accepted =
        stream.chunks(piece_len).all(|piece| lines.feed(piece, |line| found.push(line.to_vec())).is_ok());
    (found, accepted)
}

pub fn run(bytes: &[u8]) {
    let Some((&piece_len, stream)) = bytes.split_first() else { return };
    let (lines, accepted) = split(stream, usize::from(piece_len) + 1);
    if accepted {
        assert_eq!(split(stream, stream.len().max(1)), (lines.clone(), true), "however it arrives");
    }
    for line in &lines {
        assert!(line.len() <= LINE_MAX && !line.contains(&b'\n'));
        read_request(line);
        if let Ok(answer) = Answer::parse(line) {
            let written = answer.to_line();
            assert_eq!(written.matches('\n').count(), 1);
            // Numbers with fractions may differ in the last place.
            assert_eq!(Answer::parse(written.trim_end().as_bytes()).map(|again| again.ok), Ok(answer.ok));
        }
    }
}

fn read_request(line: &[u8]) {
    let Ok(request) = Request::parse(line) else { return };
    let again = Request::parse(request.to_line().trim_end().as_bytes());
    match (request, again) {
        (Request::Rate { pps }, Ok(Request::Rate { pps: again })) => {
            assert!(pps == 0.0 || (RATE_MIN_PPS..=RATE_MAX_PPS).contains(&pps));
            assert!((pps - again).abs() <= pps * f64::EPSILON);
        }
        (request, again) => assert_eq!(again, Ok(request)),
    }
}
