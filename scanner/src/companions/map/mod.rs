//! `xdpmap map RESULT...`: where in IPv4 the hits of scans are, as a picture.
//!
//! Reads files, and nothing else. Its memory is that of the cells and of the pixels, however many results there are.

mod caption;
mod letters;
mod raster;
mod vector;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use targets::AddressRange;
use targets::list::parse_range;

use super::Failure;
use super::answers::{self, Tally};
use super::hilbert::{Colors, Grid, Marks, Palette, Scale, View};
use super::stored::{StoredFile, files_of};
use super::written::{Destination, refuse_to_overwrite};
use crate::exit::Exit;
use crate::units::{are, several};
use caption::Caption;

const NAME: &str = "map";

const EXAMPLES: &str = "\
Examples:
  xdpmap map results.csv -o map.png                        all of IPv4: a pixel is a /24
  xdpmap map --prefix 198.18.0.0/16 results.csv -o map.svg a part of it: a pixel is an address
  xdpmap map shard-*/results.parquet -o map.png            several files as one
  zcat hosts.txt.gz | xdpmap map - -o map.png              addresses from a pipe";

/// What the help ends with.
fn after_help() -> String {
    let codes = crate::exit::section(&[
        (Exit::Done, "the picture is written"),
        (Exit::Failed, "it is written, but a file is cut, or has rows that are not understood"),
        (Exit::Usage, "an argument is wrong, or a file cannot be read or written"),
    ]);
    format!("{EXAMPLES}\n\n{codes}")
}

/// Draw a map of the hosts in results: all of IPv4, or a part of it, on a Hilbert curve.
///
/// RESULT is CSV, JSON lines, address:port, a list of addresses, or Parquet; text also if it is compressed by gzip, xz
/// or zstd, and from standard input (-). Successes are counted, and repeats left out, where a file has columns that
/// tell them; otherwise each row counts. The layout and the colours are those of ipv4-heatmap: 0.0.0.0 is in the upper
/// left corner, 255.255.255.255 in the upper right one, and a cell goes from blue for one hit to red for as many as it
/// has addresses. Networks without a hit in which routers said that hosts cannot be reached (ICMP) are red-brown, where
/// a file has such failures and their column classification.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap map",
    version,
    override_usage = "xdpmap map [OPTIONS] -o FILE RESULT...",
    after_help = after_help(),
    max_term_width = 110
)]
pub(super) struct MapOptions {
    /// The results; - is standard input
    #[arg(value_name = "RESULT", required = true)]
    results: Vec<PathBuf>,

    /// Where the picture goes: a .png or an .svg; - is standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output_file: PathBuf,

    /// The form of the picture [default: by the name of the file, or else png]
    #[arg(short = 'O', long, value_name = "NAME")]
    output_module: Option<Form>,

    /// Show this network only; the length of its prefix has to be even, so that it is a square
    #[arg(long, value_name = "NETWORK", default_value = "0.0.0.0/0")]
    prefix: String,

    /// The order of the curve: 2^N by 2^N cells, of at least one address each
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=12))]
    order: u32,

    /// How a count becomes a colour
    #[arg(long, value_name = "NAME", default_value = "log")]
    scale: Scale,

    /// The colours of counts
    #[arg(long, value_name = "NAME", default_value = "heatmap")]
    colors: Colors,

    /// Draw on white, for print
    #[arg(long)]
    reverse: bool,

    /// Count every row, not successes alone
    #[arg(long)]
    all: bool,

    /// What is above the legend
    #[arg(long, value_name = "TEXT", default_value = "Hits")]
    title: String,

    /// Draw the map alone: no legend, no borders of networks and no names
    #[arg(long)]
    plain: bool,
}

/// Forms of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Pixels
    Png,
    /// Pixels with lines and text that stay sharp
    Svg,
}

pub(super) fn run(options: MapOptions) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::usage(NAME, what);
    let form = form_of(&options).map_err(usage)?;
    if options.output_file == Path::new("-") && io::stdout().is_terminal() {
        return Err(usage("-o -: standard output is a terminal; name a file, such as map.png".to_owned()));
    }
    let inputs = options.results.iter().filter(|path| *path == Path::new("-")).count();
    if inputs > 1 {
        return Err(usage("standard input (-) can be read once only".to_owned()));
    }
    let read = options.results.iter().map(PathBuf::as_path);
    refuse_to_overwrite(&[("--output-file", Some(&options.output_file))], read).map_err(usage)?;
    let network = network(&options.prefix).map_err(usage)?;
    let view = View::new(network, options.order).map_err(|what| usage(format!("--prefix: {what}")))?;
    let paths = options.results.iter().map(|path| files_of(path));
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(usage)?;
    let files = paths.iter().flatten().map(|path| StoredFile::open_once(path));
    let files = files.collect::<Result<Vec<_>, _>>().map_err(usage)?;
    let mut found = Found { hits: Grid::new(view), unreachable: Marks::new(view) };
    let mut is_well = true;
    for file in &files {
        let tally = count(file, options.all, &mut found).map_err(usage)?;
        is_well &= say_faults(file, &tally);
    }
    let mut out = Destination::open(Some(&options.output_file)).map_err(usage)?;
    let palette = Palette::new(options.colors, options.scale, view.addresses_per_cell(), options.reverse);
    let caption = (!options.plain).then(|| Caption::new(&options.title, &found));
    let raster = raster::draw(&found, &palette, caption.as_ref());
    let drawn = match form {
        Form::Png => raster.write_png(&palette, &mut out).map_err(io::Error::other),
        Form::Svg => vector::write(&found, &palette, caption.as_ref(), &mut out),
    };
    drawn.map_err(|error| out.failure(NAME, &error))?;
    out.finish().map_err(usage)?;
    let outside = found.hits.outside();
    if outside > 0 {
        say(&format!("{} {} outside of {network}", several(outside, "hit"), are(outside)));
    }
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

/// What a map shows.
#[derive(Clone, Debug)]
struct Found {
    /// Hits in each cell.
    hits: Grid,
    /// Cells with hosts of which somebody on the way said that they cannot be reached.
    unreachable: Marks,
}

/// The form of the picture.
fn form_of(options: &MapOptions) -> Result<Form, String> {
    let ending = options.output_file.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    let named = match ending.as_ref().and_then(|ending| ending.to_str()) {
        Some("svg") => Some(Form::Svg),
        Some("png") => Some(Form::Png),
        _ => None,
    };
    if named.is_none() && options.output_module.is_none() && options.output_file != Path::new("-") {
        return Err("-o: give a name that ends in .png or .svg, or say which with -O".to_owned());
    }
    Ok(options.output_module.or(named).unwrap_or(Form::Png))
}

/// The network of `--prefix`.
fn network(text: &str) -> Result<AddressRange, String> {
    let all = (text == "0.0.0.0/0").then_some(AddressRange::ALL);
    let named = all.or_else(|| parse_range(text).ok());
    named.ok_or_else(|| format!("--prefix: '{text}' is not a network; give one such as 10.0.0.0/8"))
}

/// Counts the hits of a file.
fn count(file: &StoredFile, counts_all: bool, found: &mut Found) -> Result<Tally, String> {
    answers::read(file, &mut |answer| {
        if counts_all || answer.is_success && !answer.is_repeat {
            found.hits.add(answer.address);
        } else if answer.is_unreachable {
            found.unreachable.add(answer.address);
        }
    })
}

/// Says what is wrong with a file, and returns whether nothing is.
fn say_faults(file: &StoredFile, tally: &Tally) -> bool {
    if tally.not_understood > 0 {
        say(&format!("{}: no address is understood in {}", file.name, several(tally.not_understood, "row")));
    }
    if let Some(cut) = &tally.cut {
        say(&format!("{}: {cut}", file.name));
    }
    tally.not_understood == 0 && tally.cut.is_none()
}

/// Prints a line to standard error: the picture may be on standard output.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
