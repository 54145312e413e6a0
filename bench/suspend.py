"""Suspend and resume of a Linux guest: how much of the time is the agent's and not the guest's own.

The agent's is all from a request until the guest acts on it, all handling of calls, and all from a state
change until whoever waits for it knows. What the guest's shell does with a command counts as the agent's.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from statistics import median
from time import monotonic
from typing import Any

from bench.result import Comparison, Result
from hil_agent import boot
from hil_agent.session.client import Session

_ENTRY = b"PM: suspend entry"
_EXIT = b"PM: suspend exit"
_CHUNK = 64 * 1024
_TIMEOUT_S = 60.0

Lines = SimpleQueue[tuple[float, bytes]]
"""When each line of the console was complete, and the line."""


def measure(cycles: int) -> list[Result]:
    """Cycles of one guest with one vCPU."""
    with boot() as session, _console(session) as lines:
        times = [_cycle(session, lines) for _ in range(cycles)]
    our_suspend, suspend, our_resume, resume = (median(column) for column in zip(*times, strict=True))
    return [
        Result.share(
            Comparison("the agent's part of a suspend", our_suspend, "the whole", suspend, cycles),
            at_most_percent=5,
        ),
        Result.share(
            Comparison("the agent's part of a resume", our_resume, "until PM: suspend exit", resume, cycles),
            at_most_percent=5,
        ),
    ]


def _cycle(session: Session, lines: Lines) -> tuple[float, float, float, float]:
    """Seconds: the agent's part of the suspend, the whole of it, and the same of the resume."""
    asked = monotonic()
    session.suspend()
    told = monotonic()
    entered = _wait_for(lines, _ENTRY)
    records = _records(session)
    suspended = next(time for time, record in reversed(records) if record.get("event") == "suspended")
    ours = (entered - asked) + _handling(records, asked) + (told - suspended)

    resuming = monotonic()
    session.resume()
    exited = _wait_for(lines, _EXIT)
    session.settle()
    records = _records(session)
    resumed = next(time for time, record in reversed(records) if record.get("event") == "resumed")
    our_resume = (resumed - resuming) + _handling(records, resuming)
    return ours, told - asked, our_resume, exited - resuming


def _records(session: Session) -> list[tuple[float, dict[str, Any]]]:
    """The session's journal, each record with its time on this process's clock."""
    began = monotonic() - session.status().uptime_s
    records = map(json.loads, session.folder.journal.read_text().splitlines())
    return [(began + record["time_s"], record) for record in records]


def _handling(records: list[tuple[float, dict[str, Any]]], since: float) -> float:
    """Seconds that calls since then have waited for the agent."""
    return sum(record.get("handling_us", 0.0) for time, record in records if time >= since) / 1e6


@contextmanager
def _console(session: Session) -> Iterator[Lines]:
    """The console's lines, as they come."""
    lines: Lines = SimpleQueue()

    def listen() -> None:
        rest = b""
        while chunk := console.recv(_CHUNK):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                lines.put((monotonic(), line))

    with socket.socket(socket.AF_UNIX) as console:
        console.connect(str(session.folder.console_socket))
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield lines
        console.shutdown(socket.SHUT_RDWR)
        thread.join()


def _wait_for(lines: Lines, text: bytes) -> float:
    """When a line with ``text`` came."""
    while True:
        time, line = lines.get(timeout=_TIMEOUT_S)
        if text in line:
            return time
