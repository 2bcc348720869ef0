# SPDX-License-Identifier: MIT OR Apache-2.0
"""The counts of the plugin count.c, by interval, by kind and by function.

What always holds: an instruction is of one kind and of one function, so each sum over them is that of all instructions.
Those of the far side are counted apart, and are in no sum.
"""

from __future__ import annotations

import bisect
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# What an instruction was executed for: in user space, in the kernel for a task, in an interrupt's handler, in a
# softirq.
KINDS = ("user", "kernel", "interrupt", "softirq")
# The kind of what the second NIC's driver does, which answers.
FAR = "far"
KERNEL_FROM = 1 << 63
# Where a program begins if addresses are not random.
PROGRAM_FROM = 0x5555_5555_4000

# The functions that clear pages.
CLEARING = ("clear_page", "clear_highpages")


@dataclass
class Interval:
    """Instructions by kind and by the address of their block, how often the processor went to sleep, system calls."""

    sleeps: int = 0
    calls: int = 0
    instructions: dict[str, Counter[int]] = field(default_factory=lambda: {kind: Counter() for kind in (*KINDS, FAR)})

    def of(self, kind: str) -> int:
        """All instructions of a kind."""
        return self.instructions[kind].total()

    def less(self, other: Interval) -> Interval:
        """What this interval has in excess of the other; an address may have less than nothing."""
        more = Interval(self.sleeps - other.sleeps, self.calls - other.calls)
        for kind in more.instructions:
            more.instructions[kind].update(self.instructions[kind])
            more.instructions[kind].subtract(other.instructions[kind])
        return more


def read(counts: Path, names: list[str]) -> dict[str, Interval]:
    """The intervals that have these names, in their order; "-" is none."""
    found: dict[str, Interval] = {}
    with counts.open(encoding="ascii") as lines:
        for number, (sleeps, calls, blocks) in enumerate(intervals(line.split() for line in lines)):
            name = names[number] if number < len(names) else "-"
            if name == "-":
                continue
            interval = found[name] = Interval(sleeps, calls)
            for start, instructions, *times in blocks:
                kinds = (*KINDS[1:], FAR) if start >= KERNEL_FROM else ("user",) * len(times)
                for kind, executed in zip(kinds, times, strict=True):
                    if executed:
                        interval.instructions[kind][start] += instructions * executed
    return found


def intervals(lines: Iterator[list[str]]) -> Iterator[tuple[int, int, list[tuple[int, ...]]]]:
    """Each interval's sleeps, system calls and blocks: start, instructions, and its executions in each context."""
    head, blocks = None, []
    for first, second, *rest in lines:
        if first == "mark":
            if head:
                yield *head, blocks
            head, blocks = (int(second), int(rest[0])), []
        else:
            blocks.append((int(first, 16), *(int(word) for word in rest)))
    if head:
        yield *head, blocks


class Functions:
    """The functions of the guest's kernel, and of one program."""

    def __init__(self, kallsyms: Path, program: str) -> None:
        kernel = []
        for line in kallsyms.read_text(encoding="ascii").splitlines():
            address, kind, name, *module = line.split()
            if kind in "tTwW":
                kernel.append((int(address, 16), " ".join((name, *module))))
        command = ["nm", "--demangle", "--defined-only", program]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        of_program = []
        for line in listed.splitlines():
            address, kind, name = line.split(maxsplit=2)
            if kind in "tTwW":
                of_program.append((PROGRAM_FROM + int(address, 16), re.sub("::h[0-9a-f]{16}$", "", name)))
        self._symbols = sorted(of_program) + sorted(kernel)
        self._starts = [address for address, _ in self._symbols]
        self._end_of_program = max(address for address, _ in of_program) + (1 << 16)

    def name(self, address: int) -> str:
        """The function that has an address."""
        if not PROGRAM_FROM <= address < self._end_of_program and address < KERNEL_FROM:
            return "libraries"
        place = bisect.bisect_right(self._starts, address) - 1
        return self._symbols[place][1] if place >= 0 else "unknown"

    def without_cleared_pages(self, interval: Interval) -> Interval:
        """The same, without the pages that the kernel clears: starts differ by many of them, and a probe needs none."""
        for kind in KINDS:
            kept = interval.instructions[kind]
            interval.instructions[kind] = Counter(
                {address: count for address, count in kept.items() if not self.name(address).startswith(CLEARING)}
            )
        return interval

    def by_name(self, interval: Interval) -> Counter[tuple[str, str]]:
        """Instructions by kind and function."""
        found: Counter[tuple[str, str]] = Counter()
        for kind in KINDS:
            for address, instructions in interval.instructions[kind].items():
                found[kind, self.name(address)] += instructions
        return found
