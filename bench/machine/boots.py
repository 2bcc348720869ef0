# SPDX-License-Identifier: MIT OR Apache-2.0
"""Boots of the machine that counts: which cases each runs, and what it leaves, however it ends.

What always holds: a case that a guest has come to the end of is in its folder, also if the guest, the lab or this
program was ended after that. A folder is of one boot.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import build
from bench.machine import counts
from bench.machine.counts import Interval

# What is left of the boots of the last run.
KEPT = build.FOLDER / "budget"
# The exit code of the lab if its packages are unavailable.
UNAVAILABLE = 77
# Seconds that a guest may take on a busy machine.
PATIENCE_SECONDS = "10000"


@dataclass(frozen=True)
class Run:
    """One of the runs of a case: its command, what it has said of itself, and its counts."""

    probes: int
    command: str
    told: dict[str, Any]
    interval: Interval


@dataclass(frozen=True)
class Left:
    """What a boot has left: its folder, and the runs of each case whose runs are all there, with few probes first."""

    folder: Path
    cases: dict[str, list[Run]]


def keep_for(program: str, goes_on: bool) -> None:
    """Makes room for the boots of a run, or leaves those of an earlier one, which has to have been of this program."""
    identity, mark = hashlib.sha256(Path(program).read_bytes()).hexdigest(), KEPT / "program"
    if goes_on:
        if not mark.exists() or mark.read_text(encoding="ascii") != identity:
            sys.exit(f"error: --go-on: {KEPT} has no counts of this {program}; leave the option out")
        return
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)
    mark.write_text(identity, encoding="ascii")


def of_round(number: int) -> Iterator[Left]:
    """What earlier boots of a round have left."""
    for folder in sorted(KEPT.glob(f"round-{number}-*")):
        yield left(folder)


def boot(number: int, machines: Sequence[Sequence[str]], program: str) -> list[Left] | None:
    """Boots a machine for each of these lists of cases, side by side. None if that cannot be had here."""
    first = len(list(KEPT.glob(f"round-{number}-*")))
    folders = [KEPT / f"round-{number}-{first + place}" for place in range(len(machines))]
    running = [begun(cases, program, folder) for cases, folder in zip(machines, folders, strict=True)]
    try:
        codes = [machine.wait() for machine in running]
    finally:
        # Whatever ends this process ends them.
        for machine in running:
            if machine.poll() is None:
                os.killpg(machine.pid, signal.SIGTERM)
                machine.wait()
    for machine, code in zip(running, codes, strict=True):
        if code not in (0, UNAVAILABLE):
            raise subprocess.CalledProcessError(code, machine.args)
    return None if UNAVAILABLE in codes else [left(folder) for folder in folders]


def begun(cases: Sequence[str], program: str, folder: Path) -> subprocess.Popen[bytes]:
    """A machine that runs these cases and leaves its files in a folder."""
    files = [build.FOLDER / name for name in ("mark", "bare_xsk", "pass.bpf.o", "responder.bpf.o")]
    command = ["scripts/lab-zerocopy.sh", "count", build.FOLDER / "count", program, folder, *files]
    command += [path for path in (shutil.which("zmap"), shutil.which("masscan")) if path]
    environment = {"LAB_PATIENCE_SECONDS": PATIENCE_SECONDS, **os.environ, "LAB_CASES": f"budget:{','.join(cases)}"}
    return subprocess.Popen(command, env=environment, stdout=sys.stderr, process_group=0)


def left(folder: Path) -> Left:
    """What a boot has left in its folder."""
    kept = folder / "results.tar"
    if kept.exists():
        # It has not come to its end. The archive may have been cut while it was written.
        subprocess.run(["tar", "-x", "-C", folder, "-f", kept], check=False, stderr=subprocess.DEVNULL)
    if not (folder / "marks").exists():
        return Left(folder, {})
    marks = [line.split() for line in (folder / "marks").read_text(encoding="ascii").splitlines()]
    if failed := [f"{name}: exit code {code}" for name, code in marks if code != "0"]:
        sys.exit(f"error: {', '.join(failed)}; see {folder}")
    commands = dict(line.split(maxsplit=1) for line in (folder / "commands").read_text(encoding="ascii").splitlines())
    intervals = counts.read(folder / "counts", [name for name, _ in marks])
    cases: dict[str, list[Run]] = {}
    for name, interval in intervals.items():
        case, _, probes = name.rpartition("-")
        run = Run(int(probes), shown(commands[name]), told(folder, name), interval)
        cases.setdefault(case, []).append(run)
    return Left(folder, {case: runs for case, runs in cases.items() if len(runs) == 2})


def shown(command: str) -> str:
    """A command of the guest's script without the words that are the script's own."""
    return command.split("in_scan ", 1)[1]


def told(folder: Path, name: str) -> dict[str, Any]:
    """What a sender has said about its run, if it says anything: in a file of metadata, or as its output."""
    for path in (folder / f"{name}.json", folder / f"{name}.out"):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return said if isinstance(said, dict) else {}
    return {}
