//! What the threads of a scan share in the engine.

#[path = "../../../scanner/src/engine/control/mod.rs"]
mod control;
#[path = "../../../scanner/src/engine/exclusions.rs"]
mod exclusions;
#[path = "../../../scanner/src/engine/gateways.rs"]
mod gateways;
#[path = "../../../scanner/src/engine/lowwater.rs"]
mod lowwater;
#[path = "../../../scanner/src/engine/orders.rs"]
mod orders;
#[path = "../../../scanner/src/engine/pace/mod.rs"]
mod pace;
#[path = "../../../scanner/src/engine/phases.rs"]
mod phases;
#[path = "../../../scanner/src/engine/resets.rs"]
mod resets;
#[path = "../../../scanner/src/engine/standing.rs"]
mod standing;

mod budgets;
mod growth;
mod holds;
mod standings;

use crate::{Depth, Model};

pub(crate) const MODELS: &[Model] = &[
    ("exclusions-are-followed", Depth::All, || growth::nothing_leaves_once_it_is_certain(1)),
    ("exclusions-are-followed-by-two", Depth::Interruptions(1), || {
        growth::nothing_leaves_once_it_is_certain(2)
    }),
    ("hold-is-followed", Depth::Interruptions(4), || holds::each_hold_is_followed(1)),
    ("hold-is-followed-by-two", Depth::Interruptions(1), || holds::each_hold_is_followed(2)),
    ("end-waits-for-repeats", Depth::All, || holds::the_end_waits_for_repeats(1)),
    ("end-waits-for-two", Depth::Interruptions(3), || holds::the_end_waits_for_repeats(2)),
    ("last-probe", Depth::All, holds::the_last_probe_is_known),
    ("one-reason", Depth::All, holds::one_reason_stays),
    ("reset-budget", Depth::All, budgets::resets_never_outnumber_probes),
    ("pacer", Depth::All, budgets::the_rate_is_kept),
    ("open-or-handed-over", Depth::Interruptions(2), standings::what_is_not_open_was_handed_over),
    ("done-has-left", Depth::Interruptions(2), standings::what_is_done_has_left),
    ("pacer-refund", Depth::Interruptions(3), budgets::what_is_given_back_is_due),
];
