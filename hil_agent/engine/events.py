"""What happens in a session, as values: one event each, told to every listener in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from hil_agent.psci.call import Call
from hil_agent.psci.context import ResumeContext


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """A call was trapped and dealt with.

    Attributes:
        call: the call.
        result: x0 as returned, sign-extended to 64 bits; None if the call does not return.
        handling_s: seconds from the stop reply until the machine went on.
        fault: name of the fault in the answer, if there is one.
    """

    call: Call
    result: int | None
    handling_s: float
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Entered:
    """vCPU ``cpu`` was seen at its entry point, ``pc``."""

    cpu: int
    pc: int


@dataclass(frozen=True, slots=True)
class Suspended:
    """SYSTEM_SUSPEND was accepted and its vCPU is parked; or the host holds the guest, without a context."""

    context: ResumeContext | None


@dataclass(frozen=True, slots=True)
class Resumed:
    """The suspended guest goes on: at the entry point, or where it was if there is no context.

    ``cause`` is ``command``, ``interrupt N``, ``fault`` or ``abandoned, CODE``.
    """

    context: ResumeContext | None
    cause: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The guest said what it was waited for after boot."""


@dataclass(frozen=True, slots=True)
class WasReset:
    """The machine was reset; everything is as after power-on. ``cause`` is for people."""

    cause: str


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """The guest switched itself off; ``cause`` is for people."""

    cause: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The guest or the machine below it is lost; ``reason`` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Debuggers hold the machine; vCPU ``cpu`` is what they were told of."""

    cpu: int


@dataclass(frozen=True, slots=True)
class Released:
    """A debugger lets the machine run again."""


Event: TypeAlias = (
    CallAnswered
    | Entered
    | Suspended
    | Resumed
    | Ready
    | WasReset
    | SwitchedOff
    | Crashed
    | Stopped
    | Released
)
Listener: TypeAlias = Callable[[Event], None]
