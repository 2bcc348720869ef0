//! The object depends only on the sources.

use std::path::{Path, PathBuf};
use std::{fs, process};

/// A directory of this test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ebpf-build-{}-{name}", process::id()));
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

fn build_in(folder: &Folder) -> Vec<u8> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xdp-prog");
    for entry in fs::read_dir(sources).expect("the program's folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.0.join(path.file_name().expect("a name"))).expect("a copy");
    }
    let object = folder.0.join("out.o");
    let warnings = ebpf_build::compile(&folder.0.join("xdpmap.bpf.c"), &object).expect("an object");
    assert_eq!(warnings, "");
    fs::read(object).expect("the object")
}

#[test]
fn same_bytes_in_every_folder_and_no_path_of_the_machine() {
    let (first, second) = (Folder::new("a"), Folder::new("another-longer-name"));
    let object = build_in(&first);
    assert!(object == build_in(&second), "the objects differ");
    let needle = first.0.to_str().expect("UTF-8").as_bytes();
    assert!(!object.windows(needle.len()).any(|window| window == needle), "the object names its folder");
}

#[test]
fn a_mistake_in_the_source_is_told_in_clangs_words() {
    let folder = Folder::new("mistake");
    let source = folder.0.join("mistake.bpf.c");
    fs::write(&source, "int nothing(void) { return missing; }\n").expect("a file");
    let error = ebpf_build::compile(&source, &folder.0.join("out.o")).expect_err("it does not compile");
    let text = error.to_string();
    assert!(text.contains("mistake.bpf.c:1") && text.contains("missing"), "{text}");
}
