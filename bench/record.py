# SPDX-License-Identifier: MIT OR Apache-2.0
"""Results: their head, which describes the machine, their JSON, and their figures and tables as text."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = dict[str, Any]
# The folder of results, if no other is given.
FOLDER = Path("bench/results")


@dataclass(frozen=True)
class Report:
    """The outcome of a question."""

    # In Markdown.
    text: str
    # Everything that failed or missed its aim, one line each.
    shortcomings: list[str]
    picture: Figure | None = None


# When the program began; in the process that measures, when its caller began (time.monotonic() is that of the machine).
started = time.monotonic()


def say(what: str) -> None:
    """A message, with the time since the program began."""
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    print(f"\033[1m==>\033[0m [{minutes}:{seconds:02}] {what}", file=sys.stderr, flush=True)


def machine() -> dict[str, object]:
    """The facts about the machine that a reader needs."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [
        line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith(("model name", "Model"))
    ]
    return {
        "cpu_model": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "vectors": "avx512" if " avx512vl" in cpuinfo else "avx2" if " avx2" in cpuinfo else "",
        "virtual": " hypervisor" in cpuinfo,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
    }


def described(about: dict[str, Any]) -> str:
    """The machine on one line."""
    vectors = f" ({about['vectors']})" if about.get("vectors") else ""
    cores = f"{about['cores']} cores" + (" of a virtual machine" if about.get("virtual") else "")
    return f"{about['cpu_model']}{vectors}, {cores}; Linux {about['kernel']}; {about['distribution']}"


class Head:
    """The head of results: made before the first run, because it contains the time and the load."""

    def __init__(self) -> None:
        self._began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._load = os.getloadavg()

    def above(self, measured: Results) -> Results:
        """The head, followed by the measurements."""
        return {
            "schema": 1,
            "began": self._began,
            "machine": machine(),
            "load_average": {"before": self._load, "after": os.getloadavg()},
            **measured,
        }


def printed_runs(command: Sequence[str]) -> list[dict[str, Any]]:
    """Every single measurement of a program's output, one line of JSON each, in order."""
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def by(key: str, runs: Iterable[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    """The runs that have the same value of `key`, in the order of the rounds."""
    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        found[run[key]].append(run)
    return found


def spread(values: Iterable[float], digits: int) -> dict[str, float]:
    """Median, minimum and maximum."""
    values = list(values)
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in figures.items()}


def shown(values: dict[str, float], digits: int) -> str:
    """A spread as text."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}-{values['max']:.{digits}f})"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(str(cell) for cell in line) + " |" for line in (columns, *rows)]
    lines.insert(1, "|" + "---|" * len(columns))
    return "\n".join(lines)


def dumps(value: Any, indent: str = "") -> str:
    """JSON with one line for everything that fits on one: a run, a command, a spread."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 118 or not isinstance(value, (dict, list)):
        return flat
    deeper = indent + "  "
    if isinstance(value, list):
        # Runs are rows of a table, whatever their length.
        rows = [
            json.dumps(v) if isinstance(v, dict) and ("arrived" in v or "round" in v) else dumps(v, deeper)
            for v in value
        ]
        return "[\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}]"
    rows = [f"{deeper}{json.dumps(key)}: {dumps(entry, deeper)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
