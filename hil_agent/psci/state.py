"""Power of every vCPU and the resume context: the state that calls change."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from hil_agent.errors import InternalError, StateError
from hil_agent.psci.context import ResumeContext


class PowerState(Enum):
    """Power of one vCPU."""

    ON = "on"
    ON_PENDING = "on_pending"
    OFF = "off"
    SUSPENDED = "suspended"


class SystemState:
    """The vCPUs of one guest, of which vCPU 0 is on after boot, and what a suspend left behind.

    ::

        off -> on_pending -> on -> off
                 |           ^
                 v           v
                off       suspended      (then all others are off)

    Every change but a reset goes through a method that refuses, with InternalError, what the diagram
    does not show.

    Args:
        mpidrs: affinity fields of each vCPU's MPIDR_EL1, by index; bit 31 and the like are not included.
        memory: the guest's RAM, as ranges of physical addresses.
    """

    def __init__(self, mpidrs: Sequence[int], memory: Sequence[range]) -> None:
        self.mpidrs = tuple(mpidrs)
        self.memory = tuple(memory)
        self._power: list[PowerState] = []
        self._context: ResumeContext | None = None
        self.reset()

    @property
    def context(self) -> ResumeContext | None:
        """The resume context; None unless the system is suspended, and when it was taken away then."""
        return self._context

    @property
    def suspended_cpu(self) -> int | None:
        """Index of the vCPU that suspended the system; None unless the system is suspended."""
        suspended = PowerState.SUSPENDED in self._power
        return self._power.index(PowerState.SUSPENDED) if suspended else None

    @property
    def powers(self) -> tuple[PowerState, ...]:
        """Power of every vCPU, by index."""
        return tuple(self._power)

    def power(self, cpu: int) -> PowerState:
        """Power of vCPU ``cpu``.

        Raises:
            InternalError: there is no such vCPU.
        """
        if not 0 <= cpu < len(self._power):
            raise InternalError(f"there is no vCPU {cpu}: the guest has {len(self._power)}")
        return self._power[cpu]

    def reset(self) -> None:
        """Go back to how it was after boot: vCPU 0 on, all others off, no context."""
        self._power = [PowerState.ON] + [PowerState.OFF] * (len(self.mpidrs) - 1)
        self._context = None

    def power_on(self, cpu: int) -> None:
        """Note that CPU_ON was accepted for vCPU ``cpu``, which has yet to start."""
        self._change(cpu, PowerState.OFF, PowerState.ON_PENDING)

    def entered(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` has started at its entry point."""
        self._change(cpu, PowerState.ON_PENDING, PowerState.ON)

    def power_on_failed(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` could not be started after all."""
        self._change(cpu, PowerState.ON_PENDING, PowerState.OFF)

    def power_off(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` goes down."""
        self._change(cpu, PowerState.ON, PowerState.OFF)

    def suspend(self, context: ResumeContext) -> None:
        """Note that the system suspends, by a call of vCPU ``context.cpu``, the only one that is not off."""
        if not self.others_off(context.cpu):
            raise InternalError(f"vCPU {context.cpu} would suspend a system with other vCPUs not off")
        # State first, context second, as in Xen. No resume can come in between: calls and resumes are made
        # by one thread.
        self._change(context.cpu, PowerState.ON, PowerState.SUSPENDED)
        self._context = context

    def clear_context(self) -> None:
        """Take the context away: a resume then goes on after the call, with nothing changed.

        Raises:
            StateError: the system is not suspended.
        """
        self.require_suspended()
        self._context = None

    def resumed(self) -> None:
        """Note that the suspended vCPU goes on; with that the context has been used."""
        if self.suspended_cpu is None:
            raise InternalError("no vCPU is suspended that could have resumed")
        self._change(self.suspended_cpu, PowerState.SUSPENDED, PowerState.ON)
        self._context = None

    def require_suspended(self) -> None:
        """Raise StateError unless the system is suspended."""
        if self.suspended_cpu is None:
            raise StateError("the guest is not suspended", hint="have it suspend first, or wait until it has")

    def find(self, mpidr: int, mask: int) -> int | None:
        """Index of the vCPU whose affinity is ``mpidr`` in the bits of ``mask``; None if there is none."""
        wanted = mpidr & mask
        return next((cpu for cpu, own in enumerate(self.mpidrs) if own & mask == wanted), None)

    def others_off(self, cpu: int) -> bool:
        """Whether every vCPU but ``cpu`` is off."""
        return all(power is PowerState.OFF for other, power in enumerate(self._power) if other != cpu)

    def _change(self, cpu: int, before: PowerState, after: PowerState) -> None:
        if self.power(cpu) is not before:
            raise InternalError(f"vCPU {cpu} is {self._power[cpu].value} and cannot become {after.value}")
        self._power[cpu] = after
