//! Removes a lab: a shell that waits on a pipe for the end of the process that made the lab.
//!
//! A signal handler in that process would not be enough: SIGKILL has none, and a test's threads exist before it. What
//! always holds: the keeper knows a namespace before it is created, and removes nothing while a command that makes a
//! part of the lab still runs. Such commands are in its process group. They enter it before they let go of the pipe,
//! so the keeper sees them all when it reads the pipe's end.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

use crate::tools::{Error, finish, try_tool};

/// A running keeper. It removes the lab when this is dropped, and when this process ends.
pub struct Keeper {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Keeper {
    /// Starts a keeper for a lab with this directory and these namespaces.
    pub fn start(folder: &Path, namespaces: &[&str]) -> Result<Self, Error> {
        let mut command = try_tool("sh")?;
        command.args(["-c", include_str!("keeper.sh"), "keeper"]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        // A separate process group: Ctrl-C on a terminal, and signals to the whole group of its parent, do not reach
        // it.
        command.process_group(0);
        let mut shell = command.spawn().map_err(|error| Error::io("sh", error))?;
        let pipe = shell.stdin.take();
        let mut keeper = Self { shell, pipe };
        for namespace in namespaces {
            keeper.add(namespace)?;
        }
        Ok(keeper)
    }

    /// Registers a further namespace of the lab.
    pub fn add(&mut self, namespace: &str) -> Result<(), Error> {
        self.say(namespace)
    }

    /// Runs a program that makes a part of the lab; it must succeed. `input` is its input. Returns its output.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<String, Error> {
        let mut command = try_tool(program)?;
        command.args(arguments).process_group(self.shell.id().cast_signed());
        finish(program, command, input)
    }

    /// Keeps the lab when this process ends.
    pub fn leave(&mut self) -> Result<(), Error> {
        self.say("leave")
    }

    /// Removes the lab now. Returns whether all of it is gone.
    pub fn end(&mut self) -> bool {
        drop(self.pipe.take());
        self.shell.wait().is_ok_and(|status| status.success())
    }

    fn say(&mut self, line: &str) -> Result<(), Error> {
        let pipe = self.pipe.as_mut().expect("a keeper that has not ended");
        writeln!(pipe, "{line}").map_err(|error| Error::io("the lab's keeper", error))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}
