# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs a program and measures its resources."""

from __future__ import annotations

import contextlib
import glob
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """A program that has ended, and its measurements. Times are those of all its threads, from exec to exit."""

    exit_code: int
    timed_out: bool
    printed: bytes
    complaints: str
    user_seconds: float
    system_seconds: float
    wall_seconds: float
    # CPU time that the kernel moved from the program to its own threads: if it is large, the CPU time above is too low.
    ksoftirqd_seconds: float
    # CPU time that the hypervisor took from all cores together: a run with much of it has a meaningless rate and CPU
    # time.
    stolen_seconds: float

    def complain(self) -> None:
        """Prints the end of the standard error of a program that failed."""
        if self.exit_code != 0:
            sys.stderr.write(self.complaints[-2000:] + "\n")


def run(command: Sequence[str], timeout_seconds: float) -> Ended:
    """Runs a program to its end, and kills it if it takes too long."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        softirq, stolen, start = ksoftirqd_seconds(), stolen_seconds(), time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=complaints)
        timed_out = False
        pidfd = os.pidfd_open(process.pid)
        try:
            if not select.select([pidfd], [], [], timeout_seconds)[0]:
                timed_out = True
                process.kill()
        except BaseException:
            process.kill()
            raise
        finally:
            os.close(pidfd)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        softirq, stolen = ksoftirqd_seconds() - softirq, stolen_seconds() - stolen
        printed.seek(0)
        complaints.seek(0)
        return Ended(
            exit_code=process.returncode,
            timed_out=timed_out,
            printed=printed.read(),
            complaints=complaints.read().decode(errors="replace"),
            user_seconds=round(usage.ru_utime, 6),
            system_seconds=round(usage.ru_stime, 6),
            wall_seconds=round(wall, 3),
            ksoftirqd_seconds=round(softirq, 3),
            stolen_seconds=round(stolen, 2),
        )


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_on_signals() -> None:
    """Makes signals end this process in order, with all its clean-up."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignores signals during work that must be completed."""
    before = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def ksoftirqd_seconds() -> float:
    """CPU time of the kernel threads that take over when more packets arrive than interrupts can process."""
    total_ns = 0
    for path in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as comm:
            if comm.read().startswith("ksoftirqd/"):
                with open(path.replace("comm", "schedstat"), encoding="ascii") as schedstat:
                    total_ns += int(schedstat.read().split()[0])
    return total_ns / 1e9


def stolen_seconds() -> float:
    """CPU time that was needed here and given to another guest of the same host."""
    with open("/proc/stat", encoding="ascii") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def cores() -> list[int]:
    """The cores that this process may use. Benchmarks use the last first, because most interrupts go to the first."""
    return sorted(os.sched_getaffinity(0), reverse=True)


def pair_of_cores(named: int | None) -> tuple[int, int]:
    """The core of a sending thread, which may be given, and one for its second thread: the same if there is only
    one."""
    core = cores()[0] if named is None else named
    return core, next((other for other in reversed(cores()) if other != core), core)
