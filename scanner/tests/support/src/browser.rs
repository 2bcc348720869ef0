//! A browser that loads one page at a time, without a window, in a network of its own that reaches nothing.
//!
//! It is driven through the DevTools protocol over two pipes. All that it reports while a page is open is kept:
//! messages of the console, exceptions, and each request with what became of it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Child;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::tools::{path_of, run, tool};
use serde_json::{Value, json};

/// Starts it with its ends of the pipes as the descriptors that it expects.
const START: &str = r#"
folder=$1
shift
exec timeout 300 "$@" --remote-debugging-pipe --user-data-dir="$folder/profile" 3<"$folder/to" 4>"$folder/from" 2>"$folder/log"
"#;
/// Its profile is new, it asks nobody for anything, and what it shows does not depend on a graphics card.
const OPTIONS: [&str; 7] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
];

/// A browser with one page.
pub struct Browser {
    process: Child,
    to: File,
    from: BufReader<File>,
    session: String,
    number: u64,
    /// What it has reported and nobody has asked about, in its order.
    pub events: Vec<Value>,
    folder: tempfile::TempDir,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Width of the window in pixels.
    pub width: u32,
    /// Whether the user wants a dark page.
    pub is_dark: bool,
}

/// Whether a test can have a browser, for which it needs root as well. Says so if not.
pub fn have_browser() -> bool {
    // Its only package there is a snap, which no namespace and no container can use.
    let is_ubuntu = crate::read(Path::new("/etc/os-release")).lines().any(|line| line == "ID=ubuntu");
    if is_ubuntu {
        // Directly to standard error: the harness hides the output of `eprintln!` in a test that passes.
        writeln!(std::io::stderr(), "SKIPPED: Ubuntu has no package of Chromium; Debian has")
            .expect("stderr");
    }
    !is_ubuntu && lab::have_root()
}

impl Browser {
    /// Starts it. Needs root, for the network that reaches nothing.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        run("mkfifo", [&to, &from]);
        let mut command = tool("unshare");
        command.args(["--net", "sh", "-c", START, "sh"]).arg(folder.path());
        command.arg(path_of("chromium-headless-shell")).args(OPTIONS).env("HOME", folder.path());
        let process = command.spawn().unwrap();
        // In the order in which the shell opens them.
        let to = File::options().write(true).open(to).unwrap();
        let from = BufReader::new(File::open(from).unwrap());
        let mut browser =
            Self { process, to, from, session: String::new(), number: 0, events: vec![], folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Asks for something, and returns the answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let message = self.next();
            if message["id"] == self.number {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        let mut message = vec![];
        self.from.read_until(0, &mut message).unwrap();
        let log = || crate::read(&self.folder.path().join("log"));
        assert_eq!(message.pop(), Some(0), "the browser has ended: {}", log());
        serde_json::from_slice(&message).unwrap()
    }

    /// Loads a file, and waits until it is shown. What was reported about an earlier page is forgotten.
    #[track_caller]
    pub fn load(&mut self, page: &Path, look: Look) {
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
        let metrics =
            json!({"width": look.width, "height": 900, "deviceScaleFactor": 1, "mobile": look.width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        self.events.clear();
        self.call("Page.navigate", json!({"url": format!("file://{}", page.display())}));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next();
            self.events.push(event);
        }
    }

    /// The value of an expression in the page; a promise is waited for.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// The whole page as PNG.
    #[track_caller]
    pub fn picture(&mut self) -> Vec<u8> {
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", parameters);
        STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// What the page has complained about: exceptions, errors and warnings.
    pub fn complaints(&self) -> Vec<String> {
        let is_complaint = |event: &&Value| {
            let level = event["params"]["entry"]["level"].as_str().or(event["params"]["type"].as_str());
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded" | "Runtime.consoleAPICalled") => level != Some("info"),
                _ => false,
            }
        };
        self.events.iter().filter(is_complaint).map(|event| event["params"].to_string()).collect()
    }

    /// The addresses that were requested, except those that have their content inside.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let addresses = requests.filter_map(|event| event["params"]["request"]["url"].as_str());
        addresses.filter(|address| !address.starts_with("data:")).map(str::to_owned).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when it is asked to, or with its pipes; `timeout` sees to the rest.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.process.wait();
    }
}

/// A picture as an address that has it inside.
pub fn as_address(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}
