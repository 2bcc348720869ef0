#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sums up what measure.py printed: results.json and results.svg, and a table on standard output.

Exits with 1 when a sender failed or its packets did not arrive: what it measured is then no result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from plot import draw

Results = dict[str, Any]

# A wire may lose a packet while its far end is busy; a sender that loses more than this was not measured.
ARRIVED_MIN = 0.999

# Who is compared with whom, where both ran: equal numbers of cores, or it is said.
COMPARED = {
    "xdpmap": ["bare AF_XDP", "xdpmap live", "zmap", "zmap 4", "masscan"],
    "xdpmap live": ["bare live", "zmap, 2 threads", "zmap 4, 2 threads", "zmap", "zmap 4"],
}


def spread(values: list[float], digits: int) -> dict[str, float]:
    """Median, least and greatest."""
    named = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in named.items()}


def per_million(run: dict[str, Any], *kinds: str) -> float:
    """CPU-seconds of these kinds for a million packets that arrived."""
    return sum(run[f"{kind}_seconds"] for kind in kinds) / max(run["arrived"], 1) * 1e6


def summarise_sender(runs: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """The figures of one sender over all rounds."""
    summary: dict[str, Any] = {
        "mpps": spread([run["pps"] / 1e6 for run in runs], 4),
        "cpu_seconds_per_million": spread([per_million(run, "user", "system") for run in runs], 4),
        "user_seconds_per_million": spread([per_million(run, "user") for run in runs], 4),
        "arrived_share": spread([run["arrived"] / count for run in runs], 6),
        "frame_bytes": max(run["frame_bytes"] for run in runs),
    }
    if all(run["own_send_seconds"] for run in runs):
        summary["own_mpps"] = spread([run["own_packets_sent"] / run["own_send_seconds"] / 1e6 for run in runs], 4)
    return summary


def pairs(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    """How the first compares with the second in each round: rate, and CPU time for a packet."""

    def cpu(run: dict[str, Any]) -> float:
        return per_million(run, "user", "system")

    both = list(zip(first, second))
    rates = [round(a["pps"] / max(b["pps"], 1), 4) for a, b in both]
    costs = [round(cpu(a) / max(cpu(b), 1e-9), 4) for a, b in both]
    return {
        "pps_ratio": {"median": round(statistics.median(rates), 4), "pairs": rates},
        "cpu_ratio": {"median": round(statistics.median(costs), 4), "pairs": costs},
    }


def summarise(results: Results) -> dict[str, Any]:
    """The figures of all senders, and of xdpmap's modes against the others."""
    names = [sender["name"] for sender in results["senders"]]
    of = {name: [run for run in results["runs"] if run["sender"] == name] for name in names}
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
        if not ARRIVED_MIN <= share <= 1:
            found.append(f"{share:.3%} of {run['sender']}'s packets arrived in round {run['round'] + 1}")
    return found


def table(summary: dict[str, Any]) -> str:
    """The summary in Markdown."""

    def cell(values: dict[str, float], digits: int) -> str:
        return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}-{values['max']:.{digits}f})"

    lines = ["| sender | Mpps | CPU-s per million | of it in user space | frame, bytes | arrived, at least |"]
    lines.append("|---|---|---|---|---|---|")
    for name, figures in summary["senders"].items():
        cells = [
            cell(figures["mpps"], 3),
            cell(figures["cpu_seconds_per_million"], 2),
            cell(figures["user_seconds_per_million"], 3),
            str(figures["frame_bytes"]),
            f"{figures['arrived_share']['min']:.2%}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| in the same round | packets a second | CPU time a packet |", "|---|---|---|"]
    for name, ratio in summary["ratios"].items():
        rate, cost = ratio["pps_ratio"], ratio["cpu_ratio"]
        lines.append(
            f"| {name} | {rate['median']:.3f} ({min(rate['pairs']):.3f}-{max(rate['pairs']):.3f})"
            f" | {cost['median']:.3f} ({min(cost['pairs']):.3f}-{max(cost['pairs']):.3f}) |"
        )
    for name in ("xdpmap / bare AF_XDP", "xdpmap live / bare live"):
        by_round = ", ".join(f"{rate:.3f}" for rate in summary["ratios"][name]["pps_ratio"]["pairs"])
        lines += ["", f"{name}, round by round: {by_round}."]
    return "\n".join(lines)


def dumps(value: Any, indent: str = "") -> str:
    """JSON with one line for what fits on one: a run, a command, a spread."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 118 or not isinstance(value, (dict, list)):
        return flat
    deeper = indent + "  "
    if isinstance(value, list):
        # Runs are rows of a table, long or not.
        rows = [json.dumps(v) if isinstance(v, dict) and "arrived" in v else dumps(v, deeper) for v in value]
        return "[\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}]"
    rows = [f"{deeper}{json.dumps(key)}: {dumps(entry, deeper)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"


def main() -> None:
    """Reads, sums up, writes, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="what measure.py printed")
    parser.add_argument("--output", type=Path, required=True, help="folder of results.json and results.svg")
    arguments = parser.parse_args()
    results: Results = json.loads(arguments.measured.read_text(encoding="utf-8"))
    results["summary"] = summarise(results)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(dumps(results) + "\n", encoding="utf-8")
    (arguments.output / "results.svg").write_text(draw(results), encoding="utf-8")
    print(table(results["summary"]))
    found = shortcomings(results)
    for shortcoming in found:
        print(f"error: {shortcoming}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
