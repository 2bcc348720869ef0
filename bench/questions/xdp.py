# SPDX-License-Identifier: MIT OR Apache-2.0
"""What does a packet cost in the XDP program, for each of its verdicts, compared with filters that parse and pass?

Fails if a verdict costs more times xdp-filter (of xdp-tools) than it may. A quick run compares with our own filter and
the floor, and so only guards against growth. No packet is sent: the kernel runs the program over frames in memory
(BPF_PROG_TEST_RUN), in a network namespace whose only interface is its loopback.
"""

from __future__ import annotations

import re
import subprocess
from argparse import Namespace
from typing import Any

from bench import build, plots
from bench.questions import Option, number, rounds
from bench.record import Report, Results, by, described, printed_runs, spread, table

PACKAGES = ("iproute2", "util-linux", "xdp-tools")
ROOT = True
OPTIONS = (rounds(25, 11), Option("--packets", "packets of a case", 1_000_000, kind=number()))

FLOOR, FILTER, BARE_FILTER = "nothing", "filter", "bare_filter"
# The filters of xdp-tools' xdp-filter: one for TCP ports, and the one that is loaded by default. The first is the
# reference: a filter in real use that does as much for a TCP packet as ours does before it knows that the packet is a
# reply. Our own filters are also shown: they do less than any useful filter, and so are a floor rather than a peer.
FOREIGN = ("xdpfilt_alw_tcp", "xdpfilt_alw_all")
JUDGE = FOREIGN[0]
# Their maps are pinned by name: into a file system that goes when the command behind this ends.
OWN_PINS = ("unshare", "--mount", "sh", "-euc", 'mount -t bpf bpf /sys/fs/bpf; exec "$@"', "sh")
YARDSTICKS = (FILTER, BARE_FILTER, *FOREIGN)
# Most times the reference's cost of a verdict, both above the floor. Dropped packets are first looked up among the
# kernel's sockets, at the kernel's cost: their limit is to notice a second look-up.
#
# A quick run only guards against growth, by the least times, because what else a machine does only adds to a time. A
# verdict is too slow if it exceeds the limit so, and against our own filter with the floor in both. Either alone
# depends on the processor: the floor is 22 ns on one and 9 ns on another, and what few rounds leave above it is little
# to divide by. Growth stays; noise goes, and so does the place in memory that a program was loaded to. So only what is
# too slow in each of these tries is reported.
REFUSED, BAD_COOKIE, VALID, DROPPED = 1.5, 3.0, 5.0, 25.0
QUICK_TRIES = 5
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
    """A row per case. Ratios are those of medians: within a round, floor and filter are too close together to divide
    by."""
    times = {case: spread((run["ns_per_packet"] for run in found), 2) for case, found in by("case", runs).items()}
    above = {case: found["median"] - times[FLOOR]["median"] for case, found in times.items()}
    floor = times[FLOOR]["min"]
    rows = []
    for case, found in times.items():
        row: dict[str, Any] = {"case": case, "ns_per_packet": found, "ns_above_floor": round(above[case], 2)}
        if case != FLOOR:
            row["ratio_to_filter"] = round(above[case] / above[FILTER], 2)
            row |= {f"ratio_to_{name}": round(above[case] / above[name], 2) for name in FOREIGN if name in above}
            row["ratio_to_filter_with_floor"] = round(found["median"] / times[FILTER]["median"], 2)
            least = [(found["min"] - floor) / (times[JUDGE]["min"] - floor)] if JUDGE in times else []
            least.append(found["min"] / times[FILTER]["min"])
            row["ratio_of_least"] = round(min(least), 2)
        if case in LIMITS:
            row["limit"] = LIMITS[case]
        rows.append(row)
    return rows


def told(rows: list[dict[str, Any]]) -> str:
    """The summary as text."""
    foreign = [name for name in FOREIGN if any(row["case"] == name for row in rows)]
    columns = ("case", "ns per packet", "above the floor", *(f"times {name}" for name in foreign), "at most")
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


def draw(results: Results) -> plots.Figure:
    """The cost of each case above the floor; in red, its limit."""
    rows = results["rows"]
    floor, judge = (next(row for row in rows if row["case"] == case) for case in (FLOOR, JUDGE))
    shown_rows = []
    for row in rows:
        if row is floor:
            continue
        above = {key: max(value - floor["ns_per_packet"]["median"], 0) for key, value in row["ns_per_packet"].items()}
        most = row["limit"] * judge["ns_above_floor"] if "limit" in row else None
        yardstick = row["case"] in YARDSTICKS
        shown_rows.append(plots.Bar(row["case"], above, plots.GREY if yardstick else plots.BLUE, most))
    settings = results["settings"]
    captions = [
        f"Medians of {plots.rounds(settings)} of {settings['packets']:,} packets; whiskers: least and greatest. "
        f"The floor, {floor['ns_per_packet']['median']:.1f} ns, is a program that does nothing. Red: the aim.",
        "BPF_PROG_TEST_RUN over one frame in memory: no driver, no cache misses of packets that come from a wire.",
        described(results["machine"]),
    ]
    chart = plots.Chart("Nanoseconds a packet above the floor: less is better", shown_rows, 1)
    return plots.bars("The XDP program: what each verdict costs", [chart], captions)


def prepare(_: Namespace) -> None:
    """The benchmarks' programs, and our own filters."""
    build.programs()
    build.bpf("programs/filter")


def measure(options: Namespace) -> Results:
    """Every case in every round."""
    # Filters that others wrote for use, as a second yardstick.
    installed = subprocess.check_output(["dpkg", "-L", "xdp-tools", "libxdp1"], text=True)
    foreign = re.findall(rf"^.*/(?:{'|'.join(FOREIGN)})\.o$", installed, re.MULTILINE)
    also = [word for path in foreign for word in ("--also", path)]
    program = [*OWN_PINS, build.PROGRAMS, "xdp", "--filter", str(build.bpf_object("programs/filter")), *also]
    settings = {"rounds": options.rounds, "packets": options.packets}
    for _ in range(QUICK_TRIES if options.quick else 1):
        runs = printed_runs([*program, "--rounds", str(options.rounds), "--packets", str(options.packets)])
        rows = summarise(runs)
        if not too_slow(rows, options):
            break
    return {"settings": settings, "rows": rows, "runs": runs}


def too_slow(rows: list[dict[str, Any]], options: Namespace) -> list[str]:
    """What exceeds its limit."""
    judged, judge = f"ratio_to_{JUDGE}", JUDGE
    if options.quick:
        judged, judge = "ratio_of_least", f"our filter, and more times {JUDGE}"
    return [
        f"{row['case']}: {row[judged]} times {judge}, the limit is {row['limit']}"
        for row in rows
        if "limit" in row and row[judged] > row["limit"]
    ]


def report(results: Results, options: Namespace) -> Report:
    """Draws, judges."""
    return Report(told(results["rows"]), too_slow(results["rows"], options), draw(results))
