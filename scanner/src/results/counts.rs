//! The counters of the collector, which the monitor reads. Like the workers' counters in
//! [`engine::counters`](crate::engine::counters) they have a single writer and relaxed stores, and all but one only
//! grow.

use crate::counters::counters;

counters! {
    {
        /// The replies of a scan, counted. `total_valid` is `success_total + failure_total`.
        Counts,
        /// The counts as other threads see them.
        Published
    }
    /// Records taken from the workers: replies with a right cookie.
    total_valid,
    /// Replies that are a success, repeats included.
    success_total,
    /// Successes of targets without a previous one.
    success_unique,
    /// Replies whose application did what the probe requested, repeats included; 0 if the probe does not check.
    app_success_total,
    /// Those of `app_success_total` from targets without a previous success.
    app_success_unique,
    /// Those of `success_total` that came after the last probe was sent.
    success_cooldown_total,
    /// Those of `success_unique` that came after the last probe was sent.
    success_cooldown_unique,
    /// Replies that are not a success.
    failure_total,
    /// Results: replies that passed the filter and went to an output, minus those that the only output has lost.
    written,
    /// Results that an output did not accept, added up over the outputs.
    output_lost,
    /// Results that are in buffers, added up over the outputs; the only count that can shrink.
    output_pending,
    /// Successes whose repeats were looked up in a window, because the exact table was full.
    deduplicated_by_window,
    /// Replies that the filter left out, other than those of the next count.
    filtered,
    /// Successes that the filter left out whose target had one before.
    filtered_repeats,
    /// Replies that passed the filter once no output accepted any more, because there were as many results as
    /// requested.
    past_limit,
    /// Replies that passed the filter and went to the outputs.
    passed,
    /// Successes that passed the filter, of hosts that had had as many ports as are wanted of one.
    past_ports,
    /// Hosts that have had more ports than are wanted of one.
    hosts_past_ports,
}

/// What became of the replies that went to one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputCounts {
    /// Results at their destination.
    pub written: u64,
    /// Results that it did not accept.
    pub lost: u64,
}
