//! Text in a picture of pixels, in letters of one width.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::companions::hilbert::{INK_LEVELS, Image, Palette};

/// Letters of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letters {
    height: RasterHeight,
    /// Pixels of the picture for each of a letter, along an edge.
    factor: u32,
}

impl Letters {
    /// Those that are about this high: 20 or 32 pixels, or a multiple.
    pub(super) fn about(height: u32) -> Self {
        match height {
            0..26 => Self { height: RasterHeight::Size20, factor: 1 },
            26..40 => Self { height: RasterHeight::Size32, factor: 1 },
            _ => Self { height: RasterHeight::Size32, factor: (height + 8) / 32 },
        }
    }

    /// The height of a line.
    pub(super) fn height(self) -> u32 {
        self.height.val() as u32 * self.factor
    }

    /// The width of a text.
    pub(super) fn width(self, text: &str) -> u32 {
        get_raster_width(FontWeight::Regular, self.height) as u32 * self.factor * text.chars().count() as u32
    }

    /// Draws a text with its upper left corner here. A letter that there is no bitmap of is drawn as a question mark.
    pub(super) fn draw(self, image: &mut Image, x: u32, y: u32, text: &str) {
        let mut left = x;
        for letter in text.chars() {
            let raster = |letter| get_raster(letter, FontWeight::Regular, self.height);
            let Some(raster) = raster(letter).or_else(|| raster('?')) else { continue };
            for (row, line) in (0..).zip(raster.rows()) {
                for (column, cover) in (0..).zip(line) {
                    self.dot(image, left + column * self.factor, y + row * self.factor, *cover);
                }
            }
            left += raster.width() as u32 * self.factor;
        }
    }

    /// Draws a dot of a letter that covers this much of it, up to 255.
    fn dot(self, image: &mut Image, x: u32, y: u32, cover: u8) {
        let level = usize::from(cover) * INK_LEVELS / 255;
        for (x, y) in (y..y + self.factor).flat_map(|y| (x..x + self.factor).map(move |x| (x, y))) {
            let below = image.at(x, y);
            // Letters have soft edges on the ground only: a count keeps its colour, or is covered.
            if level > 0 && (!Palette::is_count(below) || level * 2 > INK_LEVELS) {
                image.set(x, y, Palette::ink(if Palette::is_count(below) { INK_LEVELS } else { level }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (height, of_line) in [(10, 20), (32, 32), (64, 64), (90, 96)] {
            assert_eq!(Letters::about(height).height(), of_line);
        }
        let letters = Letters::about(20);
        let mut image = Image::new(letters.width("1\u{7}"), letters.height());
        letters.draw(&mut image, 0, 0, "1\u{7}");
        let pixels = (0..image.height()).flat_map(|y| (0..image.width()).map(move |x| (x, y)));
        let inked: Vec<_> = pixels.filter(|(x, y)| image.at(*x, *y) > 0).collect();
        assert!(inked.iter().any(|(x, _)| *x < image.width() / 2), "the 1");
        assert!(inked.iter().any(|(x, _)| *x >= image.width() / 2), "a question mark");
    }
}
