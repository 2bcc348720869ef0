//! The map as SVG: its cells are a PNG inside, and lines and text are drawn over it.

use std::io::{self, Write};

use maud::{Markup, PreEscaped, html};

use super::Found;
use super::caption::{Caption, RESERVED, UNREACHABLE};
use super::raster::{draw, pixels_per_cell};
use crate::companions::hilbert::{Grid, Ground, Palette};

/// Units along the edge of the map.
const SIDE: f64 = 1024.0;
/// Units of the legend.
const LEGEND: f64 = 256.0;

/// Writes the picture.
///
/// # Errors
/// That of `out`.
pub(super) fn write(
    found: &Found,
    palette: &Palette,
    caption: Option<&Caption>,
    out: &mut impl Write,
) -> io::Result<()> {
    let grid = &found.hits;
    let cells = draw(found, palette, None).as_address(palette);
    let width = SIDE + caption.map_or(0.0, |_| LEGEND);
    let color = |entry: u8| {
        let [r, g, b] = palette.entries()[usize::from(entry)];
        format!("#{r:02x}{g:02x}{b:02x}")
    };
    let ink = color(Palette::ink(usize::MAX));
    let title = caption.map_or("A map of IPv4", |caption| caption.title.as_str());
    let side_px = grid.view().side() * pixels_per_cell(grid);
    let picture = html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"))
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {SIDE}"))
            width=(f64::from(side_px) * width / SIDE) height=(side_px) font-family="sans-serif" role="img" {
            title { (without_controls(title)) }
            rect width=(width) height=(SIDE) fill=(color(0)) {}
            image width=(SIDE) height=(SIDE) href=(cells) image-rendering="pixelated" {}
            @if let Some(caption) = caption {
                (marks(grid, caption, &ink))
                g transform=(format!("translate({} 0)", SIDE + 16.0)) fill=(ink) font-size="20" {
                    (legend(palette, caption, &color))
                    (sizes(grid, caption, &color))
                }
            }
        }
    };
    out.write_all(picture.into_string().as_bytes())
}

/// Text without what XML cannot have.
fn without_controls(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Borders and names of the marked networks, which say their prefix to a pointer.
fn marks(grid: &Grid, caption: &Caption, ink: &str) -> Markup {
    let cell = SIDE / f64::from(grid.view().side());
    html! {
        g fill="none" stroke=(ink) stroke-opacity="0.3" stroke-width="0.5" {
            @for mark in &caption.marks {
                rect x=(f64::from(mark.rectangle.x) * cell) y=(f64::from(mark.rectangle.y) * cell)
                    width=(f64::from(mark.rectangle.width) * cell) height=(f64::from(mark.rectangle.height) * cell) {}
            }
        }
        g fill=(ink) fill-opacity="0.85" {
            @for mark in &caption.marks {
                @let width = f64::from(mark.rectangle.width) * cell;
                text x=(f64::from(mark.rectangle.x) * cell + width * 0.05)
                    y=(f64::from(mark.rectangle.y) * cell + width * 0.22) font-size=(width * 0.19) { (mark.name) }
            }
        }
    }
}

/// Title, lines and scale.
fn legend(palette: &Palette, caption: &Caption, color: &dyn Fn(u8) -> String) -> Markup {
    let height = if palette.top() > 1 { 320.0 } else { 32.0 };
    let down =
        |count: u64| if palette.top() > 1 { (1.0 - palette.share(count)) * height } else { height / 2.0 };
    html! {
        text y="46" font-size="32" textLength=[(caption.title.chars().count() > 13).then_some("224")]
            lengthAdjust="spacingAndGlyphs" { (without_controls(&caption.title)) }
        @for (number, line) in (0u32..).zip(&caption.lines) {
            text y=(82 + 26 * number) { (line) }
        }
        text y="200" { (caption.scale) }
        linearGradient id="scale" x1="0" y1="1" x2="0" y2="0" {
            @for step in 0..=16 {
                @let share = f64::from(step) / 16.0;
                stop offset=(share) stop-color=(color(palette.entry_at(if palette.top() > 1 { share } else { 1.0 }))) {}
            }
        }
        g transform="translate(0 220)" {
            rect width="32" height=(height) fill="url(#scale)" {}
            @for (count, text) in &caption.ticks {
                rect x="32" y=(down(*count) - 0.5) width="8" height="1" {}
                text x="46" y=(down(*count) + 7.0) { (text) }
            }
        }
    }
}

/// Squares as large as networks are, and the colours of those that are reserved or unreachable.
fn sizes(grid: &Grid, caption: &Caption, color: &dyn Fn(u8) -> String) -> Markup {
    let unreachable = caption.has_unreachable.then_some((Ground::Unreachable, UNREACHABLE));
    let cell = SIDE / f64::from(grid.view().side());
    let mut y = 600.0;
    html! {
        @for (len, side) in &caption.sizes {
            @let side = f64::from(*side) * cell;
            rect y=(y) width=(side) height=(side) fill-opacity="0.5" {}
            text x="80" y=(y + side / 2.0 + 7.0) { "/" (len) }
            ({ y += side.max(20.0) + 8.0; PreEscaped("") })
        }
        @for (ground, words) in [(Ground::Excluded, RESERVED)].into_iter().chain(unreachable) {
            rect y=(y + 16.0) width="20" height="20" fill=(color(ground as u8)) {}
            text x="30" y=(y + 33.0) { (words) }
            ({ y += 28.0; PreEscaped("") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::hilbert::{Colors, Marks, Scale, View};
    use targets::AddressRange;

    #[test]
    fn titles_are_text() {
        let view = View::new(AddressRange::ALL, 4).unwrap();
        let found = Found { hits: Grid::new(view), unreachable: Marks::new(view) };
        let palette = Palette::new(Colors::Heatmap, Scale::Log, 1 << 24, false);
        let caption = Caption::new("</title><script>alert(1)</script>\u{1b}", &found);
        let mut written = vec![];
        write(&found, &palette, Some(&caption), &mut written).unwrap();
        let text = String::from_utf8(written).unwrap();
        assert!(!text.contains("<script") && text.contains("&lt;script&gt;") && !text.contains('\u{1b}'));
        assert!(text.contains(">10</text>") && text.contains("data:image/png;base64,iVBOR"));
    }
}
