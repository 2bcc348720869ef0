//! What the collector counts, and how the monitor reads it: as the workers' counters in
//! [`engine::counters`](crate::engine::counters), single writer, relaxed stores, and all but one only grow.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The replies of a scan, counted. `total_valid` is `success_total + failure_total`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Names and values, in the order of declaration.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        /// The counts as others see them.
        #[derive(Debug, Default)]
        pub struct Published {
            $($name: AtomicU64,)*
        }

        impl Published {
            /// Makes the present counts visible. Only the collector calls this.
            pub(super) fn publish(&self, counts: &Counts) {
                $(self.$name.store(counts.$name, Ordering::Relaxed);)*
            }

            /// The counts as last published.
            pub fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Records taken from the workers: replies with a right cookie.
    total_valid,
    /// Replies that are a success, repeats included.
    success_total,
    /// Successes of targets that had none before.
    success_unique,
    /// Replies whose application did what it was asked for, repeats included; 0 where the probe does not look.
    app_success_total,
    /// Of `app_success_total`, those of targets that had no success before.
    app_success_unique,
    /// Of `success_total`, those that came after the last probe was sent.
    success_cooldown_total,
    /// Of `success_unique`, those that came after the last probe was sent.
    success_cooldown_unique,
    /// Replies that are no success.
    failure_total,
    /// Results: replies that passed the filter and were handed to an output, less those that the only one has lost.
    written,
    /// Results that an output did not take, added up over the outputs.
    output_lost,
    /// Results that are in buffers, added up over the outputs: the only one that shrinks again.
    output_pending,
    /// Successes whose repeats were looked for in a window, as the exact table was full.
    deduplicated_by_window,
}
