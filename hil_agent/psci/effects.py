"""What must happen to the machine for a call to be answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from hil_agent.psci.context import ResumeContext
from hil_agent.psci.entry import EntryState
from hil_agent.psci.functions import ReturnCode


@dataclass(frozen=True, slots=True)
class Return:
    """The caller goes on after its call, with x0, x1, ... set to ``values`` (64 bits each).

    Registers beyond those keep what they hold.
    """

    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PowerOn:
    """vCPU ``cpu``, now ``on_pending``, is powered up to start with ``entry``."""

    cpu: int
    entry: EntryState


@dataclass(frozen=True, slots=True)
class PowerOff:
    """The caller is powered down."""


@dataclass(frozen=True, slots=True)
class Standby:
    """The caller waits for an interrupt, which may be pending already, before the effect that follows."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """The system suspends: the caller is parked until it is resumed with ``context``."""

    context: ResumeContext


@dataclass(frozen=True, slots=True)
class SystemReset:
    """The system is reset, cold."""


@dataclass(frozen=True, slots=True)
class SystemOff:
    """The system is switched off."""


@dataclass(frozen=True, slots=True)
class InjectUndefined:
    """The caller takes an Undefined Instruction exception to EL1, with ESR_EL1 = ``esr``.

    ELR_EL1 becomes what ELR_EL2 is at the trap: past a trapped ``hvc``, at a trapped ``smc``. That is
    what Xen does for both (measured), and QEMU for ``smc``.
    """

    esr: ClassVar[int] = 0x0200_0000


Effect: TypeAlias = (
    Return | PowerOn | PowerOff | Standby | Suspend | SystemReset | SystemOff | InjectUndefined
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one call.

    Attributes:
        effects: to be carried out in this order.
        result: x0 on return, sign-extended to 64 bits; None when the call does not return.
    """

    effects: tuple[Effect, ...]
    result: int | None = None

    @property
    def code(self) -> ReturnCode | None:
        """The return code that ``result`` is; a value, such as a version, is SUCCESS."""
        if self.result is None:
            return None
        if self.result < 1 << 63:
            return ReturnCode.SUCCESS
        return ReturnCode(self.result - (1 << 64))
