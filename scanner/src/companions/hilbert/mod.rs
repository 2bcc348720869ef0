//! Maps of IPv4 on a Hilbert curve: where an address is in the square, what is counted in each cell, and its colour.
//!
//! Owns the conventions, which are those of ipv4-heatmap (The Measurement Factory): 0.0.0.0 is in the upper left
//! corner, the four quarters follow each other downwards, to the right and upwards, and colours go from blue for one
//! hit to red for a full cell, by default on black. A map of a part has it as the map of the whole has it. What always
//! holds: a network whose prefix length is even is a square, and neighbours on the curve are neighbours in the map.

mod curve;
mod grid;
mod image;
mod palette;
mod view;

pub(super) use grid::{Grid, Marks};
pub(super) use image::Image;
pub(super) use palette::{COLORS, Colors, Ground, INK_LEVELS, Palette, Scale};
pub(super) use view::{Rectangle, View};
