#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Asked-for against delivered rate: `measure` runs the senders in the lab of pace.sh, `report` sums up and judges.

Measuring needs root, because the lab does; what is to belong to the user is left to the report, which exits with 1
when a rate was missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import plot
from common import Results, Session, add_lab_arguments, described, finish, stolen_seconds, table, wait
from gaps import LINEAR, FarSide
from senders import PORT, TARGETS, Job, Sender

RATES = [10, 100, 1_000, 10_000, 100_000, 1_000_000]
# More than one worker gives in copy mode; there a scan is asked for the best that can be had, too.
CLIPPED = 1_000_000
ZMAP_RATES = [1_000, 10_000]
QUICK_FROM = 1_000
PROBES_MIN = 600
# How far a rate may be missed, and up to which.
OFF_MAX = 0.01
JUDGED_MAX = 100_000
# Four ports make enough targets for a minute at a million a second.
MORE_PORTS = "80-83"


@dataclass
class Run:
    """One run of one sender at one rate. Without "own" the far side's figures."""

    sender: str
    asked_pps: int
    exit_code: int
    timed_out: bool
    to_send: int
    arrived: int
    seconds: float
    pps: float
    gap_p50_ns: int
    gap_p99_ns: int
    gap_max_ns: int
    user_seconds: float
    system_seconds: float
    wall_seconds: float
    stolen_seconds: float
    own_io_mode: str | None
    own_packets_sent: int | None
    # Where a bucket starts, in nanoseconds, and how many gaps it holds.
    gaps: list[tuple[int, int]]


@dataclass(frozen=True)
class Case:
    """A sender, told to keep a rate."""

    sender: Sender
    rate: int
    count: int


def xdpmap(job: Job, program: str, mode: str, rate: int, seconds: int) -> Sender:
    """One worker. Its one answer: the metadata, on standard output."""
    ports = PORT if job.count <= TARGETS.num_addresses else MORE_PORTS
    cores = f"{job.other_core},{job.core}" if mode == "auto" else str(job.core)
    command = [program, "-i", job.interface, "-p", ports, "-r", str(rate), "-T", "1", "--cores", cores]
    command += ["--io-mode", mode, "-c", "0", "--allow-reserved", "-G", job.gateway_mac, "-n", str(job.count)]
    if rate > JUDGED_MAX:
        command += ["-t", str(seconds)]
    name = "xdpmap" if mode == "copy" else "xdpmap, any mode"
    command += ["-b", "/dev/null", "-C", "/dev/null", "-o", "/dev/null", "-q", "-m", "-", str(TARGETS)]
    return Sender(name, command, [program, "-C", "/dev/null", "--version"], reports=True)


def zmap(job: Job, rate: int) -> Sender:
    """One sending thread, neither Debian's settings nor its block list."""
    command = ["zmap", "-i", job.interface, "-p", PORT, "-r", str(rate), "-T", "1"]
    command += [f"--cores={job.core},{job.other_core}", "-c", "0", "-b", "/dev/null", "-C", "/dev/null"]
    command += ["-S", job.source_ip, "-G", job.gateway_mac, "-n", str(job.count), "-o", "/dev/null", "-q"]
    return Sender("zmap", [*command, str(TARGETS)], ["zmap", "--version"])


def cases(job: Job, program: str, seconds: int, quick: bool) -> list[Case]:
    """Every rate in turn."""
    found = []
    for rate in RATES:
        if quick and rate < QUICK_FROM:
            continue
        # Between so many probes and one more lies the time that was asked for.
        count = max(0 if quick else PROBES_MIN, rate * seconds) + 1
        here = replace(job, count=count)
        found.append(Case(xdpmap(here, program, "copy", rate, seconds), rate, count))
        if rate == CLIPPED:
            found.append(Case(xdpmap(here, program, "auto", rate, seconds), rate, count))
        if rate in ZMAP_RATES:
            found.append(Case(zmap(here, rate), rate, count))
    return found


def own_figures(sender: Sender, printed: bytes) -> tuple[str | None, int | None]:
    """The sender's own mode and packets sent."""
    if not sender.reports:
        return None, None
    try:
        own = json.loads(printed)
        return own["io_mode"], own["packets_sent"]
    except (ValueError, KeyError):
        return None, None


def run_once(case: Case, namespace: str, far_side: FarSide) -> Run:
    """Runs one sender once."""
    far_side.reset()
    command = ["ip", "netns", "exec", namespace, *case.sender.command]
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        stolen, start = stolen_seconds(), time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=complaints)
        exit_code, usage, timed_out = wait(process, 60 + 2 * case.count / case.rate)
        wall, stolen = time.monotonic() - start, stolen_seconds() - stolen
        printed.seek(0)
        mode, sent = own_figures(case.sender, printed.read())
        if exit_code != 0:
            complaints.seek(0)
            sys.stderr.write(complaints.read().decode(errors="replace")[-2000:])
    seen = far_side.read()
    return Run(
        sender=case.sender.name,
        asked_pps=case.rate,
        exit_code=exit_code,
        timed_out=timed_out,
        to_send=case.count,
        arrived=seen.probes,
        seconds=round(seen.seconds, 6),
        pps=round(seen.pps, 4),
        gap_p50_ns=seen.gap_ns(0.5),
        gap_p99_ns=seen.gap_ns(0.99),
        gap_max_ns=seen.longest_ns,
        user_seconds=round(usage.ru_utime, 6),
        system_seconds=round(usage.ru_stime, 6),
        wall_seconds=round(wall, 3),
        stolen_seconds=round(stolen, 2),
        own_io_mode=mode,
        own_packets_sent=sent,
        gaps=seen.histogram(),
    )


def measure(arguments: argparse.Namespace) -> None:
    """Runs everything once and prints it as JSON."""
    session = Session(arguments.pid_file)
    cores = sorted(os.sched_getaffinity(0))
    job = Job(
        interface=arguments.scan_interface,
        source_ip=arguments.source_ip,
        gateway_mac=arguments.gateway_mac,
        count=0,
        core=arguments.core,
        other_core=next((core for core in cores if core != arguments.core), arguments.core),
    )
    far_side = FarSide(arguments.map)
    planned = cases(job, arguments.xdpmap, arguments.seconds, arguments.quick)
    runs = []
    for case in planned:
        run = run_once(case, arguments.scan_namespace, far_side)
        runs.append(asdict(run))
        sys.stderr.write(f"{run.sender:<16} asked {run.asked_pps:>9,}  delivered {run.pps:>13,.2f}\n")
    competing = [
        {
            "name": case.sender.name,
            "version": case.sender.version(),
            "asked_pps": case.rate,
            "command": shlex.join(case.sender.command),
        }
        for case in planned
    ]
    settings = {"seconds": arguments.seconds, "core": arguments.core}
    print(json.dumps(session.results(settings, senders=competing, runs=runs)))


def cpu_share(run: dict[str, Any]) -> float:
    """Of one core, for as long as the process ran."""
    return (run["user_seconds"] + run["system_seconds"]) / max(run["wall_seconds"], 1e-9)


def off(run: dict[str, Any]) -> float:
    """How much more (or less) came than was asked for, as a share of it."""
    return run["pps"] / run["asked_pps"] - 1


def mode(run: dict[str, Any]) -> str:
    """The mode that xdpmap found itself in."""
    return f" ({run['own_io_mode']})" if run["own_io_mode"] else ""


def duration(nanoseconds: float) -> str:
    """In the unit that suits it."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def told(results: Results) -> str:
    """For people."""
    columns = "asked for|sender|delivered|off by|gap: asked for|median|99 %|longest|share of a core".split("|")
    lines = []
    for run in results["runs"]:
        pps = f"{run['pps']:,.{2 if run['pps'] < 1e4 else 0}f}"
        gaps = [duration(ns) for ns in (1e9 / run["asked_pps"], *(run[f"gap_{at}_ns"] for at in ("p50", "p99", "max")))]
        share = f"{cpu_share(run):.{1 if cpu_share(run) < 0.1 else 0}%}"
        lines.append([f"{run['asked_pps']:,}", run["sender"] + mode(run), pps, f"{off(run):+.2%}", *gaps, share])
    return table(columns, lines)


def shortcomings(results: Results) -> list[str]:
    """What fails: xdpmap off the rate, probes lost, or a run that was none."""
    found = []
    for run in results["runs"]:
        what = f"{run['sender']} at {run['asked_pps']:,} packets/s"
        if run["timed_out"]:
            found.append(f"{what} did not end by itself")
        elif run["exit_code"] != 0:
            found.append(f"{what} ended with {run['exit_code']}")
        if not run["sender"].startswith("xdpmap"):
            continue
        sent = run["to_send"] if run["asked_pps"] <= JUDGED_MAX else run["own_packets_sent"]
        if run["arrived"] != sent:
            found.append(f"{what}: {run['arrived']} of {sent} probes arrived")
        if run["asked_pps"] <= JUDGED_MAX and abs(off(run)) > OFF_MAX:
            found.append(f"{what}: delivered {run['pps']:,.2f}, off by {off(run):+.2%}, more than {OFF_MAX:.0%}")
    return found


# Of the picture: a strip a run; gaps from 100 ns to 1 s, in bars of a tenth of a decade.
LEFT, RIGHT, STRIP_TOP, STRIP_PITCH, STRIP_HEIGHT = 250, 930, 90, 64, 46
DECADES = (-7, 0)
BARS_A_DECADE = 10


def x_of(nanoseconds: float) -> float:
    """Where a gap lies on the picture."""
    first, last = DECADES
    at = (math.log10(max(nanoseconds, 1) / 1e9) - first) / (last - first)
    return LEFT + min(max(at, 0), 1) * (RIGHT - LEFT)


def strip(run: dict[str, Any], top: float) -> list[str]:
    """The histogram of one run, its highest bar as high as the strip, and a line where the asked-for gap is."""
    bars: dict[int, int] = {}
    first, last = DECADES
    for start_ns, count in run["gaps"]:
        # The middle of the bucket, and the bar whose own middle is nearest: so round numbers are in the middle of one.
        middle_ns = max(start_ns, 1) * (1 + 0.5 / LINEAR)
        at = round((math.log10(middle_ns / 1e9) - first) * BARS_A_DECADE)
        at = min(max(at, 0), (last - first) * BARS_A_DECADE)
        bars[at] = bars.get(at, 0) + count
    bottom, most = top + STRIP_HEIGHT, max(bars.values(), default=1)
    width = (RIGHT - LEFT) / ((last - first) * BARS_A_DECADE)
    color = plot.color_of(run["sender"])
    drawn = [plot.line(LEFT, bottom, RIGHT, bottom, plot.FAINT)]
    for at, count in bars.items():
        # What was seen at all is to be seen.
        height = max(count / most * STRIP_HEIGHT, 1)
        drawn.append(
            f'<rect x="{LEFT + (at - 0.5) * width:.1f}" y="{bottom - height:.1f}" width="{width - 1:.1f}" '
            f'height="{height:.1f}" fill="{color}"/>'
        )
    asked = x_of(1e9 / run["asked_pps"])
    drawn.append(plot.line(asked, top - 6, asked, bottom, plot.INK, 1.5))
    name = run["sender"].split(",")[0] + mode(run)
    drawn.append(plot.text(30, bottom - 20, f"{run['asked_pps']:,} packets/s", 14, "start", font_weight=600))
    drawn.append(plot.text(30, bottom - 3, f"{name}: {run['pps']:,.0f}", 12, "start", fill=plot.FAINT))
    return drawn


def draw(results: Results) -> str:
    """The gaps of all runs, one below the other."""
    runs = results["runs"]
    bottom = STRIP_TOP + STRIP_PITCH * len(runs)
    captions = [
        "How long after the one before a probe came, as timed by the far side; highest bar of each row = full height.",
        f"Line: the gap of the rate asked for. {results['settings']['seconds']} s a rate; one worker on a veth pair.",
        described(results["machine"]),
    ]
    drawn = []
    for decade in range(DECADES[0], DECADES[1] + 1):
        x = x_of(1e9 * 10**decade)
        drawn.append(plot.line(x, STRIP_TOP - 12, x, bottom - 10, plot.GRID))
        drawn.append(plot.text(x, bottom + 6, duration(round(1e9 * 10**decade)), 12, fill=plot.FAINT))
    for i, run in enumerate(runs):
        drawn += strip(run, STRIP_TOP + STRIP_PITCH * i)
    return plot.picture("Gaps between probes at the far side", drawn, captions, bottom + 22)


def report(arguments: argparse.Namespace) -> None:
    """Reads, sums up, writes, judges."""
    results: Results = json.loads(arguments.measured.read_text(encoding="utf-8"))
    finish("pace", arguments.output, results, draw(results), told(results), shortcomings(results))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.set_defaults(act=measure)
    measuring.add_argument("--seconds", type=int, required=True, help="how long to keep each rate")
    measuring.add_argument("--core", type=int, required=True, help="core of the sending thread")
    measuring.add_argument("--quick", action="store_true", help=f"only rates from {QUICK_FROM} up")
    measuring.add_argument("--xdpmap", required=True)
    measuring.add_argument("--map", required=True, help="pinned map of gaps.bpf.c")
    add_lab_arguments(measuring)
    reporting = commands.add_parser("report")
    reporting.set_defaults(act=report)
    reporting.add_argument("measured", type=Path, help="what measuring printed")
    reporting.add_argument("--output", type=Path, required=True, help="folder of pace.json and pace.svg")
    arguments = parser.parse_args()
    arguments.act(arguments)


if __name__ == "__main__":
    main()
