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
class PassOn:
    """The firmware below answers the call; the caller goes on with what it has returned."""


@dataclass(frozen=True, slots=True)
class PowerOn:
    """vCPU ``cpu``, now ``on_pending``, is powered up to start with ``entry``."""

    cpu: int
    entry: EntryState


@dataclass(frozen=True, slots=True)
class PowerOff:
    """The caller is powered down.

    Attributes:
        keeps: registers whose values it has again when it is next started, if its `EntryState` then does
            not set them.
    """

    keeps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standby:
    """The caller waits for an interrupt, which may be pending already, before the effect that follows.

    Attributes:
        timed: whether `VirtualPsci.woke` must be told as soon as the wait is over.
    """

    timed: bool = False


@dataclass(frozen=True, slots=True)
class PowerDown:
    """The caller, now ``suspended``, waits for an interrupt and then starts with ``entry``.

    The interrupt may be pending already, and is one that its GIC would signal to it: neither masked by
    PSTATE nor limited to what ends a suspend of the system. `VirtualPsci.woke` is told once the vCPU is
    at its entry point.
    """

    entry: EntryState


@dataclass(frozen=True, slots=True)
class Suspend:
    """The system suspends: the caller is parked until it is resumed with ``context``."""

    context: ResumeContext


@dataclass(frozen=True, slots=True)
class SystemReset:
    """The system is reset.

    Attributes:
        reset_type: None for a cold reset; else the type that SYSTEM_RESET2 was given, 32 bits: 0 for a
            warm reset, with memory as it is, and from 0x8000_0000 on what the vendor makes of it.
        cookie: 64 bits for a vendor's reset.
        scrub_memory: whether MEM_PROTECT wants the guest's RAM overwritten before it boots again.
    """

    reset_type: int | None = None
    cookie: int = 0
    scrub_memory: bool = False

    @property
    def cause(self) -> str:
        """What it came from, for people."""
        if self.reset_type is None:
            return "SYSTEM_RESET" + (", memory overwritten" if self.scrub_memory else "")
        if self.reset_type == 0:
            return "SYSTEM_RESET2, warm reset"
        return f"SYSTEM_RESET2, vendor's reset {self.reset_type:#x}, cookie {self.cookie:#x}"


@dataclass(frozen=True, slots=True)
class SystemOff:
    """The system is switched off.

    Attributes:
        hibernate: whether the guest means to come back from a hibernation image (SYSTEM_OFF2).
    """

    hibernate: bool = False

    @property
    def cause(self) -> str:
        """What it came from, for people."""
        return "SYSTEM_OFF2, to hibernate" if self.hibernate else "SYSTEM_OFF"


@dataclass(frozen=True, slots=True)
class InjectUndefined:
    """The caller takes an Undefined Instruction exception to EL1, with ESR_EL1 = ``esr``.

    ELR_EL1 becomes what ELR_EL2 is at the trap: past a trapped ``hvc``, at a trapped ``smc``. That is
    what Xen does for both (measured), and QEMU for ``smc``.
    """

    esr: ClassVar[int] = 0x0200_0000


@dataclass(frozen=True, slots=True)
class Delay:
    """A fault: the caller waits, with the machine going on, before the effect that follows.

    Attributes:
        time_us: how long, in microseconds of the guest's time.
    """

    time_us: int


@dataclass(frozen=True, slots=True)
class Wake:
    """A fault: what waits, the caller or the suspended system, is woken though no interrupt came.

    Where nothing waits when it comes, because it is early or another wake was quicker, it is lost.

    Attributes:
        after_us: when, in microseconds of the guest's time after this effect's turn.
    """

    after_us: int = 0


Effect: TypeAlias = (
    Return
    | PassOn
    | PowerOn
    | PowerOff
    | Standby
    | PowerDown
    | Suspend
    | SystemReset
    | SystemOff
    | InjectUndefined
    | Delay
    | Wake
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one call.

    Attributes:
        effects: to be carried out in this order.
        result: x0 on return, sign-extended to 64 bits; None when the call does not return, or not from here.
        fault: name of the fault that had a hand in it.
    """

    effects: tuple[Effect, ...]
    result: int | None = None
    fault: str | None = None

    @property
    def code(self) -> ReturnCode | None:
        """The return code that ``result`` is; a value, such as a version, is SUCCESS."""
        if self.result is None:
            return None
        if self.result < 1 << 63:
            return ReturnCode.SUCCESS
        return ReturnCode(self.result - (1 << 64))
