//! Without a compiler there is a one-line error, which says what to install.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs, process};

/// An empty directory of this test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("ebpf-build-{}-{name}", process::id()));
        fs::create_dir_all(&path).expect("a folder below the temporary one");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover in the temporary directory does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Compiles the XDP program in an environment in which only `tools` can be found.
fn build(folder: &Folder, tools: &[(&str, &str)]) -> Output {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xdp-prog/xdpmap.bpf.c");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebpf-build"));
    command.arg(source).arg(folder.0.join("out.o")).env("PATH", &folder.0);
    command.env_remove(ebpf_build::CLANG_VARIABLE).env_remove(ebpf_build::STRIP_VARIABLE);
    command.envs(tools.iter().copied()).output().expect("it starts")
}

fn refusal(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
    stderr
}

#[test]
fn the_remedy_is_named_and_nothing_written() {
    let folder = Folder::new("none");
    let line = refusal(&build(&folder, &[]));
    assert!(line.contains("clang not found") && line.contains("apt-get install clang llvm"), "{line}");
    assert!(line.contains("XDPMAP_CLANG"), "{line}");
    assert_eq!(fs::read_dir(&folder.0).expect("the folder").count(), 0);
}

#[test]
fn a_named_tool_that_does_not_exist_is_named() {
    let folder = Folder::new("named");
    let line = refusal(&build(&folder, &[("XDPMAP_CLANG", "/nonexistent/clang")]));
    assert!(line.contains("XDPMAP_CLANG") && line.contains("/nonexistent/clang"), "{line}");
    assert!(line.contains("correct it or unset it"), "{line}");
}

#[test]
fn a_tool_that_cannot_be_run_is_named() {
    let folder = Folder::new("broken");
    fs::write(folder.0.join("clang"), "not a program\n").expect("a file");
    let line = refusal(&build(&folder, &[]));
    assert!(line.contains("cannot run clang") && line.contains("check its permissions"), "{line}");
}

/// Cargo runs this crate's build script before those that need clang, so its message is not buried.
#[test]
fn a_build_ends_before_it_begins() {
    let folder = Folder::new("build");
    let builds = Path::new(env!("OUT_DIR")).ancestors().nth(2).expect("the folder of build scripts");
    let scripts = fs::read_dir(builds).expect("the folder").map(|entry| entry.expect("an entry").path());
    let ours = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ebpf-build-"))
    };
    let scripts =
        scripts.filter(ours).map(|path| path.join("build-script-build")).filter(|path| path.exists());
    // The newest, because older ones may be next to it.
    let script =
        scripts.max_by_key(|path| path.metadata().and_then(|found| found.modified()).expect("a time"));
    let mut command = Command::new(script.expect("a build script"));
    command.env("PATH", &folder.0).env_remove(ebpf_build::CLANG_VARIABLE);
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("cargo::error=")).collect();
    assert_eq!(errors, [ebpf_build::Error::NoClang.to_string()], "{text}");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "nothing buries it");
    let output = command.env(ebpf_build::CLANG_VARIABLE, "/nonexistent/clang").output().expect("it starts");
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("error"),
        "one that is named is tried when it is used"
    );
}
