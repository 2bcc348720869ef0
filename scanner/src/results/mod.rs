//! What came back: record, dedup, filter, output formats; one collector thread.
pub mod record;
