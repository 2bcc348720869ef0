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
    let Paths { write, read, tcp_ports } = paths;
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
    let series = plan.output.sinks.iter().filter(|sink| sink.has_later_files());
    paths.write.extend(series.map(|sink| folder_path(&sink.file).to_owned()));
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
    use super::*;

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

    #[test]
    fn names_and_addresses() {
        assert!(is_name("redis.example") && !is_name("192.0.2.1") && !is_name("2001:db8::1"));
    }
}
