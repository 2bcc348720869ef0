# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the benchmarks share: to run a process and see what it used, the head of every result, tables, and the end of
every report."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import glob
import json
import os
import platform
import resource
import select
import signal
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Results = dict[str, Any]


def machine() -> dict[str, object]:
    """What a reader must know of the machine."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpuinfo = file.read()
    models = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith(("model name", "Model"))]
    with open("/etc/os-release", encoding="utf-8") as release:
        facts = dict(line.rstrip().split("=", 1) for line in release if "=" in line)
    return {
        "cpu_model": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "vectors": "avx512" if " avx512vl" in cpuinfo else "avx2" if " avx2" in cpuinfo else "",
        "virtual": " hypervisor" in cpuinfo,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "distribution": facts.get("PRETTY_NAME", "unknown").strip('"'),
    }


def described(about: dict[str, Any]) -> str:
    """The machine on one line."""
    vectors = f" ({about['vectors']})" if about.get("vectors") else ""
    virtual = " of a virtual machine" if about.get("virtual") else ""
    return (
        f"{about['cpu_model']}{vectors}, {about['cores']} cores{virtual}; Linux {about['kernel']}; {about['distribution']}"
    )


class Session:
    """A measuring script at work: when it began and under which load. It ends as after Ctrl-C when it is told to."""

    def __init__(self, pid_file: str | None = None) -> None:
        self._began = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._load = os.getloadavg()
        if pid_file:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            Path(pid_file).write_text(str(os.getpid()), encoding="ascii")

    def results(self, settings: dict[str, Any], **measured: Any) -> Results:
        """What was measured, below its head."""
        return {
            "schema": 1,
            "began": self._began,
            "machine": machine(),
            "load_average": {"before": self._load, "after": os.getloadavg()},
            "settings": settings,
            **measured,
        }


def add_lab_arguments(parser: argparse.ArgumentParser) -> None:
    """What lab.sh has made, as every measuring script is told of it."""
    for name in ("--scan-namespace", "--scan-interface", "--source-ip", "--gateway-mac"):
        parser.add_argument(name, required=True)
    parser.add_argument("--pid-file", required=True, help="where to write whom to send SIGTERM")


def ksoftirqd_seconds() -> float:
    """CPU time of the threads that take over when there is more to receive than the kernel does on the side."""
    total_ns = 0
    for path in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as comm:
            if comm.read().startswith("ksoftirqd/"):
                with open(path.replace("comm", "schedstat"), encoding="ascii") as schedstat:
                    total_ns += int(schedstat.read().split()[0])
    return total_ns / 1e9


def stolen_seconds() -> float:
    """CPU time that was wanted here and given to another guest of the same host."""
    with open("/proc/stat", encoding="ascii") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def wait(process: subprocess.Popen[bytes], timeout_seconds: float) -> tuple[int, resource.struct_rusage, bool]:
    """Waits for the process, kills it when it takes too long; its exit code, what it used, whether it was killed."""
    timed_out = False
    pidfd = os.pidfd_open(process.pid)
    try:
        if not select.select([pidfd], [], [], timeout_seconds)[0]:
            timed_out = True
            process.kill()
    except BaseException:
        process.kill()
        raise
    finally:
        os.close(pidfd)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage, timed_out


def measured(command: list[str]) -> list[dict[str, Any]]:
    """Every single measurement that a benchmark prints, in the order in which it was made."""
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


def shown(values: dict[str, float], digits: int) -> str:
    """A spread for people."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}-{values['max']:.{digits}f})"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for people, in Markdown."""
    lines = ["| " + " | ".join(str(cell) for cell in line) + " |" for line in (columns, *rows)]
    lines.insert(1, "|" + "---|" * len(columns))
    return "\n".join(lines)


def dumps(value: Any, indent: str = "") -> str:
    """JSON with one line for what fits on one: a run, a command, a spread."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 118 or not isinstance(value, (dict, list)):
        return flat
    deeper = indent + "  "
    if isinstance(value, list):
        # Runs are rows of a table, long or not.
        rows = [json.dumps(v) if isinstance(v, dict) and ("arrived" in v or "round" in v) else dumps(v, deeper) for v in value]
        return "[\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}]"
    rows = [f"{deeper}{json.dumps(key)}: {dumps(entry, deeper)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


def finish(name: str, output: Path, results: Results, picture: str, told: str, shortcomings: list[str]) -> None:
    """Writes NAME.json and NAME.svg to `output`, prints what is for people, and ends: with 1 if there is a shortcoming."""
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.json").write_text(dumps(results) + "\n", encoding="utf-8")
    (output / f"{name}.svg").write_text(picture, encoding="utf-8")
    print(f"{told}\n\n{described(results['machine'])}", flush=True)
    for shortcoming in shortcomings:
        print(f"error: {shortcoming}", file=sys.stderr)
    sys.exit(1 if shortcomings else 0)
