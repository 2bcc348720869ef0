//! A picture of at most 256 colours, and its text as PNG.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Palette;

/// Pixels, each the number of a colour.
#[derive(Clone, Debug)]
pub(in crate::companions) struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Image {
    /// One that is empty.
    pub(in crate::companions) fn new(width: u32, height: u32) -> Self {
        Self { width, height, pixels: vec![0; width as usize * height as usize] }
    }

    pub(in crate::companions) fn width(&self) -> u32 {
        self.width
    }

    #[cfg(test)]
    pub(in crate::companions) fn height(&self) -> u32 {
        self.height
    }

    /// The colour of a pixel; that of the ground outside of the picture.
    pub(in crate::companions) fn at(&self, x: u32, y: u32) -> u8 {
        self.place(x, y).map_or(0, |place| self.pixels[place])
    }

    /// Sets a pixel. One that is outside of the picture is left out.
    pub(in crate::companions) fn set(&mut self, x: u32, y: u32, color: u8) {
        if let Some(place) = self.place(x, y) {
            self.pixels[place] = color;
        }
    }

    /// Sets all pixels of a rectangle.
    pub(in crate::companions) fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, color: u8) {
        for row in y..y.saturating_add(height).min(self.height) {
            let begin = row as usize * self.width as usize;
            let columns = x.min(self.width)..x.saturating_add(width).min(self.width);
            self.pixels[begin + columns.start as usize..begin + columns.end as usize].fill(color);
        }
    }

    fn place(&self, x: u32, y: u32) -> Option<usize> {
        (x < self.width && y < self.height).then(|| y as usize * self.width as usize + x as usize)
    }

    /// Writes it as PNG. The same picture gives the same bytes.
    ///
    /// # Errors
    /// That of `out`.
    pub(in crate::companions) fn write_png(
        &self,
        palette: &Palette,
        out: impl Write,
    ) -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(out, self.width, self.height);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        // Neighbouring numbers of colours are no neighbouring colours.
        encoder.set_filter(png::Filter::NoFilter);
        encoder.set_palette(palette.entries().as_flattened());
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()
    }

    /// The picture as an address that has it inside, for pages and SVG.
    pub(in crate::companions) fn as_address(&self, palette: &Palette) -> String {
        let mut png = vec![];
        // Writing to memory cannot fail.
        let _ = self.write_png(palette, &mut png);
        format!("data:image/png;base64,{}", STANDARD.encode(png))
    }
}
