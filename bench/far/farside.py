# SPDX-License-Identifier: MIT OR Apache-2.0
"""The far end of the wire: what its XDP program counted (tally.h) or timed (gaps.bpf.c), and the trickle of packets
that masscan needs to end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab import Lab

TALLY_BYTES = 48  # struct tally of tally.h
# As in gaps.bpf.c.
LINEAR_BITS = 5
LINEAR = 1 << LINEAR_BITS
BUCKETS = (37 - LINEAR_BITS + 1) * LINEAR
GAPS_BYTES = (6 + BUCKETS) * 8  # struct arrivals


class Entry:
    """The only entry of a pinned map, on all CPUs if it has one for each."""

    def __init__(self, pinned: Path, length: int) -> None:
        self._pinned = str(pinned)
        self._length = length

    def _bpftool(self, verb: str, *arguments: str) -> str:
        command = ["bpftool", "-j", "map", verb, "pinned", self._pinned, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def set(self, number: int = 0) -> None:
        """Sets the first byte, and all others to zero."""
        self._bpftool("update", "key", *["0"] * 4, "value", str(number), *["0"] * (self._length - 1))

    def read(self) -> dict[str, Any]:
        """The value in the form of the program's BTF."""
        formatted: dict[str, Any] = json.loads(self._bpftool("dump"))[0]["formatted"]
        return formatted


@dataclass(frozen=True)
class Arrivals:
    """The packets that came in since the last reset."""

    probes: int
    others: int
    pps: float
    frame_bytes: int


class Counter:
    """The counters of a program with tally.h."""

    def __init__(self, lab: Lab) -> None:
        self._entry = Entry(lab.pins / "arrivals", TALLY_BYTES)

    def reset(self) -> None:
        """Sets everything to zero."""
        self._entry.set()

    def read(self) -> Arrivals:
        """Adds the CPUs up. The rate is the one between the earliest and the latest timed packet."""
        tallies = [cpu["value"] for cpu in self._entry.read()["values"]]
        used = [tally for tally in tallies if tally["probes"]]
        seconds = pps = 0.0
        if used:
            seconds = (max(t["timed_ns"] for t in used) - min(t["first_ns"] for t in used)) / 1e9
        if seconds:
            pps = (sum(t["timed_probes"] for t in used) - len(used)) / seconds
        return Arrivals(
            probes=sum(t["probes"] for t in tallies),
            others=sum(t["others"] for t in tallies),
            pps=pps,
            frame_bytes=max((t["frame_bytes"] for t in used), default=0),
        )


class Answering:
    """Selects what answers SYNs in front of responder.bpf.c."""

    def __init__(self, lab: Lab) -> None:
        self._entry = Entry(lab.pins / "stack_answers", 4)

    def by(self, responder: str) -> None:
        """Selects it from now on."""
        self._entry.set(int(responder == "stack"))


def bounds_ns(bucket: int) -> tuple[int, int]:
    """The smallest gap of a bucket, and the smallest one above it."""
    if bucket < LINEAR:
        return bucket, bucket + 1
    shift = (bucket >> LINEAR_BITS) - 1
    start = (LINEAR + bucket % LINEAR) << shift
    return start, start + (1 << shift)


@dataclass(frozen=True)
class Seen:
    """The packets that came in since the last reset. Times are CLOCK_MONOTONIC, as in time.monotonic_ns()."""

    probes: int
    others: int
    first_ns: int
    last_ns: int
    longest_ns: int
    frame_bytes: int
    gaps: list[int]

    @property
    def seconds(self) -> float:
        """The time from the first probe to the last."""
        return (self.last_ns - self.first_ns) / 1e9

    @property
    def pps(self) -> float:
        """Probes per second between the first and the last."""
        return (self.probes - 1) / self.seconds if self.probes > 1 else 0.0

    def gap_ns(self, share: float) -> int:
        """The gap that this share of all gaps does not exceed, to within 3 %: the end of its bucket."""
        left = share * sum(self.gaps)
        for bucket, count in enumerate(self.gaps):
            left -= count
            if count and left <= 0:
                return min(bounds_ns(bucket)[1] - 1, self.longest_ns)
        return self.longest_ns

    def histogram(self) -> list[tuple[int, int]]:
        """The start of each bucket, in nanoseconds, and its number of gaps, without empty buckets."""
        return [(bounds_ns(bucket)[0], count) for bucket, count in enumerate(self.gaps) if count]


class Timer:
    """The records of gaps.bpf.c."""

    def __init__(self, lab: Lab) -> None:
        self._entry = Entry(lab.pins / "arrivals", GAPS_BYTES)

    def reset(self) -> None:
        """Sets everything to zero."""
        self._entry.set()

    def read(self) -> Seen:
        """What has been recorded so far."""
        return Seen(**self._entry.read()["value"])


def enter(namespace: str) -> None:
    """Moves the calling thread, and it alone, into a network namespace. Python has this call from 3.12 on."""
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)


class Trickle:
    """Sends a frame of an experimental EtherType, which nothing answers, from the far side 20 times per second."""

    FRAME = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + b"\x88\xb5" + bytes(46)

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        enter(self._lab.net)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind((self._lab.net_interface, 0))
            while not self._stop.wait(0.05):
                # The other end may have no room.
                with contextlib.suppress(OSError):
                    wire.send(self.FRAME)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
