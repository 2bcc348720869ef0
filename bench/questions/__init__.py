# SPDX-License-Identifier: MIT OR Apache-2.0
"""The questions: one module each, with the question, its options, how it measures, and how it evaluates the results."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from bench.record import Report, Results

# The questions that are run by default, in this order, and those that are only run if they are named.
USUAL = ("engine", "budget", "tx", "survey", "xdp", "results", "start", "pace", "governor")
NAMED_ONLY = ("nic", "busy")


@dataclass(frozen=True)
class Option:
    """An option. Options of the same name are the same in all questions, except for their defaults."""

    flag: str
    help: str
    # The default, and that of a quick run if it differs.
    default: Any = None
    quick: Any = None
    # Parses its value; None for an option without a value.
    kind: Callable[[str], Any] | None = None
    value: str = "N"
    required: bool = False

    @property
    def name(self) -> str:
        """Its name as an attribute of the options."""
        return self.flag.lstrip("-").replace("-", "_")


class Question(Protocol):
    """The parts of a question's module. The first line of its documentation is the question."""

    __doc__: str | None
    # Debian packages, in addition to those for a build.
    PACKAGES: Sequence[str]
    # Whether measuring needs root.
    ROOT: bool
    OPTIONS: Sequence[Option]

    def prepare(self, options: Namespace) -> None:
        """Builds the measured programs, as the user."""

    def measure(self, options: Namespace) -> Results:
        """All runs and their settings; in a separate process (measure.py)."""

    def report(self, results: Results, options: Namespace) -> Report:
        """Adds a summary to the results, draws, and judges."""


def module(name: str) -> Question:
    """The question's module."""
    return cast(Question, import_module(f"bench.questions.{name}"))


def number(least: int = 1, most: int | None = None) -> Callable[[str], int]:
    """A number from `least` to `most`."""

    def read(text: str) -> int:
        found = int(text) if text.isascii() and text.isdigit() else -1
        if found < least or (most is not None and found > most):
            limit = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number, {limit}")
        return found

    return read


def program(text: str) -> str:
    """A program, by its path."""
    path = Path(text).resolve()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no program {text}")
    return str(path)


def rounds(default: int, quick: int = 1) -> Option:
    """How often everything is measured."""
    return Option("--rounds", "how often everything is measured, in turns", default, quick, number())


def seconds(default: int, quick: int) -> Option:
    """How long a run takes."""
    return Option("--seconds", "how long a run takes; of pace 600 probes at least", default, quick, number())


CORE = Option("--core", "core of the sending thread; the last one if none is named", kind=number(0))
ZMAP4 = Option("--zmap4", "measures this ZMap 4, too", kind=program, value="PROGRAM")
