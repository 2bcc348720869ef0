//! A separate Redis server for a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::tools::tool;

/// A Redis server on a Unix socket that keeps what it has acknowledged.
pub struct Redis {
    server: Child,
    folder: PathBuf,
}

impl Redis {
    /// Starts one with its files in a folder, and waits until it answers.
    pub fn start(folder: &Path) -> Self {
        let server = tool("redis-server")
            .args([
                "--port",
                "0",
                "--unixsocket",
                "redis.sock",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .args(["--save", "", "--loglevel", "warning"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { server, folder: folder.to_owned() };
        let deadline = Instant::now() + Duration::from_secs(20);
        while redis.ask(&["PING"]).trim() != "PONG" {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        redis
    }

    /// The path of its socket.
    pub fn socket(&self) -> String {
        self.folder.join("redis.sock").display().to_string()
    }

    /// What it answers.
    pub fn ask(&self, command: &[&str]) -> String {
        let output = tool("redis-cli").args(["-s", &self.socket()]).args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
