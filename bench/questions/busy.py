# SPDX-License-Identifier: MIT OR Apache-2.0
"""What does busy polling (--busy-poll) change: replies received, probes per second, CPU time?

Three rounds with and without, at 5,000 and at 20,000 packets per second, in the virtual machine of
scripts/lab-zerocopy.sh, from one emulated igb to another over zero-copy rings; three minutes. Processor and card are
emulated by software, so only the ratios mean something, and they do not predict a real card. Interrupts are deferred as
by `scripts/tune-nic.sh apply --only busy-poll`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from bench import build
from bench.record import Report, Results, shown, spread, table

PACKAGES = ("lab_packages", "libcap2-bin")
# The machine's taps need root if it is available; it works without them.
ROOT = False
OPTIONS = ()

# 4 ports of the addresses that answer there: 2,048 and 54 servers.
REPLIES = 4 * 2102


def read(folder: Path) -> dict[str, Any]:
    """One scan."""
    number, rate, case = folder.name.split("-")
    told = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    user, system = (float(word) for word in (folder / "cpu").read_text(encoding="ascii").split())
    if told["exit_code"] != 0 or told["io_mode"] != "zerocopy":
        sys.exit(f"error: {folder.name}: exit code {told['exit_code']}, {told['io_mode']}")
    if not all(socket.get("busy_polled", False) == (case == "polled") for socket in told["sockets"]):
        sys.exit(f"error: {folder.name}: sockets were not polled as requested")
    return {
        "round": int(number),
        "rate": int(rate),
        "case": case,
        "pps": round(told["packets_sent"] / told["send_seconds"]),
        "received": told["counters"]["rx_frames"],
        "user_seconds": user,
        "system_seconds": system,
        "wakeups": told["counters"]["wakeups"],
    }


def prepare(_: Namespace) -> None:
    """xdpmap."""
    build.xdpmap()


def measure(_: Namespace) -> Results:
    """The guest leaves one folder per scan, ROUND-RATE-plain or ROUND-RATE-polled."""
    with tempfile.TemporaryDirectory() as work:
        command = ["scripts/lab-zerocopy.sh", "run", "newest", build.XDPMAP, work]
        subprocess.run(command, check=True, env={**os.environ, "LAB_CASES": "busy"}, stdout=sys.stderr)
        runs = [read(path) for path in Path(work, "busy").iterdir()]
        kernel = Path(work, "kernel").read_text(encoding="ascii").strip()
    runs.sort(key=lambda run: (run["round"], run["rate"]))
    settings = {"rounds": max(run["round"] for run in runs), "targets": 4 * 4096, "replies": REPLIES, "queues": 4}
    return {"settings": settings, "guest_kernel": kernel, "rows": summarise(runs), "runs": runs}


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each rate and figure, with its ratio inside each round."""
    figures = {
        "packets per second": lambda run: run["pps"],
        "replies received, of those sent": lambda run: run["received"] / REPLIES,
        "CPU-seconds": lambda run: run["user_seconds"] + run["system_seconds"],
    }
    rows = []
    for rate in sorted({run["rate"] for run in runs}):
        polled, plain = (
            [run for run in runs if (run["rate"], run["case"]) == (rate, case)] for case in ("polled", "plain")
        )
        for name, figure in figures.items():
            ratios = spread([figure(a) / figure(b) for a, b in zip(polled, plain, strict=True)], 3)
            medians = [spread([figure(run) for run in of], 3) for of in (plain, polled)]
            rows.append({"rate": rate, "figure": name, "plain": medians[0], "polled": medians[1], "ratio": ratios})
    return rows


def report(results: Results, _: Namespace) -> Report:
    """A table; there is no aim and no picture."""
    columns = ("asked for", "", "without", "with --busy-poll", "ratio in the same round")
    cases = ("plain", "polled", "ratio")
    lines = [(row["rate"], row["figure"], *(shown(row[case], 3) for case in cases)) for row in results["rows"]]
    return Report(f"{table(columns, lines)}\n\nguest: Linux {results['guest_kernel']}, emulated; its host:", [])
