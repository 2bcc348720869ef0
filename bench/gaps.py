# SPDX-License-Identifier: MIT OR Apache-2.0
"""What gaps.bpf.c noted at the far end of the wire: when probes came, and the gaps between them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

# As in gaps.bpf.c.
LINEAR_BITS = 5
LINEAR = 1 << LINEAR_BITS
BUCKETS = (37 - LINEAR_BITS + 1) * LINEAR
VALUE_BYTES = (6 + BUCKETS) * 8  # struct arrivals


def bounds_ns(bucket: int) -> tuple[int, int]:
    """The least gap that a bucket holds, and the least that it holds no longer."""
    if bucket < LINEAR:
        return bucket, bucket + 1
    shift = (bucket >> LINEAR_BITS) - 1
    start = (LINEAR + bucket % LINEAR) << shift
    return start, start + (1 << shift)


@dataclass(frozen=True)
class Seen:
    """What came in since the last reset. Times are CLOCK_MONOTONIC, as time.monotonic_ns() has it."""

    probes: int
    others: int
    first_ns: int
    last_ns: int
    longest_ns: int
    frame_bytes: int
    gaps: list[int]

    @property
    def seconds(self) -> float:
        """From the first probe to the last."""
        return (self.last_ns - self.first_ns) / 1e9

    @property
    def pps(self) -> float:
        """Probes a second between the first and the last."""
        return (self.probes - 1) / self.seconds if self.probes > 1 else 0.0

    def gap_ns(self, share: float) -> int:
        """The gap that this share of all gaps does not exceed, to 3 %: the end of its bucket."""
        left = share * sum(self.gaps)
        for bucket, count in enumerate(self.gaps):
            left -= count
            if count and left <= 0:
                return min(bounds_ns(bucket)[1] - 1, self.longest_ns)
        return self.longest_ns

    def histogram(self) -> list[tuple[int, int]]:
        """Where each bucket starts, in nanoseconds, and how many gaps it holds; empty ones left out."""
        return [(bounds_ns(bucket)[0], count) for bucket, count in enumerate(self.gaps) if count]


class FarSide:
    """The pinned map of gaps.bpf.c."""

    def __init__(self, pinned: str) -> None:
        self._pinned = pinned

    def _bpftool(self, verb: str, *arguments: str) -> str:
        command = ["bpftool", "-j", "map", verb, "pinned", self._pinned, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def reset(self) -> None:
        """Sets everything to zero."""
        self._bpftool("update", "key", *["0"] * 4, "value", *["0"] * VALUE_BYTES)

    def read(self) -> Seen:
        """What is noted by now."""
        return Seen(**json.loads(self._bpftool("dump"))[0]["formatted"]["value"])
