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
    """

    call: Call
    result: int | None
    handling_s: float


@dataclass(frozen=True, slots=True)
class Entered:
    """vCPU ``cpu`` was seen at its entry point, ``pc``."""

    cpu: int
    pc: int


@dataclass(frozen=True, slots=True)
class Suspended:
    """SYSTEM_SUSPEND was accepted and its vCPU is parked."""

    context: ResumeContext


@dataclass(frozen=True, slots=True)
class Resumed:
    """The suspended vCPU goes on, at the entry point, or after its call if the context had been cleared.

    ``cause`` is ``command`` or ``interrupt N``.
    """

    context: ResumeContext | None
    cause: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The guest said what it was waited for after boot."""


@dataclass(frozen=True, slots=True)
class WasReset:
    """The machine was reset; everything is as after power-on."""


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """The guest switched itself off."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The guest or the machine below it is lost; ``reason`` is for people."""

    reason: str


Event: TypeAlias = CallAnswered | Entered | Suspended | Resumed | Ready | WasReset | SwitchedOff | Crashed
Listener: TypeAlias = Callable[[Event], None]
