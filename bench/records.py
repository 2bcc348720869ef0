#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the benchmark of the collector, prints and records it, and exits with 1 when it is too slow or too large.

The worker's thread and the collector's have a core each. Whoever else wants one of them makes the rates meaningless, so
a quick run looks at the collector's CPU time only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import bars
from common import Results, Session, by_case, described, finish, measured, spread, table
from common import shown as cell

GATED = "csv"
# A million records a second on one core.
CPU_SECONDS_PER_MILLION = 1.0
RECORDS_PER_SECOND = 1_000_000
# What the process may need beside the bitmap, KiB: the ring and the program itself.
OTHER_KIB = 32 * 1024


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a case."""
    rows = []
    for case, found in by_case(runs).items():
        flat_out = [run for run in found if run["asked_per_second"] is None]
        paced = [run for run in found if run["asked_per_second"] is not None]
        row = {name: found[0][name] for name in ("format", "fields", "dedup", "responders")}
        row |= {
            "case": case,
            "records_per_second": spread((run["records_per_second"] for run in flat_out), 0),
            "cpu_seconds_per_million": spread((run["collector_cpu_seconds_per_million"] for run in flat_out), 3),
            "written_share": round(flat_out[0]["written"] / flat_out[0]["records"], 3),
            "dropped_at_a_million": spread((run["dropped"] for run in paced), 0),
        }
        rows.append(row)
    return rows


def shown(rows: list[dict[str, Any]], memory: dict[str, Any]) -> str:
    """For people."""
    columns = ("case", "repeats by", "responders", "written", "M records/s", "CPU-s per million", "lost at 1 M/s")
    lines = []
    for row in rows:
        rate, cpu, dropped = (row[name] for name in ("records_per_second", "cpu_seconds_per_million", "dropped_at_a_million"))
        lines.append(
            (
                row["case"],
                row["dedup"],
                row["responders"],
                f"{row['written_share']:.0%}",
                f"{rate['median'] / 1e6:.2f} ({rate['min'] / 1e6:.2f}-{rate['max'] / 1e6:.2f})",
                cell(cpu, 2),
                cell(dropped, 0),
            )
        )
    peak = [f"{name}: {kib / 1024:.0f} MiB" for name, kib in memory["peak_kib"].items()]
    return table(columns, lines) + "\n\npeak memory: " + ", ".join(peak)


def shortcomings(rows: list[dict[str, Any]], memory: dict[str, Any], quick: bool) -> list[str]:
    """What is worse than it may be."""
    row = next(row for row in rows if row["case"] == GATED)
    found = []
    cpu = row["cpu_seconds_per_million"]["median"]
    if cpu > CPU_SECONDS_PER_MILLION:
        found.append(f"{GATED}: {cpu} CPU-seconds for a million records, more than {CPU_SECONDS_PER_MILLION}")
    if not quick and row["records_per_second"]["median"] < RECORDS_PER_SECOND:
        found.append(f"{GATED}: {row['records_per_second']['median']:.0f} records a second, fewer than a million")
    if not quick and row["dropped_at_a_million"]["median"] > 0:
        found.append(f"{GATED}: records are lost at a million a second")
    if max(memory["peak_kib"].values()) > memory["bitmap_kib"] + OTHER_KIB:
        found.append(f"memory: {memory['peak_kib']} KiB, the bitmap is {memory['bitmap_kib']}")
    return found


def draw(results: Results) -> str:
    """What the collector takes, and what a record costs it."""
    charts = [
        bars.Chart(title, [bars.Bar(row["case"], row[figure], bars.plot.BLUE) for row in results["rows"]], digits)
        for figure, title, digits in (
            ("records_per_second", "Records a second from the worker's ring to a file: more is better", 0),
            ("cpu_seconds_per_million", "CPU-seconds of the collector for a million records: less is better", 2),
        )
    ]
    settings = results["settings"]
    captions = [
        f"Medians of {settings['rounds']} rounds of {settings['records']:,} records; whiskers: least and greatest. One "
        "collector on one core, the worker's thread on another.",
        described(results["machine"]),
    ]
    return bars.draw("Results: from a reply's record to a line in a file", charts, captions)


def main() -> None:
    """Measures, prints, records, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", help="the benchmark's executable")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--quick", action="store_true", help="the gated case alone")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    session = Session()
    only = ["--case", GATED] if arguments.quick else []
    runs = measured([arguments.bench, "--rounds", str(arguments.rounds), "--records", str(arguments.records), *only])
    (memory,) = measured([arguments.bench, "--memory"])
    rows = summarise(runs)
    settings = {"rounds": arguments.rounds, "records": arguments.records}
    results = session.results(settings, rows=rows, memory=memory, runs=runs)
    found = shortcomings(rows, memory, arguments.quick)
    finish("results", arguments.output, results, draw(results), shown(rows, memory), found)


if __name__ == "__main__":
    main()
