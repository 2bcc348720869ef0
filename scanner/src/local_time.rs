//! The local time, by the time zone that the system had when the process first asked.
//!
//! What always holds: the files of the time zone are read once, so that every thread can tell the time later, also one
//! that may open no file.

use std::sync::LazyLock;

use jiff::Zoned;
use jiff::tz::TimeZone;

static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);

/// The time zone.
pub fn zone() -> TimeZone {
    ZONE.clone()
}

/// The present time there.
pub fn now() -> Zoned {
    jiff::Timestamp::now().to_zoned(zone())
}
