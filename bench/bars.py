# SPDX-License-Identifier: MIT OR Apache-2.0
"""Charts of lying bars, one below the other: a row a case, its median as the bar, its least and greatest as a whisker."""

from __future__ import annotations

from dataclasses import dataclass

import plot

LEFT, RIGHT, TOP, ROW, BAR = 250, 1130, 84, 24, 15


@dataclass(frozen=True)
class Bar:
    """One row. `most` is a line that the bar is not to cross, where there is one."""

    name: str
    spread: dict[str, float]
    color: str = ""
    most: float | None = None


@dataclass(frozen=True)
class Chart:
    """One chart: what it shows, its rows, and how many decimals their figures have."""

    title: str
    rows: list[Bar]
    digits: int

    @property
    def height(self) -> int:
        """All of it, with its title and the room below."""
        return 34 + ROW * len(self.rows) + 44

    def draw(self, top: float) -> list[str]:
        """Grid, bars, whiskers, figures."""
        marks = plot.ticks(max(max(row.spread["max"], row.most or 0) for row in self.rows))
        decimals = next(digits for digits in range(7) if all(round(mark, digits) == round(mark, 6) for mark in marks))

        def x(value: float) -> float:
            return LEFT + value / marks[-1] * (RIGHT - LEFT)

        first, bottom = top + 20, top + 26 + ROW * len(self.rows)
        drawn = [plot.text(30, top + 4, self.title, 15, "start", font_weight=600)]
        for mark in marks:
            drawn.append(plot.line(x(mark), first, x(mark), bottom, plot.GRID))
            drawn.append(plot.text(x(mark), bottom + 16, f"{mark:,.{decimals}f}", 12, fill=plot.FAINT))
        for i, row in enumerate(self.rows):
            middle = first + ROW * (i + 0.5)
            median, least, greatest = (x(row.spread[key]) for key in ("median", "min", "max"))
            drawn += [
                plot.text(LEFT - 10, middle + 4, row.name, 12, "end"),
                f'<rect x="{LEFT}" y="{middle - BAR / 2:.1f}" width="{max(median - LEFT, 0.5):.1f}" height="{BAR}" rx="3" '
                f'fill="{row.color or plot.color_of(row.name)}"/>',
                plot.line(least, middle, greatest, middle, plot.INK, 1.5),
                plot.line(least, middle - 4, least, middle + 4, plot.INK, 1.5),
                plot.line(greatest, middle - 4, greatest, middle + 4, plot.INK, 1.5),
                plot.text(greatest + 8, middle + 4, f"{row.spread['median']:,.{self.digits}f}", 12, "start", font_weight=600),
            ]
            if row.most is not None:
                drawn.append(plot.line(x(row.most), middle - ROW / 2 + 1, x(row.most), middle + ROW / 2 - 1, plot.RED, 2.5))
        return drawn


def draw(title: str, charts: list[Chart], captions: list[str]) -> str:
    """The whole picture."""
    drawn, top = [], TOP
    for chart in charts:
        drawn += chart.draw(top)
        top += chart.height
    return plot.picture(title, drawn, captions, top)
