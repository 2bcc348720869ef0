#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sums up what survey.py printed: survey.json and survey.svg, and tables on standard output.

Exits with 1 when a scanner failed, or xdpmap found what is not there. That it misses a host is a result.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from common import Results, finish, spread, table
from plot import draw_survey

TITLES = {"xdp": "An XDP program answers", "stack": "The kernel's stack answers"}


def summarise(results: Results) -> list[dict[str, Any]]:
    """For each responder, scanner and rate: what was delivered, and how many hosts were missed."""
    rows = []
    hosts, runs = results["settings"]["hosts"], results["runs"]
    for responder in TITLES:
        for scanner in results["scanners"]:
            for rate in results["settings"]["rates"]:
                key = {"responder": responder, "scanner": scanner["name"], "rate": rate}
                of = [run for run in runs if all(run[name] == value for name, value in key.items())]
                missed = [hosts - run["found"] for run in of]
                unasked = [hosts - run["arrived"] for run in of]
                rows.append(
                    {
                        **key,
                        "pps": spread([run["pps"] for run in of], 0),
                        "missed": spread(missed, 0),
                        "unasked": spread(unasked, 0),
                    }
                )
    return rows


def summarise_ten(results: Results) -> list[dict[str, Any]]:
    """For each rate: in how many of the scans every host was found."""
    rows = []
    hosts, runs = results["settings"]["hosts"], results["ten"]
    for rate in dict.fromkeys(run["rate"] for run in runs):
        of = [run for run in runs if run["rate"] == rate]
        missed = [hosts - run["found"] for run in of]
        rows.append(
            {
                "rate": rate,
                "scans": len(of),
                "whole": missed.count(0),
                "missed": sum(missed),
                "pps": round(statistics.median(run["pps"] for run in of)),
            }
        )
    return rows


def told(results: Results) -> str:
    """The summary in Markdown."""
    hosts = results["settings"]["hosts"]

    def cell(row: dict[str, Any]) -> str:
        missed = row["missed"]
        median, greatest = f"{missed['median']:,.0f}", f"{missed['max']:,.0f}"
        shown = median if median == greatest else f"{median} (up to {greatest})"
        return f"{shown} at {row['pps']['median'] / 1000:,.0f}k"

    rates = results["settings"]["rates"]
    heads = [f"{rate:,}" if rate else "as fast as it can" for rate in rates]
    lines = []
    for responder, title in TITLES.items():
        lines += [f"{title}: missed of {hosts:,} hosts and the rate that came in, by probes a second asked for:", ""]
        body = []
        for scanner in results["scanners"]:
            rows = [
                row
                for row in results["summary"]["curves"]
                if row["responder"] == responder and row["scanner"] == scanner["name"]
            ]
            body.append((scanner["name"], *map(cell, rows)))
        lines += [table(("scanner", *heads), body), ""]
    for row in results["summary"]["ten"]:
        lines.append(
            f"{results['scanners'][0]['name']} at {row['rate']:,} probes a second ({row['pps']:,} came in): every "
            f"host found in {row['whole']} scans of {row['scans']}, {row['missed']} missed in all."
        )
    return "\n".join(lines).rstrip()


def shortcomings(results: Results) -> list[str]:
    """What makes these results none."""
    found = []
    for run in [*results["runs"], *results["ten"]]:
        what = f"{run['scanner']} at {run['rate']} before {run['responder']} in round {run['round'] + 1}"
        if run["timed_out"]:
            found.append(f"{what} did not end by itself")
        elif run["exit_code"] != 0:
            found.append(f"{what} ended with {run['exit_code']}")
        elif run["wrong"] or not run["found"]:
            found.append(f"{what} found {run['found']} hosts, and {run['wrong']} that do not exist")
    return found


def main() -> None:
    """Reads, sums up, writes, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="what survey.py printed")
    parser.add_argument("--output", type=Path, required=True, help="folder of survey.json and survey.svg")
    arguments = parser.parse_args()
    results: Results = json.loads(arguments.measured.read_text(encoding="utf-8"))
    results["summary"] = {"curves": summarise(results), "ten": summarise_ten(results)}
    points = {
        responder: {
            scanner["name"]: [
                (row["pps"]["median"], row["missed"]["median"])
                for row in results["summary"]["curves"]
                if row["responder"] == responder and row["scanner"] == scanner["name"]
            ]
            for scanner in results["scanners"]
        }
        for responder in TITLES
    }
    picture = draw_survey(results, TITLES, points)
    finish("survey", arguments.output, results, picture, told(results), shortcomings(results))


if __name__ == "__main__":
    main()
