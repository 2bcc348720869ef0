//! Blocks of documents, run exactly as they stand there, in a lab where nginx answers for some addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lab::Lab;
use lab::tools::tool;
use support::read;
use support::scanner::{path, shield};

const RECIPES: &str = include_str!("../../../docs/recipes.md");

/// The addresses that listen on port 80.
pub(crate) const SERVERS: [[u8; 4]; 5] =
    [[192, 0, 2, 7], [192, 0, 2, 9], [192, 0, 2, 130], [192, 0, 2, 200], [192, 0, 2, 254]];

/// The blocks of a page that are to be run, each under its heading.
pub(crate) fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = vec![];
    let (mut heading, mut block) = (String::new(), None::<String>);
    for line in page.lines() {
        match &mut block {
            Some(text) if line == "```" => {
                blocks.push((heading.clone(), std::mem::take(text)));
                block = None;
            }
            Some(text) => text.extend([line, "\n"]),
            None if line == "```sh" => block = Some(String::new()),
            None => {
                let title = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with("##"));
                heading = title.map_or(heading, str::to_owned);
            }
        }
    }
    blocks
}

/// The block of a page that begins with this line.
pub(crate) fn shown<'a>(page: &'a str, begin: &str) -> &'a str {
    let (_, rest) = page.split_once(begin).expect(begin);
    rest.split_once("\n```\n").expect("the end of a block").0
}

/// The lines of a text, each once.
pub(crate) fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

/// A line for each server.
pub(crate) fn each(line: impl Fn(&str) -> String) -> BTreeSet<String> {
    SERVERS.iter().map(|&address| line(&Ipv4Addr::from(address).to_string())).collect()
}

/// The metadata of every scan, shown if the test fails.
struct Kept(PathBuf);

impl Drop for Kept {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            eprintln!("{}: {}", entry.path().display(), read(&entry.path()));
        }
    }
}

/// Where blocks are run: the lab, the folder, and the machine's config file, which is the one that the recipes show.
/// Its ports are not those of curl and nmap: a server that still knows a connection from the port of a probe answers
/// with an ACK, which is no answer to a SYN.
pub(crate) struct Reader {
    pub(crate) lab: Lab,
    folder: PathBuf,
    etc: PathBuf,
    kept: Kept,
    runs: usize,
    /// Whether the metadata of each scan is kept, for when the test fails. Folders of shards have theirs.
    pub(crate) keeps_metadata: bool,
    /// What blocks find in their environment.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Reader {
    /// In a lab of its own. `$NET` is the network that the recipes show.
    pub(crate) fn new() -> Self {
        let lab = Lab::new(2);
        lab::run("ip", ["-n", &lab.net, "route", "add", "local", "192.0.2.0/24", "dev", "lo"]);
        lab.start_nginx(&SERVERS.map(Ipv4Addr::from));
        let [folder, etc, kept] = ["work", "etc", "metadata"].map(|name| lab.folder().join(name));
        [&folder, &etc, &kept].iter().for_each(|path| std::fs::create_dir(path).unwrap());
        std::fs::write(etc.join("xdpmap.conf"), shown(RECIPES, "```conf\n")).unwrap();
        let variables = vec![("NET", shown(RECIPES, "```\nexport NET=").to_owned())];
        Self { lab, folder, etc, kept: Kept(kept), runs: 0, keeps_metadata: true, variables }
    }

    /// The folder in which blocks are run.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file there.
    pub(crate) fn file(&self, name: &str) -> String {
        read(&self.folder.join(name))
    }

    /// Runs a block, which must succeed, and returns what it prints.
    #[track_caller]
    pub(crate) fn run(&mut self, heading: &str, block: &str) -> String {
        self.runs += 1;
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.lab.scan]).args(shield(Some(&self.etc)));
        command
            .args(["bash", "-euo", "pipefail", "-c", block])
            .env("PATH", path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        if self.keeps_metadata {
            command.env("XDPMAP_METADATA_FILE", self.kept.0.join(format!("{}.json", self.runs)));
        }
        let output = command.output().unwrap();
        let [out, complaints] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "{heading}: {complaints}{out}");
        out
    }
}
