# SPDX-License-Identifier: MIT OR Apache-2.0
"""What does a probe cost, in instructions of the whole machine, through a driver with zero-copy and otherwise?

In an emulated machine with one processor, in which a nanosecond is an instruction and each is counted: xdpmap, the
kernel, the driver, interrupts and completions. A case is the difference of two scans. The counts do not depend on this
machine or its load. A run fails if the counts of a case differ by more than 1 %, or if an answer or a reset is lost. A
quick run boots once, and fails if xdpmap takes more than was recorded: instructions compared with the bare sender in
the same boot, instructions in user space, or system calls.
"""

from __future__ import annotations

import json
import statistics
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from bench import build, plots
from bench.machine import boots
from bench.machine.boots import Left, Run
from bench.machine.counts import FAR, KINDS, Functions, Interval
from bench.questions import Option, program, rounds
from bench.record import FOLDER, Report, Results, described, say, table

PACKAGES = ("lab_packages", "libcap2-bin", "zmap", "masscan", "binutils")
ROOT = False
OPTIONS = (
    rounds(3),
    Option("--program", "measures this xdpmap instead of one that is built", kind=program, value="PROGRAM"),
    Option("--go-on", "keeps the cases that a run which was ended has counted, and counts the others"),
)

# The cases of each machine, in their order (scripts/lab-zerocopy/budget.sh); both take about as long. A quick run has
# only those that are guarded.
QUICK = ("bare-zerocopy", "zerocopy", "bare-copy", "copy", "slow-10000")
MACHINES = (
    (
        *QUICK,
        "slow-1000",
        "slow-50000",
        "zerocopy-smallest",
        "zerocopy-4-queues",
        "bare-zerocopy-virtio",
        "zerocopy-virtio",
    ),
    ("packet", "live", "zmap", "masscan", "answered", "answered-10000"),
)
# So many rounds have all cases. A further one has only those whose counts differ by more than this share.
WHOLE_ROUNDS, SAME = 2, 0.005
# How much the counts of a case may differ.
AGREEMENT = 0.01
# Largest growth of a guarded figure that still passes.
TOLERANCE = 1.03
# System calls of threads that wake by the clock: there are some 200 in each second of the guest's time, and boots differ
# by up to so many. A nanosecond of that time is an instruction, so a probe by copy mode has ten times those of a probe
# with zero-copy.
CLOCK_CALLS_PER_S = 50
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
BY_FUNCTION = ("zerocopy", "zerocopy-virtio", "slow-10000", "answered")
FUNCTION_MIN_SHARE = 0.005
# In the order of the tables.
TITLES = {
    "zerocopy": "xdpmap, zero-copy",
    "zerocopy-smallest": "xdpmap, zero-copy, smallest-probes",
    "zerocopy-4-queues": "xdpmap, zero-copy, 4 queues",
    "bare-zerocopy": "bare AF_XDP, zero-copy",
    "zerocopy-virtio": "xdpmap, zero-copy, virtio-net",
    "bare-zerocopy-virtio": "bare AF_XDP, zero-copy, virtio-net",
    "copy": "xdpmap, copy",
    "bare-copy": "bare AF_XDP, copy",
    "live": "xdpmap, live frames",
    "packet": "xdpmap, packet",
    "zmap": "zmap",
    "masscan": "masscan",
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
    results: Results = {"settings": {"quick": options.quick, "rounds": options.rounds}, "guest_kernel": ""}
    boots.keep_for(measured, options.go_on)
    all_rounds: list[dict[str, Any]] = []
    for number in range(1, options.rounds + 1):
        wanted = cases_of_round([QUICK] if options.quick else MACHINES, all_rounds)
        found = list(boots.of_round(number))
        done = {case for one in found for case in one.cases}
        machines = [rest for rest in ([case for case in cases if case not in done] for cases in wanted) if rest]
        if machines:
            booted = boots.boot(number, machines, measured)
            if booted is None:
                return {**results, "skipped": "the packages of the lab are unavailable here"}
            found += booted
        if found:
            say(f"evaluating the counts of round {number}")
            all_rounds.append({name: row for one in found for name, row in evaluated(one, measured).items()})
            results["guest_kernel"] = next(kernel for one in found if (kernel := kernel_of(one)))
    return {**results, "cases": medians(all_rounds), "guard": medians_of_guard(all_rounds)}


def cases_of_round(machines: Sequence[Sequence[str]], before: list[dict[str, Any]]) -> list[list[str]]:
    """The cases that each machine runs in the round after these."""
    if len(before) < WHOLE_ROUNDS:
        return [list(cases) for cases in machines]
    differing = {case for case in TITLES if spread([one[case] for one in before if case in one]) > SAME}
    return [[case for case in cases if case in differing] for cases in machines]


def spread(rows: list[dict[str, Any]]) -> float:
    """By which share the counts of a case differ."""
    instructions = [row["instructions"] for row in rows]
    return max(instructions) / min(instructions) - 1 if instructions else 0


def medians(all_rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each case the round whose instructions are the median, with those of all rounds; what an answer takes."""
    found = {}
    for case in TITLES:
        of_case = [one[case] for one in all_rounds if case in one]
        if not of_case:
            continue
        instructions = [row["instructions"] for row in of_case]
        median = instructions.index(statistics.median_low(instructions))
        found[case] = {**of_case[median], "instructions_of_rounds": instructions}
        if len(of_case) > 1:
            found[case]["spread"] = round(spread(of_case), 5)
    for case, silent in ANSWERED.items():
        if case in found and silent in found:
            found[case]["answer"] = {
                kind: round(found[case][kind] - found[silent][kind], 2) for kind in ("instructions", *KINDS)
            }
    return found


def medians_of_guard(all_rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Each guarded figure is of one round; the median of all rounds that have every guarded case."""
    figures = [guard(one) for one in all_rounds if set(QUICK) <= set(one)]
    return {name: statistics.median_low([one[name] for one in figures]) for name in figures[0]}


def kernel_of(left: Left) -> str:
    """The kernel of a guest that has come to its end."""
    path = left.folder / "kernel"
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def evaluated(left: Left, measured: str) -> dict[str, Any]:
    """The cases that a boot has left."""
    if not left.cases:
        return {}
    functions = Functions(left.folder / "kallsyms", measured)
    return {case: evaluated_case(case, functions, *runs) for case, runs in left.cases.items()}


def evaluated_case(case: str, functions: Functions, few: Run, many: Run) -> dict[str, Any]:
    """What the run with many probes takes in excess of the one with few."""
    more = functions.without_cleared_pages(many.interval.less(few.interval))
    probes = many.probes - few.probes
    found = row(case, more, few, many)
    wakeups = [one.told.get("counters", one.told).get("wakeups") for one in (few, many)]
    if None not in wakeups:
        found["wakeups"] = round((wakeups[1] - wakeups[0]) / probes, 4)
    if case in ANSWERED:
        found["answers"] = [one.told.get("success_unique") for one in (few, many)]
        found["resets"] = [one.told["counters"]["rst_sent"] for one in (few, many)]
        found["far"] = round(more.of(FAR) / probes, 2)
    if case in BY_FUNCTION:
        found["functions"] = listed(functions, more, probes)
    return found


def row(case: str, more: Interval, few: Run, many: Run) -> dict[str, Any]:
    """Instructions of a probe, and how often the processor sleeps and enters the kernel for one."""
    probes = many.probes - few.probes
    of = {kind: round(more.of(kind) / probes, 2) for kind in KINDS}
    return {
        "name": TITLES[case],
        "driver": "virtio_net" if case.endswith("-virtio") else "igb",
        "command": many.command,
        "probes": [few.probes, many.probes],
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
    columns = ("way", "instructions a probe", "in all rounds", "differ by")
    columns += (*KINDS, "system calls", "wake-ups", "sleeps")
    lines = [
        (
            case["name"],
            f"{case['instructions']:,.1f}",
            ", ".join(f"{figure:,.1f}" for figure in case["instructions_of_rounds"]),
            f"{case['spread']:.2%}" if "spread" in case else "",
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


def limit(name: str, recorded: float, cases: dict[str, Any]) -> float:
    """The largest value of a figure of the guard that still passes."""
    case, _, what = name.partition(", ")
    by_clock = CLOCK_CALLS_PER_S * cases[case]["instructions"] / 1e9 if what == "system calls" else 0.0
    return recorded * TOLERANCE + by_clock


def shortcomings(results: Results, recorded: dict[str, float]) -> list[str]:
    """Everything that has grown by more than is tolerated, or differs too much, and answers and resets that were
    lost."""
    grown = [
        f"{name}: {figure} for a probe, {recorded.get(name, 'none')} were recorded"
        for name, figure in results.get("guard", {}).items()
        if recorded and figure > limit(name, recorded.get(name, 0), results["cases"])
    ]
    lost = [
        f"{name}: {case['answers']} answers to {case['probes']} probes"
        for name, case in results.get("cases", {}).items()
        if "answers" in case and case["answers"] != case["probes"]
    ]
    unsteady = [
        f"{name}: {case['instructions_of_rounds']} instructions for a probe"
        for name, case in results.get("cases", {}).items()
        if case.get("spread", 0) > AGREEMENT
    ]
    half_open = [
        f"{name}: {case['resets']} resets to {case['answers']} answers"
        for name, case in results.get("cases", {}).items()
        if "answers" in case and case["resets"] != case["answers"]
    ]
    return grown + unsteady + lost + half_open


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
        f"Differences of two scans; at most {plots.rounds(results['settings'])}.",
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
