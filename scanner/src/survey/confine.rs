//! Puts the running scan into its sandbox: what a plan still needs when everything is open.
//!
//! What a scan opens later has to be added here, or it is refused: a file or a port to what landlock leaves
//! ([`paths`]), a system call to the table of the sandbox.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tracing::{debug, info};

use crate::lists::STANDARD_INPUT;
use crate::local_time;
use crate::plan::Plan;
use crate::report::metadata_file::MetadataFile;
use crate::results::output::{folder_path, followed};
use crate::sandbox::{self, Exception, Paths};

/// Where names are looked up by TCP.
const DNS_PORT: u16 = 53;
/// What glibc reads to look a name up, in addition to what `/etc/resolv.conf` leads to: the folder, because its files
/// are replaced when networks change.
const NAME_SERVICE: [&str; 2] = ["/etc", "/run/systemd/resolve"];

/// From now on the threads of the scan are confined when they begin, unless the plan says otherwise.
pub(super) fn begin(plan: &Plan, metadata: Option<&MetadataFile>) {
    // Its files could not be read later.
    local_time::zone();
    if plan.sandbox {
        sandbox::arm(exceptions(plan, metadata));
    }
}

/// Refuses this thread, and those that it starts, what the scan of `plan` does not open later. Everything that it needs
/// is open. `socket` is the control socket, which is removed at the end.
pub(super) fn restrict(plan: &Plan, socket: Option<&Path>) {
    if !plan.sandbox {
        return info!(target: "sandbox", "none: --no-sandbox");
    }
    let mut paths = paths(plan);
    paths.write.extend(socket.map(|socket| folder_path(socket).to_owned()));
    sandbox::restrict(&paths);
    let landlock = sandbox::report().landlock;
    let Paths { mut write, read, tcp_ports, folders } = paths;
    write.extend(folders);
    let what =
        format!("landlock {landlock}: to write {write:?}, to read {read:?}, TCP to ports {tcp_ports:?}");
    if landlock.starts_with("ABI") {
        debug!(target: "sandbox", "{what}");
    } else {
        info!(target: "sandbox", "landlock {landlock}: the scan keeps access to files and to TCP");
    }
}

/// What the plan asks for that needs more system calls than every scan.
fn exceptions(plan: &Plan, metadata: Option<&MetadataFile>) -> Vec<Exception> {
    let mut exceptions = Vec::new();
    for sink in &plan.output.sinks {
        match &sink.redis {
            None if sink.partitions.is_some() => exceptions.push(Exception::Partitions),
            None if sink.has_later_files() => exceptions.push(Exception::Rotation),
            None => {}
            Some(server) if server.socket().is_some() => exceptions.push(Exception::RedisSocket),
            Some(server) => {
                exceptions.push(Exception::RedisTcp);
                if server.host().is_some_and(|(host, _)| is_name(host)) {
                    exceptions.push(Exception::RedisName);
                }
            }
        }
    }
    if metadata.is_some_and(MetadataFile::is_opened_later) {
        exceptions.push(Exception::Metadata);
    }
    if plan.targets.blocklist_source.has_names {
        exceptions.push(Exception::BlocklistNames);
    }
    if plan.steer {
        exceptions.push(Exception::Steering);
    }
    exceptions.sort_unstable();
    exceptions.dedup();
    exceptions
}

fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

/// What is opened later.
fn paths(plan: &Plan) -> Paths {
    let mut paths = Paths { read: sandbox::system_files(), ..Paths::default() };
    // The host's full name is in the metadata.
    paths.read.push("/etc/hosts".into());
    let servers = plan.output.sinks.iter().filter_map(|sink| sink.redis.as_ref()?.host());
    for (host, port) in servers {
        paths.tcp_ports.push(port);
        if is_name(host) {
            look_up(&mut paths);
        }
    }
    paths.write.extend(files(plan).map(place));
    // The next file of a series is beside the name that was given.
    let series = plan.output.sinks.iter().filter(|sink| sink.redis.is_none() && sink.has_later_files());
    paths.write.extend(series.map(|sink| folder_path(&sink.file).to_owned()));
    // A partition's folder is made when its first result comes.
    let parted = plan.output.sinks.iter().filter(|sink| sink.partitions.is_some());
    paths.folders.extend(parted.map(|sink| sink.file.clone()));
    for list in [&mut paths.read, &mut paths.write] {
        list.sort();
        list.dedup();
    }
    paths
}

/// Names are looked up.
fn look_up(paths: &mut Paths) {
    paths.tcp_ports.push(DNS_PORT);
    paths.read.extend(NAME_SERVICE.map(PathBuf::from));
    let resolver = fs::canonicalize("/etc/resolv.conf").ok();
    paths.read.extend(resolver.and_then(|file| Some(file.parent()?.to_owned())));
}

/// What the thread that reads the block lists again may open, and nothing else: the folder of each list, because a list
/// is replaced by renaming another file, and that of its target if it is a link.
pub(super) fn list_paths(plan: &Plan) -> Paths {
    let source = &plan.targets.blocklist_source;
    let mut paths = Paths::default();
    for list in source.places().into_iter().filter(|list| *list != Path::new(STANDARD_INPUT)) {
        let at = place(list);
        // A device has no folder that is needed.
        paths.read.extend((at != list).then(|| folder_path(list).to_owned()));
        paths.read.push(at);
    }
    if source.has_names {
        look_up(&mut paths);
    }
    paths
}

/// The files that the scan writes, in part after all is open.
fn files(plan: &Plan) -> impl Iterator<Item = &Path> {
    let sinks = plan.output.sinks.iter().filter(|sink| sink.redis.is_none()).map(|sink| sink.file.as_path());
    let others = [plan.output.metadata_file.as_deref(), plan.output.probes_file.as_deref()];
    let status = plan.report.status_file.as_ref().map(|(path, _)| path.as_path());
    let checkpoint = plan.checkpoint.as_ref().map(|checkpoint| checkpoint.file.as_path());
    sinks
        .chain(others.into_iter().flatten())
        .chain(plan.report.metrics.file.as_deref())
        .chain(status)
        .chain(checkpoint)
        .filter(|file| *file != Path::new("-"))
}

/// Where a file may be created and replaced: its folder, or that of its target if it is a link. A device or a pipe is
/// only written to.
fn place(file: &Path) -> PathBuf {
    if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return file.to_owned();
    }
    let target = fs::canonicalize(file).or_else(|_| followed(file));
    folder_path(target.as_deref().unwrap_or(file)).to_owned()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use wire::proof::Key;

    use super::*;
    use crate::cli::{self, Surroundings};
    use crate::plan::Randomness;
    use crate::results::sink::Module;

    #[test]
    fn folders_of_files_and_of_what_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(folder.path()).unwrap();
        let (here, there) = (folder.join("here"), folder.join("there"));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&there).unwrap();
        assert_eq!(place(&here.join("new.csv")), here);
        let link = here.join("link.csv");
        std::os::unix::fs::symlink(there.join("target.csv"), &link).unwrap();
        assert_eq!(place(&link), there, "a dangling link");
        fs::write(there.join("target.csv"), "").unwrap();
        assert_eq!(place(&link), there, "a link, such as /dev/stdout to a file");
        assert_eq!(place(Path::new("new.csv")), Path::new("."));
        assert_eq!(place(Path::new("/dev/null")), Path::new("/dev/null"));
    }

    /// A plan that is made where nothing is sent, of these words; FOLDER stands for a folder.
    fn plan(folder: &Path, words: &str) -> Plan {
        let line = format!("xdpmap --plan -i lo -S 192.0.2.7 -b /dev/null -p 80 {words} 8.8.8.0/24");
        let line = line.replace("FOLDER", folder.to_str().unwrap());
        let line = cli::parse(line.split_whitespace().map(OsString::from), &Surroundings::default());
        let args = line.unwrap_or_else(|error| panic!("{words}: {error:?}")).args;
        let draw = Randomness { seed: 5, key: Key { k0: 1, k1: 2 }, timestamp: 0 };
        Plan::new(&args, &draw).unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    /// Every kind of output, and every option that makes a class of threads need more: with what each adds, and no
    /// other adds anything.
    #[test]
    fn what_widens_the_sandbox() {
        use Exception::{
            BlocklistNames, Metadata, Partitions, RedisName, RedisSocket, RedisTcp, Rotation, Steering,
        };
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("names.conf"), "localhost\n192.0.2.0/24\n").unwrap();
        fs::write(folder.path().join("plain.conf"), "192.0.2.0/24\n").unwrap();
        let cases: &[(&str, &[Exception], &[u16])] = &[
            ("-O csv -o FOLDER/r", &[], &[]),
            ("-O json -o FOLDER/r", &[], &[]),
            ("-O hostport -o FOLDER/r", &[], &[]),
            ("-O pcap -o FOLDER/r", &[], &[]),
            ("-O xml -o FOLDER/r", &[], &[]),
            ("-O grepable -o FOLDER/r", &[], &[]),
            ("-O list -o FOLDER/r", &[], &[]),
            ("-O masscan-json -o FOLDER/r", &[], &[]),
            ("-O zgrab2 -o FOLDER/r", &[], &[]),
            #[cfg(feature = "parquet")]
            ("-O parquet -o FOLDER/r", &[Rotation], &[]),
            #[cfg(feature = "parquet")]
            ("-O parquet -o FOLDER/r --partition port", &[Partitions], &[]),
            ("-O csv -o FOLDER/r --rotate-seconds 60", &[Rotation], &[]),
            ("-O json -o FOLDER/r --rotate-bytes 1M", &[Rotation], &[]),
            ("-O pcap -o FOLDER/r --atomic-output", &[Rotation], &[]),
            ("-O csv", &[], &[]),
            ("-O redis -o redis://127.0.0.1:7", &[RedisTcp], &[7]),
            ("-O redis -o redis://localhost:7", &[RedisTcp, RedisName], &[7, DNS_PORT]),
            ("-O redis --output-args socket=FOLDER/socket", &[RedisSocket], &[]),
            (
                "-O csv -o FOLDER/r --rotate-bytes 1M -O redis -o redis://localhost -m FOLDER/m -b FOLDER/names.conf",
                &[Rotation, Metadata, RedisTcp, RedisName, BlocklistNames],
                &[DNS_PORT, 6379],
            ),
            ("-m FOLDER/m", &[Metadata], &[]),
            ("-m -", &[], &[]),
            ("-b FOLDER/plain.conf", &[], &[]),
            ("-b FOLDER/names.conf", &[BlocklistNames], &[]),
            ("--steer", &[Steering], &[]),
            ("-u FOLDER/status --probes-file FOLDER/probes --log-file FOLDER/log", &[], &[]),
            ("-o FOLDER/r --on-output-error pause --resume-or-start", &[], &[]),
        ];
        for (words, expected, ports) in cases {
            let plan = plan(folder.path(), words);
            let metadata = plan.output.metadata_file.as_deref().map(|path| MetadataFile::open(path).unwrap());
            assert_eq!(exceptions(&plan, metadata.as_ref()), *expected, "{words}");
            let Paths { tcp_ports: mut found, write, read, .. } = paths(&plan);
            found.sort_unstable();
            let mut ports = ports.to_vec();
            ports.sort_unstable();
            assert_eq!(found, ports, "{words}");
            let here: Vec<PathBuf> = vec![folder.path().to_owned()];
            let is_elsewhere = |path: &&PathBuf| !here.contains(path);
            assert_eq!(write.iter().find(is_elsewhere), None, "{words}: written elsewhere");
            let looks_up = expected.contains(&RedisName);
            assert_eq!(read.contains(&PathBuf::from("/etc")), looks_up, "{words}: {read:?}");
            assert_eq!(list_paths(&plan).tcp_ports.contains(&DNS_PORT), expected.contains(&BlocklistNames));
        }
        let named =
            |wanted: &dyn Fn(&Exception) -> bool| cases.iter().any(|(_, found, _)| found.iter().any(wanted));
        assert!(
            Exception::ALL.iter().all(|exception| named(&|found| found == exception)),
            "an option for each"
        );
        let has_case =
            |module: &&Module| cases.iter().any(|(words, ..)| words.contains(&format!("-O {module} ")));
        assert!(Module::ALL.iter().all(|module| has_case(&module)), "a case for each kind of output");
    }

    #[test]
    fn names_and_addresses() {
        assert!(is_name("redis.example") && !is_name("192.0.2.1") && !is_name("2001:db8::1"));
    }
}
