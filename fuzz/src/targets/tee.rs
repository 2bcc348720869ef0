//! Streams of results, which `xdpmap tee` splits into rows and passes on.

use xdpmap::companions::rows::RowSplitter;
use xdpmap::companions::tee_layout::{Layout, Passed};

/// The rows that are passed on if the stream arrives in pieces of this length.
fn handed_on(stream: &[u8], piece_len: usize, raw: bool, success_only: bool) -> Result<Vec<u8>, String> {
    let mut rows = RowSplitter::default();
    let mut layout: Option<Layout> = None;
    let mut out = vec![];
    let mut take = |rows: &mut RowSplitter, row: &[u8]| -> Result<(), String> {
        if let Some(layout) = &mut layout {
            pass(layout, row, &mut out);
            return Ok(());
        }
        let (mut found, is_result) = Layout::detect(row, raw, success_only)?;
        if matches!(found, Layout::Csv(_)) {
            rows.expect_csv();
        }
        if is_result {
            pass(&mut found, row, &mut out);
        }
        layout = Some(found);
        Ok(())
    };
    for piece in stream.chunks(piece_len) {
        rows.feed(piece, &mut take)?;
    }
    let last = rows.last();
    if !last.is_empty() {
        take(&mut rows, &last)?;
    }
    Ok(out)
}

fn pass(layout: &mut Layout, row: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    let passed = layout.pass(row, out);
    assert_eq!(passed == Passed::On, out.len() > before);
}

pub fn run(bytes: &[u8]) {
    let Some((&flags, stream)) = bytes.split_first() else { return };
    let (raw, success_only) = (flags & 1 != 0, flags & 2 != 0);
    let piece_len = usize::from(flags >> 2) + 1;
    let whole = handed_on(stream, usize::MAX, raw, success_only);
    assert_eq!(handed_on(stream, piece_len, raw, success_only), whole, "however it arrives");
    match whole {
        Ok(out) if raw => assert_eq!(out, stream),
        Ok(_) => {}
        Err(error) => assert_eq!(error.lines().count(), 1),
    }
}
