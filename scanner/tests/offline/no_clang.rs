//! A build without clang fails in one line that says what to install.

use std::path::{Path, PathBuf};

use lab::tools::clean;

/// The build script that this very test's package was built by: the newest, as older ones may lie beside it.
fn build_script() -> PathBuf {
    let builds = Path::new(env!("OUT_DIR")).ancestors().nth(2).unwrap();
    let scripts = std::fs::read_dir(builds).unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("xdpmap-");
    let scripts =
        scripts.filter(ours).map(|folder| folder.join("build-script-build")).filter(|path| path.exists());
    scripts.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).expect("a build script")
}

#[test]
fn the_build_names_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        clean(build_script()).env("PATH", folder.path()).env("OUT_DIR", folder.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // What cargo prints as an error and fails the build for.
    let errors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("cargo::error=")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(
        errors[0].contains("clang not found") && errors[0].contains("apt-get install clang llvm"),
        "{text}"
    );
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "nothing buries it");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
