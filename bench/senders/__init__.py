# SPDX-License-Identifier: MIT OR Apache-2.0
"""The sending programs: xdpmap, its peers, and the bare senders, with equivalent options for each.

Whichever program runs, no settings of the machine and no block list are used.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.build import BARE_XSK_RS, FOLDER, XDPMAP, bpf_object
from bench.far.farside import Trickle
from bench.lab import Lab
from bench.process import Ended, run

# All of it is behind the far end of the wire, and none of it is on the wire itself.
TARGETS = ipaddress.ip_network("10.0.0.0/8")
PORT = "80"


@dataclass(frozen=True)
class Sender:
    """One sender: its command, and how to get its version, or that of its compiler if it has none."""

    name: str
    command: list[str]
    version_command: list[str]
    # Ends only when a packet comes in after it has sent its last.
    needs_traffic: bool = False

    def shown(self) -> str:
        """The command without the folders of this machine."""
        return shlex.join([os.path.basename(self.command[0]), *self.command[1:]])

    def version(self) -> str:
        """The program that reports its version, and the first number with a dot in its output."""
        shown = subprocess.run(self.version_command, capture_output=True, text=True, check=False).stdout
        number = re.search(r"\d+(\.\d+)+", shown)
        return f"{os.path.basename(self.version_command[0])} {number[0] if number else 'unknown'}"

    def run(self, lab: Lab, timeout_seconds: float) -> Ended:
        """Runs it once in the lab."""
        with Trickle(lab) if self.needs_traffic else contextlib.nullcontext():
            ended = run(lab.inside(self.command), timeout_seconds)
        ended.complain()
        return ended

    @staticmethod
    def own(ended: Ended, *names: str) -> dict[str, Any]:
        """These figures of its own report: xdpmap and the bare senders print a JSON object, the others none."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            report = json.loads(ended.printed)
            return {f"own_{name}": report[name] for name in names}
        return {}


def xdpmap(name: str, lab: Lab, *more: str, cooldown_seconds: int = 0, blocklist: str = "/dev/null") -> Sender:
    """One worker."""
    command = [XDPMAP, "-i", lab.scan_interface, "-T", "1", "-c", str(cooldown_seconds), "-G", lab.gateway_mac]
    command += ["-b", blocklist, "-C", "/dev/null", "-q", *more]
    return Sender(name, command, [XDPMAP, "-C", "/dev/null", "--version"])


def zmap(
    name: str,
    lab: Lab,
    *more: str,
    program: str = "zmap",
    threads: int = 1,
    cooldown_seconds: int = 0,
    blocklist: str = "/dev/null",
) -> Sender:
    """Debian's zmap, or a ZMap 4."""
    command = [program, "-i", lab.scan_interface, "-p", PORT, "-T", str(threads), "-c", str(cooldown_seconds)]
    command += ["-S", lab.source_ip, "-G", lab.gateway_mac, "-b", blocklist, "-C", "/dev/null", "-q", *more]
    # It reads its settings even to print its version, and fails on another version's.
    return Sender(name, command, [program, "-C", "/dev/null", "--version"])


def masscan(lab: Lab, rate_pps: int, targets: str, *more: str, wait_seconds: int = 0) -> Sender:
    """One sending thread, which pins itself."""
    command = ["masscan", "-e", lab.scan_interface, "-p", PORT, "--rate", str(rate_pps), "--wait", str(wait_seconds)]
    command += ["--adapter-ip", lab.source_ip, "--adapter-port", "40000", "--router-mac", lab.gateway_mac]
    return Sender("masscan", [*command, "--range", targets, *more], ["masscan", "--version"], needs_traffic=True)


def bare(lab: Lab, core: int, count: int) -> Sender:
    """bare_xsk.c: one thread, which taskset pins to the core of xdpmap's worker."""
    return _bare("bare AF_XDP", core, FOLDER / "bare_xsk", lab.scan_interface, lab.gateway_mac, str(count))


def bare_xsk_rs(lab: Lab, core: int, count: int) -> Sender:
    """The same sender on the crate xsk-rs, on the same core."""
    sender = _bare("bare xsk-rs", core, BARE_XSK_RS, lab.scan_interface, lab.gateway_mac, str(count))
    return replace(sender, version_command=[str(BARE_XSK_RS), "--version"])


def bare_live(lab: Lab, core: int, count: int) -> Sender:
    """bare_live.c: one thread, without a second one to fill a ring; on the core of xdpmap's thread in the kernel."""
    program = str(bpf_object("senders/bare_live"))
    return _bare("bare live", core, FOLDER / "bare_live", program, lab.scan_interface, lab.gateway_mac, str(count))


def _bare(name: str, core: int, program: Path, *more: str) -> Sender:
    command = ["taskset", "-c", str(core), str(program), *more]
    return Sender(name, command, ["gcc", "-dumpfullversion"])


def trafgen(lab: Lab, count: int) -> Sender:
    """A packet generator: targets in ascending order, no cookie, no replies. One process, which pins itself."""
    ethernet = f"eth(da={lab.gateway_mac})"
    ip = f"ipv4(sa={lab.source_ip}, da=dinc({int(TARGETS[0])}, {int(TARGETS[-1])}), ttl=64)"
    packet = f"{{ {ethernet}, {ip}, tcp(sp=40000, dp={PORT}, syn, seq=1, window=1024) }}"
    command = ["trafgen", "--dev", lab.scan_interface, "--num", str(count), "--cpus", "1"]
    command += ["--no-sock-mem", "--notouch-irq", "--no-cpu-stats", packet]
    return Sender("trafgen", command, ["trafgen", "--version"])
