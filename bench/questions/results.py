# SPDX-License-Identifier: MIT OR Apache-2.0
"""How many records per second does the collector take from a worker's ring to a file, and with how much memory?

Fails if the collector cannot take a million records per second to CSV, or needs more memory than its bitmap. Needs two
cores: one each for the worker's thread and the collector's. Other work on one of them makes the rates meaningless, so a
quick run checks only the collector's CPU time.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from bench import build, plots
from bench.questions import Option, number, rounds
from bench.record import Report, Results, by, described, printed_runs, shown, spread, table

PACKAGES = ()
ROOT = False
OPTIONS = (rounds(5), Option("--records", "records of a case", 3_000_000, 2_000_000, number()))

GATED = "csv"
# A million records per second on one core.
CPU_SECONDS_PER_MILLION = 1.0
RECORDS_PER_SECOND = 1_000_000
# Memory that the process may need in addition to the bitmap, KiB: the ring and the program itself.
OTHER_KIB = 32 * 1024


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per case."""
    rows = []
    for case, found in by("case", runs).items():
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


def told(rows: list[dict[str, Any]], memory: dict[str, Any]) -> str:
    """The summary as text."""
    columns = ("case", "repeats by", "responders", "written", "M records/s", "CPU-s per million", "lost at 1 M/s")
    lines = []
    for row in rows:
        rate, cpu, dropped = (
            row[name] for name in ("records_per_second", "cpu_seconds_per_million", "dropped_at_a_million")
        )
        lines.append(
            (
                row["case"],
                row["dedup"],
                row["responders"],
                f"{row['written_share']:.0%}",
                f"{rate['median'] / 1e6:.2f} ({rate['min'] / 1e6:.2f}-{rate['max'] / 1e6:.2f})",
                shown(cpu, 2),
                shown(dropped, 0),
            )
        )
    peak = [f"{name}: {kib / 1024:.0f} MiB" for name, kib in memory["peak_kib"].items()]
    return table(columns, lines) + "\n\npeak memory: " + ", ".join(peak)


def shortcomings(rows: list[dict[str, Any]], memory: dict[str, Any], quick: bool) -> list[str]:
    """Everything that exceeds its limit."""
    row = next(row for row in rows if row["case"] == GATED)
    found = []
    cpu = row["cpu_seconds_per_million"]["median"]
    if cpu > CPU_SECONDS_PER_MILLION:
        found.append(f"{GATED}: {cpu} CPU-seconds for a million records, more than {CPU_SECONDS_PER_MILLION}")
    if not quick and row["records_per_second"]["median"] < RECORDS_PER_SECOND:
        found.append(f"{GATED}: {row['records_per_second']['median']:.0f} records per second, fewer than a million")
    if not quick and row["dropped_at_a_million"]["median"] > 0:
        found.append(f"{GATED}: records are lost at a million per second")
    if max(memory["peak_kib"].values()) > memory["bitmap_kib"] + OTHER_KIB:
        found.append(f"memory: {memory['peak_kib']} KiB, the bitmap is {memory['bitmap_kib']}")
    return found


def draw(results: Results) -> plots.Figure:
    """The rate of the collector, and its CPU time per record."""
    charts = [
        plots.Chart(title, [plots.Bar(row["case"], row[figure], plots.BLUE) for row in results["rows"]], digits)
        for figure, title, digits in (
            ("records_per_second", "Records per second from the worker's ring to a file: more is better", 0),
            ("cpu_seconds_per_million", "CPU-seconds of the collector for a million records: less is better", 2),
        )
    ]
    settings = results["settings"]
    captions = [
        f"Medians of {plots.rounds(settings)} of {settings['records']:,} records; whiskers: least and greatest. One "
        "collector on one core, the worker's thread on another.",
        described(results["machine"]),
    ]
    return plots.bars("Results: from a reply's record to a line in a file", charts, captions)


def prepare(_: Namespace) -> None:
    """The benchmarks' programs."""
    build.programs()


def measure(options: Namespace) -> Results:
    """Every case, at full speed and at a pace; in a quick run only the judged one."""
    settings = {"rounds": options.rounds, "records": options.records}
    only = ["--case", GATED] if options.quick else []
    program = [build.PROGRAMS, "results"]
    runs = printed_runs([*program, "--rounds", str(options.rounds), "--records", str(options.records), *only])
    (memory,) = printed_runs([*program, "--memory"])
    return {"settings": settings, "rows": summarise(runs), "memory": memory, "runs": runs}


def report(results: Results, options: Namespace) -> Report:
    """Draws, judges."""
    rows, memory = results["rows"], results["memory"]
    return Report(told(rows, memory), shortcomings(rows, memory, options.quick), draw(results))
