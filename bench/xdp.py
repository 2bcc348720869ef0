#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Prints and records what the XDP benchmark measured, and exits with 1 when a verdict costs too many times the filter."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from micro import by_case, record, spread, table

FLOOR, FILTER, BARE_FILTER = "nothing", "filter", "bare_filter"
# How many times the filter's cost a verdict may have: both above the floor, or in a check, that only guards against
# growth, with the floor in both.
REFUSED, BAD_COOKIE, VALID = 1.5, 3.0, 5.0
LIMITS = {
    "pass_not_ipv4": REFUSED,
    "pass_other_protocol": REFUSED,
    "pass_fragment": REFUSED,
    "pass_truncated": REFUSED,
    "pass_other_port": REFUSED,
    "pass_other_flags": REFUSED,
    "drop_other_flags": REFUSED,
    "pass_other_address": REFUSED,
    "pass_bad_cookie": BAD_COOKIE,
    "drop_bad_cookie": BAD_COOKIE,
    "valid_no_socket": VALID,
    "valid_redirected": VALID,
}


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a case. Ratios are those of medians: a round's own floor and filter lie too close together to divide by."""
    times = {case: spread((run["ns_per_packet"] for run in found), 2) for case, found in by_case(runs).items()}
    above = {case: found["median"] - times[FLOOR]["median"] for case, found in times.items()}
    rows = []
    for case, found in times.items():
        row: dict[str, Any] = {"case": case, "ns_per_packet": found, "ns_above_floor": round(above[case], 2)}
        if case != FLOOR:
            row["ratio_to_filter"] = round(above[case] / above[FILTER], 2)
            row["ratio_to_bare_filter"] = round(above[case] / above[BARE_FILTER], 2)
            row["ratio_to_filter_with_floor"] = round(found["median"] / times[FILTER]["median"], 2)
        if case in LIMITS:
            row["limit"] = LIMITS[case]
        rows.append(row)
    return rows


def shown(rows: list[dict[str, Any]]) -> str:
    """For people."""
    columns = ("case", "ns a packet", "above the floor", "times the filter", "at most", "bare filter", "with floor")
    lines = []
    for row in rows:
        ns = (f"{row['ns_per_packet']['median']:.1f}", f"{row['ns_above_floor']:.1f}")
        lines.append(
            (
                row["case"],
                *ns,
                row.get("ratio_to_filter", ""),
                row.get("limit", ""),
                row.get("ratio_to_bare_filter", ""),
                row.get("ratio_to_filter_with_floor", ""),
            )
        )
    return table(columns, lines)


def main() -> None:
    """Prints, records, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="what the benchmark printed")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--packets", type=int, required=True)
    parser.add_argument("--check", action="store_true", help="record nothing")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    runs = [json.loads(line) for line in arguments.measured.read_text(encoding="utf-8").splitlines()]
    rows = summarise(runs)
    print(shown(rows))
    if not arguments.check:
        settings = {"rounds": arguments.rounds, "packets": arguments.packets}
        record(arguments.output / "xdp.json", settings, {"rows": rows, "runs": runs})
    judged = "ratio_to_filter_with_floor" if arguments.check else "ratio_to_filter"
    found = [
        f"{row['case']}: {row[judged]} times the filter, at most {row['limit']} were asked for"
        for row in rows
        if "limit" in row and row[judged] > row["limit"]
    ]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
