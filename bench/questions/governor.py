# SPDX-License-Identifier: MIT OR Apache-2.0
"""Does --rate auto find the knee of a path, and keep below it?

The governor over simulated paths: three bottlenecks, three hit rates, 20 runs each. Fails if fewer than 16 runs of a
cell or 90 % of all find the knee to 5 % within 15 s and hold 0.90 to 1.00 of it, or if more than 1 % is lost then.
"""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace
from typing import Any

from bench import build, plots
from bench.questions import Option, number
from bench.record import Report, Results, table

PACKAGES = ()
ROOT = False
OPTIONS = (Option("--runs", "runs of a cell", 20, 5, number()),)

OFF_MAX = 0.05
HELD = (0.9, 1.0)
LOST_MAX = 0.01
CELL_MIN = 0.8
ALL_MIN = 0.9


def prepare(_: Namespace) -> None:
    """The program with the simulation."""
    build.programs()


def measure(options: Namespace) -> Results:
    """All runs."""
    command = [build.PROGRAMS, "governor", str(options.runs)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: Results = json.loads(said)
    found["settings"] = {"runs": options.runs}
    return found


def is_close(run: dict[str, Any]) -> bool:
    """Whether the knee was found in time."""
    return run["found"] is not None and abs(run["found"] - 1) <= OFF_MAX


def is_held(run: dict[str, Any]) -> bool:
    """Whether the rate was just below the knee, all the time."""
    return run["held_slots"] > 0 and HELD[0] <= run["held_least"] and run["held_most"] <= HELD[1]


def good(cell: dict[str, Any]) -> int:
    """The runs of a cell that did both."""
    return sum(is_close(run) and is_held(run) for run in cell["runs"])


def told(results: Results) -> str:
    """The summary as text."""
    columns = "bottleneck|hit rate|runs|knee within 5 %|held 0.90 to 1.00|both|most lost while held|slowest".split("|")
    lines = []
    for cell in results["cells"]:
        runs = cell["runs"]
        slowest = max(run["found_after_s"] or float("inf") for run in runs)
        lines.append(
            [
                cell["bottleneck"],
                f"{cell['hit_rate']:.1%}",
                str(len(runs)),
                str(sum(map(is_close, runs))),
                str(sum(map(is_held, runs))),
                str(good(cell)),
                f"{max(run['lost_held'] for run in runs):.2%}",
                f"{slowest:.1f} s",
            ]
        )
    return table(columns, lines)


def shortcomings(results: Results) -> list[str]:
    """Every cell that misses its aim, and all together."""
    found = []
    for cell in results["cells"]:
        name, runs = f"{cell['bottleneck']} at {cell['hit_rate']:.1%}", cell["runs"]
        if good(cell) < CELL_MIN * len(runs):
            found.append(f"{name}: {good(cell)} of {len(runs)} runs are good")
        if (lost := max(run["lost_held"] for run in runs)) > LOST_MAX:
            found.append(f"{name}: {lost:.1%} was lost while a rate was held")
    every = sum(len(cell["runs"]) for cell in results["cells"])
    if (both := sum(map(good, results["cells"]))) < ALL_MIN * every:
        found.append(f"{both} of {every} runs are good")
    return found


WIDTH, HEIGHT = 540, 190


def draw(results: Results) -> plots.Figure:
    """The rate over time for each bottleneck, and the knees that were found."""
    captions = [
        "Above: the rate (blue) and the hidden knee (orange) over the seconds of a scan in which 5 % of the targets answer.",
        "Below: the knee that was known after 15 s, and the least and the greatest rate held after that, in each run.",
    ]
    names = list(dict.fromkeys(curve["bottleneck"] for curve in results["curves"]))
    pitch = HEIGHT + 62
    picture = plots.Picture("--rate auto: finding a hidden knee", captions, pitch * len(names) + 330)
    for i, curve in enumerate(results["curves"]):
        axes = picture.axes(90 + (i % 2) * (WIDTH + 80), 30 + pitch * (i // 2), WIDTH, HEIGHT)
        axes.set_title(f"{curve['bottleneck']}, {curve['what']}")
        # Each point is the end of a time with one rate and one knee.
        at, rate, knee = zip([0, *curve["points"][0][1:]], *curve["points"], strict=True)
        axes.step(at, knee, color=plots.ORANGE, linewidth=1.6)
        axes.step(at, rate, color=plots.BLUE, linewidth=1.6)
        axes.set_ylim(0, 2.2 * max(knee))
        axes.set_xlim(0, 60)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f}k")
        axes.grid(True)
    axes = picture.axes(90, 30 + pitch * len(names) + 20, 2 * WIDTH + 80, 230)
    axes.set_title("All runs, as shares of the knee")
    axes.axhspan(*HELD, color=plots.GRID)
    place, ticks, runs = 0, [], []
    for cell in results["cells"]:
        first = place
        runs += [(place + i, run) for i, run in enumerate(cell["runs"])]
        place += len(cell["runs"])
        ticks.append(((first + place - 1) / 2, f"{cell['bottleneck']}\n{cell['hit_rate']:.1%}"))
        place += 2
    places = [at for at, _ in runs]
    # A rate that never changed is a dot.
    least, most = ([run[key] for _, run in runs] for key in ("held_least", "held_most"))
    axes.vlines(places, least, most, color=plots.BLUE, linewidth=3)
    axes.plot(places, least, "s", color=plots.BLUE, markersize=3)
    axes.plot(places, [run["found"] or float("nan") for _, run in runs], "o", color=plots.ORANGE, markersize=3)
    axes.set_xticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(0.85, 1.1)
    axes.grid(True, axis="y")
    return picture.figure


def report(results: Results, _: Namespace) -> Report:
    """Draws, judges."""
    return Report(told(results), shortcomings(results), draw(results))
