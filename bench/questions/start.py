# SPDX-License-Identifier: MIT OR Apache-2.0
"""How long until the first packet, and how much memory, with long block lists?

Fails if a run failed, or if xdpmap takes more than a fifth of zmap's time with the longest list.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import build, plots, senders
from bench.far.farside import Timer
from bench.lab import Lab, made
from bench.process import stolen_seconds
from bench.questions import Option, number, rounds
from bench.record import Report, Results, described, shown, spread, table
from bench.senders import Sender

PACKAGES = ("iproute2", "procps", "util-linux", "bpftool", "zmap")
ROOT = True
OPTIONS = (
    rounds(5),
    Option(
        "--list", "hosts of a list that xdpmap reads, 14 bytes of disk each; 0: none", 100_000_000, 1_000_000, number(0)
    ),
)

LINES = [0, 10_000, 1_000_000]
PREFIX_BITS = (20, 32)
SEED = 3
# Probes of a run, and how long the sender lives after its last probe, so that its memory can be read.
PROBES = 100
COOLDOWN_SECONDS = 1
TIMEOUT_SECONDS = 120
# With the longest list, xdpmap takes at most this share of zmap's time.
SHARE_MAX = 0.2
# The name of xdpmap with a list of hosts in the results; zmap 2 cannot read such a list.
LISTED = "xdpmap -I"
# Runs in the namespace, prints the time, and becomes the sender, so that the time excludes entering the namespace.
EXEC = (
    "import os, sys, time\n"
    "fd = int(sys.argv[1])\n"
    "os.set_inheritable(fd, False)\n"
    "os.write(fd, b'%d' % time.monotonic_ns())\n"
    "os.execvp(sys.argv[2], sys.argv[2:])\n"
)


@dataclass
class Run:
    """One run of one sender with one list."""

    round: int
    sender: str
    lines: int
    exit_code: int
    arrived: int
    # From exec to the first packet at the far side.
    start_seconds: float
    # Its peak memory until after its last packet (VmHWM). Not ru_maxrss: that starts with the memory of the process
    # that it was forked from.
    peak_kib: int
    stolen_seconds: float


def write_list(path: Path, lines: int) -> None:
    """Random prefixes anywhere in IPv4; the same each time."""
    drawn = random.Random(SEED)
    with path.open("w", encoding="ascii") as out:
        for _ in range(lines):
            bits = drawn.randint(*PREFIX_BITS)
            out.write(f"{ipaddress.IPv4Address(drawn.getrandbits(bits) << (32 - bits))}/{bits}\n")


def write_hosts(path: Path, count: int) -> None:
    """Random addresses anywhere in IPv4, some of them repeated; the same each time."""
    drawn, parts = random.Random(SEED), [str(part) for part in range(256)]
    with path.open("w", encoding="ascii") as out:
        for begin in range(0, count, 1 << 20):
            data = iter(drawn.randbytes(4 * min(1 << 20, count - begin)))
            out.writelines(
                f"{parts[a]}.{parts[b]}.{parts[c]}.{parts[d]}\n" for a, b, c, d in zip(data, data, data, data)
            )


def prepare(_: Namespace) -> None:
    """xdpmap and the far side."""
    build.xdpmap_and_lab()
    build.bpf("far/gaps")


def contestants(options: Namespace, lab: Lab, lists: Path) -> list[tuple[int, list[Sender]]]:
    """Writes the lists; returns which sender reads which. Targets: all of IPv4 that is not reserved or blocked, or the
    list of hosts."""
    probes = ["-n", str(PROBES), "-o", "/dev/null"]
    competing = []
    for lines in LINES:
        path = lists / f"{lines}.conf"
        write_list(path, lines)
        reading: dict[str, Any] = {"cooldown_seconds": COOLDOWN_SECONDS, "blocklist": str(path)}
        pair = [
            senders.xdpmap("xdpmap", lab, "-p", senders.PORT, *probes, **reading),
            senders.zmap("zmap", lab, "-r", "10000", *probes, **reading),
        ]
        competing.append((lines, pair))
    if options.list:
        hosts = lists / "hosts.txt"
        write_hosts(hosts, options.list)
        reading["blocklist"] = str(lists / f"{LINES[0]}.conf")
        listed = senders.xdpmap(LISTED, lab, "-p", senders.PORT, *probes, "-I", str(hosts), **reading)
        competing.append((options.list, [listed]))
    return competing


def peak_kib(pid: int) -> int:
    """Peak memory of a process; 0 if it has ended."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
        return int(found[1]) if found else 0
    return 0


def watch(process: subprocess.Popen[bytes]) -> int:
    """Waits for the process and kills it if it takes too long; returns its peak memory.

    The process enters the namespace and leaves Python by exec, so the last value read is that of the sender alone.
    """
    deadline, peak = time.monotonic() + TIMEOUT_SECONDS, 0
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                break
            peak = peak_kib(process.pid) or peak
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return peak


def run_once(number: int, lines: int, sender: Sender, lab: Lab) -> Run:
    """Runs one sender once."""
    far_side = Timer(lab)
    far_side.reset()
    told, telling = os.pipe()
    command = lab.inside([sys.executable, "-I", "-S", "-c", EXEC, str(telling), *sender.command])
    with tempfile.TemporaryFile() as complaints:
        stolen = stolen_seconds()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            pass_fds=[telling],
        )
        os.close(telling)
        peak = watch(process)
        stolen = stolen_seconds() - stolen
        with os.fdopen(told, "rb") as pipe:
            began_ns = int(pipe.read() or 0)
        if process.returncode != 0:
            complaints.seek(0)
            sys.stderr.write(complaints.read().decode(errors="replace")[-2000:])
    seen = far_side.read()
    return Run(
        round=number,
        sender=sender.name,
        lines=lines,
        exit_code=process.returncode,
        arrived=seen.probes,
        start_seconds=round((seen.first_ns - began_ns) / 1e9, 6) if seen.probes else 0.0,
        peak_kib=peak,
        stolen_seconds=round(stolen, 2),
    )


def measure(options: Namespace) -> Results:
    """Runs every sender with every list once per round."""
    with made(build.bpf_object("far/gaps")) as lab:
        lists = lab.work / "lists"
        lists.mkdir()
        competing = contestants(options, lab, lists)
        runs = []
        for number in range(options.rounds):
            for lines, pair in competing:
                # They swap sides each round.
                for sender in pair[::-1] if number % 2 else pair:
                    run = run_once(number, lines, sender, lab)
                    runs.append(asdict(run))
                    sys.stderr.write(
                        f"round {number + 1}/{options.rounds}  {lines:>11,} lines  {run.sender:<9}"
                        f" {run.start_seconds:8.3f} s  {run.peak_kib / 1024:7.1f} MiB\n"
                    )
    settings = {"rounds": options.rounds, "probes": PROBES, "seed": SEED, "prefix_bits": PREFIX_BITS}
    # The lists' folder was made for this run and is gone.
    names = [
        {"name": sender.name, "version": sender.version(), "command": sender.shown().replace(f"{lists}/", "")}
        for _, pair in competing
        for sender in pair
    ]
    return {"settings": settings, "senders": names, "runs": runs}


def of(results: Results, sender: str, lines: int) -> list[dict[str, Any]]:
    """The runs of one sender with one list, in the order of the rounds."""
    return [run for run in results["runs"] if (run["sender"], run["lines"]) == (sender, lines)]


def summarise(results: Results) -> list[dict[str, Any]]:
    """A row per list: each sender's time and memory, and their ratio within a round."""
    rows = []
    for lines in LINES:
        row: dict[str, Any] = {"lines": lines}
        for sender in ("xdpmap", "zmap"):
            runs = of(results, sender, lines)
            row[sender] = {
                "start_seconds": spread([run["start_seconds"] for run in runs], 4),
                "peak_mib": spread([run["peak_kib"] / 1024 for run in runs], 1),
            }
        both = zip(of(results, "xdpmap", lines), of(results, "zmap", lines))
        ratios = [a["start_seconds"] / max(b["start_seconds"], 1e-9) for a, b in both]
        row["time_ratio"] = {"median": round(statistics.median(ratios), 4), "pairs": [round(r, 4) for r in ratios]}
        rows.append(row)
    return rows


def summarise_listed(results: Results) -> dict[str, Any] | None:
    """xdpmap's time and memory with the list of hosts, if one was measured."""
    runs = [run for run in results["runs"] if run["sender"] == LISTED]
    if not runs:
        return None
    return {
        "addresses": runs[0]["lines"],
        "start_seconds": spread([run["start_seconds"] for run in runs], 4),
        "peak_mib": spread([run["peak_kib"] / 1024 for run in runs], 1),
    }


def told_listed(row: dict[str, Any] | None) -> str:
    """The summary as text; empty if there is none."""
    if row is None:
        return ""
    columns = ("list of hosts (-I), lines", "seconds to the first packet", "peak memory, MiB")
    memory = f"{row['peak_mib']['median']:.1f}"
    return "\n\n" + table(columns, [(f"{row['addresses']:,}", shown(row["start_seconds"], 3), memory)])


def told(rows: list[dict[str, Any]]) -> str:
    """The summary as text."""
    columns = ("block list, lines", "sender", "seconds to the first packet", "peak memory, MiB", "time, xdpmap / zmap")
    lines = []
    for row in rows:
        for sender in ("xdpmap", "zmap"):
            ratio = shown(spread(row["time_ratio"]["pairs"], 3), 3) if sender == "xdpmap" else ""
            memory = f"{row[sender]['peak_mib']['median']:.1f}"
            lines.append((f"{row['lines']:,}", sender, shown(row[sender]["start_seconds"], 3), memory, ratio))
    return table(columns, lines)


def draw(results: Results) -> plots.Figure:
    """Both senders' time and memory with each list."""
    charts = []
    for figure, title, digits in (
        ("start_seconds", "Seconds from start to the first packet: less is better", 3),
        ("peak_mib", "Most memory in use, MiB: less is better", 0),
    ):
        rows = [
            plots.Bar(f"{sender}, {row['lines']:,} lines", row[sender][figure])
            for row in results["summary"]
            for sender in ("xdpmap", "zmap")
        ]
        charts.append(plots.Chart(title, rows, digits))
    captions = [
        f"Medians of {plots.rounds(results['settings'])}; whiskers: least and greatest. Block lists: random prefixes.",
        described(results["machine"]),
    ]
    return plots.bars("From start to the first packet, with long block lists", charts, captions)


def shortcomings(results: Results) -> list[str]:
    """Everything that fails: a failed run, or xdpmap too slow."""
    found = []
    for run in results["runs"]:
        what = f"{run['sender']} with {run['lines']:,} lines in round {run['round'] + 1}"
        if run["exit_code"] != 0:
            found.append(f"{what} ended with {run['exit_code']}")
        if run["arrived"] != PROBES:
            found.append(f"{what}: {run['arrived']} of {PROBES} probes arrived")
    longest = results["summary"][-1]
    share = longest["time_ratio"]["median"]
    if share > SHARE_MAX:
        found.append(f"with {longest['lines']:,} lines xdpmap takes {share:.2f} of zmap's time, more than {SHARE_MAX}")
    return found


def report(results: Results, _: Namespace) -> Report:
    """Summarises, draws, judges."""
    results["summary"] = summarise(results)
    listed = summarise_listed(results)
    if listed:
        results["listed"] = listed
    return Report(told(results["summary"]) + told_listed(listed), shortcomings(results), draw(results))
