# SPDX-License-Identifier: MIT OR Apache-2.0
"""The senders that are compared: how each is told to send the same number of SYNs to the same targets."""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import subprocess
from dataclasses import dataclass

# All of it lies behind the far end of the wire, and none of it is on the wire itself.
TARGETS = ipaddress.ip_network("10.0.0.0/8")
PORT = "80"


@dataclass(frozen=True)
class Job:
    """What every sender is to do."""

    interface: str
    source_ip: str
    gateway_mac: str
    count: int
    core: int
    other_core: int


@dataclass(frozen=True)
class Sender:
    """One sender: its command, and how to ask for its version, or its compiler's where it has none."""

    name: str
    command: list[str]
    version_command: list[str]
    # Ends only when a packet comes in after it has sent its last.
    needs_traffic: bool = False
    # Prints a JSON object with its own packets_sent and send_seconds.
    reports: bool = False

    def shown(self) -> str:
        """The command, without the folders in which this machine happens to have the program."""
        return shlex.join([os.path.basename(self.command[0]), *self.command[1:]])

    def version(self) -> str:
        """The program that tells its version, and the first number with a dot in what it tells."""
        shown = subprocess.run(self.version_command, capture_output=True, text=True, check=False).stdout
        number = re.search(r"\d+(\.\d+)+", shown)
        return f"{os.path.basename(self.version_command[0])} {number[0] if number else 'unknown'}"


def xdpmap(job: Job, program: str) -> Sender:
    """As fast as AF_XDP in copy mode can, one worker. Its one answer: the metadata, on standard output."""
    return _xdpmap("xdpmap", "copy", str(job.core), job, program)


def xdpmap_live(job: Job, program: str) -> Sender:
    """The same by live frames: one worker, and the sender beside it on the other core."""
    return _xdpmap("xdpmap live", "live", f"{job.other_core},{job.core}", job, program)


def _xdpmap(name: str, mode: str, cores: str, job: Job, program: str) -> Sender:
    command = [program, "-i", job.interface, "-p", PORT, "-r", "0", "-T", "1", "--cores", cores, "--io-mode", mode]
    command += ["-c", "0", "--allow-reserved", "-G", job.gateway_mac, "-n", str(job.count), "-o", "/dev/null", "-q"]
    command += ["-b", "/dev/null", "-C", "/dev/null"]
    return Sender(name, [*command, "-m", "-", str(TARGETS)], [program, "-C", "/dev/null", "--version"], reports=True)


def bare(job: Job, program: str) -> Sender:
    """bare_xsk.c: one thread, which taskset pins to the core that xdpmap's worker has."""
    command = ["taskset", "-c", str(job.core), program, job.interface, job.gateway_mac, str(job.count)]
    return Sender("bare AF_XDP", command, ["gcc", "-dumpfullversion"], reports=True)


def bare_live(job: Job, program: str, bpf_object: str) -> Sender:
    """bare_live.c: one thread, and no second that makes anything; on the core of xdpmap's thread in the kernel."""
    command = ["taskset", "-c", str(job.core), program, bpf_object, job.interface, job.gateway_mac, str(job.count)]
    return Sender("bare live", command, ["gcc", "-dumpfullversion"], reports=True)


def zmap(job: Job, threads: int) -> Sender:
    """Debian's zmap as fast as it can. With two threads the kernel refuses a packet now and then, which must not end it."""
    return _zmap("zmap", "zmap", threads, ["-r", "0", "--max-sendto-failures", "1000000"], job)


def zmap4(job: Job, program: str, threads: int) -> Sender:
    """ZMap 4 at its best: batches of 64 make the fewest system calls that still pay. `-r 0` would undo both flags."""
    return _zmap("zmap 4", program, threads, ["--batch", "64"], job)


def _zmap(name: str, program: str, threads: int, more: list[str], job: Job) -> Sender:
    """The first sending thread on xdpmap's core, the others beside it; no one's settings, no block list."""
    command = [program, "-i", job.interface, "-p", PORT, *more, "-B", "100G", "-T", str(threads)]
    command += [f"--cores={job.core},{job.other_core}", "-c", "0", "-b", "/dev/null", "-C", "/dev/null"]
    command += ["-S", job.source_ip, "-G", job.gateway_mac, "-n", str(job.count), "-o", "/dev/null", "-q"]
    # It reads its settings even to tell its version, and dies of another version's.
    version = [program, "-C", "/dev/null", "--version"]
    return Sender(name if threads == 1 else f"{name}, {threads} threads", [*command, str(TARGETS)], version)


def masscan(job: Job) -> Sender:
    """One sending thread, which it pins itself. It has no limit on targets: the range is as long as the count."""
    targets = f"{TARGETS[0]}-{TARGETS[job.count - 1]}"
    command = ["masscan", "-e", job.interface, "-p", PORT, "--rate", "100000000", "--wait", "0"]
    command += ["--adapter-ip", job.source_ip, "--adapter-port", "40000", "--router-mac", job.gateway_mac]
    command += ["--range", targets, "-oX", "/dev/null"]
    return Sender("masscan", command, ["masscan", "--version"], needs_traffic=True)


def trafgen(job: Job) -> Sender:
    """A packet generator: targets in ascending order, no cookie, no replies. One process, which it pins itself."""
    ethernet = f"eth(da={job.gateway_mac})"
    ip = f"ipv4(sa={job.source_ip}, da=dinc({int(TARGETS[0])}, {int(TARGETS[-1])}), ttl=64)"
    packet = f"{{ {ethernet}, {ip}, tcp(sp=40000, dp={PORT}, syn, seq=1, window=1024) }}"
    command = ["trafgen", "--dev", job.interface, "--num", str(job.count), "--cpus", "1"]
    command += ["--no-sock-mem", "--notouch-irq", "--no-cpu-stats", packet]
    return Sender("trafgen", command, ["trafgen", "--version"])


def order_of_round(number: int, slots: list[list[Sender]]) -> list[Sender]:
    """Whose turn it is: those compared closely share a slot, stay together and swap sides; the slots go round."""
    turned = [slot[::-1] if number % 2 else slot for slot in slots]
    shift = number % len(slots)
    return [sender for slot in turned[shift:] + turned[:shift] for sender in slot]
