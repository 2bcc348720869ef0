#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Measures xdpmap on a real network card (`measure`, as root), and sums up what it measured (`report`).

Nothing here knows the far end: what left is what the card counts, beside what xdpmap says that it sent.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import bars
from common import Results, Session, described, finish, shown, spread, table, wait

# Networks for benchmarks (RFC 2544), and ports enough for a minute at 10 GbE line rate.
TARGETS = "198.18.0.0/15"
PORTS = "1-10000"
# As --io-mode calls them, best first.
MODES = ("zerocopy", "live", "copy")
# What a frame takes of the wire beyond its bytes: FCS, preamble, gap (IEEE 802.3). The frame is that of the default layout.
WIRE_EXTRA_BYTES, FRAME_BYTES = 24, 66
# How much less than asked for the card may count before a run is named: its counters may come late.
COUNTED_MIN = 0.99


def line_rate_pps(speed_mbps: int | None) -> float | None:
    """Packets a second of a link of this speed."""
    return speed_mbps * 1e6 / ((FRAME_BYTES + WIRE_EXTRA_BYTES) * 8) if speed_mbps else None


def told(*command: str) -> str:
    """What a program prints; nothing where it cannot tell."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def number(path: str) -> int | None:
    """A number in a file of the kernel's; None where it is not known."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def card(interface: str) -> dict[str, Any]:
    """What a reader must know of the card."""
    driver = dict(line.split(": ", 1) for line in told("ethtool", "-i", interface).splitlines() if ": " in line)
    folder = f"/sys/class/net/{interface}"
    speed = number(f"{folder}/speed")
    return {
        "driver": driver.get("driver"),
        "driver_version": driver.get("version"),
        "firmware": driver.get("firmware-version"),
        "speed_mbps": speed if speed and speed > 0 else None,
        "queues": len([entry for entry in os.listdir(f"{folder}/queues") if entry.startswith("tx-")]),
        "numa_node": number(f"{folder}/device/numa_node"),
        "mtu": number(f"{folder}/mtu"),
        "rings": told("ethtool", "-g", interface),
        "offloads": [line.strip() for line in told("ethtool", "-k", interface).splitlines() if line.endswith(": on")],
    }


def counted(interface: str) -> int:
    """Packets that the card has sent since it was brought up."""
    return number(f"/sys/class/net/{interface}/statistics/tx_packets") or 0


def worker_counts(queues: int, cores: int) -> list[int]:
    """1, 2, 4, ... and at last as many as the card and the machine have room for."""
    most = min(queues, cores)
    return sorted({1 << i for i in range(most.bit_length()) if 1 << i <= most} | {most})


def run_once(arguments: argparse.Namespace, mode: str, workers: int) -> dict[str, Any]:
    """One scan as fast as it goes; what it counted and used, or why it could not be."""
    command = [arguments.xdpmap, "-i", arguments.interface, "-G", arguments.gateway_mac, "-p", PORTS, "-r", "0"]
    command += ["-T", str(workers), "--io-mode", mode, "-t", str(arguments.seconds), "-c", "0", "--no-rst", "-q"]
    command += ["--allow-reserved", "--disable-syslog", "-o", "/dev/null", "-m", "-", TARGETS]
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        before = counted(arguments.interface)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=complaints)
        exit_code, usage, _ = wait(process, 60 + 2 * arguments.seconds)
        left = counted(arguments.interface) - before
        printed.seek(0)
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip().splitlines()
        report = json.loads(printed.read() or b"{}")
    if exit_code != 0:
        return {"exit_code": exit_code, "why": (said or ["it said nothing"])[-1].split("] ", 1)[-1]}
    sent = report["packets_sent"]
    return {
        "exit_code": 0,
        "io_mode": report["io_mode"],
        "packets_sent": sent,
        "card_sent": left,
        "pps": round(sent / report["send_seconds"]),
        "cpu_ns": round((usage.ru_utime + usage.ru_stime) / max(sent, 1) * 1e9, 1),
        "user_ns": round(usage.ru_utime / max(sent, 1) * 1e9, 1),
        "counters": report["counters"],
    }


def measure(arguments: argparse.Namespace) -> None:
    """Runs everything, interleaved, and prints it as JSON."""
    session = Session()
    about = card(arguments.interface)
    cores = len(os.sched_getaffinity(0))
    runs, missing = [], {}
    for round_number in range(arguments.rounds):
        for workers in worker_counts(about["queues"], cores):
            for mode in MODES:
                # A worker by live frames has a thread in the kernel beside it.
                if mode in missing or (mode == "live" and workers > max(cores // 2, 1)):
                    continue
                run = run_once(arguments, mode, workers)
                if run["exit_code"] != 0:
                    missing[mode] = run["why"]
                    sys.stderr.write(f"{mode}: not to be had: {run['why']}\n")
                    continue
                runs.append({"round": round_number, "mode": mode, "workers": workers, **run})
                sys.stderr.write(f"round {round_number + 1}/{arguments.rounds}  {mode:<9} {workers} workers  {run['pps'] / 1e6:.3f} Mpps\n")
    settings = {"rounds": arguments.rounds, "seconds": arguments.seconds, "targets": TARGETS, "ports": PORTS}
    version = told(arguments.xdpmap, "--version").strip()
    print(json.dumps(session.results(settings, version=version, card=about, not_to_be_had=missing, runs=runs)))


def summarise(results: Results) -> list[dict[str, Any]]:
    """A row for each mode and number of workers."""
    line_rate = line_rate_pps(results["card"]["speed_mbps"])
    rows = []
    for mode, workers in dict.fromkeys((run["mode"], run["workers"]) for run in results["runs"]):
        runs = [run for run in results["runs"] if (run["mode"], run["workers"]) == (mode, workers)]
        mpps = spread([run["pps"] / 1e6 for run in runs], 3)
        rows.append(
            {
                "mode": mode,
                "workers": workers,
                "mpps": mpps,
                "of_line_rate": round(mpps["median"] * 1e6 / line_rate, 3) if line_rate else None,
                "cpu_ns": spread([run["cpu_ns"] for run in runs], 1),
                "user_ns": spread([run["user_ns"] for run in runs], 1),
                "card_counted": spread([run["card_sent"] / max(run["packets_sent"], 1) for run in runs], 4),
            }
        )
    return rows


def report(arguments: argparse.Namespace) -> None:
    """Prints, draws, records, judges."""
    results = json.loads(arguments.measured.read_text(encoding="utf-8"))
    rows = results["rows"] = summarise(results)
    about = results["card"]
    columns = ("mode", "workers", "Mpps", "of line rate", "CPU ns a packet", "of it in user space", "the card counted")
    lines = [
        (
            row["mode"],
            row["workers"],
            shown(row["mpps"], 2),
            f"{row['of_line_rate']:.1%}" if row["of_line_rate"] else "",
            shown(row["cpu_ns"], 0),
            shown(row["user_ns"], 0),
            f"{row['card_counted']['min']:.2%}",
        )
        for row in rows
    ]
    words = [table(columns, lines), *(f"{mode}: not to be had: {why}" for mode, why in results["not_to_be_had"].items())]
    name = f"{about['driver']} {about['firmware'] or ''}, {about['queues']} queues, {about['speed_mbps'] or 'unknown'} Mbit/s"
    captions = [
        f"Medians of {results['settings']['rounds']} rounds of {results['settings']['seconds']} s; whiskers: least and greatest.",
        name,
        described(results["machine"]),
    ]
    charts = []
    if rows:
        found = [bars.Bar(f"{row['mode']}, {row['workers']} workers", row["mpps"], bars.plot.BLUE) for row in rows]
        charts.append(bars.Chart("Million packets a second", found, 2))
    wrong = [
        f"{row['mode']}, {row['workers']} workers: the card counted {row['card_counted']['min']:.2%} of what was sent"
        for row in rows
        if row["card_counted"]["min"] < COUNTED_MIN
    ]
    if not rows:
        wrong.append("no mode could be measured")
    picture = bars.draw(f"xdpmap on {about['driver']}", charts, captions)
    finish("nic", arguments.output, results, picture, "\n".join([*words, "", name]), wrong)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    measuring = verbs.add_parser("measure")
    for flag in ("--xdpmap", "--interface", "--gateway-mac"):
        measuring.add_argument(flag, required=True)
    measuring.add_argument("--seconds", type=int, required=True)
    measuring.add_argument("--rounds", type=int, required=True)
    measuring.set_defaults(run=measure)
    reporting = verbs.add_parser("report")
    reporting.add_argument("measured", type=Path)
    reporting.add_argument("--output", type=Path, required=True)
    reporting.set_defaults(run=report)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
