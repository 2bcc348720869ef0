# SPDX-License-Identifier: MIT OR Apache-2.0
"""Does a scan keep the rate that was requested, how evenly, and what does waiting cost?

Fails if a rate up to 100,000 packets per second is missed by more than 1 %, or if a run failed.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import Any

from bench import build, plots, senders
from bench.far.farside import LINEAR, Timer
from bench.lab import Lab, made
from bench.process import pair_of_cores
from bench.questions import CORE, seconds
from bench.record import Report, Results, described, table
from bench.senders import Sender

PACKAGES = ("iproute2", "procps", "util-linux", "bpftool", "zmap")
ROOT = True
OPTIONS = (seconds(60, 3), CORE)

RATES = [10, 100, 1_000, 10_000, 100_000, 1_000_000]
# More than one worker can send in copy mode; at this rate a scan in the best available mode is also measured.
CLIPPED = 1_000_000
ZMAP_RATES = [1_000, 10_000]
QUICK_FROM = 1_000
PROBES_MIN = 600
# How far a rate may be missed, and up to which rate.
OFF_MAX = 0.01
JUDGED_MAX = 100_000
# Four ports make enough targets for a minute at a million per second.
MORE_PORTS = "80-83"


@dataclass
class Run:
    """One run of one sender at one rate. Figures without "own" are the far side's."""

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
    # The start of each bucket, in nanoseconds, and its number of gaps.
    gaps: list[tuple[int, int]]


@dataclass(frozen=True)
class Case:
    """A sender that was requested to keep a rate."""

    sender: Sender
    rate: int
    count: int


def prepare(_: Namespace) -> None:
    """xdpmap and the far side."""
    build.xdpmap_and_lab()
    build.bpf("far/gaps")


def cases(options: Namespace, lab: Lab, core: int, other_core: int) -> list[Case]:
    """Every rate in turn; one worker or sending thread."""
    found = []

    def add(sender: Sender) -> None:
        found.append(Case(sender, rate, count))

    for rate in RATES:
        if options.quick and rate < QUICK_FROM:
            continue
        # This many probes and one more span the requested time.
        count = max(0 if options.quick else PROBES_MIN, rate * options.seconds) + 1
        ports = senders.PORT if count <= senders.TARGETS.num_addresses else MORE_PORTS
        probes = ["-r", str(rate), "-n", str(count), "-o", "/dev/null"]
        words = ["-p", ports, *probes, "-m", "-", "--allow-reserved"]
        if rate > JUDGED_MAX:
            words += ["-t", str(options.seconds)]
        words.append(str(senders.TARGETS))
        add(senders.xdpmap("xdpmap", lab, "--io-mode", "copy", "--cores", str(core), *words))
        if rate == CLIPPED:
            pair = f"{other_core},{core}"
            add(senders.xdpmap("xdpmap, any mode", lab, "--io-mode", "auto", "--cores", pair, *words))
        if rate in ZMAP_RATES:
            add(senders.zmap("zmap", lab, f"--cores={core},{other_core}", *probes, str(senders.TARGETS)))
    return found


def run_once(case: Case, lab: Lab) -> Run:
    """Runs one sender once."""
    far_side = Timer(lab)
    far_side.reset()
    ended = case.sender.run(lab, 60 + 2 * case.count / case.rate)
    seen = far_side.read()
    own = case.sender.own(ended, "io_mode", "packets_sent")
    return Run(
        sender=case.sender.name,
        asked_pps=case.rate,
        exit_code=ended.exit_code,
        timed_out=ended.timed_out,
        to_send=case.count,
        arrived=seen.probes,
        seconds=round(seen.seconds, 6),
        pps=round(seen.pps, 4),
        gap_p50_ns=seen.gap_ns(0.5),
        gap_p99_ns=seen.gap_ns(0.99),
        gap_max_ns=seen.longest_ns,
        user_seconds=ended.user_seconds,
        system_seconds=ended.system_seconds,
        wall_seconds=ended.wall_seconds,
        stolen_seconds=ended.stolen_seconds,
        own_io_mode=own.get("own_io_mode"),
        own_packets_sent=own.get("own_packets_sent"),
        gaps=seen.histogram(),
    )


def measure(options: Namespace) -> Results:
    """Runs everything once."""
    core, other_core = pair_of_cores(options.core)
    runs = []
    with made(build.bpf_object("far/gaps")) as lab:
        planned = cases(options, lab, core, other_core)
        for case in planned:
            run = run_once(case, lab)
            runs.append(asdict(run))
            sys.stderr.write(f"{run.sender:<16} asked {run.asked_pps:>9,}  delivered {run.pps:>13,.2f}\n")
    names = [
        {
            "name": case.sender.name,
            "version": case.sender.version(),
            "asked_pps": case.rate,
            "command": case.sender.shown(),
        }
        for case in planned
    ]
    return {"settings": {"seconds": options.seconds, "core": core}, "senders": names, "runs": runs}


def cpu_share(run: dict[str, Any]) -> float:
    """Share of one core, over the time of the process."""
    return (run["user_seconds"] + run["system_seconds"]) / max(run["wall_seconds"], 1e-9)


def off(run: dict[str, Any]) -> float:
    """The difference to the requested rate, as a share of it."""
    return run["pps"] / run["asked_pps"] - 1


def mode(run: dict[str, Any]) -> str:
    """The mode that xdpmap reported."""
    return f" ({run['own_io_mode']})" if run["own_io_mode"] else ""


def duration(nanoseconds: float) -> str:
    """A time in a suitable unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def told(results: Results) -> str:
    """The summary as text."""
    columns = "asked for|sender|delivered|off by|gap: asked for|median|99 %|longest|share of a core".split("|")
    lines = []
    for run in results["runs"]:
        pps = f"{run['pps']:,.{2 if run['pps'] < 1e4 else 0}f}"
        gaps = [duration(ns) for ns in (1e9 / run["asked_pps"], *(run[f"gap_{at}_ns"] for at in ("p50", "p99", "max")))]
        share = f"{cpu_share(run):.{1 if cpu_share(run) < 0.1 else 0}%}"
        lines.append([f"{run['asked_pps']:,}", run["sender"] + mode(run), pps, f"{off(run):+.2%}", *gaps, share])
    return table(columns, lines)


def shortcomings(results: Results) -> list[str]:
    """Everything that fails: xdpmap off the rate, lost probes, or a failed run."""
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


# The picture shows gaps from 100 ns to 1 s, in bars of a tenth of a decade.
DECADES = range(-7, 1)
BARS_A_DECADE = 10


def histogram(run: dict[str, Any]) -> tuple[list[float], list[float]]:
    """The bars of one run: their edges in seconds, and their heights relative to the highest."""
    # Round numbers are in the middle of a bar.
    tenths = range(DECADES[0] * BARS_A_DECADE, DECADES[-1] * BARS_A_DECADE + 2)
    edges = [10 ** ((tenth - 0.5) / BARS_A_DECADE) for tenth in tenths]
    counts = [0] * (len(edges) - 1)
    for start_ns, count in run["gaps"]:
        # The middle of the bucket.
        middle = max(start_ns, 1) * (1 + 0.5 / LINEAR) / 1e9
        counts[sum(middle >= edge for edge in edges[1:-1])] += count
    most = max(counts) or 1
    # Every bucket with a gap stays visible.
    return edges, [max(count / most, 0.02) if count else 0 for count in counts]


def draw(results: Results) -> plots.Figure:
    """The gaps of all runs, one below the other."""
    captions = [
        "How long after the one before a probe came, as timed by the far side; highest bar of each row = full height.",
        f"Line: the gap of the rate asked for. {results['settings']['seconds']} s a rate; one worker on a veth pair.",
        described(results["machine"]),
    ]
    runs, pitch = results["runs"], 64
    picture = plots.Picture("Gaps between probes at the far side", captions, pitch * len(runs) + 40)
    for i, run in enumerate(runs):
        axes = picture.axes(270, pitch * i, 960, pitch - 14)
        edges, heights = histogram(run)
        axes.stairs(heights, edges, fill=True, color=plots.color_of(run["sender"]))
        axes.axvline(1 / run["asked_pps"], color=plots.INK, linewidth=1.5)
        axes.set_xscale("log")
        axes.set_xlim(10 ** DECADES[0], 10 ** DECADES[-1])
        marks = [10.0**decade for decade in DECADES]
        names = [duration(round(1e9 * mark)) for mark in marks] if run is runs[-1] else [""] * len(marks)
        axes.set_xticks(marks, names)
        axes.minorticks_off()
        axes.grid(True, axis="x")
        axes.set_ylim(0, 1.1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        name = run["sender"].split(",")[0] + mode(run)
        picture.text(30, 70 + pitch * i + 28, f"{run['asked_pps']:,} packets/s", fontsize=13, fontweight=700)
        picture.text(30, 70 + pitch * i + 46, f"{name}: {run['pps']:,.0f}", color=plots.FAINT)
    return picture.figure


def report(results: Results, _: Namespace) -> Report:
    """Draws, judges."""
    return Report(told(results), shortcomings(results), draw(results))
