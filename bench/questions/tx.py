# SPDX-License-Identifier: MIT OR Apache-2.0
"""How fast do xdpmap, bare senders, zmap, masscan and trafgen send, and for how much CPU time?

Fails if a sender failed, or if packets of xdpmap or of a bare sender did not arrive: such a measurement is void.
"""

from __future__ import annotations

import statistics
import sys
from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import Any

from bench import build, plots, senders
from bench.far.farside import Counter
from bench.lab import Lab, made
from bench.process import pair_of_cores
from bench.questions import CORE, ZMAP4, Option, number, rounds
from bench.record import Report, Results, described, shown, spread, table
from bench.senders import Sender

# m4 and what the tests' libbpf takes: xsk-rs compiles libxdp, and libbpf as well.
PACKAGES = ("iproute2", "procps", "util-linux", "bpftool", "libbpf-dev", "zmap", "masscan", "netsniff-ng")
PACKAGES += ("test_build_packages", "m4")
ROOT = True
OPTIONS = (
    rounds(7),
    Option("--count", "packets of a run", 2_000_000, 200_000, number(1, senders.TARGETS.num_addresses)),
    CORE,
    ZMAP4,
    Option("--only", "the senders that run, comma separated, such as 'xdpmap,bare AF_XDP'", kind=str, value="NAMES"),
)

# Packets of a run that measures the cost of starting and ending.
START_COUNT = 64
# A wire may lose a packet while its far end is busy; a run of ours that loses more than this is void.
ARRIVED_MIN = 0.999
# Which senders are compared, if both ran: with the same number of cores, unless stated otherwise.
COMPARED = {
    "xdpmap": ["bare AF_XDP", "bare xsk-rs", "xdpmap live", "zmap", "zmap 4", "masscan", "trafgen"],
    "bare xsk-rs": ["bare AF_XDP"],
    "xdpmap live": ["bare live", "zmap, 2 threads", "zmap 4, 2 threads", "zmap", "zmap 4"],
}
# Senders whose loss makes a run void; the loss of a peer is only shown in its row.
OURS = ("xdpmap", "xdpmap live", "bare AF_XDP", "bare xsk-rs", "bare live")
# Two bare senders measure the same if their rates differ by no more than this, in the median of all rounds.
AGREE_WITHIN = 0.05


@dataclass
class Run:
    """One run of one sender. Rates and counts without "own" are the far side's."""

    round: int
    sender: str
    exit_code: int
    timed_out: bool
    arrived: int
    pps: float
    frame_bytes: int
    user_seconds: float
    system_seconds: float
    wall_seconds: float
    ksoftirqd_seconds: float
    stolen_seconds: float
    own_packets_sent: int | None = None
    own_send_seconds: float | None = None


def prepare(_: Namespace) -> None:
    """xdpmap, the bare senders and the far side."""
    build.xdpmap_and_lab()
    build.c_program("senders/bare_xsk")
    build.bare_xsk_rs()
    build.c_program("senders/bare_live", "-lbpf")
    build.bpf("far/drop", "senders/bare_live")


def contestants(options: Namespace, lab: Lab, count: int) -> list[list[Sender]]:
    """All senders; those of one list are compared closely, and run one after the other."""
    core, other_core = pair_of_cores(options.core)

    def xdpmap(name: str, mode: str, on: str) -> Sender:
        words = ["-p", senders.PORT, "-r", "0", "--cores", on, "--io-mode", mode, "--allow-reserved", "-n", str(count)]
        return senders.xdpmap(name, lab, *words, "-o", "/dev/null", "-m", "-", str(senders.TARGETS))

    def zmap(name: str, program: str, threads: int, *fastest: str) -> Sender:
        # The first sending thread is on xdpmap's core, the others on further cores.
        words = [
            "-B",
            "100G",
            f"--cores={core},{other_core}",
            "-n",
            str(count),
            "-o",
            "/dev/null",
            str(senders.TARGETS),
        ]
        name = name if threads == 1 else f"{name}, {threads} threads"
        return senders.zmap(name, lab, *fastest, *words, program=program, threads=threads)

    # Live frames need a worker, and on the other core the thread that stays in the kernel.
    live = xdpmap("xdpmap live", "live", f"{other_core},{core}")
    slots = [
        [
            xdpmap("xdpmap", "copy", str(core)),
            senders.bare(lab, core, count),
            senders.bare_xsk_rs(lab, core, count),
        ],
        [live, senders.bare_live(lab, core, count)],
    ]
    for threads in (1, 2):
        # With two threads the kernel occasionally refuses a packet, which must not end the run.
        slots.append([zmap("zmap", "zmap", threads, "-r", "0", "--max-sendto-failures", "1000000")])
        if options.zmap4:
            # Batches of 64 make the fewest system calls that still pay. `-r 0` would undo both flags.
            slots.append([zmap("zmap 4", options.zmap4, threads, "--batch", "64")])
    # masscan has no limit on targets: the range is as long as the count.
    targets = f"{senders.TARGETS[0]}-{senders.TARGETS[count - 1]}"
    slots += [[senders.masscan(lab, 100_000_000, targets, "-oX", "/dev/null")], [senders.trafgen(lab, count)]]
    known = {sender.name for slot in slots for sender in slot}
    wanted = set(options.only.split(",")) if options.only else known
    if wanted - known:
        sys.exit(f"error: --only: no sender {sorted(wanted - known)[0]!r} among {', '.join(sorted(known))}")
    chosen = ([sender for sender in slot if sender.name in wanted] for slot in slots)
    return [slot for slot in chosen if slot]


def order_of_round(number: int, slots: list[list[Sender]]) -> list[Sender]:
    """The order of the senders: those compared closely share a slot, stay together and swap sides; the slots rotate."""
    turned = [slot[::-1] if number % 2 else slot for slot in slots]
    shift = number % len(slots)
    return [sender for slot in turned[shift:] + turned[:shift] for sender in slot]


def run_once(number: int, sender: Sender, lab: Lab, timeout_seconds: float) -> Run:
    """Runs one sender once."""
    counter = Counter(lab)
    counter.reset()
    ended = sender.run(lab, timeout_seconds)
    arrivals = counter.read()
    return Run(
        round=number,
        sender=sender.name,
        exit_code=ended.exit_code,
        timed_out=ended.timed_out,
        arrived=arrivals.probes,
        pps=round(arrivals.pps),
        frame_bytes=arrivals.frame_bytes,
        user_seconds=ended.user_seconds,
        system_seconds=ended.system_seconds,
        wall_seconds=ended.wall_seconds,
        ksoftirqd_seconds=ended.ksoftirqd_seconds,
        stolen_seconds=ended.stolen_seconds,
        **sender.own(ended, "packets_sent", "send_seconds"),
    )


def measure(options: Namespace) -> Results:
    """Runs every sender once per round."""
    with made(build.bpf_object("far/drop")) as lab:
        competing = contestants(options, lab, options.count)
        starting = {sender.name: sender for slot in contestants(options, lab, START_COUNT) for sender in slot}
        timeout_seconds = 30 + options.count / 25_000
        runs, starts = [], []
        for number in range(options.rounds):
            for sender in order_of_round(number, competing):
                starts.append(asdict(run_once(number, starting[sender.name], lab, timeout_seconds)))
                run = run_once(number, sender, lab, timeout_seconds)
                runs.append(asdict(run))
                cpu = run.user_seconds + run.system_seconds
                sys.stderr.write(
                    f"round {number + 1}/{options.rounds}  {run.sender:<17} {run.pps / 1e6:6.3f} Mpps"
                    f"  {cpu / max(run.arrived, 1) * 1e6:6.3f} CPU-s/M  {run.arrived} arrived\n"
                )
    core, _ = pair_of_cores(options.core)
    settings = {"rounds": options.rounds, "count": options.count, "core": core, "start_count": START_COUNT}
    names = [
        {"name": sender.name, "version": sender.version(), "command": sender.shown()}
        for slot in competing
        for sender in slot
    ]
    return {"settings": settings, "senders": names, "runs": runs, "starts": starts}


def per_million(run: dict[str, Any], *kinds: str) -> float:
    """CPU-seconds of these kinds per million packets that arrived."""
    return float(sum(run[f"{kind}_seconds"] for kind in kinds) / max(run["arrived"], 1) * 1e6)


def without_start(runs: list[dict[str, Any]], starts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs with the user time per packet, in nanoseconds, without the time for starting and ending."""
    idle = statistics.mean(start["user_seconds"] for start in starts)
    packets = statistics.median(start["arrived"] for start in starts)
    return [
        {**run, "user_ns": max(run["user_seconds"] - idle, 0) / max(run["arrived"] - packets, 1) * 1e9} for run in runs
    ]


def summarise_sender(runs: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """The figures of one sender over all rounds."""
    summary: dict[str, Any] = {
        "mpps": spread([run["pps"] / 1e6 for run in runs], 4),
        "cpu_seconds_per_million": spread([per_million(run, "user", "system") for run in runs], 4),
        "user_ns": spread([run["user_ns"] for run in runs], 1),
        "arrived_share": spread([run["arrived"] / count for run in runs], 6),
        "frame_bytes": max(run["frame_bytes"] for run in runs),
    }
    if all(run["own_send_seconds"] for run in runs):
        summary["own_mpps"] = spread([run["own_packets_sent"] / run["own_send_seconds"] / 1e6 for run in runs], 4)
    return summary


def pairs(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratios of the first to the second in each round: rate, and CPU time per packet, all and in user space."""
    figures = {
        "pps_ratio": lambda run: run["pps"],
        "cpu_ratio": lambda run: per_million(run, "user", "system"),
        "user_ratio": lambda run: run["user_ns"],
    }
    found = {}
    for name, figure in figures.items():
        # A bare sender may use no user time that the kernel can measure: such a pair has no ratio.
        ratios = [round(figure(a) / figure(b), 4) for a, b in zip(first, second) if figure(b)]
        found[name] = {"median": round(statistics.median(ratios or [0]), 4), "pairs": ratios or [0]}
    # The kernel samples user time a few hundred times per second, so one run has only a dozen samples.
    mean = [statistics.mean(run["user_ns"] for run in runs) for runs in (first, second)]
    if mean[1]:
        found["user_ratio"]["of_means"] = round(mean[0] / mean[1], 4)
    return found


def summarise(results: Results) -> dict[str, Any]:
    """The figures of all senders, and the ratios of xdpmap's modes to the others."""
    names = [sender["name"] for sender in results["senders"]]
    of = {
        name: without_start(*([run for run in results[key] if run["sender"] == name] for key in ("runs", "starts")))
        for name in names
    }
    count = results["settings"]["count"]
    return {
        "senders": {name: summarise_sender(of[name], count) for name in names},
        "ratios": {
            f"{first} / {other}": pairs(of[first], of[other])
            for first, others in COMPARED.items()
            for other in others
            if first in of and other in of
        },
    }


def shortcomings(results: Results) -> list[str]:
    """Everything that makes these results void."""
    found = []
    for run in results["runs"]:
        share = run["arrived"] / results["settings"]["count"]
        if run["timed_out"]:
            found.append(f"{run['sender']} did not end by itself in round {run['round'] + 1}")
        elif run["exit_code"] != 0:
            found.append(f"{run['sender']} ended with {run['exit_code']} in round {run['round'] + 1}")
        if run["sender"] in OURS and not ARRIVED_MIN <= share <= 1:
            found.append(f"{share:.3%} of {run['sender']}'s packets arrived in round {run['round'] + 1}")
    return found


def told(summary: dict[str, Any]) -> str:
    """The summary as text."""
    rows = [
        (
            name,
            shown(figures["mpps"], 3),
            shown(figures["cpu_seconds_per_million"], 2),
            shown(figures["user_ns"], 0),
            figures["frame_bytes"],
            f"{figures['arrived_share']['min']:.2%}",
        )
        for name, figures in summary["senders"].items()
    ]
    columns = ("sender", "Mpps", "CPU-s per million", "user ns per packet", "frame, bytes", "arrived, at least")
    lines = [table(columns, rows), ""]
    ratios = [
        (name, *(shown(spread(ratio[of]["pairs"], 3), 3) for of in ("pps_ratio", "cpu_ratio", "user_ratio")))
        for name, ratio in summary["ratios"].items()
    ]
    lines.append(table(("in the same round", "packets per second", "CPU time per packet", "user time per packet"), ratios))
    for name in ("xdpmap / bare AF_XDP", "xdpmap / bare xsk-rs", "xdpmap live / bare live"):
        rates = summary["ratios"].get(name, {}).get("pps_ratio", {}).get("pairs", [])
        if rates:
            lines += ["", f"{name}, round by round: {', '.join(f'{rate:.3f}' for rate in rates)}."]
    if agreed := summary["ratios"].get("bare xsk-rs / bare AF_XDP"):
        ratio = agreed["pps_ratio"]["median"]
        verdict = "agree" if abs(ratio - 1) <= AGREE_WITHIN else "do not agree"
        found = f"bare xsk-rs is at {ratio:.1%} in the median of {len(agreed['pps_ratio']['pairs'])}"
        lines += ["", f"The bare senders {verdict} to within {AGREE_WITHIN:.0%}: {found}."]
    for name in ("xdpmap / zmap", "xdpmap / zmap 4"):
        if of_means := summary["ratios"].get(name, {}).get("user_ratio", {}).get("of_means"):
            lines += ["", f"{name}, user time per packet, of the means over all rounds: {of_means:.3f}."]
    return "\n".join(lines)


def draw(results: Results) -> plots.Figure:
    """Rates and CPU time."""
    settings, figures = results["settings"], results["summary"]["senders"]
    charts = [
        plots.Chart(title, [plots.Bar(name, of[figure]) for name, of in figures.items()], 2)
        for figure, title in (
            ("mpps", "Million packets per second: more is better"),
            ("cpu_seconds_per_million", "CPU-seconds for a million packets: less is better"),
        )
    ]
    captions = [
        f"Medians of {plots.rounds(settings)} of {settings['count']:,} packets, in turns; whiskers: least and "
        "greatest. Rates as counted by the far side.",
        "One sending thread if not said otherwise; xdpmap live: a worker on one core, the kernel's work on the other.",
        "veth pair with one queue, far side drops in native XDP; its work is part of the CPU time. No NIC.",
        described(results["machine"]),
    ]
    return plots.bars(
        "Sending SYNs: xdpmap in two modes, the least each way out costs, and other senders", charts, captions
    )


def report(results: Results, _: Namespace) -> Report:
    """Summarises, draws, judges."""
    results["summary"] = summarise(results)
    return Report(told(results["summary"]), shortcomings(results), draw(results))
