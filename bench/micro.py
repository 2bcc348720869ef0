# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the benchmarks of one part alone (engine, results, xdp) share: to run one, to record it, to show a table."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from measure import machine


def measured(command: list[str]) -> list[dict[str, Any]]:
    """Every single measurement, in the order in which it was made."""
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def by_case(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs of each case, in the order of the rounds."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        found[run["case"]].append(run)
    return found


def spread(values: Iterable[float], digits: int) -> dict[str, float]:
    """Median, least and greatest."""
    values = list(values)
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in figures.items()}


def record(path: Path, settings: dict[str, Any], results: dict[str, Any]) -> None:
    """Writes what was measured, with the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"schema": 1, "machine": machine(), "load_average": os.getloadavg(), "settings": settings, **results}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for people, in Markdown."""
    lines = ["| " + " | ".join(str(cell) for cell in line) + " |" for line in (columns, *rows)]
    lines.insert(1, "|" + "---|" * len(columns))
    return "\n".join(lines)
