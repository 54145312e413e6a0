"""Suspend and resume of a Linux guest: how much of the time is the agent's and not the guest's own.

A suspend is looked at twice: from the request, where the guest's shell first does what the agent types, and
from the kernel's first word on it. The agent's part is all until that word, all handling of calls, and all
from a change of state until whoever waits for it knows.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
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

Records = list[tuple[float, dict[str, Any]]]
"""Of a session's journal, each with its time on this process's clock."""


@dataclass(frozen=True, slots=True)
class _Cycle:
    """One suspend and resume, in seconds.

    Attributes:
        asking: from the request until the kernel begins to suspend.
        suspending: from there until the session is known to be suspended.
        in_suspending: the agent's part of that.
        resuming: from the request until the kernel says that it is over.
        in_resuming: the agent's part of that.
    """

    asking: float
    suspending: float
    in_suspending: float
    resuming: float
    in_resuming: float


def measure(cycles: int) -> list[Result]:
    """Cycles of one guest with one vCPU."""
    with boot() as session, _console(session) as lines:
        done = [_cycle(session, lines) for _ in range(cycles)]
    asking, suspending, in_suspending, resuming, in_resuming = map(
        median, zip(*map(astuple, done), strict=True)
    )

    def share(what: str, ours: float, span: str, whole: float) -> Result:
        return Result.share(Comparison(f"the agent's part of a {what}", ours, span, whole, cycles), 5)

    return [
        share("suspend", asking + in_suspending, "from the request", asking + suspending),
        share("suspend", in_suspending, f"from {_ENTRY.decode()}", suspending),
        share("resume", in_resuming, f"until {_EXIT.decode()}", resuming),
    ]


def _cycle(session: Session, lines: Lines) -> _Cycle:
    asked = monotonic()
    context = session.suspend()
    told = monotonic()
    entered = _wait_for(lines, _ENTRY)
    resuming = monotonic()
    session.resume()
    resumed = monotonic()
    exited = _wait_for(lines, _EXIT)
    session.settle()
    records = _records(session)  # not earlier: a call is written down after its answer has its effect
    return _Cycle(
        asking=entered - asked,
        suspending=told - entered,
        in_suspending=context.since_s + _handling(records, entered, resuming),
        resuming=exited - resuming,
        in_resuming=(resumed - resuming) + _handling(records, resumed, exited),
    )


def _records(session: Session) -> Records:
    """The session's journal, each record with its time on this process's clock."""
    began = monotonic() - session.status().uptime_s
    records = map(json.loads, session.folder.journal.read_text().splitlines())
    return [(began + record["time_s"], record) for record in records]


def _handling(records: Records, start: float, end: float) -> float:
    """Seconds that calls in a span of time have waited for the agent."""
    waited_us: float = sum(record.get("handling_us", 0.0) for time, record in records if start <= time < end)
    return waited_us / 1e6


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
