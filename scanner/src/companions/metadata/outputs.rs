//! Which files have the results of a scan.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Metadata, OutputFile};
use crate::printable::printable;
use crate::results::sink::{Partitions, following, part_of};

/// The files that hold one output of a scan, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which of the scan's outputs.
    pub output: usize,
    /// Its files.
    pub files: Vec<PathBuf>,
}

/// The outputs of a scan; of metadata that lack them, as far as its other keys tell.
pub fn outputs(metadata: &Metadata) -> Cow<'_, [OutputFile]> {
    if let Some(outputs) = &metadata.outputs {
        return Cow::Borrowed(outputs);
    }
    let files: Vec<&str> = metadata.output_filename.as_deref().unwrap_or("-").split(',').collect();
    let modules: Vec<&str> = metadata.output_module.split(',').collect();
    let of = |(place, file): (usize, &&str)| OutputFile {
        module: modules.get(place).or(modules.first()).map_or("csv", |module| module).to_owned(),
        file: (*file).to_owned(),
        is_series: true,
        ..OutputFile::default()
    };
    files.iter().enumerate().map(of).collect()
}

/// Where the first file of an output may be: beside the metadata, if both were moved together, or where it was written.
fn places(metadata: &Metadata, output: &OutputFile) -> Vec<PathBuf> {
    let written = Path::new(&output.file);
    let beside = metadata.path.parent().unwrap_or(Path::new(""));
    let folder = metadata.folder.as_deref().map(Path::new);
    let below = folder.and_then(|folder| written.strip_prefix(folder).ok()).map(|path| beside.join(path));
    let named = written.file_name().map(|name| beside.join(name));
    // What has the final name beside it is of an earlier scan.
    let part = |path: &Path| output.is_part.then(|| part_of(path).ok()).flatten();
    let places = named.into_iter().chain(below).chain([written.to_owned()]);
    places.flat_map(|path| part(&path).into_iter().chain([path])).collect()
}

/// Whether an output can be a file.
pub fn is_file(output: &OutputFile) -> bool {
    output.module != "redis" && output.file != "-"
}

/// Whether the first file of an output is at this path, or the folder above its files.
fn is_there(output: &OutputFile, path: &Path) -> bool {
    if output.partitioned_by.is_some() { path.is_dir() } else { path.is_file() }
}

/// The files of an output that begins with this one.
fn series(metadata: &Metadata, output: &OutputFile, first: &Path) -> Vec<PathBuf> {
    if let Some(by) = output.partitioned_by {
        let partitions = Partitions { by, shard: metadata.shard_num, shards: metadata.total_shards };
        // A folder that cannot be read has none, and results are then missing.
        return partitions.files(first).unwrap_or_default();
    }
    let later = if output.is_series { following(first, 1) } else { Vec::new() };
    [first.to_owned()].into_iter().chain(later).collect()
}

/// The files of the outputs of a scan that are there. Of an output whose files are not, there is none.
pub fn find(metadata: &Metadata) -> Vec<Stored> {
    let outputs = outputs(metadata);
    let of_output = |(place, output): (usize, &OutputFile)| {
        let first =
            places(metadata, output).into_iter().find(|path| is_file(output) && is_there(output, path))?;
        Some(Stored { output: place, files: series(metadata, output, &first) })
    };
    outputs.iter().enumerate().filter_map(of_output).collect()
}

/// Which of the scans, and which of its outputs, each of `files` belongs to: for each scan its outputs with their
/// files.
///
/// # Errors
/// It cannot be said of a file, in one line that names it.
pub fn assign(scans: &[Metadata], files: &[PathBuf]) -> Result<Vec<Vec<Stored>>, String> {
    let mut assigned: Vec<Vec<Stored>> = scans.iter().map(|_| Vec::new()).collect();
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let known: Vec<(usize, usize, Vec<PathBuf>)> = scans
        .iter()
        .enumerate()
        .flat_map(|(scan, metadata)| {
            outputs(metadata)
                .iter()
                .enumerate()
                .flat_map(|(place, output)| {
                    let firsts = places(metadata, output).into_iter().filter(|first| is_there(output, first));
                    firsts
                        .map(move |first| (scan, place, series(metadata, output, &first)))
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        })
        .collect();
    for file in files {
        let is_in = |files: &Vec<PathBuf>| files.iter().any(|known| real(known) == real(file));
        let of: Vec<(usize, usize)> = known
            .iter()
            .filter(|(_, _, files)| is_in(files))
            .map(|&(scan, place, _)| (scan, place))
            .collect();
        let (scan, place) = match (&of[..], scans) {
            ([first, rest @ ..], _) if rest.iter().all(|other| other == first) => *first,
            (_, [metadata]) => (0, output_of(metadata, file)?),
            _ => {
                let name = printable(file);
                return Err(format!("{name}: it is not clear of which scan it is; give one scan at a time"));
            }
        };
        let stored = &mut assigned[scan];
        match stored.iter_mut().find(|stored| stored.output == place) {
            Some(stored) => stored.files.push(file.clone()),
            None => stored.push(Stored { output: place, files: vec![file.clone()] }),
        }
    }
    Ok(assigned)
}

/// The output of a scan that a file with another name holds.
fn output_of(metadata: &Metadata, file: &Path) -> Result<usize, String> {
    let outputs = outputs(metadata);
    if outputs.len() == 1 {
        return Ok(0);
    }
    let opened = crate::companions::stored::StoredFile::open(file, None)?;
    let fits = |(_, output): &(usize, &OutputFile)| output.module == opened.format.name();
    let places: Vec<usize> = outputs.iter().enumerate().filter(fits).map(|(place, _)| place).collect();
    match places[..] {
        [place] => Ok(place),
        _ => Err(format!(
            "{}: the scan had {} outputs, and it is not clear which one this is; give the file its old name",
            opened.name,
            outputs.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(module: &str, file: &str) -> OutputFile {
        OutputFile {
            module: module.to_owned(),
            file: file.to_owned(),
            is_series: true,
            ..OutputFile::default()
        }
    }

    fn scan(path: PathBuf, outputs: Vec<OutputFile>) -> Metadata {
        Metadata { path, outputs: Some(outputs), folder: Some("/then".to_owned()), ..Metadata::default() }
    }

    #[test]
    fn results_are_found_where_they_were_moved() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("0/out")).unwrap();
        fs::create_dir_all(at("1")).unwrap();
        for name in ["0/out/r.csv", "1/r.csv", "1/r-00002.csv", "1/r.json"] {
            fs::write(at(name), "").unwrap();
        }
        let zero = scan(at("0/m.json"), vec![output("csv", "/then/out/r.csv"), output("csv", "-")]);
        let one = scan(at("1/m.json"), vec![output("csv", "/then/r.csv"), output("json", "/then/r.json")]);
        assert_eq!(find(&zero), [Stored { output: 0, files: vec![at("0/out/r.csv")] }]);
        let of_one = vec![
            Stored { output: 0, files: vec![at("1/r.csv"), at("1/r-00002.csv")] },
            Stored { output: 1, files: vec![at("1/r.json")] },
        ];
        assert_eq!(find(&one), of_one);
        let files = [at("1/r.csv"), at("1/r-00002.csv"), at("1/../1/r.json"), at("0/out/r.csv")];
        let assigned = assign(&[zero.clone(), one.clone()], &files).unwrap();
        assert_eq!(assigned[0], find(&zero));
        assert_eq!(assigned[1][0], of_one[0]);
        assert_eq!(assigned[1][1].output, 1);
        // Another name is no doubt if there is one scan with one output, or with one of this format.
        fs::write(at("new.csv"), "saddr\n192.0.2.1\n").unwrap();
        assert!(
            assign(&[zero.clone(), one.clone()], &[at("new.csv")]).unwrap_err().contains("of which scan")
        );
        assert_eq!(assign(&[one], &[at("new.csv")]).unwrap()[0][0].output, 0);
        assert!(assign(&[zero], &[at("new.csv")]).unwrap_err().contains("which one this is"));
    }

    /// Results of a scan that is not whole keep their interim name; what has the final one is of another scan.
    #[test]
    fn results_that_are_not_whole_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["r.csv", "r.csv.part", "s.csv", "s-00002.csv.part"] {
            fs::write(at(name), "").unwrap();
        }
        let part = |file: &str| OutputFile { is_part: true, ..output("csv", file) };
        let one = OutputFile { is_series: false, ..part("/then/r.csv") };
        let unfinished = scan(at("m.json"), vec![one, part("/then/s.csv")]);
        let found = find(&unfinished);
        assert_eq!(found[0].files, [at("r.csv.part")]);
        assert_eq!(found[1].files, [at("s.csv"), at("s-00002.csv.part")]);
    }

    #[test]
    fn older_metadata_name_outputs_in_other_keys() {
        let metadata = Metadata {
            output_filename: Some("a.csv,b.json".to_owned()),
            output_module: "csv,json".to_owned(),
            ..Metadata::default()
        };
        let found = outputs(&metadata);
        assert_eq!((&*found[0].file, &*found[1].file, &*found[1].module), ("a.csv", "b.json", "json"));
    }
}
