use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn open_errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/results.csv");
    let error = Output::open(path.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, OutputError::Open { .. }));
    assert!(error.to_string().contains("missing/results.csv"), "{error}");
}

#[test]
fn a_file_is_as_it_was_until_results_begin() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::write(&old, "old").unwrap();
    for (path, before) in [(&old, Some("old")), (&new, None)] {
        let text = path.to_str().unwrap();
        drop(Output::open(text).unwrap());
        assert_eq!(fs::read_to_string(path).ok().as_deref(), before);
        let mut output = Output::open(text).unwrap();
        output.begin(0).unwrap();
        output.write_all(b"n").unwrap();
        drop(output);
        assert_eq!(fs::read(path).unwrap(), b"n");
    }
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A pipe that is open for reading and writing needs no other end.
    let _reader = File::options().read(true).write(true).open(&pipe).unwrap();
    for other in ["-", pipe.to_str().unwrap()] {
        Output::open(other).unwrap().begin(0).unwrap();
    }
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
}

/// The interim file of a killed scan is reused; another user's link in its place is refused.
#[test]
fn a_file_in_anothers_place() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let directory = tempfile::tempdir().unwrap();
    let [file, link, part] = ["r", "link", "r.part"].map(|name| directory.path().join(name));
    let open = |path: &Path| Replacement::open(path, "", ".part");
    symlink("r", &link).unwrap();
    drop(open(&link).unwrap().unwrap());
    assert!(!part.exists() && !file.exists());
    for (text, left) in [("one", None), ("two", Some("of a killed scan"))] {
        left.inspect(|left| fs::write(&part, left).unwrap());
        let (replacement, mut output) = open(&link).unwrap().unwrap();
        output.begin(0).unwrap();
        output.write_all(text.as_bytes()).unwrap();
        output.finish().unwrap();
        replacement.put_in_place().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert!(link.is_symlink() && !part.exists());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    symlink("/etc/passwd", &part).unwrap();
    assert_eq!(open(&file).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _reader = File::options().read(true).write(true).open(&pipe).unwrap();
    assert!(open(&pipe).unwrap().is_none());
    symlink("self", directory.path().join("self")).unwrap();
    assert_eq!(open(&directory.path().join("self")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
}

/// A reader that does not read is waited for until patience ends, and the bytes that it read before are known.
#[test]
fn patience_ends() {
    let (reader, writer) = io::pipe().unwrap();
    let mut output = Output::from_file(File::from(OwnedFd::from(writer)), "pipe");
    let patience = Arc::<Patience>::default();
    output.be_patient(&patience);
    let ending = Arc::clone(&patience);
    let ends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        ending.end();
    });
    let error = output.write_all(&[0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(ends.is_finished() && patience.moves() >= 16, "a pipe holds 64 KiB");
    assert!(matches!(OutputError::from_write("pipe", error), OutputError::Stuck { .. }));
    assert!(!output.has_room());
    drop(reader);
    assert_eq!(output.write(&[0]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

/// A pipe that its reader made non-blocking still accepts everything.
#[test]
fn non_blocking_pipe() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (mut reader, writer) = io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let reading = std::thread::spawn(move || {
        let mut bytes = vec![];
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    let sent: Vec<u8> = (0..500_000u32).map(|i| i as u8).collect();
    let mut output = Output::from_file(writer, "pipe");
    output.write_all(&sent).unwrap();
    drop(output);
    assert!(reading.join().unwrap().unwrap() == sent);
}

/// A write that fails is tried again, and reported once; at the limit, or when outputs no longer wait, the error
/// counts. What cannot end is not waited for, and without a request nothing is.
#[test]
fn failing_writes_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    // It was opened for reading alone, so each write fails.
    let failing = |patience: &Arc<Patience>| {
        let mut output = Output::from_file(File::open(&path).unwrap(), "file");
        output.be_patient(patience);
        let began = Instant::now();
        assert_eq!(output.write(b"text").unwrap_err().raw_os_error(), Some(libc::EBADF));
        began.elapsed()
    };
    let said = Arc::<Mutex<Vec<String>>>::default();
    let retrying = |limit| {
        let (patience, said) = (Arc::<Patience>::default(), Arc::clone(&said));
        let tell = move |trouble: Trouble<'_>| said.lock().unwrap().push(format!("{trouble:?}"));
        patience.retry(Retry { limit, tell: Box::new(tell) });
        patience
    };
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(600));
    assert!(failing(&Arc::default()) < short);
    assert!(said.lock().unwrap().is_empty());
    assert!(failing(&retrying(short)) >= short);
    let ending = retrying(long);
    ending.end();
    assert!(failing(&ending) < long / 10);
    let said_so_far = said.lock().unwrap().clone();
    let is_begin =
        |line: &String| line.starts_with("Begun") && line.contains("EBADF") | line.contains("code: 9");
    assert!(said_so_far.len() == 2 && said_so_far.iter().all(is_begin), "{said_so_far:?}");

    // What succeeds after all is over, and told.
    let mut output = Output::open(&path).unwrap();
    output.be_patient(&retrying(long));
    let mut attempts = 0;
    let opened = output.persist(|| {
        attempts += 1;
        let source = io::ErrorKind::StorageFull.into();
        if attempts < 3 { Err(OutputError::Open { name: "next".to_owned(), source }) } else { Ok(attempts) }
    });
    assert_eq!(opened.unwrap(), 3);
    assert!(said.lock().unwrap().last().unwrap().starts_with("Over"));
    let exists = || {
        Err::<(), _>(OutputError::Open {
            name: "next".to_owned(),
            source: io::ErrorKind::AlreadyExists.into(),
        })
    };
    let began = Instant::now();
    assert!(output.persist(exists).is_err() && began.elapsed() < long / 10);
}

/// The time of the first failure counts, however long it takes to tell.
#[test]
fn the_wait_begins_with_the_failure() {
    let limit = Duration::from_millis(150);
    let patience = Patience::default();
    patience.retry(Retry { limit, tell: Box::new(move |_| std::thread::sleep(limit)) });
    assert!(!Failures::default().may_end(&patience, "results", &io::ErrorKind::StorageFull.into()));
}
