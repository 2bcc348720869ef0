#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Full round trips: how many of the hosts that all answer does each scanner find, at which rate?

survey.sh makes the lab and calls this, as root. Prints all that was measured as JSON; survey_report.py sums it up.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import common
import senders
from farside import Counter, Trickle, listen

# Who answers: an XDP program on the wire's far end, or the network stack behind it.
RESPONDERS = ["xdp", "stack"]
# Asked for; 0 is as fast as the scanner can.
RATES = [50_000, 100_000, 200_000, 400_000, 0]
QUICK_RATES = [100_000, 0]
TEN = 10
TEN_RATE = 100_000
# Of the rate at which the responder, or the machine under both, comes to its end.
SHARE_OF_KNEE = 0.9
# Scans, at most, to find what to ask for so that as much comes in.
TRIES = 6


@dataclass(frozen=True)
class Job:
    """What every scanner is to do."""

    interface: str
    source_ip: str
    gateway_mac: str
    cores: str
    targets: ipaddress.IPv4Network
    cooldown_seconds: int


@dataclass(frozen=True)
class Scanner:
    """One scanner: its command at a rate, with the hosts found on standard output; how to ask for its version."""

    name: str
    command: Callable[[int], list[str]]
    version_command: list[str]
    needs_traffic: bool = False
    # Brings an XDP program of its own.
    has_program: bool = False

    def at(self, rate: int) -> senders.Sender:
        """The scanner as tx.py knows it."""
        return senders.Sender(self.name, self.command(rate), self.version_command, self.needs_traffic)


@dataclass
class Run:
    """One scan. `rate` is what was asked for in probes a second, `pps` and `arrived` what the far side counted."""

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
    # What a scan that missed a host says of itself.
    why: dict[str, Any] | None = None


def xdpmap(job: Job, program: str, mode: str, metadata: str) -> Scanner:
    """One worker, and in live mode the thread in the kernel on the other core."""

    def command(rate: int) -> list[str]:
        words = [program, "-i", job.interface, "-p", senders.PORT, "-r", str(rate), "-T", "1", "--cores", job.cores]
        words += ["--io-mode", mode, "-c", str(job.cooldown_seconds), "--allow-reserved", "-G", job.gateway_mac]
        words += ["-b", "/dev/null", "-C", "/dev/null"]
        return [*words, "-q", "-v", "1", "-m", metadata, str(job.targets)]

    name = "xdpmap" if mode == "copy" else f"xdpmap {mode}"
    return Scanner(name, command, [program, "-C", "/dev/null", "--version"], has_program=True)


def zmap(job: Job, name: str, program: str, more: list[str], fastest: list[str]) -> Scanner:
    """One sending thread; neither anyone's settings nor a block list."""

    def command(rate: int) -> list[str]:
        words = [program, "-i", job.interface, "-p", senders.PORT, "-T", "1", f"--cores={job.cores}", *more]
        words += ["-r", str(rate)] if rate else fastest
        words += ["-c", str(job.cooldown_seconds), "-b", "/dev/null", "-C", "/dev/null"]
        return [*words, "-S", job.source_ip, "-G", job.gateway_mac, "-o", "-", "-q", str(job.targets)]

    return Scanner(name, command, [program, "-C", "/dev/null", "--version"])


def masscan(job: Job) -> Scanner:
    """It pins its threads itself, and ends only when a packet comes in after its last."""

    def command(rate: int) -> list[str]:
        words = ["masscan", "-e", job.interface, "-p", senders.PORT, "--rate", str(rate or 100_000_000)]
        words += ["--wait", str(job.cooldown_seconds), "--adapter-ip", job.source_ip, "--adapter-port", "40000"]
        return [*words, "--router-mac", job.gateway_mac, "--range", str(job.targets), "-oL", "-"]

    return Scanner("masscan", command, ["masscan", "--version"], needs_traffic=True)


@contextlib.contextmanager
def program_on(namespace: str, interface: str, pinned: Path) -> Iterator[None]:
    """Has a pinned XDP program on an interface (pass.bpf.c tells why)."""
    tool = ["nsenter", f"--net=/run/netns/{namespace}", "bpftool", "net"]
    subprocess.run([*tool, "attach", "xdpdrv", "pinned", str(pinned), "dev", interface], check=True)
    try:
        yield
    finally:
        subprocess.run([*tool, "detach", "xdpdrv", "dev", interface], check=True)


class Answering:
    """Says who answers: a pinned map of responder.bpf.c."""

    def __init__(self, pinned: Path) -> None:
        self._pinned = str(pinned)

    def by(self, responder: str) -> None:
        """From now on."""
        value = "1" if responder == "stack" else "0"
        command = ["bpftool", "map", "update", "pinned", self._pinned, "key", *["0"] * 4, "value", value, *["0"] * 3]
        subprocess.run(command, check=True, capture_output=True)


ADDRESS = re.compile(rb"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])")


def hosts_in(printed: bytes, targets: ipaddress.IPv4Network) -> tuple[int, int]:
    """How many of the targets are in what a scanner printed, each counted once; and how many other addresses."""
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


@dataclass(frozen=True)
class Survey:
    """Everything that a scan takes."""

    scan_namespace: str
    scan_interface: str
    net_namespace: str
    net_interface: str
    counter: Counter
    answering: Answering
    passing: Path
    targets: ipaddress.IPv4Network
    metadata: Path

    def scan(self, number: int, scanner: Scanner, responder: str, rate: int) -> Run:
        """Runs one scanner once."""
        self.answering.by(responder)
        self.counter.reset()
        self.metadata.unlink(missing_ok=True)
        sender = scanner.at(rate)
        trickle = Trickle(self.net_namespace, self.net_interface) if sender.needs_traffic else contextlib.nullcontext()
        program = contextlib.nullcontext()
        if not scanner.has_program:
            program = program_on(self.scan_namespace, self.scan_interface, self.passing)
        command = ["ip", "netns", "exec", self.scan_namespace, *sender.command]
        with program, trickle, tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
            stolen, start = common.stolen_seconds(), time.monotonic()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=complaints)
            exit_code, usage, timed_out = common.wait(process, 30)
            wall, stolen = time.monotonic() - start, common.stolen_seconds() - stolen
            printed.seek(0)
            complaints.seek(0)
            found, wrong = hosts_in(printed.read(), self.targets)
            if exit_code != 0:
                sys.stderr.write(complaints.read().decode(errors="replace")[-300:] + "\n")
        arrivals = self.counter.read()
        run = Run(
            round=number,
            scanner=scanner.name,
            responder=responder,
            rate=rate,
            exit_code=exit_code,
            timed_out=timed_out,
            arrived=arrivals.probes,
            pps=round(arrivals.pps),
            found=found,
            wrong=wrong,
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
            wall_seconds=round(wall, 3),
            stolen_seconds=round(stolen, 2),
            why=explanation(self.metadata) if found < self.targets.num_addresses else None,
        )
        asked = f"{rate:,}" if rate else "max"
        sys.stderr.write(
            f"{responder:<6} {run.scanner:<12} {asked:>8} asked {run.pps:>10,} a second  {run.arrived:>8} arrived"
            f"  {self.targets.num_addresses - run.found:>7} missed\n"
        )
        return run


def curves(survey: Survey, scanners: list[Scanner], responders: list[str], rates: list[int], rounds: int) -> list[Run]:
    """Every scanner at every rate, before both responders, in turns."""
    runs = []
    for number in range(rounds):
        shift = number % len(scanners)
        for responder in responders:
            for rate in rates:
                for scanner in scanners[shift:] + scanners[:shift]:
                    runs.append(survey.scan(number, scanner, responder, rate))
    return runs


def knee(survey: Survey, scanner: Scanner, runs: list[Run]) -> int:
    """The greatest rate at which the scanner missed no host before the XDP responder in any round, or 0."""
    whole = [0]
    for rate in {run.rate for run in runs}:
        of = [run for run in runs if (run.responder, run.scanner, run.rate) == ("xdp", scanner.name, rate)]
        if all(run.found == survey.targets.num_addresses for run in of):
            whole.append(int(statistics.median(run.pps for run in of)))
    return max(whole)


def to_deliver(survey: Survey, scanner: Scanner, wanted: int) -> int:
    """The rate to ask for so that `wanted` probes a second come in: near the knee there are fewer than were asked for. Of
    those that were tried, the one that brought most, if none brings as many."""
    asked, tried = wanted, {}
    for number in range(TRIES):
        run = survey.scan(number, scanner, "xdp", asked)
        tried[run.pps] = asked
        if run.pps >= wanted:
            break
        asked = asked * wanted // max(run.pps, 1)
    return tried[max(tried)]


def ten(survey: Survey, scanner: Scanner, runs: list[Run]) -> list[Run]:
    """Ten scans at 100,000 packets a second and ten near the knee."""
    rates = [TEN_RATE]
    if wanted := int(knee(survey, scanner, runs) * SHARE_OF_KNEE):
        rates.append(to_deliver(survey, scanner, wanted))
    return [survey.scan(number, scanner, "xdp", rate) for rate in rates for number in range(TEN)]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--quick", action="store_true", help="two rates only")
    parser.add_argument("--ten", action="store_true", help="ten runs at 100,000 packets a second, ten near the knee")
    parser.add_argument("--live", action="store_true", help="xdpmap by live frames, too")
    parser.add_argument("--targets", type=ipaddress.IPv4Network, required=True)
    parser.add_argument("--cooldown", type=int, required=True, help="seconds to wait after the last probe")
    parser.add_argument("--xdpmap", required=True)
    parser.add_argument("--zmap4", help="a ZMap 4, if there is one")
    parser.add_argument("--net-namespace", required=True)
    parser.add_argument("--net-interface", required=True)
    parser.add_argument("--pins", type=Path, required=True, help="folder of pinned maps and programs")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is passed on")
    common.add_lab_arguments(parser)
    return parser.parse_args()


def contestants(arguments: argparse.Namespace, metadata: Path) -> list[Scanner]:
    """All scanners."""
    first, *others = sorted(os.sched_getaffinity(0), reverse=True)
    job = Job(
        interface=arguments.scan_interface,
        source_ip=arguments.source_ip,
        gateway_mac=arguments.gateway_mac,
        cores=",".join(str(core) for core in [first, *others[:1]]),
        targets=arguments.targets,
        cooldown_seconds=arguments.cooldown,
    )
    modes = ["copy", "live"] if arguments.live else ["copy"]
    scanners = [xdpmap(job, arguments.xdpmap, mode, str(metadata)) for mode in modes]
    scanners.append(zmap(job, "zmap", "zmap", [], ["-r", "0"]))
    if arguments.zmap4:
        scanners.append(zmap(job, "zmap 4", arguments.zmap4, ["--batch", "64"], ["-B", "100G"]))
    return [*scanners, masscan(job)]


def main() -> None:
    """Measures, prints."""
    arguments = parse_arguments()
    session = common.Session(arguments.pid_file)
    metadata = arguments.work / "metadata.json"
    scanners = contestants(arguments, metadata)
    survey = Survey(
        arguments.scan_namespace,
        arguments.scan_interface,
        arguments.net_namespace,
        arguments.net_interface,
        Counter(str(arguments.pins / "arrivals")),
        Answering(arguments.pins / "stack_answers"),
        arguments.pins / "pass",
        arguments.targets,
        metadata,
    )
    listening = listen(arguments.net_namespace, int(senders.PORT))
    rates = QUICK_RATES if arguments.quick else RATES
    runs = curves(survey, scanners, RESPONDERS, rates, arguments.rounds)
    ten_runs = ten(survey, scanners[0], runs) if arguments.ten else []
    listening.close()
    settings = {
        "rounds": arguments.rounds,
        "rates": rates,
        "targets": str(arguments.targets),
        "hosts": arguments.targets.num_addresses,
        "cooldown_seconds": arguments.cooldown,
    }
    competing = [
        {
            "name": scanner.name,
            "version": scanner.at(0).version(),
            "command": scanner.at(rates[0]).shown().replace(str(metadata), "metadata.json"),
            "fastest": scanner.at(0).shown().replace(str(metadata), "metadata.json"),
        }
        for scanner in scanners
    ]
    single = {"runs": [asdict(run) for run in runs], "ten": [asdict(run) for run in ten_runs]}
    print(json.dumps(session.results(settings, scanners=competing, **single)))


if __name__ == "__main__":
    main()
