//! What is written beside a map and on it, whatever draws it: its legend, and the networks that are marked.

use targets::AddressRange;
use targets::reserved::TABLE;

use super::Found;
use crate::companions::hilbert::{Rectangle, View};
use crate::units::{grouped, several};

/// Networks along an edge that are marked in a map: /8 in all of IPv4, /16 in a /8.
const MARKED: u32 = 16;
/// What the shaded networks are.
pub(super) const RESERVED: &str = "reserved";
/// What the networks are in which routers said so.
pub(super) const UNREACHABLE: &str = "unreachable";

/// The words of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caption {
    /// The user's words.
    pub(super) title: String,
    /// What it shows, a line each.
    pub(super) lines: Vec<String>,
    /// Networks that have a border and a name.
    pub(super) marks: Vec<Mark>,
    /// Counts on the scale, with the words beside them.
    pub(super) ticks: Vec<(u64, String)>,
    /// The heading of the scale.
    pub(super) scale: String,
    /// Whether there are unreachable networks.
    pub(super) has_unreachable: bool,
    /// Sizes of networks: the length of the prefix, and cells along the edge.
    pub(super) sizes: Vec<(u32, u32)>,
}

/// A network that is marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its place.
    pub(super) rectangle: Rectangle,
    /// Its short name.
    pub(super) name: String,
}

impl Caption {
    pub(super) fn new(title: &str, found: &Found) -> Self {
        let (view, unreachable) = (found.hits.view(), found.unreachable.total());
        let (cell, per_cell) = (view.cell_prefix_len(), view.addresses_per_cell());
        let cell = match per_cell {
            1 => "cell: one address".to_owned(),
            _ => format!("cell: a /{cell}"),
        };
        let hits = several(found.hits.total(), "hit");
        let mut lines = vec![format!("{}", Shown(view.network())), hits, cell];
        if unreachable > 0 {
            lines.push(format!("{} unreachable", grouped(unreachable)));
        }
        let top = per_cell;
        let mut ticks: Vec<(u64, String)> = vec![];
        let mut count = 1;
        while count < top {
            ticks.push((count, grouped(count)));
            count *= 4;
        }
        if top > 1 {
            ticks.push((top, format!("{}+", grouped(top))));
        }
        let side = view.side();
        let sizes = (0..4).map(|step| (view.prefix_len() + 8 + 4 * step, side >> (4 + 2 * step)));
        Self {
            title: title.to_owned(),
            lines,
            marks: marks(view),
            ticks,
            has_unreachable: unreachable > 0,
            scale: if top > 1 { "hits per cell" } else { "a hit" }.to_owned(),
            sizes: sizes.filter(|(len, side)| *side > 0 && *len <= 32).collect(),
        }
    }
}

/// All of IPv4 is `0.0.0.0/0`, which a range of addresses does not say.
struct Shown(AddressRange);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            AddressRange::ALL => f.write_str("all of IPv4"),
            other => other.fmt(f),
        }
    }
}

/// The networks that are marked, 16 along an edge or as many as there are cells.
fn marks(view: &View) -> Vec<Mark> {
    let along = MARKED.min(view.side());
    let cells = view.cells() / (along * along) as usize;
    let len = view.prefix_len() + 2 * along.ilog2();
    let mark = |number: usize| {
        let network = AddressRange::prefix(view.network_of(number * cells).first().into(), len);
        Some(Mark { rectangle: view.rectangle_of(network)?, name: short_name(view, network, len) })
    };
    (0..(along * along) as usize).filter_map(mark).collect()
}

/// The name of a network without what it shares with the whole map, and without what is below it: `10` for 10.0.0.0/8,
/// `.7` for 198.18.7.0/24 in a map of 198.18.0.0/16.
fn short_name(view: &View, network: AddressRange, len: u32) -> String {
    let octets = network.first().to_be_bytes().map(|octet| octet.to_string());
    let (shared, told) = (view.prefix_len() / 8, len.div_ceil(8));
    let dot = if shared == 0 { "" } else { "." };
    format!("{dot}{}", octets[shared as usize..told as usize].join("."))
}

/// The reserved networks that a map shows.
pub(super) fn reserved(view: &View) -> impl Iterator<Item = Rectangle> {
    TABLE.iter().filter_map(|reserved| view.rectangle_of(reserved.range.intersection(view.network())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::hilbert::{Grid, Marks};

    #[test]
    fn words_of_maps() {
        let caption = |view| {
            let found = Found { hits: Grid::new(view), unreachable: Marks::new(view) };
            Caption::new("t", &found)
        };
        let all = View::new(AddressRange::ALL, 12).unwrap();
        let of_part = caption;
        let caption = caption(all);
        assert_eq!(caption.lines, ["all of IPv4", "0 hits", "cell: a /24"]);
        assert_eq!(caption.marks.len(), 256);
        assert_eq!((caption.marks[10].name.as_str(), caption.marks[10].rectangle.width), ("10", 256));
        let counts: Vec<u64> = caption.ticks.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [1, 4, 16, 64, 256]);
        assert_eq!(caption.sizes, [(8, 256), (12, 64), (16, 16), (20, 4)]);
        let part = View::new(AddressRange::prefix([198, 18, 0, 0].into(), 16), 12).unwrap();
        let caption = of_part(part);
        assert_eq!(caption.lines[2], "cell: one address");
        assert_eq!((caption.marks[7].name.as_str(), caption.ticks.len()), (".7", 0));
        assert_eq!(reserved(&part).count(), 1);
        let few = View::new(AddressRange::prefix([198, 18, 0, 0].into(), 28), 12).unwrap();
        assert_eq!(of_part(few).marks.len(), 16);
        let mut found = Found { hits: Grid::new(part), unreachable: Marks::new(part) };
        found.unreachable.add(0xc612_0001);
        let caption = Caption::new("t", &found);
        assert!(caption.has_unreachable && caption.lines[3] == "1 unreachable", "{:?}", caption.lines);
    }
}
