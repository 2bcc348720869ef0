#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sums up what the guest of bench/busy.sh has left: a folder a scan, ROUND-RATE-plain or ROUND-RATE-polled."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from common import Session, described, dumps, shown, spread, table

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
        sys.exit(f"error: {folder.name}: what was to be polled was not, or the other way round")
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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    runs = sorted((read(path) for path in (arguments.folder / "busy").iterdir()), key=lambda run: (run["round"], run["rate"]))
    figures = {
        "packets a second": lambda run: run["pps"],
        "replies received, of those sent": lambda run: run["received"] / REPLIES,
        "CPU-seconds": lambda run: run["user_seconds"] + run["system_seconds"],
    }
    rows = []
    for rate in sorted({run["rate"] for run in runs}):
        polled, plain = ([run for run in runs if (run["rate"], run["case"]) == (rate, case)] for case in ("polled", "plain"))
        for name, figure in figures.items():
            ratios = spread([figure(a) / figure(b) for a, b in zip(polled, plain, strict=True)], 3)
            medians = [spread([figure(run) for run in of], 3) for of in (plain, polled)]
            rows.append({"rate": rate, "figure": name, "plain": medians[0], "polled": medians[1], "ratio": ratios})
    settings = {"rounds": max(run["round"] for run in runs), "targets": 4 * 4096, "replies": REPLIES, "queues": 4}
    kernel = (arguments.folder / "kernel").read_text(encoding="ascii").strip()
    results = Session().results(settings, guest_kernel=kernel, rows=rows, runs=runs)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "busy.json").write_text(dumps(results) + "\n", encoding="utf-8")
    lines = [(row["rate"], row["figure"], shown(row["plain"], 3), shown(row["polled"], 3), shown(row["ratio"], 3)) for row in rows]
    print(table(("asked for", "", "without", "with --busy-poll", "ratio in the same round"), lines))
    print(f"\nguest: Linux {kernel}, emulated; host: {described(results['machine'])}")


if __name__ == "__main__":
    main()
