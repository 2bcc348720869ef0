//! The map of a scan in its page: what was scanned, what was left out, and where the hits are.

use std::fmt::Write as _;

use maud::{Markup, html};
use targets::RangeSet;

use super::findings::Findings;
use crate::companions::hilbert::{Colors, Grid, Ground, Image, Marks, Palette, Scale, View};
use crate::companions::metadata::Metadata;
use crate::companions::metadata::allowed;
use crate::units::grouped;

/// Order of the map: 512 by 512 cells, each a /18 of all of IPv4. Higher: sharper, and a page of megabytes.
const ORDER: u32 = 9;
/// Networks that are listed.
const LISTED: usize = 8;

/// The networks of a scan on its map.
#[derive(Clone, Debug)]
pub(super) struct Area {
    /// What is shown.
    pub(super) view: View,
    /// Addresses that were scanned, in each cell; `None` if the metadata does not say it: a list named them.
    scanned: Option<Grid>,
    /// Addresses that were left out, in each cell.
    excluded: Grid,
}

impl Area {
    /// That of a scan.
    ///
    /// # Errors
    /// The metadata has a network that is none.
    pub(super) fn of(metadata: &Metadata) -> Result<Self, String> {
        let permitted = allowed::permitted(metadata)?;
        let is_list = metadata.list_of_ips_filename.is_some();
        // A list may name hosts anywhere.
        let bounds = if is_list { RangeSet::default() } else { permitted.clone() };
        let view = View::around(&bounds, ORDER);
        let filled = |set: &RangeSet| {
            let mut grid = Grid::new(view);
            grid.add_all(set);
            grid
        };
        let scanned = (!is_list).then(|| filled(&permitted));
        Ok(Self { view, scanned, excluded: filled(&allowed::excluded(metadata)?) })
    }

    fn ground(&self, cell: usize, unreachable: &Marks) -> Ground {
        match &self.scanned {
            _ if unreachable.has(cell) => Ground::Unreachable,
            Some(scanned) if scanned.count(cell) > 0 => Ground::Scanned,
            _ if self.excluded.count(cell) > 0 => Ground::Excluded,
            _ => Ground::Empty,
        }
    }
}

/// The section with the map. `not_probed` targets had no route, or no neighbour.
pub(super) fn section(area: &Area, findings: &Findings, hit: &str, not_probed: u64) -> Markup {
    let (view, hits) = (&area.view, &findings.hits);
    let palette = Palette::new(Colors::Viridis, Scale::Log, view.addresses_per_cell(), false);
    let side = view.side();
    let network = shown(view);
    let cell = match view.addresses_per_cell() {
        1 => "an address".to_owned(),
        _ => format!("a /{}", view.cell_prefix_len()),
    };
    let listed_len = (view.prefix_len() + 8).min(32);
    let fullest = hits.fullest(listed_len, LISTED);
    html! {
        section #map {
            h2 { "Where the " (hit) " are" }
            p.lead {
                (network) " on a Hilbert curve: neighbours on it are neighbours here, and a cell is " (cell) ". "
                "Point at a cell, or use the arrow keys on the map."
            }
            div.pair.map {
                figure {
                    svg #hilbert tabindex="0" role="application" viewBox=(format!("0 0 {side} {side}"))
                        aria-label=(format!("Map of {network}: {} {hit}", grouped(hits.total()))) aria-describedby="cell"
                        data-first=(view.network().first()) data-len=(view.prefix_len())
                        data-cell-len=(view.cell_prefix_len()) data-x=(view.corner().0) data-y=(view.corner().1)
                        data-hits=(hits_of(hits)) data-ground=(grounds(area, &findings.unreachable)) data-hit=(hit) {
                        image width=(side) height=(side) href=(picture(area, findings, &palette).as_address(&palette)) {}
                        rect #cursor visibility="hidden" {}
                    }
                    output #cell aria-live="polite" { "\u{a0}" }
                }
                div {
                    (legend(&palette, area, findings, hit))
                    table {
                        caption { "Networks with the most " (hit) }
                        thead { tr { th scope="col" { "network" } th.number scope="col" { (hit) } } }
                        tbody { @for (network, count) in &fullest { tr { td { (network) } td.number { (grouped(*count)) } } } }
                    }
                    @if findings.unreachable.total() > 0 {
                        p.none { (grouped(findings.unreachable.total())) " answers say that a host is unreachable." }
                    }
                    @if not_probed > 0 {
                        p.none { (grouped(not_probed)) " targets were not probed: no route, or no host has the address. The "
                            "metadata do not say which." }
                    }
                    @if hits.outside() > 0 { p.none { (grouped(hits.outside())) " are outside of the map." } }
                }
            }
        }
    }
}

fn shown(view: &View) -> String {
    if view.prefix_len() == 0 { "All of IPv4".to_owned() } else { view.network().to_string() }
}

/// The cells.
fn picture(area: &Area, findings: &Findings, palette: &Palette) -> Image {
    let side = area.view.side();
    let mut image = Image::new(side, side);
    for cell in 0..area.view.cells() {
        let (x, y) = area.view.place_of(cell);
        let color = match findings.hits.count(cell) {
            0 => area.ground(cell, &findings.unreachable) as u8,
            count => palette.entry_of(count.into()),
        };
        image.set(x, y, color);
    }
    image
}

/// The cells with hits: the distance to the one before, and how many, with commas between all of them.
fn hits_of(hits: &Grid) -> String {
    let (mut text, mut before) = (String::new(), 0);
    for (cell, count) in hits.filled() {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{},{count}", cell - before);
        before = cell;
    }
    text
}

/// What the cells are, in runs: a letter and how many.
fn grounds(area: &Area, unreachable: &Marks) -> String {
    let mut runs: Vec<(Ground, usize)> = vec![];
    for cell in 0..area.view.cells() {
        let ground = area.ground(cell, unreachable);
        match runs.last_mut() {
            Some((last, len)) if *last == ground => *len += 1,
            _ => runs.push((ground, 1)),
        }
    }
    let letter = |ground| match ground {
        Ground::Empty => 'n',
        Ground::Excluded => 'x',
        Ground::Scanned => 's',
        Ground::Unreachable => 'u',
    };
    runs.iter().map(|(ground, len)| format!("{}{len}", letter(*ground))).collect()
}

/// The scale, and what the grounds mean.
fn legend(palette: &Palette, area: &Area, findings: &Findings, hit: &str) -> Markup {
    let color = |entry: u8| {
        let [r, g, b] = palette.entries()[usize::from(entry)];
        format!("#{r:02x}{g:02x}{b:02x}")
    };
    let swatch = |color: String| html! { svg.key viewBox="0 0 10 10" aria-hidden="true" { rect.edge width="10" height="10" fill=(color) {} } };
    html! {
        ul.legend.column {
            @if palette.top() > 1 {
                li {
                    svg.scale viewBox="0 0 120 10" preserveAspectRatio="none" aria-hidden="true" {
                        @for step in 0..24u32 {
                            rect x=(step * 5) width="5.2" height="10" fill=(color(palette.entry_at(f64::from(step) / 23.0))) {}
                        }
                    }
                    "1 to " (grouped(palette.top())) " " (hit) " in a cell, by the logarithm"
                }
            } @else {
                li { (swatch(color(palette.entry_of(1)))) (hit) }
            }
            @if area.scanned.is_some() { li { (swatch(color(Ground::Scanned as u8))) "scanned, without one" } }
            @if findings.unreachable.total() > 0 {
                li { (swatch(color(Ground::Unreachable as u8))) "unreachable, without one: routers said so" }
            }
            li { (swatch(color(Ground::Excluded as u8))) "left out: reserved, or on a block list" }
            li { (swatch(color(Ground::Empty as u8))) "not among the targets" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            cli_cidr_destinations: vec!["198.18.0.0/17".to_owned()],
            allowlisted_networks: vec!["198.18.0.0/17".to_owned()],
            blocklisted_networks: vec!["198.18.64.0/18".to_owned()],
            ..Metadata::default()
        }
    }

    #[test]
    fn what_was_scanned() {
        let area = Area::of(&metadata()).unwrap();
        assert_eq!(area.view.network().to_string(), "198.18.0.0/18");
        let none = Marks::new(area.view);
        assert_eq!(grounds(&area, &none), "s16384");
        let whole =
            Area::of(&Metadata { allowlisted_networks: vec!["198.18.0.0/16".to_owned()], ..metadata() })
                .unwrap();
        let mut some = Marks::new(whole.view);
        assert_eq!(grounds(&whole, &some), "s16384x16384s32768");
        some.add(0xc612_0001);
        assert_eq!(grounds(&whole, &some), "s1u1s16382x16384s32768");
        let listed =
            Area::of(&Metadata { list_of_ips_filename: Some("l".to_owned()), ..metadata() }).unwrap();
        assert_eq!(
            (listed.view.prefix_len(), listed.ground(0, &Marks::new(listed.view))),
            (0, Ground::Empty)
        );
        let bad = Metadata { blocklisted_networks: vec!["x".to_owned()], ..metadata() };
        assert!(Area::of(&bad).is_err());
    }

    #[test]
    fn cells_as_text() {
        let area = Area::of(&metadata()).unwrap();
        let mut findings = Findings::new(area.view);
        for address in [0xc612_0003, 0xc612_0003, 0xc612_0005] {
            findings.hits.add(address);
        }
        assert_eq!(hits_of(&findings.hits), "3,2,2,1");
        let text = section(&area, &findings, "hits", 0).into_string();
        assert!(text.contains("data-hits=\"3,2,2,1\"") && text.contains("198.18.0.0/26"), "{text}");
    }
}
