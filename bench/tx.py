#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs every sender once a round in a lab that tx.sh has made, and prints all that was measured as JSON.

Needs root, because the lab does; what is to belong to the user is left to tx_report.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace

import senders
from common import Session, add_lab_arguments, ksoftirqd_seconds, stolen_seconds, wait
from farside import Counter, Trickle


# Packets of a run that shows what starting and ending cost.
START_COUNT = 64


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
    # What the kernel moved from the sender to its own threads: if it is not little, the CPU time above is too low.
    ksoftirqd_seconds: float
    # What the hypervisor took from all cores together: rate and CPU time of a run with much of it say little.
    stolen_seconds: float
    own_packets_sent: int | None = None
    own_send_seconds: float | None = None


@dataclass(frozen=True)
class Lab:
    """The two ends of the wire."""

    scan_namespace: str
    net_namespace: str
    net_interface: str
    counter: Counter


def own_figures(printed: bytes) -> dict[str, float]:
    """The sender's own packets_sent and send_seconds."""
    try:
        report = json.loads(printed)
        return {"own_packets_sent": report["packets_sent"], "own_send_seconds": report["send_seconds"]}
    except (ValueError, KeyError):
        return {}


def run_once(number: int, sender: senders.Sender, lab: Lab, timeout_seconds: float) -> Run:
    """Runs one sender once."""
    lab.counter.reset()
    trickle = Trickle(lab.net_namespace, lab.net_interface) if sender.needs_traffic else contextlib.nullcontext()
    command = ["ip", "netns", "exec", lab.scan_namespace, *sender.command]
    with trickle, tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        softirq, stolen, start = ksoftirqd_seconds(), stolen_seconds(), time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=complaints)
        exit_code, usage, timed_out = wait(process, timeout_seconds)
        wall = time.monotonic() - start
        softirq, stolen = ksoftirqd_seconds() - softirq, stolen_seconds() - stolen
        printed.seek(0)
        complaints.seek(0)
        own = own_figures(printed.read()) if sender.reports else {}
        if exit_code != 0:
            sys.stderr.write(complaints.read().decode(errors="replace")[-2000:])
    arrivals = lab.counter.read()
    return Run(
        round=number,
        sender=sender.name,
        exit_code=exit_code,
        timed_out=timed_out,
        arrived=arrivals.probes,
        pps=round(arrivals.pps),
        frame_bytes=arrivals.frame_bytes,
        user_seconds=round(usage.ru_utime, 6),
        system_seconds=round(usage.ru_stime, 6),
        wall_seconds=round(wall, 3),
        ksoftirqd_seconds=round(softirq, 3),
        stolen_seconds=round(stolen, 2),
        **own,
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--count", type=int, required=True, help="probes of each run")
    parser.add_argument("--core", type=int, required=True, help="core of the sending thread")
    parser.add_argument("--xdpmap", required=True)
    parser.add_argument("--bare", required=True)
    parser.add_argument("--bare-live", required=True)
    parser.add_argument("--bare-live-object", required=True)
    parser.add_argument("--zmap4", help="a ZMap 4, if there is one")
    parser.add_argument("--only", type=lambda names: names.split(","), help="the senders that run, instead of all")
    parser.add_argument("--net-namespace", required=True)
    parser.add_argument("--net-interface", required=True)
    parser.add_argument("--map", required=True, help="pinned map of the drop program")
    add_lab_arguments(parser)
    arguments = parser.parse_args()
    if not 1 <= arguments.count <= senders.TARGETS.num_addresses:
        parser.error(f"--count must be 1 to {senders.TARGETS.num_addresses}, the addresses of {senders.TARGETS}")
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return arguments


def planned(arguments: argparse.Namespace) -> senders.Job:
    """What each sender is to do in a round."""
    cores = sorted(os.sched_getaffinity(0))
    return senders.Job(
        interface=arguments.scan_interface,
        source_ip=arguments.source_ip,
        gateway_mac=arguments.gateway_mac,
        count=arguments.count,
        core=arguments.core,
        other_core=next((core for core in cores if core != arguments.core), arguments.core),
    )


def contestants(arguments: argparse.Namespace, job: senders.Job) -> list[list[senders.Sender]]:
    """All senders; those of one list are compared closely, and run one after the other."""
    live = senders.xdpmap_live(job, arguments.xdpmap)
    bare_live = senders.bare_live(job, arguments.bare_live, arguments.bare_live_object)
    slots = [[senders.xdpmap(job, arguments.xdpmap), senders.bare(job, arguments.bare)], [live, bare_live]]
    for threads in (1, 2):
        slots.append([senders.zmap(job, threads)])
        if arguments.zmap4:
            slots.append([senders.zmap4(job, arguments.zmap4, threads)])
    slots += [[senders.masscan(job)], [senders.trafgen(job)]]
    known = {sender.name for slot in slots for sender in slot}
    wanted = set(arguments.only or known)
    if wanted - known:
        sys.exit(f"error: --only: no sender {sorted(wanted - known)[0]!r} among {', '.join(sorted(known))}")
    chosen = ([sender for sender in slot if sender.name in wanted] for slot in slots)
    return [slot for slot in chosen if slot]


def main() -> None:
    """Measures, prints."""
    arguments = parse_arguments()
    session = Session(arguments.pid_file)
    job = planned(arguments)
    competing = contestants(arguments, job)
    starting = {s.name: s for slot in contestants(arguments, replace(job, count=START_COUNT)) for s in slot}
    counter = Counter(arguments.map)
    lab = Lab(arguments.scan_namespace, arguments.net_namespace, arguments.net_interface, counter)
    timeout_seconds = 30 + arguments.count / 25_000
    runs, starts = [], []
    for number in range(arguments.rounds):
        for sender in senders.order_of_round(number, competing):
            starts.append(asdict(run_once(number, starting[sender.name], lab, timeout_seconds)))
            run = run_once(number, sender, lab, timeout_seconds)
            runs.append(asdict(run))
            cpu = run.user_seconds + run.system_seconds
            sys.stderr.write(
                f"round {number + 1}/{arguments.rounds}  {run.sender:<17} {run.pps / 1e6:6.3f} Mpps"
                f"  {cpu / max(run.arrived, 1) * 1e6:6.3f} CPU-s/M  {run.arrived} arrived\n"
            )
    names = [
        {"name": sender.name, "version": sender.version(), "command": sender.shown()}
        for slot in competing
        for sender in slot
    ]
    settings = {"rounds": arguments.rounds, "count": arguments.count, "core": arguments.core, "start_count": START_COUNT}
    print(json.dumps(session.results(settings, senders=names, runs=runs, starts=starts)))


if __name__ == "__main__":
    main()
