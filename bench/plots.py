# SPDX-License-Identifier: MIT OR Apache-2.0
"""The pictures of results, drawn by matplotlib: SVGs with a background colour, so that they are readable on any page.

The same results give the same bytes: a picture contains neither a date nor a random number.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Imported where it is used: the process that measures should not load all of this, and help must work without it.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure
else:
    Axes = Figure = Any

WIDTH = 1280
BLUE, GREY, ORANGE, PURPLE, GREEN = "#1d6fd1", "#8a94a3", "#d9822b", "#8f5bb5", "#2f9e6e"
RED, TEAL = "#c2363b", "#4f8f9b"
INK, FAINT, GRID = "#1f2933", "#5b6673", "#e3e7ec"
# Programs of one kind have one colour: shades for their modes would say less than their names.
COLORS = {"xdpmap": BLUE, "bare": GREY, "zmap 4": GREEN, "zmap": ORANGE, "masscan": PURPLE, "trafgen": TEAL}
STYLE: dict[Any, Any] = {
    # Text stays text: it is small, searchable, and in the reader's font. The layout is for a wide font.
    "svg.fonttype": "none",
    "svg.hashsalt": "xdpmap",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 14,
    "axes.titleweight": 700,
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "grid.color": GRID,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def color_of(name: str) -> str:
    """A program's colour."""
    return next((color for start, color in COLORS.items() if name.startswith(start)), INK)


def rounds(settings: dict[str, Any]) -> str:
    """The number of rounds."""
    return f"{settings['rounds']} round{'s' if settings['rounds'] != 1 else ''}"


class Picture:
    """A picture that is filled from the top. Lengths are in units of the SVG; its width is WIDTH of them."""

    def __init__(self, title: str, captions: Sequence[str], height: float) -> None:
        """`height` is that of the part between the title and the captions."""
        import matplotlib
        from matplotlib.figure import Figure

        matplotlib.rcParams.update(STYLE)
        lines = [line for caption in captions for line in textwrap.wrap(caption, 180)]
        self._height = 70 + height + 18 * len(lines) + 14
        # A unit is a point.
        size = (WIDTH / 72, self._height / 72)
        self.figure = Figure(figsize=size, dpi=72, facecolor="white", edgecolor=GRID, linewidth=2)
        self.figure.set_label(title)
        self.text(30, 40, title, fontsize=19, fontweight=700)
        for i, line in enumerate(lines):
            self.text(30, 70 + height + 12 + 18 * i, line, color=FAINT)

    def text(self, x: float, y: float, text: str, **more: Any) -> None:
        """A line of text, `x` from the left and `y` from the top."""
        self.figure.text(x / WIDTH, 1 - y / self._height, text, **more)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Adds a chart; `top` is measured from below the title."""
        bottom = self._height - 70 - top - height
        return self.figure.add_axes(
            (left / WIDTH, bottom / self._height, width / WIDTH, height / self._height), facecolor="none"
        )


def svg(figure: Figure) -> str:
    """The contents of the picture's file."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Title": figure.get_label(), "Date": None, "Creator": None})
    # No blanks at line ends, as in a repository.
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


@dataclass(frozen=True)
class Bar:
    """A row: the bar is its median, the whisker its least and greatest value. `most` is a line for its limit."""

    name: str
    spread: dict[str, float]
    color: str = ""
    most: float | None = None


@dataclass(frozen=True)
class Chart:
    """Its title, its rows, and the number of decimals of their figures."""

    title: str
    rows: list[Bar]
    digits: int


def bars(title: str, charts: Sequence[Chart], captions: Sequence[str]) -> Figure:
    """Charts of horizontal bars, one below the other."""
    heights = [22 * len(chart.rows) for chart in charts]
    picture = Picture(title, captions, sum(heights) + 70 * len(charts))
    top = 0
    for chart, height in zip(charts, heights, strict=True):
        draw_bars(picture.axes(250, top + 32, 930, height), chart)
        top += height + 70
    return picture.figure


def draw_bars(axes: Axes, chart: Chart) -> None:
    """One chart of bars."""
    places = range(len(chart.rows))
    medians, least, greatest = ([row.spread[key] for row in chart.rows] for key in ("median", "min", "max"))
    below, above = ([abs(a - b) for a, b in zip(medians, ends, strict=True)] for ends in (least, greatest))
    axes.set_title(chart.title, x=-220 / 930)
    axes.grid(True, axis="x")
    axes.barh(places, medians, 0.62, color=[row.color or color_of(row.name) for row in chart.rows])
    axes.errorbar(medians, places, xerr=(below, above), fmt="none", ecolor=INK, elinewidth=1.4, capsize=4)
    for place, row in enumerate(chart.rows):
        figure = f"{row.spread['median']:,.{chart.digits}f}"
        axes.annotate(
            figure, (row.spread["max"], place), (8, 0), textcoords="offset points", va="center", fontweight=700
        )
        if row.most is not None:
            axes.plot([row.most] * 2, [place - 0.45, place + 0.45], color=RED, linewidth=2.5)
    axes.set_yticks(places, [row.name for row in chart.rows], color=INK)
    axes.set_ylim(len(chart.rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
