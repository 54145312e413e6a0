"""The journal of a session: every event as a line of JSON in its folder, and as a live stream.

A line is written after the machine has gone on, so that it costs the guest nothing, and with one
write each, so that it is there when the process dies.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, Self, TypeAlias

from hil_agent.engine.events import CallAnswered, Event, Resumed, Suspended
from hil_agent.psci.functions import ReturnCode

Record: TypeAlias = dict[str, Any]


class News(Enum):
    """What a follower is told besides records."""

    LOOK = auto()
    END = auto()


Follower: TypeAlias = "queue.Queue[Record | News]"

_KEPT = 20_000
"""Records of calls that are kept in memory, the newest."""

_LARGEST = 256 << 20
"""Bytes of the file. A guest may call in an endless loop, and the file's place may be memory."""

_BACKLOG = 10_000
"""Records that a follower may be behind before it loses some."""

_SIGN = 1 << 63


def call_record(seq: int, time_s: float, event: CallAnswered) -> Record:
    """A trace record, as docs/control-protocol.md has it."""
    call, result = event.call, event.result
    return {
        "seq": seq,
        "time_s": round(time_s, 6),
        "cpu": call.cpu,
        "conduit": call.conduit.value,
        "function": call.name,
        "function_id": f"{call.function_id:#x}",
        "args": [f"{argument:#x}" for argument in call.args],
        "result": _result_name(result),
        "value": None if result is None else f"{result:#x}",
        "handling_us": round(event.handling_s * 1e6, 1),
        "fault": event.fault,
    }


def _result_name(result: int | None) -> str | None:
    if result is None:
        return None
    if result < _SIGN:
        return ReturnCode.SUCCESS.name
    code = result - 2 * _SIGN
    return next((known.name for known in ReturnCode if known == code), str(code))


def _event_record(time_s: float, event: Event) -> Record:
    record: Record = {"event": type(event).__name__.lower(), "time_s": round(time_s, 6)}
    match event:
        case Suspended(context) | Resumed(context) if context is not None:
            record |= {
                "cpu": context.cpu,
                "entry_point": f"{context.entry_point:#x}",
                "context_id": f"{context.context_id:#x}",
            }
    for name in ("cpu", "pc", "cause", "reason"):
        if name not in record and hasattr(event, name):
            record[name] = getattr(event, name)
    return record


class Journal:
    """Writes events down. Publishing belongs to one thread, reading to any.

    Args:
        path: the file; created, 0600.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._calls: deque[Record] = deque(maxlen=_KEPT)
        self._followers: list[Follower] = []
        self._seq = 0
        self._size = 0
        self.failure: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def uptime_s(self) -> float:
        """Seconds since the session began."""
        return time.monotonic() - self._began

    def apply(self, event: Event) -> None:
        """Writes one event down. A full disk ends the file, said in ``failure``, and not the session."""
        if isinstance(event, CallAnswered):
            self._seq += 1
            record = call_record(self._seq, self.uptime_s, event)
            with self._lock:
                self._calls.append(record)
                for follower in self._followers:
                    if not follower.full():
                        follower.put_nowait(record)
        else:
            record = _event_record(self.uptime_s, event)
        if self.failure is None:
            try:
                self._size += os.write(self._file, json.dumps(record, separators=(",", ":")).encode() + b"\n")
            except OSError as error:
                self.failure = error.strerror
            else:
                if self._size > _LARGEST:
                    self.failure = f"the journal has reached {_LARGEST >> 20} MiB"

    def calls(self) -> list[Record]:
        """Records of the calls so far, oldest first."""
        with self._lock:
            return list(self._calls)

    @contextmanager
    def follow(self) -> Iterator[tuple[list[Record], Follower]]:
        """The records so far, and a queue of those that come; it also brings news that are no records."""
        follower: Follower = queue.Queue(_BACKLOG)
        with self._lock:
            self._followers.append(follower)
            so_far = list(self._calls)
        try:
            yield so_far, follower
        finally:
            with self._lock:
                self._followers.remove(follower)

    def nudge(self) -> None:
        """Has every follower look whether somebody still listens to it."""
        self._put(News.LOOK)

    def close(self) -> None:
        """Ends the file and every follower's stream."""
        self._put(News.END)
        os.close(self._file)
        self.failure = "the journal is closed"

    def _put(self, news: News) -> None:
        with self._lock:
            for follower in self._followers:
                if follower.full():
                    follower.get_nowait()
                follower.put_nowait(news)
