"""A terminal for a program: a real pseudo-terminal, whose screen pyte keeps.

Each line of standard input is a step, and standard output has an answer to each:
  wait SECONDS TEXT   until TEXT is on the screen; answers the screen, or "timeout" and the screen
  gone SECONDS TEXT   until TEXT is on the screen no more; answers alike
  key HEX             these bytes are typed
  resize COLUMNS ROWS
  signal NUMBER       to the program
  show                answers the screen
  end SECONDS         until the program has ended; answers its status, the modes of the terminal, and the screen
An answer is a JSON object in one line. Arguments: columns, rows, and the command.
"""
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

import pyte

columns, rows = int(sys.argv[1]), int(sys.argv[2])
screen = pyte.Screen(columns, rows)
stream = pyte.ByteStream(screen)
raw = bytearray()


def set_size(fd):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


child, fd = pty.fork()
if child == 0:
    time.sleep(0.2)
    os.execvp(sys.argv[3], sys.argv[3:])
set_size(fd)
before = termios.tcgetattr(fd)


def feed(seconds):
    """Takes what the program writes for so long; returns whether there was anything."""
    ready, _, _ = select.select([fd], [], [], seconds)
    if not ready:
        return False
    try:
        data = os.read(fd, 1 << 16)
    except OSError:
        return False
    raw.extend(data)
    stream.feed(data)
    return bool(data)


def answer(**more):
    more["screen"] = [line.rstrip() for line in screen.display]
    print(json.dumps(more), flush=True)


for line in sys.stdin:
    word, _, rest = line.rstrip("\n").partition(" ")
    if word in ("wait", "gone"):
        seconds, _, text = rest.partition(" ")
        end = time.monotonic() + float(seconds)
        found = False
        while not found and time.monotonic() < end:
            feed(0.05)
            found = any(text in shown for shown in screen.display) == (word == "wait")
        answer(found=found)
    elif word == "key":
        os.write(fd, bytes.fromhex(rest))
        answer()
    elif word == "resize":
        columns, rows = map(int, rest.split())
        screen.resize(rows, columns)
        set_size(fd)
        answer()
    elif word == "signal":
        os.kill(child, int(rest))
        answer()
    elif word == "show":
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            feed(0.05)
        answer()
    elif word == "end":
        end = time.monotonic() + float(rest)
        status = None
        while status is None and time.monotonic() < end:
            feed(0.05)
            done, code = os.waitpid(child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
        while feed(0.2):
            pass
        after = termios.tcgetattr(fd)
        if status is None:
            os.kill(child, signal.SIGKILL)
        left = raw.rfind(b"\x1b[?1049l")
        answer(
            status=status,
            is_restored=after[:4] == before[:4],
            left_screen=left > raw.rfind(b"\x1b[?1049h"),
            cursor_shown=raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l"),
            printed=raw[left:].decode(errors="replace"),
        )
        break
