"""What can come of a call, and what is expected to, by profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hil_agent.psci import ReturnCode
from hil_agent.psci.functions import MASK64

_UNDEFINED = 0x0200_0000

BUILTIN = "builtin"
"""Name under which QEMU's own PSCI has its expectations, where they are not those of the profile ``qemu``."""

_FALLBACK = {BUILTIN: "qemu", "qemu": "spec", "kvm": "spec", "xen": "spec", "xen-v16": "xen"}
"""Whose expectation counts where a profile has none of its own."""


@dataclass(frozen=True, slots=True)
class Returns:
    """The call returned ``x0``, 64 bits.

    ``changed``: registers that should have been kept and were not.
    """

    x0: int
    changed: tuple[str, ...] = ()

    def __str__(self) -> str:
        value = ReturnCode(self.x0 - (1 << 64)).name if self.x0 in _CODES else f"{self.x0:#x}"
        return f"{value}, and changed {' '.join(self.changed)}" if self.changed else value


@dataclass(frozen=True, slots=True)
class Takes:
    """The caller took an exception to EL1, with ELR_EL1 so many bytes from the calling instruction."""

    esr: int
    distance: int

    def __str__(self) -> str:
        what = (
            "an Undefined Instruction exception" if self.esr == _UNDEFINED else f"an exception, {self.esr:#x}"
        )
        return f"{what}, ELR +{self.distance}"


@dataclass(frozen=True, slots=True)
class Enters:
    """The vCPU was entered, at the entry point that was asked for unless ``elsewhere``, with ``x0``."""

    x0: int
    elsewhere: int | None = None

    def __str__(self) -> str:
        where = "" if self.elsewhere is None else f" at {self.elsewhere:#x}"
        return f"entered{where}, x0={self.x0:#x}"


@dataclass(frozen=True, slots=True)
class Value:
    """Something that was looked at, such as a register."""

    value: int

    def __str__(self) -> str:
        return f"{self.value:#x}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a vCPU or to the machine, in words."""

    what: str

    def __str__(self) -> str:
        return self.what


SILENCE = Event("did not come back")
STILL_ON = Event("did not come back, and is on")
RESTARTED = Event("restarted")
SWITCHED_OFF = Event("switched off")
KEPT = Event("kept")
ZERO = Event("zero")
YES, NO = Event("yes"), Event("no")

Observation: TypeAlias = Returns | Takes | Enters | Value | Event

_CODES = frozenset(code & MASK64 for code in ReturnCode if code < 0)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is right, by profile; any of several where a specification leaves the choice.

    A profile that is not mentioned, nor what it falls back to, is not expected to do anything in particular.
    """

    by_profile: tuple[tuple[str, tuple[Observation, ...]], ...]

    def of(self, profile: str) -> tuple[Observation, ...]:
        """What is right for a profile, or for `BUILTIN`; empty where anything is."""
        known = dict(self.by_profile)
        while profile not in known and profile in _FALLBACK:
            profile = _FALLBACK[profile]
        return known.get(profile, ())


Answer: TypeAlias = Observation | int | None
"""A number stands for a call that returns it; None says that anything is right."""


def expect(spec: Answer | tuple[Answer, ...], **by_profile: Answer | tuple[Answer, ...]) -> Expected:
    """What the specification says, and the profiles that differ from it, ``xen_v16`` for ``xen-v16``."""
    answers = {"spec": spec} | {name.replace("_", "-"): answer for name, answer in by_profile.items()}
    return Expected(tuple((name, _observations(answer)) for name, answer in answers.items()))


def undefined(distance: int) -> Takes:
    """An Undefined Instruction exception."""
    return Takes(_UNDEFINED, distance)


def _observations(answer: Answer | tuple[Answer, ...]) -> tuple[Observation, ...]:
    if isinstance(answer, tuple):
        return tuple(each for part in answer for each in _observations(part))
    if answer is None:
        return ()
    return (Returns(answer & MASK64) if isinstance(answer, int) else answer,)
