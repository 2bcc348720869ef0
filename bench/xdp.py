#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Prints and records what the XDP benchmark measured, and exits with 1 when a verdict costs too many times the filter."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import bars
from common import Results, Session, by_case, described, finish, spread, table

FLOOR, FILTER, BARE_FILTER = "nothing", "filter", "bare_filter"
# The filters of xdp-tools' xdp-filter: one that looks at TCP ports, and the one that is loaded if nothing is said. The first
# is the yardstick: a filter in use that does for a TCP packet what ours does before it knows that it is a reply. Our own
# filters are shown beside it: they do less than any that is of use, and so are a floor rather than a peer.
FOREIGN = ("xdpfilt_alw_tcp", "xdpfilt_alw_all")
JUDGE = FOREIGN[0]
YARDSTICKS = (FILTER, BARE_FILTER, *FOREIGN)
# How many times the yardstick's cost a verdict may have, both above the floor. A quick run only guards against growth: it
# takes our own filter, with the floor in both. What is dropped is looked up among the kernel's sockets first, which is the
# kernel's price: its aim is to notice a second look-up.
REFUSED, BAD_COOKIE, VALID, DROPPED = 1.5, 3.0, 5.0, 25.0
LIMITS = {
    "pass_not_ipv4": REFUSED,
    "pass_other_protocol": REFUSED,
    "pass_fragment": REFUSED,
    "pass_truncated": REFUSED,
    "pass_other_port": REFUSED,
    "pass_other_flags": REFUSED,
    "drop_other_flags": DROPPED,
    "pass_other_address": REFUSED,
    "pass_bad_cookie": BAD_COOKIE,
    "drop_bad_cookie": DROPPED,
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
            row |= {f"ratio_to_{name}": round(above[case] / above[name], 2) for name in FOREIGN if name in above}
            row["ratio_to_filter_with_floor"] = round(found["median"] / times[FILTER]["median"], 2)
        if case in LIMITS:
            row["limit"] = LIMITS[case]
        rows.append(row)
    return rows


def shown(rows: list[dict[str, Any]]) -> str:
    """For people."""
    foreign = [name for name in FOREIGN if any(row["case"] == name for row in rows)]
    columns = ("case", "ns a packet", "above the floor", *(f"times {name}" for name in foreign), "at most")
    columns += ("times our filter", "with floor")
    ratios = (*(f"ratio_to_{name}" for name in foreign), "limit", "ratio_to_filter", "ratio_to_filter_with_floor")
    lines = [
        (
            row["case"],
            f"{row['ns_per_packet']['median']:.1f}",
            f"{row['ns_above_floor']:.1f}",
            *(row.get(ratio, "") for ratio in ratios),
        )
        for row in rows
    ]
    return table(columns, lines)


def draw(results: Results) -> str:
    """What each case costs above the floor; in red, what it may."""
    rows = results["rows"]
    floor, judge = (next(row for row in rows if row["case"] == case) for case in (FLOOR, JUDGE))
    shown_rows = []
    for row in rows:
        if row is floor:
            continue
        above = {key: max(value - floor["ns_per_packet"]["median"], 0) for key, value in row["ns_per_packet"].items()}
        most = row["limit"] * judge["ns_above_floor"] if "limit" in row else None
        yardstick = row["case"] in YARDSTICKS
        shown_rows.append(bars.Bar(row["case"], above, bars.plot.GREY if yardstick else bars.plot.BLUE, most))
    settings = results["settings"]
    captions = [
        f"Medians of {settings['rounds']} rounds of {settings['packets']:,} packets; whiskers: least and greatest. "
        f"The floor, {floor['ns_per_packet']['median']:.1f} ns, is a program that does nothing. Red: the aim.",
        "BPF_PROG_TEST_RUN over one frame in memory: no driver, no cache misses of packets that come from a wire.",
        described(results["machine"]),
    ]
    chart = bars.Chart("Nanoseconds a packet above the floor: less is better", shown_rows, 1)
    return bars.draw("The XDP program: what each verdict costs", [chart], captions)


def main() -> None:
    """Prints, records, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="what the benchmark printed")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--packets", type=int, required=True)
    parser.add_argument("--quick", action="store_true", help="judge with the floor in both sides of each ratio")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    session = Session()
    runs = [json.loads(line) for line in arguments.measured.read_text(encoding="utf-8").splitlines()]
    rows = summarise(runs)
    settings = {"rounds": arguments.rounds, "packets": arguments.packets}
    results = session.results(settings, rows=rows, runs=runs)
    judged, judge = ("ratio_to_filter_with_floor", "our filter") if arguments.quick else (f"ratio_to_{JUDGE}", JUDGE)
    found = [
        f"{row['case']}: {row[judged]} times {judge}, at most {row['limit']} were asked for"
        for row in rows
        if "limit" in row and row[judged] > row["limit"]
    ]
    finish("xdp", arguments.output, results, draw(results), shown(rows), found)


if __name__ == "__main__":
    main()
