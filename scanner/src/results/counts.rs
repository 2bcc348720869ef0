//! What the collector counts, and how the monitor reads it: as the workers' counters in
//! [`engine::counters`](crate::engine::counters), single writer, relaxed stores, only growing.

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
    /// Results: replies that passed the filter and were handed to the output. After an output error some of the
    /// last ones may not be in the file.
    written,
}
