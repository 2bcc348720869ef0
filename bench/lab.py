# SPDX-License-Identifier: MIT OR Apache-2.0
"""The lab that the program `lab` makes, with one queue and a counting XDP program at its far end.

What always holds: no packet can leave the machine, and nothing of the lab outlives this process, even if it is killed:
`lab` removes it at the end of its input, which is a pipe from here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.build import LAB
from bench.process import signals_ignored
from bench.record import say


@dataclass(frozen=True)
class Lab:
    """The two ends of the wire, as `lab hold` describes them."""

    # The namespaces: where scanners run, and where the far side is.
    scan: str
    net: str
    scan_interface: str
    net_interface: str
    source_ip: str
    gateway_ip: str
    gateway_mac: str
    # The lab's own folder, in memory.
    folder: str
    # A folder for files of any size, for as long as there is the lab.
    work: Path

    @property
    def pins(self) -> Path:
        """Where the far side's maps are pinned by their names; a file system of its own."""
        return Path(self.folder, "bpf")

    def inside(self, command: list[str]) -> list[str]:
        """The command, to run at the scanners' end."""
        return ["ip", "netns", "exec", self.scan, *command]

    @contextlib.contextmanager
    def program(self, pinned: Path) -> Iterator[None]:
        """Attaches a pinned XDP program at the scanners' end."""
        self._bpftool_net("attach", "xdpdrv", "pinned", str(pinned), "dev", self.scan_interface)
        try:
            yield
        finally:
            self._bpftool_net("detach", "xdpdrv", "dev", self.scan_interface)

    def _bpftool_net(self, *words: str) -> None:
        # With nsenter, because `ip netns exec` would hide the file system of the pins.
        run("nsenter", f"--net=/run/netns/{self.scan}", "bpftool", "net", *words)


@contextlib.contextmanager
def made(far_side: Path, answers: str = "silent") -> Iterator[Lab]:
    """A lab for as long as it is needed. `far_side` is the object of the far end's XDP program, `answers` is what
    answers behind it: the value of `lab hold --far`."""
    say("making a lab: two network namespaces, a veth pair with one queue, a far side that counts")
    command = [LAB, "hold", f"bench{os.getpid()}", "1", "--far", answers, "--program", str(far_side)]
    with tempfile.TemporaryDirectory(prefix="xm-bench-") as work:
        # In a group of its own, as signals from a terminal are not to take the lab from under what runs in it.
        holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
        assert holder.stdin and holder.stdout
        try:
            described = holder.stdout.readline()
            if not described:
                sys.exit("error: there is no lab")
            words = dict(word.split("=", 1) for word in described.split())
            yield Lab(**words, work=Path(work))
        finally:
            with signals_ignored():
                holder.stdin.close()
                holder.wait()


def run(*command: str) -> None:
    """Runs a command that has to succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
