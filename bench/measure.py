# SPDX-License-Identifier: MIT OR Apache-2.0
"""The part that measures, as root for many questions: `python3 -m bench.measure QUESTION OPTIONS STARTED`.

Started by __main__.py, with the options as JSON. Prints the results as JSON. It ends, and removes its lab, on a signal,
or when its standard input ends, that is, when its caller ends: a user cannot send signals to root's processes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from argparse import Namespace

from bench import questions, record
from bench.process import end_on_signals


def end_with_caller() -> None:
    """Waits until the caller has closed its end of the pipe."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Measures, and prints the results."""
    name, options, started = sys.argv[1:]
    record.started = float(started)
    end_on_signals()
    threading.Thread(target=end_with_caller, daemon=True).start()
    head = record.Head()
    measured = questions.module(name).measure(Namespace(**json.loads(options)))
    json.dump(head.above(measured), sys.stdout)


if __name__ == "__main__":
    main()
