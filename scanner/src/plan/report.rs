//! What is reported about a scan, and where.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::PlanError;
use super::files::control_path;
use super::inputs::{InputList, Inputs};
use crate::cli::{Args, StatusFormat, Task};
use crate::printable::printable;
use crate::results::sink::Module;

/// What is reported about the scan, and where.
#[derive(Clone, Debug)]
pub struct ReportPlan {
    /// Where the status is written once per second, and in which form.
    pub status_file: Option<(PathBuf, StatusFormat)>,
    /// Where metrics are for Prometheus.
    pub metrics: MetricsPlan,
    /// Where the control socket is made.
    pub control: ControlPlace,
    /// Whether a progress bar is shown before the status line.
    pub progress: bool,
    /// Whether the ledger is printed at the end, and is in status updates as JSON.
    pub ledger: bool,
    /// Where the log goes instead of standard error (`--log-file`).
    pub log_file: Option<String>,
    /// The folder that a log file was made in (`--log-directory`).
    pub log_directory: Option<String>,
    /// Whether the system's log is written to.
    pub syslog: bool,
    /// The user's notes.
    pub notes: Option<String>,
    /// The user's own metadata.
    pub user_metadata: Option<Box<RawValue>>,
    /// Arguments that came from the environment and from config files.
    pub config_arguments: Vec<String>,
    /// The task of a batch system that the scan is, if that has chosen the shard.
    pub task: Option<Task>,
    /// Arguments of the output module.
    pub output_args: Option<String>,
    /// The lists that were read; none if no metadata is written.
    pub lists: Vec<InputList>,
    /// The folder that relative paths start from; `None` if it is not known.
    pub folder: Option<PathBuf>,
}

/// Where metrics are for Prometheus; nowhere in a dry run, which has no status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsPlan {
    /// The file that is replaced once per second.
    pub file: Option<PathBuf>,
    /// The address at which they are served.
    pub listen: Option<SocketAddr>,
}

impl MetricsPlan {
    fn new(args: &Args) -> Result<Self, PlanError> {
        let (file, listen) = (&args.logging.metrics_file, &args.logging.metrics_listen);
        if file.as_deref() == Some(Path::new("-")) {
            return Err(PlanError::usage("--metrics-file", "name a file, such as scan.prom"));
        }
        let listen = listen.as_deref().map(metrics_address).transpose()?;
        Ok(if args.scan.is_dry() { Self::default() } else { Self { file: file.clone(), listen } })
    }

    /// Whether there are any.
    pub fn is_wanted(&self) -> bool {
        self.file.is_some() || self.listen.is_some()
    }

    /// Where they are, in words; `None` if nowhere.
    pub(super) fn told(&self) -> Option<String> {
        let served = self.listen.iter().map(|address| format!("http://{address}/metrics"));
        let places: Vec<String> = self.file.iter().map(printable).chain(served).collect();
        (!places.is_empty()).then(|| places.join(", and "))
    }
}

/// An address with a port, or a port of this host.
fn metrics_address(text: &str) -> Result<SocketAddr, PlanError> {
    let port = || text.parse().ok().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
    text.parse().ok().or_else(port).ok_or_else(|| {
        let what = format!(
            "'{text}' is not an address with a port; give one such as 127.0.0.1:9815 or [::1]:9815, or a port alone"
        );
        PlanError::usage("--metrics-listen", what)
    })
}

/// Where the control socket is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlPlace {
    /// In the runtime folder, if there is one.
    Default,
    /// At this path, which the user has given.
    Named(PathBuf),
    /// Nowhere: the scan has none.
    None,
}

impl ReportPlan {
    pub(super) fn new(args: &Args, inputs: &Inputs) -> Result<Self, PlanError> {
        let logging = &args.logging;
        let text = |path: &PathBuf| printable(path);
        let status_file = logging.status_updates_file.as_ref().map(|path| {
            if path == Path::new("-") {
                return Err(PlanError::usage("--status-updates-file", "name a file, such as status.csv"));
            }
            let json = path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl");
            let by_name = if json { StatusFormat::Json } else { StatusFormat::Csv };
            Ok((path.clone(), logging.status_format.unwrap_or(by_name)))
        });
        Ok(Self {
            status_file: status_file.transpose()?,
            metrics: MetricsPlan::new(args)?,
            control: control(args)?,
            progress: logging.progress,
            ledger: logging.ledger,
            log_file: logging.log_file.as_ref().map(text),
            log_directory: logging.log_directory.as_ref().map(text),
            syslog: !logging.disable_syslog,
            config_arguments: args.inherited.clone(),
            task: args.sharding.task.clone(),
            notes: logging.notes.clone(),
            user_metadata: logging.user_metadata.clone(),
            output_args: args.output.output_args.clone(),
            lists: if logging.metadata_file.is_some() { inputs.read()?.to_vec() } else { Vec::new() },
            folder: std::env::current_dir().ok(),
        })
    }
}

/// Where the control socket is made. A dry run has none, because there is nothing to control.
fn control(args: &Args) -> Result<ControlPlace, PlanError> {
    let refuse =
        |path: &Path, what: &str| Err(PlanError::usage("--control", format!("{}: {what}", printable(path))));
    let place = match (control_path(args), &args.logging.control) {
        (Some(path), _) => {
            if path == Path::new("-") || path.file_name().is_none() {
                return Err(PlanError::usage(
                    "--control",
                    "give a path such as /run/xdpmap/scan.sock, or none",
                ));
            }
            // Detected here, before anything is opened. What may change until then is checked once more.
            match fs::symlink_metadata(path) {
                Ok(found) if !found.file_type().is_socket() => {
                    return refuse(path, "it exists and is not a socket; name another path");
                }
                _ => ControlPlace::Named(path.to_owned()),
            }
        }
        (None, Some(_)) => ControlPlace::None,
        (None, None) => ControlPlace::Default,
    };
    Ok(if args.scan.is_dry() { ControlPlace::None } else { place })
}

/// Warnings about flags that have no effect.
pub(super) fn remarks(args: &Args) -> Vec<String> {
    let mut remarks = Vec::new();
    if args.scan.retries.is_some() {
        let what =
            "--retries has no effect: a probe that the kernel refuses stays queued until it is accepted";
        remarks.push(what.to_owned());
    }
    let takes_args = args.output.output_module.iter().any(|module| module.module() == Module::Redis);
    if args.output.output_args.is_some() && !takes_args {
        remarks.push("--output-args has no effect: only the output module redis has arguments".to_owned());
    }
    remarks
}
