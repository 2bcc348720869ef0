# SPDX-License-Identifier: MIT OR Apache-2.0
"""The far end of the wire: what its XDP program counted (tally.h), who listens there, and the trickle of packets that
masscan needs to end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import threading
from dataclasses import dataclass

TALLY_BYTES = 48  # struct tally of tally.h


@dataclass(frozen=True)
class Arrivals:
    """What came in since the last reset."""

    probes: int
    others: int
    pps: float
    frame_bytes: int


class Counter:
    """The pinned map of the XDP program."""

    def __init__(self, pinned: str) -> None:
        self._pinned = pinned

    def _bpftool(self, *arguments: str) -> str:
        verb, *rest = arguments
        command = ["bpftool", "-j", "map", verb, "pinned", self._pinned, *rest]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def reset(self) -> None:
        """Sets everything to zero, on all CPUs."""
        self._bpftool("update", "key", *["0"] * 4, "value", *["0"] * TALLY_BYTES)

    def read(self) -> Arrivals:
        """Adds the CPUs up: the rate is that from the earliest to the latest packet whose time was taken."""
        tallies = [cpu["value"] for cpu in json.loads(self._bpftool("dump"))[0]["formatted"]["values"]]
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


def enter(namespace: str) -> None:
    """Moves the calling thread, and it alone, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    moved = libc.setns(fd, 0x40000000)  # CLONE_NEWNET
    os.close(fd)
    if moved != 0:
        raise OSError(ctypes.get_errno(), "setns")


def listen(namespace: str, port: int) -> socket.socket:
    """A socket that listens there on all addresses; who holds it accepts nobody, the stack answers SYNs by itself."""
    made = []

    def make() -> None:
        enter(namespace)
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.bind(("0.0.0.0", port))
        listening.listen(4096)
        made.append(listening)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


class Trickle:
    """Sends a frame of an experimental EtherType, which nobody answers, from the far side 20 times a second."""

    FRAME = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + b"\x88\xb5" + bytes(46)

    def __init__(self, namespace: str, interface: str) -> None:
        self._namespace = namespace
        self._interface = interface
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        enter(self._namespace)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind((self._interface, 0))
            while not self._stop.wait(0.05):
                # The other end may have no room.
                with contextlib.suppress(OSError):
                    wire.send(self.FRAME)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
