//! What is decided in place of what was given.

use std::ffi::OsString;
use std::path::PathBuf;

use super::CommandLine;
use crate::cli::{ShardChoice, Task, command};

/// What follows from where a command line is carried out, and takes the place of what was given.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// The task of a batch system, which has a shard.
    pub task: Option<Task>,
    /// Where results go.
    pub output_files: Vec<PathBuf>,
    /// Where the metadata goes.
    pub metadata_file: Option<PathBuf>,
}

impl CommandLine {
    /// Puts what was `decided` in place of what was given, also in the options in force: a scan that goes on elsewhere
    /// keeps it.
    pub fn settle(&mut self, decided: Decided) {
        let Decided { task, output_files, metadata_file } = decided;
        if let Some(task) = task {
            self.decided.push(("shard", vec![task.shard.to_string().into()]));
            self.decided.push(("shards", vec![task.shards.to_string().into()]));
            let sharding = &mut self.args.sharding;
            sharding.shard = Some(ShardChoice::Number(task.shard));
            (sharding.shards, sharding.task) = (Some(task.shards), Some(task));
        }
        if !output_files.is_empty() {
            let values = output_files.iter().map(|file| file.clone().into_os_string());
            self.decided.push(("output-file", values.collect()));
            self.args.basic.output_file = output_files;
        }
        if let Some(file) = metadata_file {
            self.decided.push(("metadata-file", vec![file.clone().into_os_string()]));
            self.args.logging.metadata_file = Some(file);
        }
        let mut command = command();
        command.build();
        self.keep_what_is_in_force(&command);
    }

    /// What was decided in place of an option's values.
    pub(super) fn decided(&self, long: &str) -> Option<&[OsString]> {
        self.decided.iter().find(|(name, _)| *name == long).map(|(_, values)| values.as_slice())
    }
}
