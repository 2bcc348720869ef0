# SPDX-License-Identifier: MIT OR Apache-2.0
"""The requirements of a benchmark: packages, and programs in Rust, C and BPF. All of them are built as the user.

Paths of built programs are relative to the repository's root, where the benchmarks run, so that recorded commands name
no folder of this machine.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.record import say

ROOT = Path(__file__).resolve().parent.parent
XDPMAP = "target/release/xdpmap"
LAB = "target/release/lab"
PROGRAMS = "target/release/bench"
FOLDER = Path("target/bench")
BARE_XSK_RS = FOLDER / "bare_xsk_rs/release/bare_xsk_rs"

# A name that ends in _packages is one of the lists of scripts/lib.sh.
NEED_PACKAGES = """
. scripts/lib.sh
names=()
for name in build_packages "$@"; do
	case $name in
	*_packages) declare -n list=$name && names+=("${list[@]}") ;;
	*) names+=("$name") ;;
	esac
done
need_packages "${names[@]}"
"""


def need_packages(packages: Sequence[str]) -> None:
    """Installs the missing packages of those named, and those that a build needs."""
    subprocess.run(["bash", "-euc", NEED_PACKAGES, "bash", *packages], check=True)


def cargo(*arguments: str, **variables: str) -> None:
    """Runs cargo for a release build, with these environment variables added."""
    command = ["cargo", arguments[0], "--release", "--locked", "--quiet", *arguments[1:]]
    subprocess.run(command, check=True, env={**os.environ, **variables})


def xdpmap() -> None:
    """Builds the scanner."""
    say("building xdpmap")
    cargo("build")


def xdpmap_and_lab() -> None:
    """Builds the scanner, and the program that makes labs: together they share what both are built from."""
    say("building xdpmap and the lab")
    cargo("build", "-p", "xdpmap", "-p", "lab")


def programs() -> None:
    """Builds the benchmarks' programs in Rust."""
    say("building the benchmarks' programs")
    cargo("build", "-p", "xdpmap-bench")


def bpf(*sources: str) -> None:
    """Compiles FOLDER/NAME.bpf.c of this package."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for source in sources:
        cargo("run", "-p", "ebpf-build", "--", f"bench/{source}.bpf.c", str(bpf_object(source)))


def bpf_object(source: str) -> Path:
    """The path of the object of FOLDER/NAME.bpf.c."""
    return FOLDER / f"{Path(source).name}.bpf.o"


def bare_xsk_rs() -> None:
    """Builds the bare sender on xsk-rs, a workspace of its own."""
    say("building the bare sender on xsk-rs")
    manifest = "bench/senders/bare_xsk_rs/Cargo.toml"
    folder = str(FOLDER / "bare_xsk_rs")
    # libxdp takes each warning for an error, and a newer compiler warns of more.
    cargo("build", "--manifest-path", manifest, "--target-dir", folder, CFLAGS="-Wno-error")


def c_program(source: str, *libraries: str) -> None:
    """Compiles FOLDER/NAME.c of this package."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(FOLDER / Path(source).name), f"bench/{source}.c", *libraries],
        check=True,
    )
