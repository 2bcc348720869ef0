#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Time and memory from start to the first packet: `measure` runs the senders in the lab of start.sh, `report` judges.

Measuring needs root, because the lab does; what is to belong to the user is left to the report, which exits with 1
when a run failed or xdpmap took too long.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import random
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bars
from common import Results, Session, add_lab_arguments, described, finish, shown, spread, stolen_seconds, table
from gaps import FarSide
from senders import PORT, Sender

LINES = [0, 10_000, 1_000_000]
PREFIX_BITS = (20, 32)
SEED = 3
# Probes of a run, and how long the sender lives after its last, so that its memory can be read.
PROBES = 100
COOLDOWN_SECONDS = 1
TIMEOUT_SECONDS = 120
# With the longest list, xdpmap takes at most this share of zmap's time.
SHARE_MAX = 0.2
# What xdpmap with a list of hosts is called in the results; zmap 2 cannot read one.
LISTED = "xdpmap -I"
# Runs in the namespace, tells when, and becomes the sender: entering the namespace is not in the time.
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
    # The most memory it had in use until after its last packet (VmHWM). Not ru_maxrss: that starts at what the process
    # had which it was forked from.
    peak_kib: int
    stolen_seconds: float


@dataclass(frozen=True)
class Lab:
    """Where the senders run, and what sees their packets."""

    namespace: str
    far_side: FarSide


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
            out.writelines(f"{parts[a]}.{parts[b]}.{parts[c]}.{parts[d]}\n" for a, b, c, d in zip(data, data, data, data))


def xdpmap(arguments: argparse.Namespace, blocklist: Path, hosts: Path | None = None) -> Sender:
    """All of IPv4 that is not reserved or blocked, as a scan of the Internet is started; or the hosts of a list."""
    command = [arguments.xdpmap, "-i", arguments.scan_interface, "-p", PORT, "-T", "1", "-n", str(PROBES)]
    command += ["-c", str(COOLDOWN_SECONDS), "-b", str(blocklist), "-C", "/dev/null", "-G", arguments.gateway_mac]
    command += ["-o", "/dev/null", "-q"]
    version = [arguments.xdpmap, "-C", "/dev/null", "--version"]
    if hosts:
        return Sender(LISTED, [*command, "-I", str(hosts)], version)
    return Sender("xdpmap", command, version)


def zmap(arguments: argparse.Namespace, blocklist: Path) -> Sender:
    """The same; without Debian's settings."""
    command = ["zmap", "-i", arguments.scan_interface, "-p", PORT, "-T", "1", "-n", str(PROBES), "-r", "10000"]
    command += ["-c", str(COOLDOWN_SECONDS), "-b", str(blocklist), "-C", "/dev/null", "-S", arguments.source_ip]
    return Sender("zmap", [*command, "-G", arguments.gateway_mac, "-o", "/dev/null", "-q"], ["zmap", "--version"])


def peak_kib(pid: int) -> int:
    """Peak memory of a process; 0 if it is no more."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
        return int(found[1]) if found else 0
    return 0


def watch(process: subprocess.Popen[bytes]) -> int:
    """Waits for the process, kills it when it takes too long; its peak memory.

    The namespace is entered, and Python left, by exec: what is read last is the sender's alone.
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
    lab.far_side.reset()
    told, telling = os.pipe()
    command = ["ip", "netns", "exec", lab.namespace, sys.executable, "-I", "-S", "-c", EXEC, str(telling)]
    with tempfile.TemporaryFile() as complaints:
        stolen = stolen_seconds()
        process = subprocess.Popen(
            [*command, *sender.command],
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
    seen = lab.far_side.read()
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


def measure(arguments: argparse.Namespace) -> None:
    """Runs every sender with every list once a round and prints it as JSON."""
    session = Session(arguments.pid_file)
    lab = Lab(arguments.scan_namespace, FarSide(arguments.map))
    competing = []
    for lines in LINES:
        blocklist = arguments.lists / f"{lines}.conf"
        write_list(blocklist, lines)
        competing.append((lines, [xdpmap(arguments, blocklist), zmap(arguments, blocklist)]))
    if arguments.list:
        write_hosts(arguments.lists / "hosts.txt", arguments.list)
        listed = xdpmap(arguments, arguments.lists / f"{LINES[0]}.conf", arguments.lists / "hosts.txt")
        competing.append((arguments.list, [listed]))
    runs = []
    for number in range(arguments.rounds):
        for lines, pair in competing:
            # They swap sides each round.
            for sender in pair[::-1] if number % 2 else pair:
                run = run_once(number, lines, sender, lab)
                runs.append(asdict(run))
                sys.stderr.write(
                    f"round {number + 1}/{arguments.rounds}  {lines:>9,} lines  {run.sender:<9}"
                    f" {run.start_seconds:8.3f} s  {run.peak_kib / 1024:7.1f} MiB\n"
                )
    settings = {"rounds": arguments.rounds, "probes": PROBES, "seed": SEED, "prefix_bits": PREFIX_BITS}
    senders = [
        {
            "name": sender.name,
            "version": sender.version(),
            # The list's folder was made for this run and is gone.
            "command": shlex.join(sender.command).replace(f"{arguments.lists}/", ""),
        }
        for _, pair in competing
        for sender in pair
    ]
    print(json.dumps(session.results(settings, senders=senders, runs=runs)))


def of(results: Results, sender: str, lines: int) -> list[dict[str, Any]]:
    """The runs of one sender with one list, in the order of the rounds."""
    return [run for run in results["runs"] if (run["sender"], run["lines"]) == (sender, lines)]


def summarise(results: Results) -> list[dict[str, Any]]:
    """A row a list: each sender's time and memory, and how they compare inside a round."""
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
    """For people; empty if there is nothing to tell."""
    if row is None:
        return ""
    columns = ("list of hosts (-I), lines", "seconds to the first packet", "peak memory, MiB")
    memory = f"{row['peak_mib']['median']:.1f}"
    return "\n\n" + table(columns, [(f"{row['addresses']:,}", shown(row["start_seconds"], 3), memory)])


def told(rows: list[dict[str, Any]]) -> str:
    """For people."""
    columns = ("block list, lines", "sender", "seconds to the first packet", "peak memory, MiB", "time, xdpmap / zmap")
    lines = []
    for row in rows:
        for sender in ("xdpmap", "zmap"):
            ratio = shown(spread(row["time_ratio"]["pairs"], 3), 3) if sender == "xdpmap" else ""
            memory = f"{row[sender]['peak_mib']['median']:.1f}"
            lines.append((f"{row['lines']:,}", sender, shown(row[sender]["start_seconds"], 3), memory, ratio))
    return table(columns, lines)


def draw(results: Results) -> str:
    """Both senders' time and memory with each list."""
    charts = []
    for figure, title, digits in (
        ("start_seconds", "Seconds from start to the first packet: less is better", 3),
        ("peak_mib", "Most memory in use, MiB: less is better", 0),
    ):
        rows = [
            bars.Bar(f"{sender}, {row['lines']:,} lines", row[sender][figure])
            for row in results["summary"]
            for sender in ("xdpmap", "zmap")
        ]
        charts.append(bars.Chart(title, rows, digits))
    captions = [
        f"Medians of {results['settings']['rounds']} rounds; whiskers: least and greatest. Block lists of random prefixes.",
        described(results["machine"]),
    ]
    return bars.draw("From start to the first packet, with long block lists", charts, captions)


def shortcomings(results: Results) -> list[str]:
    """What fails: a run that was none, or xdpmap too slow."""
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


def report(arguments: argparse.Namespace) -> None:
    """Reads, sums up, writes, judges."""
    results: Results = json.loads(arguments.measured.read_text(encoding="utf-8"))
    results["summary"] = summarise(results)
    listed = summarise_listed(results)
    if listed:
        results["listed"] = listed
    text = told(results["summary"]) + told_listed(listed)
    finish("start", arguments.output, results, draw(results), text, shortcomings(results))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.set_defaults(act=measure)
    measuring.add_argument("--rounds", type=int, required=True)
    measuring.add_argument("--lists", type=Path, required=True, help="empty folder for the block lists")
    measuring.add_argument("--list", type=int, default=0, help="addresses of the list of hosts; 0: none")
    measuring.add_argument("--xdpmap", required=True)
    measuring.add_argument("--map", required=True, help="pinned map of gaps.bpf.c")
    add_lab_arguments(measuring)
    reporting = commands.add_parser("report")
    reporting.set_defaults(act=report)
    reporting.add_argument("measured", type=Path, help="what measuring printed")
    reporting.add_argument("--output", type=Path, required=True, help="folder of start.json and start.svg")
    arguments = parser.parse_args()
    arguments.act(arguments)


if __name__ == "__main__":
    main()
