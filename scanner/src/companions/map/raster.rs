//! The map as pixels, with its legend on the right.

use super::Found;
use super::caption::{Caption, RESERVED, UNREACHABLE, reserved};
use super::letters::Letters;
use crate::companions::hilbert::{COLORS, Grid, Ground, INK_LEVELS, Image, Palette};

/// Fewest pixels along the edge of a map: cells of a smaller one are drawn larger.
const SIDE_MIN: u32 = 1024;

/// Pixels along the edge of a cell.
pub(super) fn pixels_per_cell(grid: &Grid) -> u32 {
    (SIDE_MIN / grid.view().side()).max(1)
}

/// Draws a map; without a caption nothing but its cells.
pub(super) fn draw(found: &Found, palette: &Palette, caption: Option<&Caption>) -> Image {
    let grid = &found.hits;
    let factor = pixels_per_cell(grid);
    let side = grid.view().side() * factor;
    let legend = caption.map_or(0, |_| side / 4);
    let mut image = Image::new(side + legend, side);
    for square in reserved(grid.view()) {
        let [x, y, width, height] =
            [square.x, square.y, square.width, square.height].map(|cells| cells * factor);
        image.fill(x, y, width, height, Ground::Excluded as u8);
    }
    if let Some(caption) = caption {
        draw_borders(&mut image, caption, factor);
    }
    let unreachable = found.unreachable.cells().map(|cell| (cell, Ground::Unreachable as u8));
    let hits = grid.filled().map(|(cell, count)| (cell, palette.entry_of(count.into())));
    for (cell, color) in unreachable.chain(hits) {
        let (x, y) = grid.view().place_of(cell);
        image.fill(x * factor, y * factor, factor, factor, color);
    }
    if let Some(caption) = caption {
        draw_names(&mut image, caption, factor);
        Legend { left: side + side / 64, unit: (side / 64).max(16) }
            .draw(&mut image, palette, caption, factor);
    }
    image
}

/// Draws the left and upper borders of the marked networks, below the counts.
fn draw_borders(image: &mut Image, caption: &Caption, factor: u32) {
    let border = Palette::ink(INK_LEVELS / 4);
    for mark in &caption.marks {
        let [x, y, width, height] =
            [mark.rectangle.x, mark.rectangle.y, mark.rectangle.width, mark.rectangle.height]
                .map(|cells| cells * factor);
        image.fill(x, y, width, 1, border);
        image.fill(x, y, 1, height, border);
    }
}

/// Writes the names of the marked networks into their upper left corners, as far as there is room.
fn draw_names(image: &mut Image, caption: &Caption, factor: u32) {
    for mark in &caption.marks {
        let width = mark.rectangle.width * factor;
        let letters = Letters::about(width / 8);
        if letters.width(&mark.name) + 4 <= width {
            letters.draw(image, mark.rectangle.x * factor + 4, mark.rectangle.y * factor + 2, &mark.name);
        }
    }
}

/// The legend, of which everything has a size in units.
struct Legend {
    left: u32,
    unit: u32,
}

impl Legend {
    fn draw(&self, image: &mut Image, palette: &Palette, caption: &Caption, factor: u32) {
        let (large, small) = (Letters::about(self.unit * 2), Letters::about(self.unit * 5 / 4));
        let mut y = self.unit;
        for line in wrapped(&caption.title, image.width().saturating_sub(self.left) / large.width("0")) {
            large.draw(image, self.left, y, &line);
            y += large.height();
        }
        y += self.unit / 2;
        for line in &caption.lines {
            small.draw(image, self.left, y, line);
            y += small.height() * 5 / 4;
        }
        y += self.unit * 2;
        small.draw(image, self.left, y, &caption.scale);
        y += small.height() * 3 / 2;
        y = self.draw_scale(image, palette, caption, small, y);
        y += self.unit * 3;
        self.draw_sizes(image, caption, factor, small, y);
    }

    /// Draws the scale, the largest count on top, and returns where it ends.
    fn draw_scale(
        &self,
        image: &mut Image,
        palette: &Palette,
        caption: &Caption,
        letters: Letters,
        y: u32,
    ) -> u32 {
        let (width, height) = (self.unit * 2, if palette.top() > 1 { self.unit * 20 } else { self.unit * 2 });
        for row in 0..height {
            let share = match palette.top() {
                1 => 1.0,
                _ => 1.0 - f64::from(row) / f64::from(height - 1),
            };
            // As many steps as there are colours.
            let share = (share * (COLORS - 1) as f64).round() / (COLORS - 1) as f64;
            image.fill(self.left, y + row, width, 1, palette.entry_at(share));
        }
        for (count, text) in &caption.ticks {
            let down = match palette.top() {
                1 => f64::from(height) / 2.0,
                _ => (1.0 - palette.share(*count)) * f64::from(height - 1),
            };
            let at = y + down.round() as u32;
            image.fill(
                self.left + width,
                at,
                self.unit / 2,
                (self.unit / 16).max(1),
                Palette::ink(INK_LEVELS),
            );
            let above = at.saturating_sub(letters.height() / 2);
            letters.draw(image, self.left + width + self.unit, above, text);
        }
        y + height
    }

    /// Draws squares as large as networks are.
    fn draw_sizes(&self, image: &mut Image, caption: &Caption, factor: u32, letters: Letters, mut y: u32) {
        let widest = caption.sizes.first().map_or(0, |(_, side)| side * factor);
        for (len, side) in &caption.sizes {
            let side = side * factor;
            image.fill(self.left, y, side, side, Palette::ink(INK_LEVELS / 2));
            let text_y = y + side / 2;
            letters.draw(
                image,
                self.left + widest + self.unit,
                text_y.saturating_sub(letters.height() / 2),
                &format!("/{len}"),
            );
            y += side.max(letters.height()) + self.unit / 2;
        }
        let unreachable = caption.has_unreachable.then_some((Ground::Unreachable, UNREACHABLE));
        for (ground, words) in [(Ground::Excluded, RESERVED)].into_iter().chain(unreachable) {
            y += self.unit;
            image.fill(self.left, y, letters.height(), letters.height(), ground as u8);
            letters.draw(image, self.left + letters.height() + self.unit / 2, y, words);
            y += letters.height();
        }
    }
}

/// A text in lines of at most so many letters.
fn wrapped(text: &str, most: u32) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(most.max(1) as usize).map(|line| line.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::hilbert::{Colors, Marks, Scale, View};
    use targets::AddressRange;

    #[test]
    fn hits_are_where_they_are() {
        let view = View::new(AddressRange::prefix([198, 18, 0, 0].into(), 16), 12).unwrap();
        let mut found = Found { hits: Grid::new(view), unreachable: Marks::new(view) };
        found.hits.add(0xc612_0000);
        found.hits.add(0xc612_ffff);
        // A hit in the same cell is what is shown.
        found.unreachable.add(0xc612_0000);
        found.unreachable.add(0xc612_8000);
        let palette = Palette::new(Colors::Heatmap, Scale::Log, 1, false);
        let plain = draw(&found, &palette, None);
        assert_eq!((plain.width(), plain.height()), (1024, 1024));
        let counted = |image: &Image| {
            let pixels = (0..1024).flat_map(|y| (0..1024).map(move |x| (x, y)));
            pixels.filter(|(x, y)| Palette::is_count(image.at(*x, *y))).collect::<Vec<_>>()
        };
        assert_eq!(counted(&plain).len(), 2 * 16, "two cells of four by four pixels");
        let (x, y) = view.place_of(0x8000);
        assert_eq!(plain.at(4 * x, 4 * y), Ground::Unreachable as u8);
        let whole = draw(&found, &palette, Some(&Caption::new("A title that is long", &found)));
        assert_eq!((whole.width(), whole.height()), (1280, 1024));
        assert!(counted(&plain).ends_with(&counted(&whole)[counted(&whole).len() - 8..]));
        let mut written = vec![];
        whole.write_png(&palette, &mut written).unwrap();
        assert!(written.starts_with(b"\x89PNG"));
    }
}
