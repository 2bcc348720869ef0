//! The colours of a map, and which count has which.

use clap::ValueEnum;

/// How many colours counts have.
pub(in crate::companions) const COLORS: usize = 240;
/// Steps between the ground and the ink, so that letters have soft edges.
pub(in crate::companions) const INK_LEVELS: usize = 12;
/// A picture's palette has 256 entries: four grounds, the ink, the colours.
const FIRST_COLOR: usize = GROUNDS + INK_LEVELS;
const GROUNDS: usize = 4;

/// Colours of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::companions) enum Colors {
    /// From blue to red, as ipv4-heatmap
    Heatmap,
    /// From blue-green to yellow, even to the eye and to those who see few colours
    Viridis,
}

/// How a count becomes a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::companions) enum Scale {
    /// By its logarithm: few and many can both be told apart
    Log,
    /// By the count itself
    Linear,
}

/// What is below the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::companions) enum Ground {
    /// Nothing is known of it.
    Empty = 0,
    /// It is reserved, or was left out.
    Excluded = 1,
    /// It was scanned.
    Scanned = 2,
    /// It was scanned, and somebody on the way said that hosts there cannot be reached.
    Unreachable = 3,
}

/// The colours of a picture.
#[derive(Clone, Debug)]
pub(in crate::companions) struct Palette {
    entries: Vec<[u8; 3]>,
    scale: Scale,
    /// The count with the last colour.
    top: u64,
}

/// Viridis (Smith and van der Walt, matplotlib 2015) from a quarter on, since what comes before is close to black.
const VIRIDIS: [[u8; 3]; 7] = [
    [0x3b, 0x52, 0x8b],
    [0x2c, 0x72, 0x8e],
    [0x21, 0x91, 0x8c],
    [0x28, 0xae, 0x80],
    [0x5e, 0xc9, 0x62],
    [0xad, 0xdc, 0x30],
    [0xfd, 0xe7, 0x25],
];

impl Palette {
    /// `top` is the count with the last colour, which larger ones have as well. On a white ground the ink is black.
    pub(in crate::companions) fn new(colors: Colors, scale: Scale, top: u64, is_on_white: bool) -> Self {
        let (grounds, ink) = match is_on_white {
            true => ([[255, 255, 255], [226, 228, 232], [240, 244, 250], [248, 218, 208]], [20, 22, 28]),
            false => ([[0, 0, 0], [50, 48, 46], [22, 38, 74], [98, 34, 40]], [236, 238, 242]),
        };
        let inks = (1..=INK_LEVELS).map(|level| mixed(grounds[0], ink, level as f64 / INK_LEVELS as f64));
        let counts = (0..COLORS).map(|place| {
            let share = place as f64 / (COLORS - 1) as f64;
            match colors {
                Colors::Heatmap => hue(240.0 * (1.0 - share)),
                Colors::Viridis => between(&VIRIDIS, share),
            }
        });
        Self { entries: grounds.into_iter().chain(inks).chain(counts).collect(), scale, top }
    }

    /// All colours, in the order of a picture's palette.
    pub(in crate::companions) fn entries(&self) -> &[[u8; 3]] {
        &self.entries
    }

    /// The count with the last colour.
    pub(in crate::companions) fn top(&self) -> u64 {
        self.top
    }

    /// How far up the scale a count is that is not 0, from 0 to 1.
    pub(in crate::companions) fn share(&self, count: u64) -> f64 {
        let (count, top) = (count.clamp(1, self.top) as f64, self.top as f64);
        match self.scale {
            _ if self.top <= 1 => 1.0,
            Scale::Log => count.ln() / top.ln(),
            Scale::Linear => (count - 1.0) / (top - 1.0),
        }
    }

    /// The entry of a count that is not 0.
    pub(in crate::companions) fn entry_of(&self, count: u64) -> u8 {
        self.entry_at(self.share(count))
    }

    /// The entry of a place on the scale, from 0 to 1.
    pub(in crate::companions) fn entry_at(&self, share: f64) -> u8 {
        (FIRST_COLOR + (share * (COLORS - 1) as f64).round() as usize) as u8
    }

    /// The entry of letters that cover this much of a pixel, from 1 to [`INK_LEVELS`].
    pub(in crate::companions) fn ink(level: usize) -> u8 {
        (GROUNDS + level.clamp(1, INK_LEVELS) - 1) as u8
    }

    /// Whether an entry is the colour of a count.
    pub(in crate::companions) fn is_count(entry: u8) -> bool {
        usize::from(entry) >= FIRST_COLOR
    }
}

/// A full colour of this hue, from 0 (red) to 240 degrees (blue).
fn hue(degrees: f64) -> [u8; 3] {
    let part = |value: f64| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    let sixth = degrees / 60.0;
    [part(2.0 - sixth), part(if sixth < 2.0 { sixth } else { 4.0 - sixth }), part(sixth - 2.0)]
}

fn mixed(from: [u8; 3], to: [u8; 3], share: f64) -> [u8; 3] {
    let part = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8;
    [part(from[0], to[0]), part(from[1], to[1]), part(from[2], to[2])]
}

fn between(stops: &[[u8; 3]], share: f64) -> [u8; 3] {
    let place = share * (stops.len() - 1) as f64;
    let below = (place as usize).min(stops.len() - 2);
    mixed(stops[below], stops[below + 1], place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_counts() {
        let palette = Palette::new(Colors::Heatmap, Scale::Log, 256, false);
        assert_eq!(palette.entries().len(), 256);
        let color = |count| palette.entries()[usize::from(palette.entry_of(count))];
        assert_eq!((color(1), color(256), color(9_999)), ([0, 0, 255], [255, 0, 0], [255, 0, 0]));
        assert_eq!(color(16)[1], 255, "green is in the middle");
        let linear = Palette::new(Colors::Viridis, Scale::Linear, 256, true);
        assert_eq!(linear.share(128).to_string().get(..5), Some("0.498"));
        assert_eq!(linear.entries()[255], [0xfd, 0xe7, 0x25]);
        assert!(Palette::is_count(linear.entry_of(1)) && !Palette::is_count(Palette::ink(99)));
        let single = Palette::new(Colors::Heatmap, Scale::Log, 1, false);
        assert_eq!(single.entry_of(1), 255);
    }
}
