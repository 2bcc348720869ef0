# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs one question after the other: builds as the user, measures (measure.py), reports and records as the user."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import build, plots, questions, record
from bench.process import end_on_signals, signals_ignored
from bench.questions import NAMED_ONLY, USUAL, Option
from bench.record import FOLDER, Results, described, dumps, say

ABOUT = """\
Benchmarks: a table for each, and JSON and a picture in bench/results. All usual questions take three quarters of an hour.

  ./bench/run.sh                     all usual questions
  ./bench/run.sh tx xdp              only these
  ./bench/run.sh --quick             do they all still work? Some five minutes; not recorded
  ./bench/run.sh tx --rounds 9       with options: each goes to the questions that have it
  ./bench/run.sh tx --help           the options of one question
  ./bench/run.sh --nic eth1 ...      through a network card instead of the lab: the question nic
"""
END = """\
Root is needed, or sudo; no packet leaves the machine, except with --nic. Continues after a failure, and exits with
1 if something failed or missed its aim. bench/README.md explains the figures.
"""
# Not a value that an option can have: it means that the option was not given.
ABSENT = object()


def options_of(names: Sequence[str]) -> dict[str, dict[str, Option]]:
    """Each option of these questions by its name, with the questions that have it."""
    found: dict[str, dict[str, Option]] = {}
    for name in names:
        for option in questions.module(name).OPTIONS:
            found.setdefault(option.name, {})[name] = option
    return found


def parser_of(names: Sequence[str]) -> argparse.ArgumentParser:
    """The command line with the options of these questions."""
    about = {name: (questions.module(name).__doc__ or "").strip() for name in names}
    if len(names) == 1:
        description = about[names[0]]
    else:
        description = f"{ABOUT}\nquestions:\n" + "\n".join(
            f"  {name:<9} {text.splitlines()[0]}" for name, text in about.items()
        )
    parser = argparse.ArgumentParser(
        prog="bench/run.sh",
        usage="bench/run.sh [QUESTION...] [OPTIONS]",
        description=description,
        epilog=END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("questions", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="store_true", help="show this, for the questions that are named")
    parser.add_argument(
        "--quick", action="store_true", help="does it still work? Little of everything; not recorded"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help=f"folder for results [{FOLDER}; with --quick none]")
    parser.add_argument("--redraw", action="store_true", help="draw the pictures of results again, without measuring")
    for having in options_of(names).values():
        first = next(iter(having.values()))
        defaults = [f"{name} {option.default:,}" for name, option in having.items() if option.default]
        text = first.help + (f" [{', '.join(defaults)}]" if defaults else "")
        if first.kind is None:
            parser.add_argument(first.flag, action="store_true", default=ABSENT, help=text)
        else:
            parser.add_argument(first.flag, type=first.kind, metavar=first.value, default=ABSENT, help=text)
    return parser


def parse(words: list[str]) -> tuple[list[str], Namespace]:
    """The questions and all options. Exits with an error, or after help."""
    every = [*USUAL, *NAMED_ONLY]
    parser = parser_of(every)
    given = parser.parse_intermixed_args(words)
    names = list(dict.fromkeys(given.questions))
    for name in names:
        if name not in every:
            parser.error(f"there is no question {name}; choose from {', '.join(every)}")
    if given.nic is not ABSENT and names != ["nic"]:
        if names:
            parser.error("--nic runs only the question nic")
        names = ["nic"]
    if given.help:
        parser_of(names or every).print_help()
        sys.exit(0)
    names = names or list(USUAL)
    for name, having in options_of(every).items():
        # An option without a question is a mistake, which is found before anything is run.
        if getattr(given, name) is not ABSENT and not set(having) & set(names):
            parser.error(f"{' '.join(names)} has no option {next(iter(having.values())).flag}")
        for question, option in having.items():
            if option.required and question in names and getattr(given, name) is ABSENT:
                parser.error(f"{question} needs {option.flag} {option.value}: {option.help}")
    return names, given


def options_for(name: str, given: Namespace) -> Namespace:
    """The options of one question."""
    told = Namespace(quick=given.quick)
    for option in questions.module(name).OPTIONS:
        value = getattr(given, option.name)
        if value is ABSENT:
            value = option.quick if given.quick and option.quick is not None else option.default
        setattr(told, option.name, value)
    return told


def as_root() -> list[str]:
    """The prefix of a command that needs root."""
    if os.getuid() == 0:
        return []
    if not shutil.which("sudo"):
        sys.exit("error: measuring needs root, and there is no sudo")
    return ["sudo"]


def measured(name: str, options: Namespace) -> Results:
    """Lets another process measure, as root if necessary."""
    command = [sys.executable, "-B", "-m", "bench.measure", name, json.dumps(vars(options)), str(record.started)]
    if questions.module(name).ROOT:
        command = [*as_root(), *command]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    try:
        printed = process.stdout.read()
    finally:
        # Closing its input ends it if it still runs. Everything that it made is removed before this process continues.
        with signals_ignored():
            process.stdin.close()
            process.wait()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command[:-1])
    results: Results = json.loads(printed)
    return results


def ask(name: str, options: Namespace, folder: Path | None) -> list[str]:
    """Runs one question; returns what failed."""
    question = questions.module(name)
    build.need_packages(question.PACKAGES)
    question.prepare(options)
    results = measured(name, options)
    report = question.report(results, options)
    picture = plots.svg(report.picture) if report.picture else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(dumps(results) + "\n", encoding="utf-8")
        if picture:
            (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    print(f"{report.text}\n\n{described(results['machine'])}", flush=True)
    if folder:
        say(f"wrote to {folder}")
    return report.shortcomings


def redraw(folder: Path) -> None:
    """Draws each picture of the folder again from its data, which may have a name like engine-avx2."""
    for path in sorted(folder.glob("*.svg")):
        name = path.stem.split("-")[0]
        results = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        report = questions.module(name).report(results, Namespace(quick=False))
        if report.picture:
            path.write_text(plots.svg(report.picture), encoding="utf-8")
            say(f"drew {path}")


def failures(names: Sequence[str], given: Namespace) -> Iterator[str]:
    """Runs all questions; returns those that failed."""
    folder = given.output or (None if given.quick else FOLDER)
    for name in names:
        began = time.monotonic()
        say(f"benchmark {name}")
        try:
            shortcomings = ask(name, options_for(name, given), folder)
        except subprocess.CalledProcessError as error:
            shortcomings = [str(error)]
        for shortcoming in shortcomings:
            print(f"error: {shortcoming}", file=sys.stderr)
        say(f"benchmark {name} took {time.monotonic() - began:.0f} s")
        if shortcomings:
            yield name


def main() -> None:
    """The command line."""
    names, given = parse(sys.argv[1:])
    if given.output:
        given.output = given.output.resolve()
    os.chdir(build.ROOT)
    end_on_signals()
    if given.redraw:
        return redraw(given.output or FOLDER)
    failed = list(failures(names, given))
    if failed:
        sys.exit(f"error: these benchmarks did not meet their aims, or did not run: {', '.join(failed)}")


if __name__ == "__main__":
    main()
