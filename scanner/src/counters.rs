//! Counters: each is declared once, in the order in which metadata and status files print them.
//!
//! One thread counts in plain integers. From time to time it publishes them with relaxed stores to cache lines that
//! only it writes. Other threads read them at any time, and each number is exact as of a recent moment.

/// Declares a struct of counters, and one through which other threads read them. A counter is a field of the struct, or
/// a field of one of its parts: `name = part.field`.
macro_rules! counters {
    (@sorted
        {$(#[$doc:meta])* $counts:ident $(($(#[$part_doc:meta])* $part:ident: $part_type:ty))?, $(#[$published_doc:meta])* $published:ident}
        {$($(#[$own_doc:meta])* $own:ident,)*}
        {$($name:ident = $($place:ident).+,)*}
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $counts {
            $($(#[$part_doc])* pub $part: $part_type,)?
            $($(#[$own_doc])* pub $own: u64,)*
        }

        impl $counts {
            /// Names and values, in the order of declaration.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$($place).+),)*]
            }

            /// Adds the counts of another.
            pub fn add(&mut self, other: &Self) {
                $(self.$($place).+ += other.$($place).+;)*
            }
        }

        #[derive(Debug, Default)]
        struct Cells {
            $($name: $crate::sync::atomic::AtomicU64,)*
        }

        $(#[$published_doc])*
        #[derive(Debug, Default)]
        pub struct $published {
            cells: crossbeam_utils::CachePadded<Cells>,
        }

        impl $published {
            /// Makes the current counts visible. Only the thread that counts calls this.
            pub(crate) fn publish(&self, counts: &$counts) {
                $(self.cells.$name.store(counts.$($place).+, $crate::sync::atomic::Ordering::Relaxed);)*
            }

            /// The counts as last published.
            pub fn read(&self) -> $counts {
                let mut counts = $counts::default();
                $(counts.$($place).+ = self.cells.$name.load($crate::sync::atomic::Ordering::Relaxed);)*
                counts
            }
        }
    };
    (@sorted $head:tt {$($own:tt)*} {$($all:tt)*} $name:ident = $part:ident.$field:ident, $($rest:tt)*) => {
        $crate::counters::counters!(@sorted $head {$($own)*} {$($all)* $name = $part.$field,} $($rest)*);
    };
    (@sorted $head:tt {$($own:tt)*} {$($all:tt)*} $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
        $crate::counters::counters!(@sorted $head {$($own)* $(#[$doc])* $name,} {$($all)* $name = $name,} $($rest)*);
    };
    ($head:tt $($list:tt)*) => {
        $crate::counters::counters!(@sorted $head {} {} $($list)*);
    };
}

pub(crate) use counters;
