//! A Redis server of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::tools::tool;

/// A Redis server on a Unix socket that keeps what it has acknowledged.
pub struct Redis {
    server: Child,
    folder: PathBuf,
}

impl Redis {
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

    pub fn socket(&self) -> String {
        self.folder.join("redis.sock").display().to_string()
    }

    pub fn ask(&self, command: &[&str]) -> String {
        let output = tool("redis-cli").args(["-s", &self.socket()]).args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

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
