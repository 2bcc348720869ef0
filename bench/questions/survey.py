# SPDX-License-Identifier: MIT OR Apache-2.0
"""How many of 131,072 hosts that all answer do xdpmap, zmap and masscan find, and up to which rate?

Fails if a scanner failed, or found hosts that do not exist. A missed host is a result.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import statistics
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import build, lab, plots, senders
from bench.far.farside import Answering, Counter
from bench.lab import Lab
from bench.process import cores
from bench.questions import ZMAP4, Option, rounds
from bench.record import Report, Results, described, spread, table
from bench.senders import Sender

PACKAGES = ("lab_packages", "util-linux", "bpftool", "zmap", "masscan")
ROOT = True
OPTIONS = (
    rounds(3),
    ZMAP4,
    Option("--ten", "ten scans at 100,000 probes per second, too, and ten at the knee", False),
    Option("--live", "xdpmap by live frames, too", False),
)

# The responders: an XDP program at the wire's far end, or the network stack behind it.
TITLES = {"xdp": "An XDP program answers", "stack": "The kernel's stack answers"}
TARGETS, QUICK_TARGETS = "10.0.0.0/15", "10.0.0.0/16"
# Seconds that a scanner waits after its last probe.
COOLDOWN_SECONDS = 1
# Requested rates; 0 is as fast as the scanner can.
RATES = [50_000, 100_000, 200_000, 400_000, 0]
QUICK_RATES = [100_000, 0]
# Marks on the picture's scale.
MARKS = [25_000 << i for i in range(10)]
TEN = 10
TEN_RATE = 100_000
# Share of the rate at which the responder, or the machine under both, reaches its limit.
SHARE_OF_KNEE = 0.9
# Most scans to find the requested rate at which the wanted rate comes in.
TRIES = 6
ADDRESS = re.compile(rb"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])")


@dataclass(frozen=True)
class Scanner:
    """One scanner at a rate; it prints the hosts that it finds to standard output."""

    name: str
    at: Callable[[int], Sender]
    # It attaches an XDP program itself.
    has_program: bool = False


@dataclass
class Run:
    """One scan. `rate` was requested in probes per second; `pps` and `arrived` were counted by the far side."""

    round: int
    scanner: str
    responder: str
    rate: int
    exit_code: int
    timed_out: bool
    arrived: int
    pps: int
    found: int
    wrong: int
    cpu_seconds: float
    wall_seconds: float
    stolen_seconds: float
    # The counters of a scan that missed a host.
    why: dict[str, Any] | None = None


def prepare(_: Namespace) -> None:
    """xdpmap, the far side, and what the other scanners get instead of a program of their own."""
    build.xdpmap_and_lab()
    build.bpf("far/responder", "senders/pass")


def contestants(options: Namespace, here: Lab, targets: str, metadata: Path) -> list[Scanner]:
    """All scanners; one sending thread each."""
    pair = ",".join(str(core) for core in cores()[:2])

    def xdpmap(mode: str) -> Scanner:
        name = "xdpmap" if mode == "copy" else f"xdpmap {mode}"

        def at(rate: int) -> Sender:
            words = ["-p", senders.PORT, "-r", str(rate), "--cores", pair, "--io-mode", mode, "--allow-reserved"]
            words += ["-v", "1", "-m", str(metadata), targets]
            return senders.xdpmap(name, here, *words, cooldown_seconds=COOLDOWN_SECONDS)

        return Scanner(name, at, has_program=True)

    def zmap(name: str, program: str, more: list[str], fastest: list[str]) -> Scanner:
        def at(rate: int) -> Sender:
            words = [f"--cores={pair}", *more, *(["-r", str(rate)] if rate else fastest), "-o", "-", targets]
            return senders.zmap(name, here, *words, program=program, cooldown_seconds=COOLDOWN_SECONDS)

        return Scanner(name, at)

    def masscan(rate: int) -> Sender:
        return senders.masscan(here, rate or 100_000_000, targets, "-oL", "-", wait_seconds=COOLDOWN_SECONDS)

    scanners = [xdpmap(mode) for mode in (["copy", "live"] if options.live else ["copy"])]
    scanners.append(zmap("zmap", "zmap", [], ["-r", "0"]))
    if options.zmap4:
        scanners.append(zmap("zmap 4", options.zmap4, ["--batch", "64"], ["-B", "100G"]))
    return [*scanners, Scanner("masscan", masscan)]


def hosts_in(printed: bytes, targets: ipaddress.IPv4Network) -> tuple[int, int]:
    """How many of the targets are in a scanner's output, each counted once, and how many other addresses."""
    addresses = {ipaddress.IPv4Address(word.decode()) for word in ADDRESS.findall(printed)}
    found = sum(address in targets for address in addresses)
    return found, len(addresses) - found


def explanation(metadata: Path) -> dict[str, Any] | None:
    """The counters of xdpmap's metadata, where they are not 0."""
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(metadata.read_text(encoding="utf-8"))
        groups = [told["counters"], told["xdp_counters"], *told["sockets"]]
        return {key: value for group in groups for key, value in group.items() if value}
    return None


class Survey:
    """Everything that a scan needs."""

    def __init__(self, here: Lab, targets: str) -> None:
        self.lab = here
        self.counter = Counter(here)
        self.answering = Answering(here)
        self.targets = ipaddress.IPv4Network(targets)
        self.metadata = here.work / "metadata.json"
        self.passing = here.pins / "pass"
        lab.run("bpftool", "prog", "load", str(build.bpf_object("senders/pass")), str(self.passing), "type", "xdp")

    def scan(self, number: int, scanner: Scanner, responder: str, rate: int) -> Run:
        """Runs one scanner once."""
        self.answering.by(responder)
        self.counter.reset()
        self.metadata.unlink(missing_ok=True)
        # A veth only accepts frames that an XDP program at its other end sends back while it has a program as well.
        with contextlib.nullcontext() if scanner.has_program else self.lab.program(self.passing):
            ended = scanner.at(rate).run(self.lab, 30)
        found, wrong = hosts_in(ended.printed, self.targets)
        arrivals = self.counter.read()
        run = Run(
            round=number,
            scanner=scanner.name,
            responder=responder,
            rate=rate,
            exit_code=ended.exit_code,
            timed_out=ended.timed_out,
            arrived=arrivals.probes,
            pps=round(arrivals.pps),
            found=found,
            wrong=wrong,
            cpu_seconds=round(ended.user_seconds + ended.system_seconds, 3),
            wall_seconds=ended.wall_seconds,
            stolen_seconds=ended.stolen_seconds,
            why=explanation(self.metadata) if found < self.targets.num_addresses else None,
        )
        asked = f"{rate:,}" if rate else "max"
        sys.stderr.write(
            f"{responder:<6} {run.scanner:<12} {asked:>8} asked {run.pps:>10,} a second  {run.arrived:>8} arrived"
            f"  {self.targets.num_addresses - run.found:>7} missed\n"
        )
        return run


def curves(survey: Survey, scanners: list[Scanner], rates: list[int], rounds: int) -> list[Run]:
    """Every scanner at every rate, against both responders, in turns."""
    runs = []
    for number in range(rounds):
        shift = number % len(scanners)
        for responder in TITLES:
            for rate in rates:
                for scanner in scanners[shift:] + scanners[:shift]:
                    runs.append(survey.scan(number, scanner, responder, rate))
    return runs


def knee(survey: Survey, scanner: Scanner, runs: list[Run]) -> int:
    """The highest rate at which the scanner missed no host with the XDP responder in any round, or 0."""
    whole = [0]
    for rate in {run.rate for run in runs}:
        of = [run for run in runs if (run.responder, run.scanner, run.rate) == ("xdp", scanner.name, rate)]
        if all(run.found == survey.targets.num_addresses for run in of):
            whole.append(int(statistics.median(run.pps for run in of)))
    return max(whole)


def to_deliver(survey: Survey, scanner: Scanner, wanted: int) -> int:
    """The rate to request so that `wanted` probes per second come in: near the knee fewer come in than were requested.

    If no tried rate brings as many, it is the one that brought most.
    """
    asked, tried = wanted, {}
    for number in range(TRIES):
        run = survey.scan(number, scanner, "xdp", asked)
        tried[run.pps] = asked
        if run.pps >= wanted:
            break
        asked = asked * wanted // max(run.pps, 1)
    return tried[max(tried)]


def ten(survey: Survey, scanner: Scanner, runs: list[Run]) -> list[Run]:
    """Ten scans at 100,000 packets per second and ten near the knee."""
    rates = [TEN_RATE]
    if wanted := int(knee(survey, scanner, runs) * SHARE_OF_KNEE):
        rates.append(to_deliver(survey, scanner, wanted))
    return [survey.scan(number, scanner, "xdp", rate) for rate in rates for number in range(TEN)]


def measure(options: Namespace) -> Results:
    """Every scanner at every rate with two responders."""
    targets = QUICK_TARGETS if options.quick else TARGETS
    rates = QUICK_RATES if options.quick else RATES
    # The far side's stack has all addresses. It answers with cookies, and so keeps and repeats nothing.
    with lab.made(build.bpf_object("far/responder"), f"all:{senders.TARGETS}") as here:
        survey = Survey(here, targets)
        scanners = contestants(options, here, targets, survey.metadata)
        runs = curves(survey, scanners, rates, options.rounds)
        ten_runs = ten(survey, scanners[0], runs) if options.ten else []
    settings = {
        "rounds": options.rounds,
        "rates": rates,
        "targets": targets,
        "hosts": survey.targets.num_addresses,
        "cooldown_seconds": COOLDOWN_SECONDS,
    }
    competing = [
        {
            "name": scanner.name,
            "version": scanner.at(0).version(),
            "command": scanner.at(rates[0]).shown().replace(str(survey.metadata), survey.metadata.name),
            "fastest": scanner.at(0).shown().replace(str(survey.metadata), survey.metadata.name),
        }
        for scanner in scanners
    ]
    single = {"runs": [asdict(run) for run in runs], "ten": [asdict(run) for run in ten_runs]}
    return {"settings": settings, "scanners": competing, **single}


def summarise(results: Results) -> list[dict[str, Any]]:
    """For each responder, scanner and rate: the rate that came in, and the number of missed hosts."""
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
        lines += [f"{title}: missed of {hosts:,} hosts and the rate that came in, by probes per second asked for:", ""]
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
            f"{results['scanners'][0]['name']} at {row['rate']:,} probes per second ({row['pps']:,} came in): every "
            f"host found in {row['whole']} scans of {row['scans']}, {row['missed']} missed in all."
        )
    return "\n".join(lines).rstrip()


def shortcomings(results: Results) -> list[str]:
    """Everything that makes these results void."""
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


def points_of(results: Results, responder: str) -> dict[str, list[tuple[float, float]]]:
    """Each scanner's incoming rates and missed hosts."""
    found: dict[str, list[tuple[float, float]]] = {scanner["name"]: [] for scanner in results["scanners"]}
    for row in results["summary"]["curves"]:
        if row["responder"] == responder:
            found[row["scanner"]].append((row["pps"]["median"], row["missed"]["median"]))
    return found


def draw(results: Results) -> plots.Figure:
    """Packets per second against missed hosts, both on logarithmic scales, for each responder."""
    settings, hosts = results["settings"], results["settings"]["hosts"]
    captions = [
        f"Medians of {plots.rounds(settings)}; packets per second as the far side counted them; every host answers. "
        "Lower is better, and further to the right.",
        "veth pair with one queue; scanner and responder share the machine's cores. The last point of a curve: as fast "
        "as it can. No NIC.",
        described(results["machine"]),
    ]
    picture = plots.Picture("Surveys: hosts missed, and how fast they were asked", captions, 330)
    points = {responder: points_of(results, responder) for responder in TITLES}
    rates = [rate for curves in points.values() for curve in curves.values() for rate, _ in curve]
    limits = (min(rates) / 1.2, max(rates) * 1.2)
    marks = [mark for mark in MARKS if limits[0] <= mark <= limits[1]]
    powers = [10**i for i in range(len(str(hosts)))]
    for i, (responder, title) in enumerate(TITLES.items()):
        axes = picture.axes(110 + 610 * i, 40, 520, 230)
        for name, curve in points[responder].items():
            line = "--" if "live" in name else "-"
            axes.plot(
                *zip(*curve), line, color=plots.color_of(name), label=name, linewidth=2.5, marker="o", clip_on=False
            )
        axes.set_title(title, pad=14)
        axes.grid(True, axis="y")
        axes.set_xscale("log")
        # Zero at the bottom, then a step for each power of ten.
        axes.set_yscale("symlog", linthresh=1)
        axes.minorticks_off()
        axes.set_xticks(marks, [f"{mark // 1000:,}k" for mark in marks])
        axes.set_yticks([0, *powers], ["none", *(f"{power:,}" for power in powers)])
        axes.set_xlim(limits)
        axes.set_ylim(0, hosts)
        axes.set_xlabel("packets per second")
        axes.set_ylabel(f"hosts missed, of {hosts:,}")
        axes.tick_params(axis="x", pad=8)
    picture.figure.legend(
        *axes.get_legend_handles_labels(), loc="upper right", ncols=5, frameon=False, bbox_to_anchor=(0.99, 0.97)
    )
    return picture.figure


def report(results: Results, _: Namespace) -> Report:
    """Summarises, draws, judges."""
    results["summary"] = {"curves": summarise(results), "ten": summarise_ten(results)}
    return Report(told(results), shortcomings(results), draw(results))
