# SPDX-License-Identifier: MIT OR Apache-2.0
"""The pictures of the results: SVGs that bring their own background, so that they can be read on any page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

from common import described

WIDTH = 1280
TOP, BOTTOM = 118, 360
PANEL_WIDTH, BAR_WIDTH = 560, 52
BLUE, GREY, ORANGE, PURPLE, GREEN = "#1d6fd1", "#8a94a3", "#d9822b", "#8f5bb5", "#2f9e6e"
RED, TEAL = "#c2363b", "#4f8f9b"
INK, FAINT, GRID = "#1f2933", "#5b6673", "#e3e7ec"


def color_of(name: str) -> str:
    """A program's color: shades for its modes would say less than its name below."""
    colors = {"xdpmap": BLUE, "bare": GREY, "zmap 4": GREEN, "zmap": ORANGE, "masscan": PURPLE, "trafgen": TEAL}
    return next((color for start, color in colors.items() if name.startswith(start)), INK)


def text(x: float, y: float, content: str, size: int = 13, anchor: str = "middle", **attributes: object) -> str:
    """A line of text."""
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in {"fill": INK, **attributes}.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{more}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, color: str, width: float = 1) -> str:
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'
    )


def picture(title: str, drawn: list[str], captions: list[str], bottom: float) -> str:
    """The whole of a picture: background, title, what is drawn down to `bottom`, captions below that."""
    height = bottom + 19 * len(captions) + 16
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif" '
            'role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="14" fill="#ffffff" stroke="{GRID}"/>',
            text(30, 42, title, 20, "start", font_weight=700),
            *drawn,
            *(text(30, bottom + 12 + 19 * i, caption, 12, "start", fill=FAINT) for i, caption in enumerate(captions)),
            "</svg>",
            "",
        ]
    )


def ticks(greatest: float) -> list[float]:
    """Round numbers from 0 to the first that is not below `greatest`, four to eight of them."""
    raw = max(greatest, 1e-9) / 5
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if raw <= magnitude * factor)
    return [step * i for i in range(math.ceil(greatest / step - 1e-9) + 1)]


@dataclass(frozen=True)
class Panel:
    """One chart of bars: where it is, what it says, and which figure it shows."""

    left: float
    title: str
    axis: str
    figure: str
    digits: int

    def draw(self, summary: dict[str, dict[str, Any]]) -> list[str]:
        """Grid, bars, whiskers, labels."""
        marks = ticks(max(figures[self.figure]["max"] for figures in summary.values()))
        digits = 0 if all(mark == int(mark) for mark in marks) else max(1, 1 - math.floor(math.log10(marks[1])) - 1)

        def y(value: float) -> float:
            return BOTTOM - value / marks[-1] * (BOTTOM - TOP)

        drawn = [text(self.left, TOP - 26, self.title, 15, "start", font_weight=600)]
        middle = (TOP + BOTTOM) / 2
        turned = f"rotate(-90 {self.left - 46:.1f} {middle:.1f})"
        drawn.append(text(self.left - 46, middle, self.axis, 12, transform=turned, fill=FAINT))
        for mark in marks:
            drawn.append(line(self.left, y(mark), self.left + PANEL_WIDTH - 30, y(mark), GRID))
            drawn.append(text(self.left - 8, y(mark) + 4, f"{mark:.{digits}f}", 12, "end", fill=FAINT))
        pitch = (PANEL_WIDTH - 30) / len(summary)
        width = min(BAR_WIDTH, pitch * 0.72)
        for i, (name, figures) in enumerate(summary.items()):
            drawn += self.bar(self.left + pitch * (i + 0.5), width, name, figures[self.figure], y)
        drawn.append(line(self.left, BOTTOM, self.left + PANEL_WIDTH - 30, BOTTOM, FAINT))
        return drawn

    def bar(self, x: float, width: float, name: str, spread: dict[str, float], y: Any) -> list[str]:
        """The median as a bar, the least and the greatest as a whisker, and the name, a word a line."""
        median, least, greatest = (y(spread[key]) for key in ("median", "min", "max"))
        left = x - width / 2
        words = name.replace("zmap 4", "zmap\u00a04").replace("2 threads", "2\u00a0threads").replace(",", "").split(" ")
        return [
            f'<rect x="{left:.1f}" y="{median:.1f}" width="{width:.1f}" height="{BOTTOM - median:.1f}" rx="3" '
            f'fill="{color_of(name)}"/>',
            line(x, least, x, greatest, INK, 1.5),
            line(x - 7, least, x + 7, least, INK, 1.5),
            line(x - 7, greatest, x + 7, greatest, INK, 1.5),
            text(x, greatest - 8, f"{spread['median']:.{self.digits}f}", 13, font_weight=600),
            *(text(x, BOTTOM + 19 + 15 * i, word, 11) for i, word in enumerate(words)),
        ]


def draw_senders(results: dict[str, Any]) -> str:
    """The picture of the senders: rates, and CPU time."""
    settings, summary = results["settings"], results["summary"]
    rounds = settings["rounds"]
    panels = [
        Panel(84, "Packets a second: more is better", "million packets a second", "mpps", 2),
        Panel(84 + PANEL_WIDTH + 64, "CPU time: less is better", "CPU-seconds a million packets", "cpu_seconds_per_million", 2),
    ]
    captions = [
        f"Medians of {rounds} interleaved round{'s' if rounds != 1 else ''} of {settings['count']:,} packets; "
        "whiskers: least and greatest. Rates as counted by the far side.",
        "One sending thread if not said otherwise; xdpmap live: a worker on one core, the kernel's work on the other. veth pair "
        "with one queue, far side drops in native XDP; its work is part of the CPU time. No NIC.",
        described(results["machine"]),
    ]
    drawn = [mark for panel in panels for mark in panel.draw(summary["senders"])]
    title = "Sending SYNs: xdpmap in two modes, the least each way out costs, and other senders"
    return picture(title, drawn, captions, BOTTOM + 64)


@dataclass(frozen=True)
class Curves:
    """One chart of curves: packets a second against what was missed, both on scales of powers of ten."""

    left: float
    title: str
    rates: tuple[float, float]
    hosts: int

    def x(self, rate: float) -> float:
        """Where a rate is."""
        least, greatest = map(math.log10, self.rates)
        return self.left + (math.log10(max(rate, self.rates[0])) - least) / (greatest - least) * (PANEL_WIDTH - 60)

    def y(self, missed: float) -> float:
        """Where a number of hosts is: none at the bottom, then a step for each power of ten."""
        decades = math.log10(self.hosts) + 1
        return BOTTOM - (math.log10(missed) + 1 if missed >= 1 else missed) / decades * (BOTTOM - TOP)

    def draw(self, curves: dict[str, list[tuple[float, float]]]) -> list[str]:
        """Grid, and a line through the points of each curve, which are rate and hosts missed."""
        drawn = [text(self.left, TOP - 26, self.title, 15, "start", font_weight=600)]
        middle = (TOP + BOTTOM) / 2
        turned = f"rotate(-90 {self.left - 58:.1f} {middle:.1f})"
        drawn.append(text(self.left - 58, middle, f"hosts missed, of {self.hosts:,}", 12, transform=turned, fill=FAINT))
        for missed in [0, *(10**i for i in range(int(math.log10(self.hosts)) + 1))]:
            drawn.append(line(self.left, self.y(missed), self.left + PANEL_WIDTH - 60, self.y(missed), GRID))
            drawn.append(text(self.left - 8, self.y(missed) + 4, f"{missed:,}" if missed else "none", 12, "end", fill=FAINT))
        for rate in (50_000, 100_000, 200_000, 400_000, 800_000, 1_600_000, 3_200_000, 6_400_000):
            if self.rates[0] <= rate <= self.rates[1]:
                drawn.append(line(self.x(rate), BOTTOM, self.x(rate), BOTTOM + 5, FAINT))
                drawn.append(text(self.x(rate), BOTTOM + 19, f"{rate // 1000:,}k", 12, fill=FAINT))
        drawn.append(line(self.left, BOTTOM, self.left + PANEL_WIDTH - 60, BOTTOM, FAINT))
        for name, points in curves.items():
            path = " ".join(f"{self.x(rate):.1f},{self.y(missed):.1f}" for rate, missed in points)
            dashes = ' stroke-dasharray="6 4"' if "live" in name else ""
            drawn.append(
                f'<polyline points="{path}" fill="none" stroke="{color_of(name)}" stroke-width="2.5"'
                f' stroke-linejoin="round"{dashes}/>'
            )
            drawn += [
                f'<circle cx="{self.x(rate):.1f}" cy="{self.y(missed):.1f}" r="4" fill="{color_of(name)}"/>'
                for rate, missed in points
            ]
        return drawn


def draw_survey(
    results: dict[str, Any], titles: dict[str, str], points: dict[str, dict[str, list[tuple[float, float]]]]
) -> str:
    """The picture of the survey: a chart for each responder; `points` by responder and scanner."""
    settings = results["settings"]
    every = [rate for curves in points.values() for curve in curves.values() for rate, _ in curve]
    limits = (min(every) / 1.1, max(every) * 1.1)
    captions = [
        f"Medians of {settings['rounds']} round{'s' if settings['rounds'] != 1 else ''}; packets a second as the far side "
        "counted them; every host answers. Lower is better, and further to the right.",
        "veth pair with one queue; scanner and responder share the machine's cores. The last point of a curve: as fast as it "
        "can. No NIC.",
        described(results["machine"]),
    ]
    drawn = []
    for i, (responder, curves) in enumerate(points.items()):
        chart = Curves(96 + i * (PANEL_WIDTH + 56), titles[responder], limits, settings["hosts"])
        drawn += chart.draw(curves)
    for i, name in enumerate(next(iter(points.values()))):
        x = 700 + 110 * i
        dashes = ' stroke-dasharray="6 4"' if "live" in name else ""
        drawn.append(
            f'<line x1="{x}" y1="38" x2="{x + 26}" y2="38" stroke="{color_of(name)}" stroke-width="3"{dashes}/>'
        )
        drawn.append(text(x + 32, 42, name, 13, "start"))
    return picture("Surveys: hosts missed, and how fast they were asked", drawn, captions, BOTTOM + 48)
