#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sums up what tx.py printed: tx.json and tx.svg, and tables on standard output.

Exits with 1 when a sender failed, or packets of xdpmap or of a bare sender did not arrive: what it measured is then no
result.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from common import Results, finish, shown, spread, table
from plot import draw_senders

# A wire may lose a packet while its far end is busy; one of ours that loses more than this was not measured.
ARRIVED_MIN = 0.999

# Who is compared with whom, where both ran: equal numbers of cores, or it is said.
COMPARED = {
    "xdpmap": ["bare AF_XDP", "xdpmap live", "zmap", "zmap 4", "masscan", "trafgen"],
    "xdpmap live": ["bare live", "zmap, 2 threads", "zmap 4, 2 threads", "zmap", "zmap 4"],
}

# Those whose loss makes a run void; what a peer loses is its own affair, and in its row.
OURS = ("xdpmap", "xdpmap live", "bare AF_XDP", "bare live")


def per_million(run: dict[str, Any], *kinds: str) -> float:
    """CPU-seconds of these kinds for a million packets that arrived."""
    return sum(run[f"{kind}_seconds"] for kind in kinds) / max(run["arrived"], 1) * 1e6


def without_start(runs: list[dict[str, Any]], starts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs with the user time of each packet, in nanoseconds: what starting and ending take is not in it."""
    idle = statistics.mean(start["user_seconds"] for start in starts)
    packets = statistics.median(start["arrived"] for start in starts)
    return [
        {**run, "user_ns": max(run["user_seconds"] - idle, 0) / max(run["arrived"] - packets, 1) * 1e9} for run in runs
    ]


def summarise_sender(runs: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """The figures of one sender over all rounds."""
    summary: dict[str, Any] = {
        "mpps": spread([run["pps"] / 1e6 for run in runs], 4),
        "cpu_seconds_per_million": spread([per_million(run, "user", "system") for run in runs], 4),
        "user_ns": spread([run["user_ns"] for run in runs], 1),
        "arrived_share": spread([run["arrived"] / count for run in runs], 6),
        "frame_bytes": max(run["frame_bytes"] for run in runs),
    }
    if all(run["own_send_seconds"] for run in runs):
        summary["own_mpps"] = spread([run["own_packets_sent"] / run["own_send_seconds"] / 1e6 for run in runs], 4)
    return summary


def pairs(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    """How the first compares with the second in each round: rate, and CPU time for a packet, all and in user space."""
    figures = {
        "pps_ratio": lambda run: run["pps"],
        "cpu_ratio": lambda run: per_million(run, "user", "system"),
        "user_ratio": lambda run: run["user_ns"],
    }
    found = {}
    for name, figure in figures.items():
        # A bare sender may use no user time that the kernel can see: such a pair says nothing.
        ratios = [round(figure(a) / figure(b), 4) for a, b in zip(first, second) if figure(b)]
        found[name] = {"median": round(statistics.median(ratios or [0]), 4), "pairs": ratios or [0]}
    # The kernel tells user time by what it interrupts, a few hundred times a second: one run has a dozen such looks.
    mean = [statistics.mean(run["user_ns"] for run in runs) for runs in (first, second)]
    if mean[1]:
        found["user_ratio"]["of_means"] = round(mean[0] / mean[1], 4)
    return found


def summarise(results: Results) -> dict[str, Any]:
    """The figures of all senders, and of xdpmap's modes against the others."""
    names = [sender["name"] for sender in results["senders"]]
    of = {
        name: without_start(*([run for run in results[key] if run["sender"] == name] for key in ("runs", "starts")))
        for name in names
    }
    count = results["settings"]["count"]
    return {
        "senders": {name: summarise_sender(of[name], count) for name in names},
        "ratios": {
            f"{first} / {other}": pairs(of[first], of[other])
            for first, others in COMPARED.items()
            for other in others
            if first in of and other in of
        },
    }


def shortcomings(results: Results) -> list[str]:
    """What makes these results none."""
    found = []
    for run in results["runs"]:
        share = run["arrived"] / results["settings"]["count"]
        if run["timed_out"]:
            found.append(f"{run['sender']} did not end by itself in round {run['round'] + 1}")
        elif run["exit_code"] != 0:
            found.append(f"{run['sender']} ended with {run['exit_code']} in round {run['round'] + 1}")
        if run["sender"] in OURS and not ARRIVED_MIN <= share <= 1:
            found.append(f"{share:.3%} of {run['sender']}'s packets arrived in round {run['round'] + 1}")
    return found


def told(summary: dict[str, Any]) -> str:
    """The summary for people."""
    rows = [
        (
            name,
            shown(figures["mpps"], 3),
            shown(figures["cpu_seconds_per_million"], 2),
            shown(figures["user_ns"], 0),
            figures["frame_bytes"],
            f"{figures['arrived_share']['min']:.2%}",
        )
        for name, figures in summary["senders"].items()
    ]
    columns = ("sender", "Mpps", "CPU-s per million", "user ns a packet", "frame, bytes", "arrived, at least")
    lines = [table(columns, rows), ""]
    ratios = [
        (name, *(shown(spread(ratio[of]["pairs"], 3), 3) for of in ("pps_ratio", "cpu_ratio", "user_ratio")))
        for name, ratio in summary["ratios"].items()
    ]
    lines.append(table(("in the same round", "packets a second", "CPU time a packet", "user time a packet"), ratios))
    for name in ("xdpmap / bare AF_XDP", "xdpmap live / bare live"):
        rates = summary["ratios"].get(name, {}).get("pps_ratio", {}).get("pairs", [])
        if rates:
            lines += ["", f"{name}, round by round: {', '.join(f'{rate:.3f}' for rate in rates)}."]
    for name in ("xdpmap / zmap", "xdpmap / zmap 4"):
        if of_means := summary["ratios"].get(name, {}).get("user_ratio", {}).get("of_means"):
            lines += ["", f"{name}, user time a packet, of the means over all rounds: {of_means:.3f}."]
    return "\n".join(lines)


def main() -> None:
    """Reads, sums up, writes, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="what tx.py printed")
    parser.add_argument("--output", type=Path, required=True, help="folder of tx.json and tx.svg")
    arguments = parser.parse_args()
    results: Results = json.loads(arguments.measured.read_text(encoding="utf-8"))
    results["summary"] = summarise(results)
    finish("tx", arguments.output, results, draw_senders(results), told(results["summary"]), shortcomings(results))


if __name__ == "__main__":
    main()
