# SPDX-License-Identifier: MIT OR Apache-2.0
"""What does a probe cost, in instructions of the whole machine, through a driver with zero-copy and otherwise?

In an emulated machine with one processor, in which a nanosecond is an instruction and each is counted: xdpmap, the
kernel, the driver, interrupts and completions. A case is the difference of two scans. The counts do not depend on this
machine or its load. A quick run boots once, and fails if xdpmap takes more than was recorded: instructions compared
with the bare sender in the same boot, instructions in user space, or system calls.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from bench import build, plots
from bench.machine import counts
from bench.machine.counts import FAR, KINDS, Functions, Interval
from bench.questions import Option, program, rounds
from bench.record import FOLDER, Report, Results, described, say, table

PACKAGES = ("lab_packages", "libcap2-bin", "zmap", "masscan", "binutils")
ROOT = False
OPTIONS = (
    rounds(3),
    Option("--program", "measures this xdpmap instead of one that is built", kind=program, value="PROGRAM"),
)

# The exit code of the lab if its packages are unavailable.
UNAVAILABLE = 77
# Seconds that the guest may take on a busy machine.
PATIENCE_SECONDS = "10000"
# Largest growth of a guarded figure that still passes.
TOLERANCE = 1.03
# Each case whose instructions are guarded, and the bare sender that shows what the kernel takes at least.
GUARDED = {"zerocopy": "bare-zerocopy", "copy": "bare-copy"}
# The slow scan whose wake-ups are guarded. Its sleeps and system calls differ by 4 and 10 % from boot to boot.
GUARDED_SLOW = "slow-10000"
# The names of what is guarded: instructions as a multiple of the bare sender's outside of user space, where it spins
# while it waits; instructions in user space, which no kernel changes; system calls, of which one more in a batch is too
# few instructions to be seen.
TIMES_BARE, USER, CALLS = "{}, times the bare sender", "{}, user space", "{}, system calls"
WAKEUPS = "{}, wake-ups"
# Each case in which all targets answer, and the one without answers that it is compared with.
ANSWERED = {"answered": "zerocopy", "answered-10000": "slow-10000"}
# The cases whose functions are listed, and how many instructions a function has at least.
BY_FUNCTION = ("zerocopy", "slow-10000", "answered")
FUNCTION_MIN_SHARE = 0.005
TITLES = {
    "zerocopy": "xdpmap, zero-copy",
    "zerocopy-smallest": "xdpmap, zero-copy, smallest-probes",
    "zerocopy-4-queues": "xdpmap, zero-copy, 4 queues",
    "bare-zerocopy": "bare AF_XDP, zero-copy",
    "copy": "xdpmap, copy",
    "bare-copy": "bare AF_XDP, copy",
    "live": "xdpmap, live frames",
    "packet": "xdpmap, packet",
    "slow-1000": "xdpmap, zero-copy, 1,000 per second",
    "slow-10000": "xdpmap, zero-copy, 10,000 per second",
    "slow-50000": "xdpmap, zero-copy, 50,000 per second",
    "answered": "xdpmap, zero-copy, all targets answer",
    "answered-10000": "xdpmap, all answer, 10,000 per second",
}


def prepare(options: Namespace) -> None:
    """xdpmap, the bare sender, the guest's XDP programs, the plugin, and what tells it things."""
    if not options.program:
        build.xdpmap()
    build.c_program("senders/bare_xsk")
    build.c_program("machine/count", "-shared", "-fPIC")
    build.c_program("machine/mark", "-static")
    build.bpf("senders/pass", "far/responder")


def measure(options: Namespace) -> Results:
    """Rounds: each machine with its cases one after the other, and the machines side by side."""
    measured = str(options.program or build.XDPMAP)
    names = ("budget_quick",) if options.quick else ("budget_first", "budget_second")
    results: Results = {"settings": {"quick": options.quick, "rounds": options.rounds}, "guest_kernel": ""}
    all_rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as work:
            if not have_run([begun(name, measured, Path(work, name)) for name in names]):
                return {**results, "skipped": "the packages of the lab are unavailable here"}
            say(f"evaluating the counts of round {number + 1}")
            all_rounds.append({})
            for name in names:
                results["guest_kernel"], cases = evaluated(Path(work, name), measured)
                all_rounds[-1] |= cases
    return {**results, "cases": medians(all_rounds), "guard": medians_of_guard(all_rounds)}


def medians(all_rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each case the round whose instructions are the median, with those of all rounds; what an answer takes."""
    found = {}
    for case in all_rounds[0]:
        of_case = [one[case] for one in all_rounds]
        instructions = [row["instructions"] for row in of_case]
        median = instructions.index(statistics.median_low(instructions))
        found[case] = {**of_case[median], "instructions_of_rounds": instructions}
    for case, silent in ANSWERED.items():
        if case in found and silent in found:
            found[case]["answer"] = {
                kind: round(found[case][kind] - found[silent][kind], 2) for kind in ("instructions", *KINDS)
            }
    return found


def medians_of_guard(all_rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Each guarded figure is of one boot; the median of all boots."""
    figures = [guard(one) for one in all_rounds]
    return {name: statistics.median_low([one[name] for one in figures]) for name in figures[0]}


def begun(cases: str, measured: str, folder: Path) -> subprocess.Popen[bytes]:
    """A machine that runs these cases and leaves its files in a folder."""
    files = [build.FOLDER / name for name in ("mark", "bare_xsk", "pass.bpf.o", "responder.bpf.o")]
    command = ["scripts/lab-zerocopy.sh", "count", build.FOLDER / "count", measured, folder, *files]
    command += [path for path in (shutil.which("zmap"), shutil.which("masscan")) if path]
    environment = {"LAB_PATIENCE_SECONDS": PATIENCE_SECONDS, **os.environ, "LAB_CASES": cases}
    return subprocess.Popen(command, env=environment, stdout=sys.stderr, process_group=0)


def have_run(machines: list[subprocess.Popen[bytes]]) -> bool:
    """Waits for all machines; false if they cannot be had here."""
    try:
        codes = [machine.wait() for machine in machines]
    finally:
        # Whatever ends this process ends them.
        for machine in machines:
            if machine.poll() is None:
                os.killpg(machine.pid, signal.SIGTERM)
                machine.wait()
    for machine, code in zip(machines, codes, strict=True):
        if code not in (0, UNAVAILABLE):
            raise subprocess.CalledProcessError(code, machine.args)
    return UNAVAILABLE not in codes


def evaluated(folder: Path, measured: str) -> tuple[str, dict[str, Any]]:
    """The kernel and the cases of a guest that has left its files in a folder."""
    marks = [line.split() for line in (folder / "marks").read_text(encoding="ascii").splitlines()]
    if failed := [f"{name}: exit code {code}" for name, code in marks if code != "0"]:
        sys.exit(f"error: {', '.join(failed)}")
    names = [name for name, _ in marks]
    intervals = counts.read(folder / "counts", names)
    functions = Functions(folder / "kallsyms", measured)
    probes: dict[str, list[int]] = {}
    for name in names:
        case, _, count = name.rpartition("-")
        if case:
            probes.setdefault(case, []).append(int(count))
    found = {}
    for case, (few, many) in probes.items():
        more = functions.without_cleared_pages(intervals[f"{case}-{many}"].less(intervals[f"{case}-{few}"]))
        told = [metadata(folder / f"{case}-{count}.json") for count in (few, many)]
        found[case] = row(case, more, few, many)
        wakeups = [one.get("counters", one).get("wakeups") for one in told]
        if None not in wakeups:
            found[case]["wakeups"] = round((wakeups[1] - wakeups[0]) / (many - few), 4)
        if case in ANSWERED:
            found[case]["answers"] = [one.get("success_unique") for one in told]
            found[case]["resets"] = [one["counters"]["rst_sent"] for one in told]
            found[case]["far"] = round(more.of(FAR) / (many - few), 2)
        if case in BY_FUNCTION:
            found[case]["functions"] = listed(functions, more, many - few)
    return (folder / "kernel").read_text(encoding="ascii").strip(), found


def metadata(path: Path) -> dict[str, Any]:
    """What a sender has said about its run, if it says anything."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told


def row(case: str, more: Interval, few: int, many: int) -> dict[str, Any]:
    """Instructions of a probe, and how often the processor sleeps and enters the kernel for one."""
    probes = many - few
    of = {kind: round(more.of(kind) / probes, 2) for kind in KINDS}
    return {
        "name": TITLES.get(case, case),
        "probes": [few, many],
        "instructions": round(sum(more.of(kind) for kind in KINDS) / probes, 2),
        **of,
        "calls": round(more.calls / probes, 5),
        "sleeps": round(more.sleeps / probes, 4),
    }


def listed(functions: Functions, more: Interval, probes: int) -> list[list[Any]]:
    """The functions with most of the instructions: kind, name, instructions of a probe."""
    by_name = functions.by_name(more)
    least = FUNCTION_MIN_SHARE * by_name.total()
    return [
        [kind, name, round(instructions / probes, 2)]
        for (kind, name), instructions in by_name.most_common()
        if instructions >= least
    ]


def guard(cases: dict[str, Any]) -> dict[str, float]:
    """The figures of one boot that may not grow."""
    found = {}
    for case, bare in GUARDED.items():
        in_kernel = cases[bare]["instructions"] - cases[bare]["user"]
        found[TIMES_BARE.format(case)] = round(cases[case]["instructions"] / in_kernel, 4)
        found[USER.format(case)] = cases[case]["user"]
        found[CALLS.format(case)] = cases[case]["calls"]
    found[WAKEUPS.format(GUARDED_SLOW)] = cases[GUARDED_SLOW]["wakeups"]
    return found


def told(results: Results) -> str:
    """The tables."""
    if skipped := results.get("skipped"):
        return f"SKIPPED: {skipped}"
    columns = ("way", "instructions a probe", "in all rounds", *KINDS, "system calls", "wake-ups", "sleeps")
    lines = [
        (
            case["name"],
            f"{case['instructions']:,.1f}",
            f"{min(case['instructions_of_rounds']):,.1f}-{max(case['instructions_of_rounds']):,.1f}",
            *(f"{case[kind]:,.1f}" for kind in KINDS),
            case.get("calls", ""),
            case.get("wakeups", ""),
            case["sleeps"],
        )
        for case in results["cases"].values()
    ]
    parts = [table(columns, lines)]
    answers = [
        (case["name"], *(f"{figure:,.1f}" for figure in case["answer"].values()))
        for case in results["cases"].values()
        if "answer" in case
    ]
    if answers:
        parts.append(table(("what an answer adds", "instructions", *KINDS), answers))
    for case in results["cases"].values():
        if "functions" in case:
            parts.append(table((case["name"], "function", "instructions a probe"), case["functions"]))
    parts.append(table(("guarded, of a probe", "figure"), results["guard"].items()))
    return "\n\n".join(parts) + f"\n\nguest: Linux {results['guest_kernel']}, emulated; its host:"


def shortcomings(results: Results, recorded: dict[str, float]) -> list[str]:
    """Everything that has grown by more than is tolerated, and answers that were lost."""
    grown = [
        f"{name}: {figure} for a probe, {recorded.get(name, 'none')} were recorded"
        for name, figure in results.get("guard", {}).items()
        if recorded and figure > recorded.get(name, 0) * TOLERANCE
    ]
    lost = [
        f"{name}: {case['answers']} answers to {case['probes']} probes"
        for name, case in results.get("cases", {}).items()
        if "answers" in case and case["answers"] != case["probes"]
    ]
    return grown + lost


def draw(results: Results) -> plots.Figure:
    """All ways at full rate, slow scans, and scans that are answered."""
    titles = {
        "zerocopy": "Zero-copy: instructions a probe",
        "other": "Other ways",
        "slow": "Slow scans, zero-copy",
        "answered": "Probe, answer, line of CSV, and reset",
    }
    groups: dict[str, list[plots.Bar]] = {group: [] for group in titles}
    for name, case in results["cases"].items():
        group = next((group for group in titles if group in name.split("-")), "other")
        of_rounds = case["instructions_of_rounds"]
        spread = {"median": case["instructions"], "min": min(of_rounds), "max": max(of_rounds)}
        groups[group].append(plots.Bar(case["name"], spread))
    charts = [plots.Chart(titles[group], bars, 0) for group, bars in groups.items() if bars]
    captions = [
        "All instructions of an emulated machine with one processor: user space, kernel, driver, interrupts. "
        f"Differences of two scans; {plots.rounds(results['settings'])}.",
        f"igb if not said otherwise; guest: Linux {results['guest_kernel']}. {described(results['machine'])}",
    ]
    return plots.bars("What a probe costs the whole machine, in instructions", charts, captions)


def report(results: Results, options: Namespace) -> Report:
    """Compares with what was recorded."""
    recorded, kept = {}, FOLDER / "budget.json"
    if options.quick and kept.exists():
        recorded = json.loads(kept.read_text(encoding="utf-8"))["guard"]
    picture = None if "skipped" in results else draw(results)
    return Report(told(results), shortcomings(results, recorded), picture)
