//! A data set of Parquet files, parted into folders by port or by shard.
//!
//! Rows are gathered for each partition and written as row groups into the partition's file. Memory and open files are
//! bounded, however many ports there are: beyond [`GATHERED_MAX`] the partitions with most rows are written, and beyond
//! [`OPEN_MAX`] the file that has waited longest for rows is completed. Whatever is written to a partition afterwards
//! goes to another file.
//!
//! A checkpoint completes all files. So what counts are whole files, and as files are numbered through all partitions,
//! one number says which: a scan that goes on removes those from that number on.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use parquet::file::writer::SerializedFileWriter;

use super::super::closer::{Begun, Closer};
use super::super::partitions::{HIDDEN, PartitionBy, Partitions};
use super::super::series_names::PART;
use super::super::{Rotation, Sink, Start};
use super::table::{Content, Rows, Table, failed};
use super::{FILE_ROWS, FILE_TIME, GROUP_ROWS};
use crate::printable::printable;
use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet};
use crate::results::output::{
    Output, OutputError, OutputPart, Patience, Place, Reach, Replacement, folder_of, sync_folder,
};

/// Bytes that the gathered rows of all partitions take at most, with what their columns take by themselves. Less: where
/// many ports answer, files have few rows. More: a scan takes more memory.
const GATHERED_MAX: usize = 128 << 20;
/// Files that are open at most. Fewer: where many ports answer, files have few rows. More: a scan reaches the usual
/// limit of 1,024 open files.
const OPEN_MAX: usize = 64;
/// Of the partitions with rows, this share is written before the largest are looked for again. Less: looking takes
/// longer than writing. More: smaller ones are written though others have grown.
const WRITTEN_SHARE: usize = 8;

/// Most memory and most open files.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    gathered: usize,
    open: usize,
}

/// Writes typed columns into a folder for each port or shard.
pub struct PartitionedSink {
    root: Root,
    table: Table,
    rotation: Rotation,
    by_rows: bool,
    bounds: Bounds,
    start: Start,
    partitions: HashMap<u32, Partition>,
    /// Bytes that are gathered.
    gathered: usize,
    /// Partitions that are written next when that is too much, the largest last.
    largest: Vec<u32>,
    /// How many of them have a file.
    open: usize,
    /// Row groups written so far, by which the file that has waited longest is known.
    groups: u64,
    /// Rows that are in no complete file.
    pending: u64,
    /// When all files were last completed.
    completed: Instant,
    closer: Closer,
}

/// The folder of a data set.
struct Root {
    path: PathBuf,
    name: String,
    partitions: Partitions,
    /// It was made when the sink was opened, and nothing has been written to it.
    is_untouched: bool,
    /// The number of the next file.
    number: u32,
    /// The folder itself, through which errors are waited out; its entries are also brought to the disk.
    folder: Output,
    handle: Arc<File>,
}

/// The results of a port or shard.
struct Partition {
    rows: Rows,
    /// Which results the next file, or the present one, holds.
    content: Content,
    file: Option<OpenFile>,
}

struct OpenFile {
    writer: SerializedFileWriter<Output>,
    replacement: Option<Replacement>,
    above: Option<Arc<File>>,
    name: String,
    number: u32,
    /// When the last row group was written to it.
    used: u64,
}

impl Root {
    /// Opens the folder, or makes it.
    fn open(path: &Path, partitions: Partitions) -> Result<Self, OutputError> {
        let name = printable(path);
        let failed = |source| OutputError::Open { name: name.clone(), source };
        let is_new = match fs::metadata(path) {
            Ok(found) if !found.is_dir() => {
                let what = format!("{name} is no folder, as a data set needs; name another");
                return Err(OutputError::Refused { part: OutputPart::File, what });
            }
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(path).map_err(failed)?;
                // Its own entry.
                folder_of(path).as_deref().map_or(Ok(()), sync_folder).map_err(failed)?;
                true
            }
            Err(error) => return Err(failed(error)),
        };
        let flags = AccessFlags::W_OK | AccessFlags::X_OK;
        let opened = faccessat(AT_FDCWD, path, flags, AtFlags::AT_EACCESS).map_err(io::Error::from);
        let handle = opened.and_then(|()| File::open(path)).map_err(failed)?;
        let folder = Output::from_file(handle.try_clone().map_err(failed)?, &name);
        let path = path.to_owned();
        let is_untouched = is_new;
        Ok(Self { path, name, partitions, is_untouched, number: 1, folder, handle: Arc::new(handle) })
    }

    /// The number of the first file of a scan that starts so.
    fn first_number(&self, start: &Start) -> Result<u32, OutputError> {
        let name = || self.name.clone();
        let last =
            || self.partitions.last(&self.path).map_err(|source| OutputError::Open { name: name(), source });
        match start {
            Start::Resume(reach) => Ok(reach.number.max(1)),
            Start::Append => Ok(last()?.map_or(1, |(number, _)| number + 1)),
            Start::New => match last()? {
                Some((_, path)) => Err(OutputError::Exists { name: printable(path) }),
                None => Ok(1),
            },
        }
    }

    /// Removes what earlier runs have left that does not count.
    fn begin(&mut self) -> Result<(), OutputError> {
        self.is_untouched = false;
        let removed = self.partitions.remove_from(&self.path, self.number);
        removed.map_err(|source| OutputError::Write { name: self.name.clone(), source })
    }

    /// Begins the next file of this port or shard.
    fn begin_file(&mut self, table: &Table, value: u32) -> Result<OpenFile, OutputError> {
        let number = self.number;
        let folder = self.partitions.folder(&self.path, value);
        let path = folder.join(self.partitions.name(number));
        let (mut output, replacement, is_new) = self.folder.persist(|| create(&folder, &path))?;
        output.begin(0)?;
        output.be_patient_as(&self.folder);
        self.number += 1;
        let name = output.name().to_owned();
        let writer = table.file(output).map_err(|error| failed(&name, error))?;
        let above = is_new.then(|| Arc::clone(&self.handle));
        Ok(OpenFile { writer, replacement, above, name, number, used: 0 })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.is_untouched {
            // It stays if somebody has put something into it.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Opens a file that must not be there yet, in a folder that may not be there.
fn create(folder: &Path, path: &Path) -> Result<(Output, Option<Replacement>, bool), OutputError> {
    let failed = |source| OutputError::Open { name: printable(path), source };
    let is_new = match fs::create_dir(folder) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(error)),
    };
    if path.symlink_metadata().is_ok() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    match Replacement::open(path, HIDDEN, PART).map_err(failed)? {
        Some((replacement, output)) => Ok((output, Some(replacement), is_new)),
        None => Ok((Output::create(path)?, None, is_new)),
    }
}

impl PartitionedSink {
    /// Opens the folder. Each file has `scan` in its metadata, unless that is empty.
    ///
    /// # Errors
    /// The folder cannot be written to, or an earlier scan has left files there.
    pub fn open(
        fields: FieldSet,
        scan: &str,
        folder: &Path,
        partitions: Partitions,
        start: &Start,
        rotation: Rotation,
    ) -> Result<Self, OutputError> {
        let bounds = Bounds { gathered: GATHERED_MAX, open: OPEN_MAX };
        let table = Table::new(fields, scan).map_err(|error| failed(&printable(folder), error))?;
        let mut root = Root::open(folder, partitions)?;
        root.number = root.first_number(start)?;
        let otherwise = Rotation { after: Some(FILE_TIME), bytes: None };
        Ok(Self {
            root,
            table,
            rotation: if rotation.is_on() { rotation } else { otherwise },
            by_rows: !rotation.is_on(),
            bounds,
            start: start.clone(),
            partitions: HashMap::new(),
            gathered: 0,
            largest: vec![],
            open: 0,
            groups: 0,
            pending: 0,
            completed: Instant::now(),
            closer: Closer::default(),
        })
    }

    /// Where a reply belongs.
    fn value(&self, reply: &Reply<'_>) -> u32 {
        match self.root.partitions.by {
            PartitionBy::Port => reply.header().target_port.into(),
            PartitionBy::Shard => self.root.partitions.shard,
        }
    }

    /// Writes the gathered rows of a partition as a row group, and completes its file once that is full.
    fn write_group(&mut self, value: u32) -> Result<(), OutputError> {
        let Some(partition) = self.partitions.get(&value).filter(|one| one.rows.count > 0) else {
            return Ok(());
        };
        if partition.file.is_none() {
            self.make_room()?;
        }
        let Some(partition) = self.partitions.get_mut(&value) else { return Ok(()) };
        let file = match &mut partition.file {
            Some(file) => file,
            none => {
                self.open += 1;
                none.insert(self.root.begin_file(&self.table, value)?)
            }
        };
        self.gathered -= partition.rows.bytes;
        // What the columns have grown to is not kept.
        let mut rows = mem::replace(&mut partition.rows, self.table.rows());
        let written = rows.write(&mut file.writer);
        partition.content.rows += written.map_err(|error| failed(&file.name, error))?;
        self.groups += 1;
        file.used = self.groups;
        let is_long = self.rotation.bytes.is_some_and(|most| file.writer.bytes_written() as u64 >= most);
        let is_full = is_long || self.by_rows && partition.content.rows >= FILE_ROWS;
        if is_full { self.complete(value) } else { Ok(()) }
    }

    /// Completes the file that has waited longest, if as many are open as may be.
    fn make_room(&mut self) -> Result<(), OutputError> {
        if self.open < self.bounds.open {
            return Ok(());
        }
        let open = self.partitions.iter().filter_map(|(value, one)| Some((one.file.as_ref()?.used, *value)));
        open.min().map_or(Ok(()), |(_, value)| self.complete(value))
    }

    /// Writes all rows of a partition, and completes its file.
    fn complete(&mut self, value: u32) -> Result<(), OutputError> {
        self.write_group(value)?;
        let Some(partition) = self.partitions.remove(&value) else { return Ok(()) };
        self.gathered -= partition.rows.overhead();
        let Some(file) = partition.file else { return Ok(()) };
        self.open -= 1;
        let OpenFile { mut writer, replacement, above, name, number, .. } = file;
        writer.append_key_value_metadata(partition.content.described(number));
        let output = writer.into_inner().map_err(|error| failed(&name, error))?;
        self.closer.close(Begun { output, replacement, above })?;
        self.pending -= partition.content.rows;
        Ok(())
    }

    /// Completes all files.
    fn complete_all(&mut self) -> Result<(), OutputError> {
        let mut values: Vec<u32> = self.partitions.keys().copied().collect();
        values.sort_unstable();
        values.into_iter().try_for_each(|value| self.complete(value))?;
        self.largest.clear();
        self.completed = Instant::now();
        Ok(())
    }

    /// Writes the largest partitions as long as more is gathered than may be.
    fn write_largest(&mut self) -> Result<(), OutputError> {
        while self.gathered > self.bounds.gathered {
            if self.largest.is_empty() {
                let with_rows = self.partitions.iter().filter(|(_, one)| one.rows.count > 0);
                let mut sizes: Vec<(usize, u32)> =
                    with_rows.map(|(value, one)| (one.rows.bytes, *value)).collect();
                sizes.sort_unstable();
                let count = sizes.len().div_ceil(WRITTEN_SHARE);
                self.largest =
                    sizes.split_off(sizes.len() - count).into_iter().map(|(_, value)| value).collect();
            }
            let Some(value) = self.largest.pop() else { return Ok(()) };
            self.write_group(value)?;
        }
        Ok(())
    }
}

impl Sink for PartitionedSink {
    fn name(&self) -> &str {
        &self.root.name
    }

    fn begin(&mut self) -> Result<(), OutputError> {
        // A new scan may have had to wait until the files of another were moved.
        self.root.number = self.root.first_number(&self.start)?;
        self.root.begin()?;
        self.closer.start(true);
        Ok(())
    }

    fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> Result<(), OutputError> {
        let value = self.value(reply);
        let gathered = &mut self.gathered;
        let partition = self.partitions.entry(value).or_insert_with(|| {
            let rows = self.table.rows();
            *gathered += rows.overhead();
            Partition { rows, content: Content::default(), file: None }
        });
        let before = partition.rows.bytes;
        self.table.gather(reply, extractor, &mut partition.rows);
        partition.content.note(reply.header().time_ns);
        *gathered += partition.rows.bytes - before;
        self.pending += 1;
        if partition.rows.count >= GROUP_ROWS {
            self.write_group(value)?;
        }
        self.write_largest()
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        let is_over = self.rotation.after.is_some_and(|after| self.completed.elapsed() >= after);
        if is_over { self.complete_all() } else { Ok(()) }
    }

    /// Completes all files, so that one number says how far it is.
    fn place(&mut self) -> Result<Place, OutputError> {
        self.complete_all()?;
        let reach = Reach { number: self.root.number, ..Reach::default() };
        Ok(Place { reach, file: None, under_way: Some(self.closer.under_way()) })
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.complete_all()?;
        self.closer.finish()
    }

    fn be_patient(&mut self, patience: &Arc<Patience>) {
        self.root.folder.be_patient(patience);
    }

    fn pending(&self) -> u64 {
        self.pending
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use proptest::prelude::*;

    use super::*;
    use crate::local_time;
    use crate::probe::tcp_synscan;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::{header, synack_frame};

    const PARTITIONS: Partitions = Partitions { by: PartitionBy::Port, shard: 0, shards: 1 };

    /// The addresses in each port's files.
    fn read(root: &Path) -> BTreeMap<u32, Vec<String>> {
        let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for file in PARTITIONS.files(root).unwrap() {
            let folder = file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            let port = folder.strip_prefix("port=").unwrap().parse().unwrap();
            let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
            assert!(reader.metadata().file_metadata().num_rows() > 0, "no file is empty");
            let rows = reader.get_row_iter(None).unwrap();
            let rows = rows.map(|row| row.unwrap().into_columns()[0].1.to_string().replace('"', ""));
            found.entry(port).or_default().extend(rows);
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever the order in which ports answer, and however little may be gathered and open: each result is in the
        /// folder of its port, once. What is gathered and open stays within its bounds.
        #[test]
        fn each_result_is_in_its_folder(
            ports in prop::collection::vec(0u16..40, 1..600),
            gathered in 1usize..20_000,
            open in 1usize..5,
            place_every in 50usize..300,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("r");
            let fields = FieldSet::parse("saddr", &tcp_synscan::FIELDS).unwrap();
            let rotation = Rotation::default();
            let mut sink =
                PartitionedSink::open(fields, "", &root, PARTITIONS, &Start::New, rotation).unwrap();
            sink.bounds = Bounds { gathered, open };
            sink.begin().unwrap();
            let (frame, mut extractor) = (synack_frame(), Extractor::new(local_time::zone()));
            let mut expected: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
            for (number, &port) in ports.iter().enumerate() {
                let mut header = header(ReplyKind::SynAck, (number as u32).into(), 80, frame.len());
                header.target_port = port;
                sink.write(&Reply::new(&header, &frame, false), &mut extractor).unwrap();
                let address = std::net::Ipv4Addr::from(number as u32).to_string();
                expected.entry(port.into()).or_default().insert(address);
                let with_file = sink.partitions.values().filter(|one| one.file.is_some()).count();
                prop_assert_eq!(with_file, sink.open);
                prop_assert!(sink.open <= open);
                // What an open file's columns take by themselves stays.
                let kept: usize = sink.partitions.values().map(|one| one.rows.overhead()).sum();
                let rows: usize = sink.partitions.values().map(|one| one.rows.bytes).sum();
                prop_assert_eq!(sink.gathered, kept + rows);
                prop_assert!(sink.gathered <= gathered || rows == 0, "{} of {gathered}", sink.gathered);
                if number % place_every == 0 {
                    let place = sink.place().unwrap();
                    let done = place.under_way.unwrap();
                    prop_assert!(done.wait(Instant::now() + std::time::Duration::from_secs(20)));
                    let whole: usize = read(&root).values().map(Vec::len).sum();
                    prop_assert_eq!(whole, number + 1, "a checkpoint counts all of them");
                    prop_assert_eq!((sink.gathered, sink.open, sink.pending()), (0, 0, 0));
                }
            }
            sink.finish().unwrap();
            let found = read(&root);
            let rows: usize = found.values().map(Vec::len).sum();
            prop_assert_eq!(rows, ports.len());
            let found: BTreeMap<u32, BTreeSet<String>> =
                found.into_iter().map(|(port, rows)| (port, rows.into_iter().collect())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
