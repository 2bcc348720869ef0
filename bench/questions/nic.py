# SPDX-License-Identifier: MIT OR Apache-2.0
"""How fast does xdpmap send through a network card, in each mode that it has, and what does a packet cost?

Targets are 198.18.0.0/15, the networks reserved for benchmarks (RFC 2544); the device at the other end of the wire must
not forward them. Every run sends as much as the card accepts, with 1, 2, 4, ... workers, in the modes zerocopy, live
and copy. An unavailable mode is listed with its reason. Nothing here knows the far end: the card counts the packets
that left, and they are shown next to xdpmap's own count.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from bench import build, plots, process
from bench.process import cores
from bench.questions import Option, rounds, seconds
from bench.record import Report, Results, described, say, shown, spread, table


def interface(text: str) -> str:
    """An interface of this machine."""
    if "/" in text or not Path(f"/sys/class/net/{text}").is_dir():
        raise argparse.ArgumentTypeError(f"there is no interface {text}; ip link lists them")
    return text


def mac(text: str) -> str:
    """A MAC address."""
    if not re.fullmatch("[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a MAC address, such as 02:00:00:00:00:02")
    return text


PACKAGES = ("iproute2", "ethtool")
ROOT = True
OPTIONS = (
    Option("--nic", "the interface that sends", kind=interface, value="IFACE", required=True),
    Option(
        "--to",
        "MAC address at the other end of the wire: a second port, or a host or a switch that drops",
        kind=mac,
        value="MAC",
        required=True,
    ),
    seconds(10, 1),
    rounds(3),
)

# Networks for benchmarks (RFC 2544), and enough ports for a minute at 10 GbE line rate.
TARGETS = "198.18.0.0/15"
PORTS = "1-10000"
# In the words of --io-mode, best first.
MODES = ("zerocopy", "live", "copy")
# The wire time of a frame beyond its bytes: FCS, preamble, gap (IEEE 802.3). The frame is that of the default layout.
WIRE_EXTRA_BYTES, FRAME_BYTES = 24, 66
# The least share of the packets that the card may count before a run is reported; its counters may come late.
COUNTED_MIN = 0.99


def line_rate_pps(speed_mbps: int | None) -> float | None:
    """Packets per second at line rate of a link with this speed."""
    return speed_mbps * 1e6 / ((FRAME_BYTES + WIRE_EXTRA_BYTES) * 8) if speed_mbps else None


def printed(*command: str) -> str:
    """The output of a program; empty if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def number_in(path: str) -> int | None:
    """The number in a file of the kernel's; None if it is unknown."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def card(interface: str) -> dict[str, Any]:
    """The facts about the card that a reader needs."""
    driver = dict(line.split(": ", 1) for line in printed("ethtool", "-i", interface).splitlines() if ": " in line)
    folder = f"/sys/class/net/{interface}"
    speed = number_in(f"{folder}/speed")
    return {
        "driver": driver.get("driver"),
        "driver_version": driver.get("version"),
        "firmware": driver.get("firmware-version"),
        "speed_mbps": speed if speed and speed > 0 else None,
        "queues": len([entry for entry in os.listdir(f"{folder}/queues") if entry.startswith("tx-")]),
        "numa_node": number_in(f"{folder}/device/numa_node"),
        "mtu": number_in(f"{folder}/mtu"),
        "rings": printed("ethtool", "-g", interface),
        "offloads": [
            line.strip() for line in printed("ethtool", "-k", interface).splitlines() if line.endswith(": on")
        ],
    }


def counted(interface: str) -> int:
    """Packets that the card has sent since it was brought up."""
    return number_in(f"/sys/class/net/{interface}/statistics/tx_packets") or 0


def worker_counts(queues: int, cores: int) -> list[int]:
    """1, 2, 4, ... and finally as many as the card and the machine allow."""
    most = min(queues, cores)
    return sorted({1 << i for i in range(most.bit_length()) if 1 << i <= most} | {most})


def prepare(options: Namespace) -> None:
    """xdpmap."""
    build.xdpmap()
    say(f"sending as fast as {options.nic} takes it to {options.to}, to {TARGETS}")


def run_once(options: Namespace, mode: str, workers: int) -> dict[str, Any]:
    """One scan as fast as possible; its counts and costs, or why it failed."""
    command = [build.XDPMAP, "-i", options.nic, "-G", options.to, "-p", PORTS, "-r", "0", "-T", str(workers)]
    command += ["--io-mode", mode, "-t", str(options.seconds), "-c", "0", "--no-rst", "-q", "-C", "/dev/null"]
    command += ["--allow-reserved", "--disable-syslog", "-o", "/dev/null", "-m", "-", TARGETS]
    before = counted(options.nic)
    ended = process.run(command, 60 + 2 * options.seconds)
    left = counted(options.nic) - before
    if ended.exit_code != 0:
        said = ended.complaints.strip().splitlines() or ["it said nothing"]
        return {"exit_code": ended.exit_code, "why": said[-1].split("] ", 1)[-1]}
    about = json.loads(ended.printed)
    sent = about["packets_sent"]
    return {
        "exit_code": 0,
        "io_mode": about["io_mode"],
        "packets_sent": sent,
        "card_sent": left,
        "pps": round(sent / about["send_seconds"]),
        "cpu_ns": round((ended.user_seconds + ended.system_seconds) / max(sent, 1) * 1e9, 1),
        "user_ns": round(ended.user_seconds / max(sent, 1) * 1e9, 1),
        "counters": about["counters"],
    }


def measure(options: Namespace) -> Results:
    """Runs everything, in turns."""
    about = card(options.nic)
    runs, missing = [], {}
    for round_number in range(options.rounds):
        for workers in worker_counts(about["queues"], len(cores())):
            for mode in MODES:
                # A worker with live frames has a second thread in the kernel.
                if mode in missing or (mode == "live" and workers > max(len(cores()) // 2, 1)):
                    continue
                found = run_once(options, mode, workers)
                if found["exit_code"] != 0:
                    missing[mode] = found["why"]
                    sys.stderr.write(f"{mode}: not available: {found['why']}\n")
                    continue
                runs.append({"round": round_number, "mode": mode, "workers": workers, **found})
                rate = f"{found['pps'] / 1e6:.3f} Mpps"
                sys.stderr.write(f"round {round_number + 1}/{options.rounds}  {mode:<9} {workers} workers  {rate}\n")
    settings = {"rounds": options.rounds, "seconds": options.seconds, "targets": TARGETS, "ports": PORTS}
    version = printed(build.XDPMAP, "--version").strip()
    return {"settings": settings, "version": version, "card": about, "not_to_be_had": missing, "runs": runs}


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


def report(results: Results, options: Namespace) -> Report:
    """Summarises, draws, judges."""
    rows = results["rows"] = summarise(results)
    about = results["card"]
    columns = ("mode", "workers", "Mpps", "of line rate", "CPU ns per packet", "of it in user space", "the card counted")
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
    speed = about["speed_mbps"] or "unknown"
    name = f"{about['driver']} {about['firmware'] or ''}, {about['queues']} queues, {speed} Mbit/s"
    words = [
        table(columns, lines),
        *(f"{mode}: not available: {why}" for mode, why in results["not_to_be_had"].items()),
    ]
    words += ["", name]
    if not options.quick:
        words.append("nic.json is worth sharing: it says which card, driver and kernel do how much")
    wrong = [
        f"{row['mode']}, {row['workers']} workers: the card counted {row['card_counted']['min']:.2%} of what was sent"
        for row in rows
        if row["card_counted"]["min"] < COUNTED_MIN
    ]
    return Report("\n".join(words), wrong if rows else ["no mode could be measured"], draw(results, name))


def draw(results: Results, name: str) -> plots.Figure:
    """The rate of each mode and number of workers."""
    bars = [plots.Bar(f"{row['mode']}, {row['workers']} workers", row["mpps"], plots.BLUE) for row in results["rows"]]
    charts = [plots.Chart("Million packets per second", bars, 2)] if bars else []
    settings = results["settings"]
    captions = [f"Medians of {plots.rounds(settings)} of {settings['seconds']} s; whiskers: least and greatest.", name]
    return plots.bars(f"xdpmap on {results['card']['driver']}", charts, [*captions, described(results["machine"])])
