#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the engine benchmark, counts its instructions, prints a table, and holds it against what was recorded.

Exits with 1 when a probe allocates, or takes more instructions than recorded, by more than a compiler's mood explains.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import bars
from common import Results, Session, described, finish, measured, spread, table

# Cases whose instructions are counted, and probes of the shorter of the two runs that are compared.
COUNTED = ("blocklist", "blocklist-100k", "ports-65536")
COUNTED_PROBES = 500_000
# Growth of the instruction count that is no growth.
TOLERANCE = 1.05
# How much more than the shipped block list alone a case may cost.
CASE_LIMITS = {"blocklist-100k": 1.3, "ports-65536": 1.5}


def instructions(engine: str, case: str, level: str, probes: int) -> int:
    """Instructions of a whole run."""
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out.name}"]
        command += [engine, "--once", case, "--level", level, "--probes", str(probes)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    total = re.search(r"I +refs: +([0-9,]+)", said)
    if not total:
        sys.exit(f"valgrind printed no count:\n{said}")
    return int(total[1].replace(",", ""))


def instructions_per_probe(engine: str, case: str, level: str) -> float:
    """The difference of two runs, so that what a scan does once does not count."""
    short, long = (instructions(engine, case, level, COUNTED_PROBES * times) for times in (1, 3))
    return round((long - short) / (2 * COUNTED_PROBES), 1)


def levels_under_valgrind(runs: list[dict[str, Any]]) -> list[str]:
    """The levels that valgrind's processor has: it knows nothing of AVX-512."""
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


def shown(rows: list[dict[str, Any]], counts: dict[str, float]) -> str:
    """For people."""
    columns = ("case", "instructions", "ns a probe, median (least)", "M probes a second", "times the floor")
    lines = []
    for row in rows:
        ns = row["ns_per_probe"]
        rate = f"{1000 / ns['median']:.1f}"
        times = (f"{ns['median']:.1f} ({ns['min']:.1f})", rate, f"{row['ratio_to_floor']:.2f}")
        lines.append((row["case"], row["level"] or "-", *times))
    counted = [(*key.split(), count) for key, count in counts.items()]
    return table(columns, lines) + "\n\n" + table(("case", "instructions", "instructions a probe"), counted)


def shortcomings(rows: list[dict[str, Any]], counts: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """What is worse than it may be. Only what does not depend on the machine's mood."""
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


def draw(results: Results) -> str:
    """Time and instructions of each case."""
    times = []
    for row in results["rows"]:
        name = f"{row['case']} {row['level']}".strip()
        times.append(bars.Bar(name, row["ns_per_probe"], bars.plot.BLUE if row["level"] else bars.plot.GREY))
    charts = [bars.Chart("Nanoseconds a probe on one core: less is better", times, 1)]
    counts = results["instructions_per_probe"]
    counted = [bars.Bar(name, dict.fromkeys(("median", "min", "max"), count), bars.plot.BLUE) for name, count in counts.items()]
    if counted:
        charts.append(bars.Chart("Instructions a probe, as valgrind counts them", counted, 0))
    settings = results["settings"]
    captions = [
        f"Medians of {settings['rounds']} rounds of {settings['probes']:,} probes; whiskers: least and greatest. "
        "floor: one 64-byte line copied into each frame and its descriptor published.",
        "The real worker and rings; instead of the kernel a stand-in that completes what it is given. 10 GbE line rate is a "
        "probe each 67.2 ns, 100 GbE each 6.72 ns.",
        described(results["machine"]),
    ]
    return bars.draw("The engine: what a probe costs up to the kernel's door", charts, captions)


def main() -> None:
    """Measures, prints, records, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", help="the benchmark's executable")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--probes", type=int, required=True)
    parser.add_argument("--recorded", type=Path, required=True, help="what earlier counts are read from")
    parser.add_argument("--quick", action="store_true", help="hold the counts against those recorded")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    session = Session()
    runs = measured([arguments.engine, "--rounds", str(arguments.rounds), "--probes", str(arguments.probes)])
    counts = {
        f"{case} {level}": instructions_per_probe(arguments.engine, case, level)
        for level in levels_under_valgrind(runs)
        for case in COUNTED
    }
    rows = summarise(runs)
    recorded = {}
    if arguments.quick and arguments.recorded.exists():
        recorded = json.loads(arguments.recorded.read_text(encoding="utf-8"))["instructions_per_probe"]
    settings = {"rounds": arguments.rounds, "probes": arguments.probes}
    results = session.results(settings, rows=rows, instructions_per_probe=counts, runs=runs)
    finish("engine", arguments.output, results, draw(results), shown(rows, counts), shortcomings(rows, counts, recorded))


if __name__ == "__main__":
    main()
