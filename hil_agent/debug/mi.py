"""What gdb says through its machine interface, as values. Pure.

pygdbmi turns a line into strings, lists and dictionaries; here they get names and types. The chapter "GDB/MI"
of gdb's manual has the records.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from pygdbmi import gdbmiparser

from hil_agent.errors import ProtocolError, TargetError, UsageError

Payload: TypeAlias = Mapping[str, Any]
"""What belongs to a record: text, lists and dictionaries of that, by name."""

_EXCERPT: Final = 200
_EMPTY: Final[Payload] = {}


class GdbError(TargetError):
    """gdb refused a command; the message has its words."""


class RecordKind(StrEnum):
    """What a line of gdb's is, in pygdbmi's words."""

    RESULT = "result"
    NOTIFY = "notify"
    CONSOLE = "console"
    LOG = "log"
    TARGET = "target"
    OUTPUT = "output"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Record:
    """One line of gdb's.

    Attributes:
        kind: what it is.
        name: of a result or a notification, such as ``done``, ``error``, ``stopped``.
        token: number of the command that it answers, if it answers one.
        payload: what belongs to it.
        text: what there is to read, of the other kinds.
    """

    kind: RecordKind
    name: str = ""
    token: int | None = None
    payload: Payload = field(default_factory=dict)
    text: str = ""


class StopReason(StrEnum):
    """Why the target stands; gdb's own words, but for the last two."""

    BREAKPOINT = "breakpoint-hit"
    WATCHPOINT = "watchpoint-trigger"
    READ_WATCHPOINT = "read-watchpoint-trigger"
    ACCESS_WATCHPOINT = "access-watchpoint-trigger"
    WATCHPOINT_SCOPE = "watchpoint-scope"
    STEPPED = "end-stepping-range"
    FINISHED = "function-finished"
    LOCATION = "location-reached"
    SIGNAL = "signal-received"
    KILLED = "exited-signalled"
    EXITED = "exited"
    EXITED_NORMALLY = "exited-normally"
    HALTED = "halted"
    """gdb names no reason: it has attached, or finished a function that it has no debug information of."""
    OTHER = "other"

    @property
    def over(self) -> bool:
        """Whether there is nothing left to debug."""
        return self in {StopReason.KILLED, StopReason.EXITED, StopReason.EXITED_NORMALLY}


class Access(StrEnum):
    """What a watchpoint waits for; as the option of ``-break-watch``."""

    WRITE = ""
    READ = "-r"
    ANY = "-a"


@dataclass(frozen=True, slots=True)
class Frame:
    """One function that is being executed.

    Attributes:
        level: 0 is the innermost.
        address: where it is; 64 bits.
        function: its name, if there is a symbol.
        file: source file, if there is debug information.
        line: line in it.
    """

    level: int
    address: int
    function: str | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread; of a machine, a vCPU.

    Attributes:
        number: gdb's number, from 1.
        target_id: what it is called in the target's protocol, such as ``Thread 1.2``.
        details: what the target has to say about it, such as ``CPU#1 [halted ]``.
        running: whether it runs.
        frame: where it is, if it stands.
    """

    number: int
    target_id: str
    details: str
    running: bool
    frame: Frame | None = None


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """A breakpoint that is set.

    Attributes:
        number: gdb's number.
        address: where it is; None if at several places.
        function: in which function, if there is a symbol.
        hardware: it takes one of the machine's comparators.
        temporary: it goes when it is hit.
    """

    number: int
    address: int | None
    function: str | None
    hardware: bool
    temporary: bool


@dataclass(frozen=True, slots=True)
class Watchpoint:
    """A watchpoint that is set: its number, and what it watches."""

    number: int
    expression: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The target has stopped.

    Attributes:
        reason: why.
        thread: number of the thread that stopped; None if there is none left.
        frame: where it is.
        breakpoint: number of the breakpoint or watchpoint, if one was hit.
        signal: name of the signal, such as ``SIGINT``, if that is the reason.
        old, new: what was watched, before and after.
    """

    reason: StopReason
    thread: int | None = None
    frame: Frame | None = None
    breakpoint: int | None = None
    signal: str | None = None
    old: str | None = None
    new: str | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression is.

    Attributes:
        text: as gdb prints it.
        number: as an integer, if it is one, or a pointer, a character, a truth.
    """

    text: str
    number: int | None

    def __int__(self) -> int:
        if self.number is None:
            raise GdbError(f"{self.text[:_EXCERPT]!r} is no number")
        return self.number


def parse(line: str) -> Record:
    """The record of a line.

    Raises:
        ProtocolError: it is no line of GDB/MI.
    """
    try:
        fields = gdbmiparser.parse_response(line)
    except (ValueError, IndexError, AssertionError, RecursionError) as error:
        raise ProtocolError(f"gdb said what is no GDB/MI: {line[:_EXCERPT]!r}: {error}") from error
    kind, payload = RecordKind(fields["type"]), fields["payload"]
    if isinstance(payload, str):
        return Record(kind, text=payload)
    return Record(kind, fields["message"] or "", fields.get("token"), payload or {})


def quote(argument: str) -> str:
    """An argument as GDB/MI wants it.

    Raises:
        UsageError: a line's end, or a NUL, is in it; a second command could follow it.
    """
    if any(char in argument for char in "\r\n\0"):
        raise UsageError(f"gdb takes one line at a time, not {argument[:_EXCERPT]!r}")
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_frame(payload: Payload) -> Frame:
    """A ``frame={...}``."""
    line = payload.get("line")
    return Frame(
        level=int(payload.get("level", 0)),
        address=_number(payload, "addr"),
        function=_function(payload),
        file=payload.get("fullname") or payload.get("file"),
        line=None if line is None else int(line),
    )


def read_thread(payload: Payload) -> Thread:
    """One of ``threads=[...]``."""
    frame = payload.get("frame")
    return Thread(
        number=_number(payload, "id"),
        target_id=_text(payload, "target-id"),
        details=payload.get("details", ""),
        running=payload.get("state") == "running",
        frame=None if frame is None else read_frame(frame),
    )


def read_breakpoint(payload: Payload) -> Breakpoint:
    """A ``bkpt={...}``."""
    address = payload.get("addr", "")
    return Breakpoint(
        number=_number(payload, "number"),
        address=int(address, 16) if address.startswith("0x") else None,
        function=_function(payload),
        hardware=payload.get("type", "").startswith("hw"),
        temporary=payload.get("disp") == "del",
    )


def read_watchpoint(payload: Payload) -> Watchpoint:
    """A ``wpt={...}``, or ``hw-rwpt`` and ``hw-awpt`` of those that wait for reads."""
    wanted = next((payload[key] for key in _WATCHPOINTS if key in payload), _EMPTY)
    return Watchpoint(_number(wanted, "number"), _text(wanted, "exp"))


def read_stop(payload: Payload) -> Stop:
    """A ``*stopped``."""
    watchpoint = next((payload[key] for key in _WATCHPOINTS if key in payload), _EMPTY)
    number = payload.get("bkptno", watchpoint.get("number"))
    thread, frame = payload.get("thread-id"), payload.get("frame")
    values = payload.get("value", _EMPTY)
    return Stop(
        reason=_reason(payload.get("reason")),
        thread=None if thread is None else int(thread),
        frame=None if frame is None else read_frame(frame),
        breakpoint=None if number is None else int(number),
        signal=payload.get("signal-name"),
        old=values.get("old"),
        new=values.get("new", values.get("value")),
    )


def read_value(text: str) -> Value:
    """What ``-data-evaluate-expression`` answers: ``42``, ``97 'a'``, ``(long *) 0xffff <jiffies>`` ..."""
    if text in _TRUTHS:
        return Value(text, _TRUTHS[text])
    match = _INTEGER.match(text)
    return Value(text, int(match[1], 0) if match else None)


def read_register(text: str) -> int | None:
    """A register's raw value; None if the target does not tell it."""
    return int(text, 16) if text.startswith("0x") else None


def read_memory(payload: Payload) -> bytes:
    """What ``-data-read-memory-bytes`` answers, up to the first byte that cannot be read."""
    data = bytearray()
    for block in payload.get("memory", ()):
        if _number(block, "offset") != len(data):
            break
        data += bytes.fromhex(_text(block, "contents"))
    return bytes(data)


_WATCHPOINTS: Final = ("wpt", "hw-rwpt", "hw-awpt")
_TRUTHS: Final = {"true": 1, "false": 0}
_INTEGER: Final = re.compile(r"(?:\(.*\) |@)?(-?(?:0x[0-9a-f]+|\d+))(?= <| '| \"|$)", re.ASCII)


def _reason(word: str | None) -> StopReason:
    if word is None:
        return StopReason.HALTED
    return next((reason for reason in StopReason if reason == word), StopReason.OTHER)


def _text(payload: Payload, key: str) -> str:
    value = payload.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"gdb's answer has no {key!r}: {str(payload)[:_EXCERPT]}")
    return value


def _function(payload: Payload) -> str | None:
    name = payload.get("func")
    return None if name == "??" else name


def _number(payload: Payload, key: str) -> int:
    text = _text(payload, key)
    try:
        return int(text, 0)
    except ValueError:
        raise ProtocolError(f"gdb says {key}={text!r}, which is no number") from None
