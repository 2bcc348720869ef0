# SPDX-License-Identifier: MIT OR Apache-2.0
"""What does a probe cost up to the system call, in nanoseconds and in instructions?

The real worker and rings, with a stand-in for the kernel. Fails if a probe allocates, or if a quick run takes more
instructions than recorded, by more than the compiler's variation explains.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections import defaultdict
from typing import Any

from bench import build, plots
from bench.questions import Option, number, rounds
from bench.record import FOLDER, Report, Results, described, printed_runs, say, spread, table

PACKAGES = ("valgrind",)
ROOT = False
OPTIONS = (rounds(7), Option("--probes", "probes of a case", 10_000_000, 1_000_000, number()))

# Cases whose instructions are counted, and the probes of the shorter of the two compared runs.
COUNTED = ("blocklist", "blocklist-100k", "ports-65536")
COUNTED_PROBES = 500_000
# Largest growth of the instruction count that still passes.
TOLERANCE = 1.05
# Most times the cost of the shipped block list that a case may have.
CASE_LIMITS = {"blocklist-100k": 1.3, "ports-65536": 1.5}


def instructions(case: str, level: str, probes: int) -> int:
    """Instructions of a whole run."""
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out.name}"]
        command += [build.PROGRAMS, "engine", "--once", case, "--level", level, "--probes", str(probes)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    total = re.search(r"I +refs: +([0-9,]+)", said)
    if not total:
        sys.exit(f"valgrind printed no count:\n{said}")
    return int(total[1].replace(",", ""))


def instructions_per_probe(case: str, level: str) -> float:
    """The difference of two runs, which excludes the one-time work of a scan."""
    short, long = (instructions(case, level, COUNTED_PROBES * times) for times in (1, 3))
    return round((long - short) / (2 * COUNTED_PROBES), 1)


def levels_under_valgrind(runs: list[dict[str, Any]]) -> list[str]:
    """The levels that valgrind's processor has: it does not support AVX-512."""
    return [level for level in ("portable", "avx2") if any(run["level"] == level for run in runs)]


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each case and level, the floor first."""
    of: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        of[run["case"], run["level"]].append(run)
    rows = []
    for (case, level), found in of.items():
        times = [run["ns_per_probe"] for run in found]
        floors = [run["ns_per_probe"] for run in of["floor", ""]]
        row = {
            "case": case,
            "level": level,
            "ns_per_probe": spread(times, 2),
            "ratio_to_floor": round(statistics.median(time / floor for time, floor in zip(times, floors)), 2),
            "allocations": max(run["allocations"] for run in found),
        }
        rows.append(row)
    return rows


def told(rows: list[dict[str, Any]], counts: dict[str, float]) -> str:
    """The summary as text."""
    columns = ("case", "instructions", "ns per probe, median (least)", "M probes per second", "times the floor")
    lines = []
    for row in rows:
        ns = row["ns_per_probe"]
        rate = f"{1000 / ns['median']:.1f}"
        times = (f"{ns['median']:.1f} ({ns['min']:.1f})", rate, f"{row['ratio_to_floor']:.2f}")
        lines.append((row["case"], row["level"] or "-", *times))
    counted = [(*key.split(), count) for key, count in counts.items()]
    return table(columns, lines) + "\n\n" + table(("case", "instructions", "instructions a probe"), counted)


def shortcomings(rows: list[dict[str, Any]], counts: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """Everything that exceeds its limit, as far as it does not depend on the state of the machine."""
    found = [f"{row['case']}: probes allocate" for row in rows if row["allocations"]]
    for key, count in counts.items():
        if key in recorded and count > recorded[key] * TOLERANCE:
            found.append(f"{key}: {count} instructions a probe, {recorded[key]} were recorded")
    for case, limit in CASE_LIMITS.items():
        for level in ("portable", "avx2"):
            here, there = counts.get(f"{case} {level}"), counts.get(f"blocklist {level}")
            if here and there and here > there * limit:
                found.append(f"{case} {level}: {here} instructions a probe, more than {limit} times {there}")
    return found


def draw(results: Results) -> plots.Figure:
    """Time and instructions of each case."""
    times = []
    for row in results["rows"]:
        name = f"{row['case']} {row['level']}".strip()
        times.append(plots.Bar(name, row["ns_per_probe"], plots.BLUE if row["level"] else plots.GREY))
    charts = [plots.Chart("Nanoseconds a probe on one core: less is better", times, 1)]
    counts = results["instructions_per_probe"]
    counted = [
        plots.Bar(name, dict.fromkeys(("median", "min", "max"), count), plots.BLUE) for name, count in counts.items()
    ]
    if counted:
        charts.append(plots.Chart("Instructions a probe, as valgrind counts them", counted, 0))
    settings = results["settings"]
    captions = [
        f"Medians of {plots.rounds(settings)} of {settings['probes']:,} probes; whiskers: least and greatest. "
        "floor: one 64-byte line copied into each frame and its descriptor published.",
        "The real worker and rings; instead of the kernel a stand-in that completes what it is given. 10 GbE line rate "
        "is a probe each 67.2 ns, 100 GbE each 6.72 ns.",
        described(results["machine"]),
    ]
    return plots.bars("The engine: what a probe costs up to the system call", charts, captions)


def prepare(_: Namespace) -> None:
    """The benchmarks' programs."""
    build.programs()


def measure(options: Namespace) -> Results:
    """Times every case, then counts the instructions of some."""
    settings = {"rounds": options.rounds, "probes": options.probes}
    runs = printed_runs([build.PROGRAMS, "engine", "--rounds", str(options.rounds), "--probes", str(options.probes)])
    say("counting instructions under valgrind")
    counts = {
        f"{case} {level}": instructions_per_probe(case, level)
        for level in levels_under_valgrind(runs)
        for case in COUNTED
    }
    return {"settings": settings, "rows": summarise(runs), "instructions_per_probe": counts, "runs": runs}


def report(results: Results, options: Namespace) -> Report:
    """Compares the counts of a quick run with the recorded ones."""
    rows, counts, recorded = results["rows"], results["instructions_per_probe"], {}
    kept = FOLDER / "engine.json"
    if options.quick and kept.exists():
        recorded = json.loads(kept.read_text(encoding="utf-8"))["instructions_per_probe"]
    return Report(told(rows, counts), shortcomings(rows, counts, recorded), draw(results))
